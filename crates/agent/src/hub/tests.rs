//! Tests of the agent with a real hub, and with failures between the two.

mod network;
mod several;
mod support;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use protocol::api::{AttemptState, JobInfo, JobState, Pause};

use self::network::{Network, Switch, When};
use self::support::{Agent, TestHub, Tested};
use crate::job_source::JobSource;
use crate::{End, Outbox, Timeouts};
use appliance::settings::WhenDone;

/// Every request that the agent makes while it runs a job.
const STEPS: [&str; 8] = [
    "POST /api/v1/workers ",
    "PUT /api/v1/workers/",
    "POST /api/v1/claims ",
    "/heartbeat ",
    "/log?",
    "POST /api/v1/uploads ",
    "PATCH /api/v1/uploads/",
    "/complete ",
];

const MOMENTS: [When; 3] = [When::Before, When::Within(40), When::After];

#[test]
fn the_address_of_a_hub_is_known_before_it_answers() -> Tested {
    let data = tempfile::tempdir()?;
    let hub = super::Hub::new(super::HubOptions {
        address: "http://127.0.0.1:1".into(),
        join_token: None,
        ca_file: None,
        data: data.path().to_owned(),
        packages: data.path().join("packages"),
        when_done: WhenDone::PowerOff,
        timeouts: Timeouts::of_tests(),
        stop: Arc::default(),
        tell: Arc::new(|_| {}),
    })?;
    assert_eq!(hub.hub().as_deref(), Some("http://127.0.0.1:1"));
    Ok(())
}

#[test]
fn two_jobs_come_and_their_results_go() -> Tested {
    let hub = TestHub::start();
    hub.add(&["gzip", "sed"]);
    let data = tempfile::tempdir()?;
    let mut agent = Agent::start_at(&hub, &hub.address.to_string(), data.path(), WhenDone::PowerOff);
    let end = agent.end()?;
    assert!(matches!(&end, End::Done(why) if why.contains("had no job for 1 s")), "{end:?}");
    hub.each_has_one_result(&["gzip", "sed"]);
    assert_eq!(hub.log("sed"), "log of sed: one\nlog of sed: two\n");
    let worker = hub.people().workers(None)?.workers.remove(0);
    assert_eq!(agent.conditions("hub"), [format!("connected as {}", worker.name())]);
    assert_eq!((worker.health.name(), worker.jobs.len()), ("off", 0));
    assert!(Outbox::open(data.path())?.waiting()?.is_empty());
    Ok(())
}

#[test]
fn package_files_come_with_their_job_only() -> Tested {
    let hub = TestHub::start();
    let files = [("libgzip1_2_amd64.deb", "binary"), ("gzip_2.dsc", "source"), ("gzip_2.tar.xz", "more")];
    hub.add_with_files("path = \"gzip_2.dsc\"", &files);
    hub.add(&["sed"]);
    let data = tempfile::tempdir()?;
    let mut agent = Agent::start_at(&hub, &hub.address.to_string(), data.path(), WhenDone::PowerOff);
    agent.end()?;
    hub.each_has_one_result(&["gzip", "sed"]);
    let expected = "log of gzip: one\nlibgzip1_2_amd64.deb: binary\ngzip_2.dsc: source\nlog of gzip: two\n";
    assert_eq!(hub.log("gzip"), expected);
    assert_eq!(hub.log("sed"), "log of sed: one\nlog of sed: two\n");
    assert_eq!(fs::read_dir(data.path().join("packages"))?.count(), 0);
    Ok(())
}

#[test]
fn a_network_that_is_cut_while_files_are_fetched_delays_them() -> Tested {
    for when in MOMENTS {
        let hub = TestHub::start();
        hub.add_with_files("package = \"gzip\"", &[("gzip_2_amd64.deb", "binary")]);
        let network = Network::new(hub.address, "/packages/", when, || ())?;
        let data = tempfile::tempdir()?;
        let agent = Agent::start_at(&hub, &network.address, data.path(), WhenDone::Wait);
        hub.wait_for("gzip", JobState::Finished);
        agent.stop()?;
        assert!(network.is_done(), "{when:?} did not happen");
        hub.each_has_one_result(&["gzip"]);
        assert!(hub.log("gzip").contains("gzip_2_amd64.deb: binary"), "{when:?}: {}", hub.log("gzip"));
    }
    Ok(())
}

