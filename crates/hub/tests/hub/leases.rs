//! Expired leases, and their consequences.

use protocol::Verdict;
use protocol::api::{GiveBack, GiveBackReason, JobState, ProblemCode};

use crate::support::{Outcome, Worker, start};

const GZIP: &str = "[[job]]\npackage = \"gzip\"\n";

#[test]
fn a_lease_is_kept_by_heartbeats() {
    let hub = start();
    let worker = hub.worker("w1", "");
    hub.add(GZIP);
    let claimed = worker.begin();
    for _ in 0..5 {
        hub.pass(50);
        assert_eq!(worker.beat(&claimed.lease), None);
    }
}

#[test]
fn a_claim_says_how_long_its_package_usually_takes() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "");
    hub.add(GZIP);
    let first = worker.begin();
    assert_eq!(first.usual_seconds, None);
    worker.deliver(&first, Verdict::Pass)?;
    hub.add("[[job]]\npackage = \"sed\"\n");
    let other = worker.begin();
    assert_eq!(other.usual_seconds, None, "another package");
    worker.deliver(&other, Verdict::Pass)?;
    hub.add(GZIP);
    // What the worker says of its results in these tests.
    assert_eq!(worker.begin().usual_seconds, Some(60));
    Ok(())
}

#[test]
fn a_clock_that_is_set_ends_no_lease() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "");
    hub.add(GZIP);
    let claimed = worker.begin();
    hub.clock.set_forward(std::time::Duration::from_secs(86_400));
    hub.pass(0);
    assert_eq!(hub.people().job("gzip")?.state, JobState::Running);
    assert_eq!(worker.beat(&claimed.lease), None);
    hub.pass(61);
    assert_eq!(hub.people().job("gzip")?.state, JobState::Queued);
    Ok(())
}

#[test]
fn a_lease_that_ran_out_puts_the_job_back() -> Outcome {
    let hub = start();
    let (slow, quick) = (hub.worker("slow", ""), hub.worker("quick", ""));
    hub.add(GZIP);
    let old = slow.begin();
    hub.pass(61);
    let job = hub.people().job("gzip")?;
    assert_eq!(job.state, JobState::Queued);
    assert_eq!(job.attempts[0].reason, "nothing was heard of the worker for 60 s");
    let new = quick.begin();
    assert_eq!((new.job.id.as_str(), new.attempt), ("gzip", 2));
    assert_eq!(slow.beat(&old.lease).as_deref(), Some("the lease ran out, and another worker has the job"));
    Ok(())
}

#[test]
fn a_worker_that_comes_back_in_time_keeps_its_job() {
    let hub = start();
    let (slow, quick) = (hub.worker("slow", ""), hub.worker("quick", ""));
    hub.add(GZIP);
    let claimed = slow.begin();
    hub.pass(61);
    assert_eq!(slow.beat(&claimed.lease), None);
    assert!(quick.claim().is_none());
}

#[test]
fn a_late_result_is_taken_if_there_is_no_other() -> Outcome {
    let hub = start();
    let (slow, quick) = (hub.worker("slow", ""), hub.worker("quick", ""));
    hub.add(GZIP);
    let old = slow.begin();
    hub.pass(61);
    let new = quick.begin();
    let completed = slow.deliver(&old, Verdict::Pass)?;
    assert!(completed.late);
    // The other worker is told, and its result is refused.
    assert_eq!(quick.beat(&new.lease).as_deref(), Some("another attempt has delivered the result"));
    let error = quick.deliver(&new, Verdict::Fail).expect_err("there is one");
    assert_eq!(error.code(), Some(ProblemCode::AlreadyCompleted));
    assert_eq!(hub.client().result("gzip")?.info.worker, "slow");
    Ok(())
}

#[test]
fn a_late_result_is_refused_if_there_is_another() -> Outcome {
    let hub = start();
    let (slow, quick) = (hub.worker("slow", ""), hub.worker("quick", ""));
    hub.add(GZIP);
    let old = slow.begin();
    hub.pass(61);
    let new = quick.begin();
    quick.deliver(&new, Verdict::Pass)?;
    let error = slow.deliver(&old, Verdict::Fail).expect_err("there is one");
    assert!(error.is_unwanted() && error.code() == Some(ProblemCode::AlreadyCompleted), "{error}");
    assert_eq!(hub.client().result("gzip")?.info.verdict, Verdict::Pass);
    Ok(())
}

