//! The life of a job, from the list to the result.

use client::{ClientError, JobQuery, ResultQuery};
use protocol::Verdict;
use protocol::api::{Claim, Health, JobState, Pause, ProblemCode, RetryGpus, WorkerReport};

use crate::support::{Outcome, Worker, add_request, start};

const LIST: &str = "[[job]]\npackage = \"rocrand\"\ngpu = [\"gfx1030\"]\n";

#[test]
fn a_job_is_run_and_its_result_kept() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "gfx1030");
    assert!(worker.claim().is_none());
    assert_eq!(hub.add(LIST), ["rocrand"]);
    let claimed = worker.begin();
    assert_eq!((claimed.job.id.as_str(), claimed.attempt, claimed.lease_seconds), ("rocrand", 1, 60));

    let job = hub.people().job("rocrand")?;
    assert_eq!(
        (job.state, job.worker.as_deref(), job.phase.as_deref()),
        (JobState::Running, Some("w1"), Some("running"))
    );
    assert_eq!(hub.people().worker("w1")?.jobs, ["rocrand"]);

    assert_eq!(worker.client.append_log(&claimed.lease, 0, b"one ")?, 4);
    assert_eq!(worker.client.append_log(&claimed.lease, 4, b"two")?, 7);
    let completed = worker.deliver(&claimed, Verdict::Pass)?;
    assert_eq!((completed.job.as_str(), completed.verdict, completed.late), ("rocrand", Verdict::Pass, false));

    let job = hub.client().job("rocrand")?;
    assert_eq!(job.state, JobState::Finished);
    assert_eq!(job.attempts.len(), 1);
    let detail = hub.client().result("rocrand")?;
    assert_eq!(detail.result, worker.result(&claimed.job, Verdict::Pass));
    assert_eq!((detail.info.version.as_deref(), detail.info.simulated), (Some("1.2-3"), true));
    assert_eq!(detail.info.targets, ["gfx1030"]);
    let (mut bundle, mut log) = (Vec::new(), Vec::new());
    assert_eq!(hub.client().bundle("rocrand", &mut bundle)?, detail.info.size);
    hub.client().log("rocrand", &mut log)?;
    assert_eq!(log, b"one two");
    Ok(())
}

#[test]
fn a_worker_that_waits_gets_the_job_when_it_comes() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "gfx1030");
    let waiting = {
        let client = worker.client.clone();
        let claim = protocol::api::Claim { request: "r1".into(), wait: 30, ..protocol::api::Claim::default() };
        std::thread::spawn(move || client.claim(&claim))
    };
    // The job is added only when the metrics show that the claim is waiting.
    while !hub.get("/metrics").1.contains("rocbed_claims_waiting 1") {
        std::thread::yield_now();
    }
    hub.add(LIST);
    let claimed = waiting.join().expect("the thread")?.expect("a job");
    assert_eq!(claimed.job.id, "rocrand");
    Ok(())
}

#[test]
fn a_job_that_nobody_can_take_says_why() -> Outcome {
    let hub = start();
    hub.add("[[job]]\npackage = \"rocrand\"\ngpu = [\"gfx906\"]\nmemory = 500\n");
    let why = |hub: &crate::support::Running| hub.people().job("rocrand").map(|job| job.why.unwrap_or_default());
    assert_eq!(why(&hub)?, "no worker has registered yet");
    let other = hub.worker("w1", "gfx1030");
    assert!(other.claim().is_none());
    assert_eq!(why(&hub)?, "no registered worker has gfx906 and 500 MiB of memory; the only worker has gfx1030");
    let able = hub.worker("w2", "gfx906");
    assert_eq!(why(&hub)?, "waits for w2, which is busy");
    able.client.report("w2", &WorkerReport { health: Health::Unfit, message: "the GPU hangs".into() })?;
    assert_eq!(why(&hub)?, "no worker that could take it is ready: w2 (unfit)");
    assert_eq!(hub.people().worker("w2")?.message, "the GPU hangs");
    hub.pass(3600);
    assert_eq!(why(&hub)?, "no worker that could take it is ready: w2 (offline)");
    Ok(())
}

#[test]
fn a_worker_that_is_paused_gets_nothing_until_it_is_resumed() -> Outcome {
    let hub = start();
    let people = hub.people();
    let worker = hub.worker("w1", "gfx1030");
    let waiting = {
        let client = worker.client.clone();
        let claim = Claim { request: "r1".into(), wait: 30, ..Claim::default() };
        std::thread::spawn(move || client.claim(&claim))
    };
    while !hub.get("/metrics").1.contains("rocbed_claims_waiting 1") {
        std::thread::yield_now();
    }
    let paused = people.pause("w1", &Pause { reason: " for a talk ".into() })?;
    assert_eq!(paused.paused.as_deref(), Some("for a talk"));
    // A waiting claim is told at once.
    let refused = waiting.join().expect("the thread").expect_err("it is paused");
    assert_eq!(refused.code(), Some(ProblemCode::WorkerPaused));
    hub.add(LIST);
    assert_eq!(people.job("rocrand")?.why.as_deref(), Some("no worker that could take it is ready: w1 (paused)"));
    // Restarting the machine changes nothing.
    let worker = hub.worker("w1", "gfx1030");
    let claim = Claim { request: "r2".into(), wait: 0, ..Claim::default() };
    let refused = worker.client.claim(&claim).expect_err("it is paused");
    assert!(refused.to_string().contains("worker `w1` is to get no jobs: for a talk"), "{refused}");
    assert!(hub.get("/workers").1.contains("for a talk"));
    assert_eq!(people.resume("w1")?.paused, None);
    let claimed = worker.begin();

    // The worker is removed while it has a job: another one gets the job, and the first one can no longer deliver.
    people.remove_worker("w1")?;
    assert_eq!(people.remove_worker("w1").expect_err("twice").code(), Some(ProblemCode::NotFound));
    let refused = worker.deliver(&claimed, Verdict::Pass).expect_err("its token has ended");
    assert_eq!(refused.code(), Some(ProblemCode::Unauthorized));
    assert_eq!(hub.worker("w2", "gfx1030").begin().job.id, "rocrand");
    // It may register again.
    assert!(hub.worker("w1", "gfx1030").claim().is_none());
    Ok(())
}