#[test]
fn a_cancelled_job_stops_and_is_given_back() -> Tested {
    let hub = TestHub::start_with(|config| config.lease = Duration::from_secs(1));
    hub.add(&["slow"]);
    let data = tempfile::tempdir()?;
    let agent = Agent::start(&hub, data.path());
    hub.wait("slow", "its phase", |job| job.phase.as_deref() == Some("testing"));
    hub.people().cancel("slow")?;
    hub.add(&["gzip"]);
    hub.wait_for("gzip", JobState::Finished);
    agent.stop()?;
    let job = hub.job("slow");
    assert_eq!((job.state, job.attempts[0].state), (JobState::Cancelled, AttemptState::Cancelled));
    hub.each_has_one_result(&["gzip"]);
    Ok(())
}

#[test]
fn a_machine_that_is_paused_says_so_until_it_is_resumed() -> Tested {
    let hub = TestHub::start();
    let data = tempfile::tempdir()?;
    hub.add(&["gzip"]);
    let agent = Agent::start(&hub, data.path());
    hub.wait_for("gzip", JobState::Finished);
    let worker = hub.people().workers(None)?.workers.remove(0).id;
    hub.people().pause(&worker, &Pause { reason: "needed for a talk".into() })?;
    agent.wait_for_condition("jobs", "needed for a talk");
    hub.add(&["sed"]);
    assert_eq!(hub.job("sed").state, JobState::Queued);
    hub.people().resume(&worker)?;
    hub.wait_for("sed", JobState::Finished);
    assert_eq!(agent.conditions("jobs").last().map(String::as_str), Some(""));
    agent.stop()?;
    hub.each_has_one_result(&["gzip", "sed"]);
    Ok(())
}

#[test]
fn a_machine_that_is_told_to_stop_gives_its_job_back() -> Tested {
    let hub = TestHub::start();
    hub.add(&["slow"]);
    let data = tempfile::tempdir()?;
    let agent = Agent::start(&hub, data.path());
    hub.wait("slow", "its phase", |job| job.phase.as_deref() == Some("testing"));
    assert_eq!(agent.stop()?, End::Stopped);
    let job = hub.job("slow");
    assert_eq!(job.state, JobState::Queued);
    assert_eq!(job.attempts[0].reason, "shutting-down: the machine was told to stop");
    Ok(())
}

#[test]
fn a_job_for_another_machine_is_given_back_as_such() -> Tested {
    let hub = TestHub::start();
    hub.add(&["cannot"]);
    let data = tempfile::tempdir()?;
    let agent = Agent::start(&hub, data.path());
    let job = hub.wait("cannot", "the reason", |job| job.attempts.iter().any(|attempt| !attempt.reason.is_empty()));
    assert_eq!(job.attempts[0].reason, "cannot-run: it needs another machine");
    agent.stop()?;
    assert_eq!(hub.job("cannot").attempts.len(), 1);
    Ok(())
}

/// The network is cut at a request, and the hub started again before the next.
fn hub_restarts_at(step: &'static str, when: When) -> Tested {
    let hub = TestHub::start();
    hub.add(&["gzip", "sed"]);
    let data = tempfile::tempdir()?;
    let theirs = Arc::clone(&hub);
    let network = Network::new(hub.address, step, when, move || theirs.restart())?;
    let agent = Agent::start_at(&hub, &network.address, data.path(), WhenDone::Wait);
    for job in ["gzip", "sed"] {
        hub.wait_for(job, JobState::Finished);
    }
    agent.stop()?;
    assert!(network.is_done(), "{step} {when:?} did not happen");
    hub.each_has_one_result(&["gzip", "sed"]);
    // Nothing had to be done twice.
    for job in ["gzip", "sed"] {
        let attempts = hub.job(job).attempts;
        assert_eq!(attempts.len(), 1, "{step} {when:?}: {attempts:#?}");
        assert_eq!(hub.log(job), format!("log of {job}: one\nlog of {job}: two\n"), "{step} {when:?}");
    }
    Ok(())
}