#[test]
fn a_job_that_is_lost_too_often_is_given_up() -> Outcome {
    let hub = start();
    hub.add(GZIP);
    for name in ["w1", "w2", "w3"] {
        hub.worker(name, "").begin();
        hub.pass(61);
    }
    let job = hub.people().job("gzip")?;
    assert_eq!(job.state, JobState::GivenUp);
    assert!(job.why.unwrap_or_default().starts_with("lost in 3 of 3 attempts"));
    assert!(hub.worker("w4", "").claim().is_none());
    Ok(())
}

#[test]
fn a_job_that_was_lost_twice_on_a_machine_goes_elsewhere() -> Outcome {
    let hub = start();
    hub.add(GZIP);
    let killed = hub.worker("killed", "");
    for _ in 0..2 {
        killed.begin();
        hub.pass(61);
    }
    assert!(killed.claim().is_none());
    let why = hub.people().job("gzip")?.why.unwrap_or_default();
    assert!(why.starts_with("only killed could take it"), "{why}");
    assert!(hub.worker("other", "").claim().is_some());
    Ok(())
}

#[test]
fn a_job_given_back_as_machine_killer_goes_elsewhere() -> Outcome {
    let hub = start();
    hub.add(GZIP);
    let killed = hub.worker("killed", "");
    let claimed = killed.begin();
    let reason = GiveBack { reason: GiveBackReason::MachineKiller, message: "the GPU hung twice".into() };
    killed.client.give_back(&claimed.lease, &reason)?;
    assert!(killed.claim().is_none());
    let job = hub.people().job("gzip")?;
    assert_eq!(job.attempts[0].reason, "machine-killer: the GPU hung twice");
    assert!(hub.worker("other", "").claim().is_some());
    Ok(())
}

#[test]
fn a_job_given_back_for_another_reason_may_come_again() -> Outcome {
    let hub = start();
    hub.add(GZIP);
    let worker = hub.worker("w1", "");
    let claimed = worker.begin();
    let reason = GiveBack { reason: GiveBackReason::ShuttingDown, message: String::new() };
    worker.client.give_back(&claimed.lease, &reason)?;
    assert_eq!(worker.claim().map(|claimed| claimed.attempt), Some(2));
    Ok(())
}

#[test]
fn a_worker_that_was_restarted_has_lost_what_it_does_not_hold() -> Outcome {
    let hub = start();
    hub.add("[[job]]\npackage = \"aa\"\n[[job]]\npackage = \"bb\"\n");
    let worker = hub.worker("w1", "");
    let (first, second) = (worker.begin(), worker.begin());
    let join = hub.client().with_token(hub.hub.join_token());
    let again = Worker::register(&join, "w1", "second", "", std::slice::from_ref(&second.lease));
    assert_eq!(hub.people().job(&first.job.id)?.state, JobState::Queued);
    assert_eq!(hub.people().job(&second.job.id)?.state, JobState::Running);
    assert!(again.deliver(&second, Verdict::Pass).is_ok());
    Ok(())
}

#[test]
fn the_hub_restarted_keeps_leases() -> Outcome {
    let temp = tempfile::tempdir()?;
    let hub = crate::support::start_in(temp.path(), |_| ());
    let admin = hub.admin.clone();
    let worker = hub.worker("w1", "");
    hub.add(GZIP);
    let claimed = worker.begin();
    drop(hub);
    let hub = crate::support::start_in(temp.path(), |_| ());
    assert!(hub.hub.new_admin_token().is_none());
    let client = hub.client();
    let token = Worker { client: client.with_token(&token_of(&worker)), ..worker };
    assert_eq!(token.beat(&claimed.lease), None);
    token.deliver(&claimed, Verdict::Pass)?;
    assert_eq!(hub.client().with_token(&admin).job("gzip")?.state, JobState::Finished);
    Ok(())
}

/// The token of a worker.
fn token_of(worker: &Worker) -> String {
    worker.client.token().unwrap_or_default().to_owned()
}