#[test]
fn a_worker_hears_that_gpus_are_to_be_tried_again_until_it_was_restarted() -> Outcome {
    let hub = start();
    let people = hub.people();
    let worker = hub.worker("w1", "gfx1030");
    hub.add(LIST);
    people.retry_gpus("w1", &RetryGpus { gpus: vec!["0000:43:00.0".into()] })?;
    for request in ["r1", "r2"] {
        let claim = Claim { request: request.into(), wait: 0, ..Claim::default() };
        let ClientError::Refused(problem) = worker.client.claim(&claim).expect_err("it is to restart") else {
            panic!("not refused");
        };
        assert_eq!(problem.code, ProblemCode::RetryGpus);
        assert_eq!(problem.retry.map(|retry| retry.gpus), Some(vec!["0000:43:00.0".to_owned()]));
    }
    let restarted = Worker::register(&hub.client().with_token(hub.hub.join_token()), "w1", "second", "gfx1030", &[]);
    assert_eq!(restarted.begin().job.id, "rocrand");
    let unknown = people.retry_gpus("w9", &RetryGpus::default()).expect_err("no such worker");
    assert_eq!(unknown.code(), Some(ProblemCode::NotFound));
    Ok(())
}

#[test]
fn priority_then_age() {
    let hub = start();
    let worker = hub.worker("w1", "");
    hub.add("[[job]]\npackage = \"bb\"\n[[job]]\npackage = \"cc\"\npriority = 1\n[[job]]\npackage = \"aa\"\n");
    let order: Vec<_> = std::iter::from_fn(|| worker.claim()).map(|claimed| claimed.job.id).collect();
    assert_eq!(order, ["cc", "bb", "aa"]);
}

#[test]
fn jobs_fan_out_are_listed_cancelled_and_repeated() -> Outcome {
    let hub = start();
    let people = hub.people();
    let mut request = add_request("[[job]]\npackage = \"rocrand\"\ngpu = [\"gfx1030\", \"gfx906\"]\n");
    request.fan_out = true;
    assert_eq!(people.add_jobs(&request)?.jobs, ["rocrand@gfx1030", "rocrand@gfx906"]);
    assert_eq!(hub.add(LIST), ["rocrand"]);
    assert_eq!(hub.add(LIST), ["rocrand-2"]);
    let first = people.jobs(&JobQuery { limit: Some(3), ..JobQuery::default() })?;
    let ids: Vec<_> = first.jobs.iter().map(|job| job.id.as_str()).collect();
    assert_eq!(ids, ["rocrand-2", "rocrand", "rocrand@gfx906"]);
    let rest = people.jobs(&JobQuery { after: first.next, ..JobQuery::default() })?;
    assert_eq!((rest.jobs.len(), rest.next), (1, None));

    let worker = hub.worker("w1", "gfx906");
    let claimed = worker.begin();
    assert_eq!(people.cancel("rocrand@gfx906")?.state, JobState::Cancelled);
    assert_eq!(worker.beat(&claimed.lease).as_deref(), Some("the job was cancelled"));
    let error = worker.deliver(&claimed, Verdict::Pass).expect_err("nobody wants it");
    assert!(error.is_unwanted(), "{error}");
    let again = people.retry("rocrand@gfx906")?;
    assert_eq!((again.id.as_str(), again.retry_of.as_deref()), ("rocrand@gfx906-2", Some("rocrand@gfx906")));
    assert_eq!(people.retry("rocrand@gfx906")?.id, again.id);
    let cancelled = people.jobs(&JobQuery { state: Some(JobState::Cancelled), ..JobQuery::default() })?;
    assert_eq!(cancelled.jobs.len(), 1);
    Ok(())
}

#[test]
fn results_are_found_by_package_target_and_verdict() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "gfx1030");
    for verdict in [Verdict::Pass, Verdict::Fail] {
        hub.add(LIST);
        let claimed = worker.begin();
        worker.deliver(&claimed, verdict)?;
    }
    let count = |query: ResultQuery| hub.client().results(&query).map(|page| page.results.len());
    assert_eq!(count(ResultQuery::default())?, 2);
    assert_eq!(count(ResultQuery { target: Some("gfx1030".into()), ..ResultQuery::default() })?, 2);
    assert_eq!(count(ResultQuery { target: Some("gfx103".into()), ..ResultQuery::default() })?, 0);
    assert_eq!(count(ResultQuery { verdict: Some(Verdict::Fail), ..ResultQuery::default() })?, 1);
    assert_eq!(count(ResultQuery { package: Some("gzip".into()), ..ResultQuery::default() })?, 0);
    Ok(())
}

#[test]
fn a_path_on_somebodys_machine_is_refused() {
    let hub = start();
    let error = hub.people().add_jobs(&add_request("[[job]]\npath = \"/tmp/tree\"\n")).expect_err("refused");
    assert!(error.to_string().contains("list.job[0].path: `/tmp/tree`"), "{error}");
}