/// The machine dies at a request, and comes back with what was on its disk at that moment.
fn worker_dies_at(step: &'static str, when: When) -> Tested {
    let hub = TestHub::start();
    hub.add(&["gzip", "sed"]);
    let data = tempfile::tempdir()?;
    let (path, switch) = (data.path().to_owned(), Switch::default());
    let (disks, found) = channel();
    let off = switch.clone();
    let network = Network::with_switch(hub.address, step, when, switch.clone(), move || {
        // The power is gone: no request of this machine arrives any more, and this is what is on its disk.
        off.cut();
        let _ = disks.send(support::snapshot(&path));
    })?;
    // A dead machine does not take its leave.
    let timeouts = Timeouts { farewell: Duration::ZERO, ..Timeouts::of_tests() };
    let first = Agent::start_with(&hub, &network.address, data.path(), WhenDone::Wait, timeouts);
    let disk = found.recv_timeout(Duration::from_secs(40)).map_err(|_| format!("{step} {when:?} did not happen"))??;
    let _ = first.stop();
    // What was on its way in its threads has failed by now.
    thread::sleep(Duration::from_millis(200));
    switch.restore();
    let again = Agent::start_with(&hub, &network.address, disk.path(), WhenDone::Wait, Timeouts::of_tests());
    for job in ["gzip", "sed"] {
        hub.wait_for(job, JobState::Finished);
    }
    again.stop().map_err(|error| format!("{step} {when:?}: {error}"))?;
    hub.each_has_one_result(&["gzip", "sed"]);
    Ok(())
}

