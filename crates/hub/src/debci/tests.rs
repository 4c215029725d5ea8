//! The bridge with a broker of the tests' own, which loses connections when it is told to.

mod fake;
mod lab;
mod offers;

use protocol::Verdict;
use protocol::api::JobState;

use fake::Cut;
use lab::{Lab, QUEUE};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[test]
fn a_job_of_debci_is_run_by_a_worker_that_knows_no_broker() -> Outcome {
    let lab = Lab::start()?;
    let worker = lab.worker("lab-1", "gfx1030")?;
    lab.server.put(QUEUE, "rocrand unstable run-id:17 trigger:rocr%2F7.2 pin-packages:experimental=src:rocr", 7);
    let claimed = worker.claim()?;
    assert_eq!((claimed.job.id.as_str(), claimed.job.gpu.to_string().as_str()), ("rocrand-17", "gfx1030"));
    assert_eq!((claimed.job.priority, claimed.job.pin.as_slice()), (7, &["experimental=src:rocr".to_owned()][..]));
    assert!(claimed.testbed.upgrade, "as debci's own workers do");
    assert_eq!(lab.server.held(), 1, "the broker keeps it until there is a result");
    worker.complete(&claimed, Verdict::Fail)?;
    let files = lab.server.result(0)?;
    let file = |name: &str| {
        let path = format!("autopkgtest-incoming/unstable/amd64+gfx1030/r/rocrand/17/{name}");
        files.get(&path).map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
    };
    assert_eq!((file("exitcode").as_str(), file("worker").as_str()), ("4\n", "lab-1\n"));
    lab.until(|| lab.server.held() == 0);
    let status = lab.client().debci()?;
    assert_eq!((status.taken, status.answered, status.held), (1, 1, 0));
    assert!(status.connected.is_some() && status.queues.contains(&QUEUE.to_owned()), "{status:?}");
    let origin = lab.client().job("rocrand-17")?.debci.ok_or("no origin")?;
    assert_eq!((origin.run, origin.trigger.as_deref()), (17, Some("rocr/7.2")));
    assert!(origin.answer.is_some_and(|answer| answer.contains("sent")) && origin.answered.is_some());
    let page = lab.page("/jobs/rocrand-17")?;
    assert!(page.contains("From debci") && page.contains("run 17") && !page.contains("secret"), "{page}");
    assert!(lab.page("/jobs")?.contains("connected since"));
    Ok(())
}

#[test]
fn other_workers_of_the_server_keep_their_share() -> Outcome {
    let lab = Lab::start()?;
    for run in 1..=5 {
        lab.server.put(QUEUE, &format!("rocrand unstable run-id:{run}"), 0);
    }
    let one = lab.worker("lab-1", "gfx1030")?;
    let claimed = one.claim()?;
    assert_eq!((lab.server.held(), lab.server.waiting(QUEUE)), (1, 4), "nobody else is free");
    let two = lab.worker("lab-2", "gfx1030")?;
    two.claim()?;
    assert_eq!((lab.server.held(), lab.server.waiting(QUEUE)), (2, 3));
    one.complete(&claimed, Verdict::Pass)?;
    lab.until(|| lab.server.held() == 1);
    assert_eq!(lab.server.waiting(QUEUE), 3);
    // A worker of another target takes none of these.
    let other = lab.worker("lab-3", "gfx906")?;
    assert!(other.try_claim()?.is_none());
    lab.until(|| lab.server.has_queue("debci-tests-amd64+gfx906-lxc"));
    Ok(())
}

#[test]
fn what_cannot_be_run_is_answered_with_the_reason() -> Outcome {
    let lab = Lab::start()?;
    let _worker = lab.worker("lab-1", "gfx1030")?;
    let waits = lab.waiting("lab-2")?;
    lab.server.put(QUEUE, "rocrand experimental run-id:1", 0);
    lab.server.put(QUEUE, "rocrand unstable run-id:2 extra-apt-source:!", 0);
    lab.server.put(QUEUE, "whatever this is", 0);
    lab.until(|| lab.server.results() == 2 && lab.server.held() == 0 && lab.server.waiting(QUEUE) == 0);
    // In any order.
    let mut logs = String::new();
    for number in 0..2 {
        let files = lab.server.result(number)?;
        let (_, code) = files.iter().find(|(name, _)| name.ends_with("/exitcode")).ok_or("no exitcode")?;
        assert_eq!(code, b"16\n");
        let (_, log) = files.iter().find(|(name, _)| name.ends_with("/log.gz")).ok_or("no log")?;
        logs += &fake::unpacked(log)?;
    }
    for says in ["not in experimental", "extra-apt-source"] {
        assert!(logs.contains(says), "{says}: {logs}");
    }
    assert!(lab.client().debci()?.problem.is_some_and(|problem| problem.what.contains("no run-id")));
    drop(waits);
    Ok(())
}