/// All of them at the same time: they mostly wait.
fn at_every_step(test: fn(&'static str, When) -> Tested) -> Tested {
    let all = STEPS.into_iter().flat_map(|step| MOMENTS.map(|when| (step, when)));
    thread::scope(|scope| {
        let tests: Vec<_> = all
            .map(|(step, when)| {
                let run = move || test(step, when).map_err(|error| format!("{step} {when:?}: {error}"));
                (step, when, scope.spawn(run))
            })
            .collect();
        for (step, when, test) in tests {
            test.join().map_err(|_| format!("{step} {when:?} failed"))??;
        }
        Ok(())
    })
}

#[test]
fn nothing_is_lost_or_done_twice_though_the_hub_restarts_at_any_step() -> Tested {
    at_every_step(hub_restarts_at)
}

#[test]
fn nothing_is_lost_or_twice_though_the_machine_dies_at_any_step() -> Tested {
    at_every_step(worker_dies_at)
}

#[test]
fn an_upload_goes_on_where_the_network_was_cut() -> Tested {
    let hub = TestHub::start();
    hub.add(&["gzip"]);
    let data = tempfile::tempdir()?;
    let network = Network::new(hub.address, "PATCH /api/v1/uploads/", When::Within(100_000), || ())?;
    let agent = Agent::start_at(&hub, &network.address, data.path(), WhenDone::Wait);
    hub.wait_for("gzip", JobState::Finished);
    agent.stop()?;
    assert!(network.is_done());
    hub.each_has_one_result(&["gzip"]);
    Ok(())
}

#[test]
fn a_hub_that_is_full_gets_the_result_when_it_has_room_and_the_work_goes_on() -> Tested {
    let hub = TestHub::start();
    hub.set_full(true);
    hub.restart();
    hub.add(&["gzip", "sed"]);
    let data = tempfile::tempdir()?;
    let agent = Agent::start(&hub, data.path());
    agent.wait_for_condition("outbox", "2 results wait to be sent: the hub's disk is nearly full");
    assert_eq!(hub.job("gzip").state, JobState::Running);
    hub.wait("gzip", "its phase", |job| job.phase.as_deref() == Some("delivering the result"));
    // The machine is restarted meanwhile: it still has them.
    let disk = agent.snapshot()?;
    drop(agent);
    let agent = Agent::start(&hub, disk.path());
    agent.wait_for_condition("outbox", "2 results wait");
    hub.set_full(false);
    hub.restart();
    for job in ["gzip", "sed"] {
        hub.wait_for(job, JobState::Finished);
        assert_eq!(hub.job(job).attempts.len(), 1);
    }
    agent.wait_for_condition("outbox", "");
    agent.stop()?;
    hub.each_has_one_result(&["gzip", "sed"]);
    Ok(())
}

#[test]
fn a_lease_that_ran_out_is_kept_if_nobody_else_has_the_job() -> Tested {
    let hub = TestHub::start_with(|config| config.lease = Duration::from_secs(3));
    hub.add(&["slow"]);
    let data = tempfile::tempdir()?;
    let agent = Agent::start(&hub, data.path());
    hub.wait("slow", "its phase", |job| job.phase.as_deref() == Some("testing"));
    hub.pass(100);
    hub.wait_for("slow", JobState::Running);
    agent.go_on.store(true, Ordering::SeqCst);
    hub.wait_for("slow", JobState::Finished);
    agent.stop()?;
    assert_eq!(hub.job("slow").attempts.len(), 1);
    hub.each_has_one_result(&["slow"]);
    Ok(())
}

#[test]
fn a_result_that_comes_after_anothers_is_forgotten() -> Tested {
    let hub = TestHub::start();
    hub.add(&["slow"]);
    let data = tempfile::tempdir()?;
    let switch = Switch::default();
    let network = Network::with_switch(hub.address, "nothing", When::Before, switch.clone(), || ())?;
    let agent = Agent::start_at(&hub, &network.address, data.path(), WhenDone::Wait);
    hub.wait("slow", "its phase", |job| job.phase.is_some());
    switch.cut();
    hub.pass(100);
    let (client, claimed) = support::other_worker_claims(&hub);
    agent.go_on.store(true, Ordering::SeqCst);
    agent.wait_for_condition("outbox", "the hub does not answer");
    support::complete(&client, &claimed);
    switch.restore();
    agent.wait_for_condition("outbox", "");
    assert!(agent.problems().iter().any(|text| text.contains("the result of slow is not wanted any more")));
    agent.stop()?;
    assert_eq!(hub.job("slow").result.map(|result| result.worker).as_deref(), Some("other"));
    hub.each_has_one_result(&["slow"]);
    Ok(())
}

#[test]
fn a_job_that_kills_the_machine_twice_is_not_for_it() -> Tested {
    let hub = TestHub::start();
    hub.add(&["slow"]);
    let data = tempfile::tempdir()?;
    let switch = Switch::default();
    let network = Network::with_switch(hub.address, "nothing", When::Before, switch.clone(), || ())?;
    let mut disk = data;
    for death in 1..=2 {
        let timeouts = Timeouts { farewell: Duration::ZERO, ..Timeouts::of_tests() };
        let agent = Agent::start_with(&hub, &network.address, disk.path(), WhenDone::Wait, timeouts);
        let is_tested = |job: &JobInfo| job.attempts.len() == death && job.phase.as_deref() == Some("testing");
        hub.wait("slow", "its phase", is_tested);
        switch.cut();
        disk = agent.snapshot()?;
        let _ = agent.stop();
        thread::sleep(Duration::from_millis(200));
        switch.restore();
    }
    let agent = Agent::start_at(&hub, &network.address, disk.path(), WhenDone::Wait);
    let job = hub.wait("slow", "two reasons", |job| job.attempts.iter().all(|attempt| !attempt.reason.is_empty()));
    let reasons: Vec<_> = job.attempts.iter().map(|attempt| attempt.reason.split(':').next()).collect();
    assert_eq!(reasons, [Some("other"), Some("machine-killer")]);
    assert_eq!(job.state, JobState::Queued);
    // It takes others, and not this one again.
    hub.add(&["gzip"]);
    hub.wait_for("gzip", JobState::Finished);
    agent.stop()?;
    assert_eq!(hub.job("slow").attempts.len(), 2);
    Ok(())
}

#[test]
fn a_wrong_token_is_told_with_what_to_do_and_not_shown() -> Tested {
    let hub = TestHub::start();
    let data = tempfile::tempdir()?;
    let agent = Agent::start_as(&hub, "wrong-token", data.path());
    agent.wait_for_condition("hub", "the join token is another hub's");
    assert!(!format!("{:?}", agent.reports.lock()).contains("wrong-token"));
    agent.stop()?;
    Ok(())
}