#[test]
fn a_job_that_ends_without_a_result_is_answered_too() -> Outcome {
    let lab = Lab::start()?;
    let worker = lab.worker("lab-1", "gfx1030")?;
    lab.server.put(QUEUE, "rocrand unstable run-id:1", 0);
    worker.claim()?;
    lab.people().cancel("rocrand-1")?;
    lab.until(|| lab.server.held() == 0);
    let files = lab.server.result(0)?;
    let (_, log) = files.iter().find(|(name, _)| name.ends_with("/log.gz")).ok_or("no log")?;
    assert!(fake::unpacked(log)?.contains("cancelled at the hub"));
    Ok(())
}

/// The connection is lost when a job has been taken, while it runs, while it is answered, and after it was.
#[test]
fn whenever_the_connection_is_lost_a_job_has_one_result() -> Outcome {
    for cut in [Cut::AfterTake, Cut::Now, Cut::BeforeAnswer, Cut::AfterAnswer] {
        let lab = Lab::start()?;
        let worker = lab.worker("lab-1", "gfx1030")?;
        if cut == Cut::AfterTake {
            lab.server.cut(cut);
        }
        lab.server.put(QUEUE, "rocrand unstable run-id:1", 0);
        let claimed = worker.claim()?;
        if cut != Cut::AfterTake {
            lab.server.cut(cut);
        }
        worker.complete(&claimed, Verdict::Pass)?;
        lab.until(|| lab.server.held() == 0 && lab.server.waiting(QUEUE) == 0 && lab.server.results() > 0);
        assert_eq!(lab.server.results(), 1, "{cut:?}");
        assert_eq!(lab.client().jobs(&client::JobQuery::default())?.jobs.len(), 1, "{cut:?}");
    }
    Ok(())
}

/// As if the hub had been killed before a job was stored, while it waited or ran, before and after its result was sent.
#[test]
fn whenever_the_hub_ends_a_job_has_one_result() -> Outcome {
    let lab = Lab::start()?;
    let worker = lab.worker("lab-1", "gfx1030")?;
    // A hub that has taken it before was killed before it stored it.
    lab.server.put_back(QUEUE, "rocrand unstable run-id:1");
    let claimed = worker.claim()?;
    let lab = lab.restart()?;
    lab.until(|| lab.server.held() == 1);
    assert_eq!(lab.client().job("rocrand-1")?.state, JobState::Running, "its worker goes on");
    let worker = worker.at(&lab);
    lab.server.cut(Cut::BeforeAnswer);
    lab.server.refuse_connections(true);
    worker.complete(&claimed, Verdict::Pass)?;
    let lab = lab.restart()?;
    lab.server.refuse_connections(false);
    lab.until(|| lab.server.results() == 1 && lab.server.held() == 0);
    // After the result was stored by the broker, and before the job was acknowledged.
    let worker = worker.at(&lab);
    lab.server.put(QUEUE, "rocrand unstable run-id:2", 0);
    let claimed = worker.claim()?;
    lab.server.cut(Cut::AfterAnswer);
    worker.complete(&claimed, Verdict::Pass)?;
    lab.until(|| lab.server.results() == 2);
    let lab = lab.restart()?;
    lab.until(|| lab.server.held() == 0 && lab.server.waiting(QUEUE) == 0);
    assert_eq!(lab.server.results(), 2);
    Ok(())
}

#[test]
fn a_server_that_counts_anew_gets_its_jobs_run() -> Outcome {
    let lab = Lab::start()?;
    let worker = lab.worker("lab-1", "gfx1030")?;
    for count in 1..=2 {
        lab.server.put(QUEUE, "rocrand unstable run-id:1", 0);
        let claimed = worker.claim()?;
        worker.complete(&claimed, Verdict::Pass)?;
        lab.until(|| lab.server.results() == count && lab.server.held() == 0);
    }
    Ok(())
}

#[test]
fn results_that_cannot_be_sent_hold_up_no_others() -> Outcome {
    let lab = Lab::start()?;
    let worker = lab.worker("lab-1", "gfx1030")?;
    let lines: Vec<_> = (1..=6).map(|run| format!("rocrand unstable run-id:{run}")).collect();
    // As many as are sent at once, and the first ones.
    lab.server.takes_no_result_of(lines[..4].to_vec());
    for line in &lines {
        lab.server.put(QUEUE, line, 0);
        let claimed = worker.claim()?;
        worker.complete(&claimed, Verdict::Pass)?;
    }
    lab.until(|| lab.server.results() == 2 && lab.server.held() == 4);
    lab.server.takes_no_result_of(Vec::new());
    lab.until(|| lab.server.results() == 6 && lab.server.held() == 0);
    Ok(())
}

#[test]
fn a_result_is_made_to_fit() -> Outcome {
    let lab = Lab::start()?;
    lab.server.takes_at_most(200_000);
    let worker = lab.worker("lab-1", "gfx1030")?;
    lab.server.put(QUEUE, "rocrand unstable run-id:1", 0);
    let claimed = worker.claim()?;
    worker.complete_with(&claimed, Verdict::Pass, 500_000)?;
    lab.until(|| lab.server.results() == 1 && lab.server.held() == 0);
    assert!(lab.server.result(0)?.keys().any(|name| name.ends_with("/artifacts.removed.txt")));
    Ok(())
}
