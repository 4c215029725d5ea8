//! Many simultaneous requests.

use std::collections::BTreeSet;
use std::sync::Barrier;

use protocol::Verdict;
use protocol::api::Claim;

use crate::support::{Outcome, start};

#[test]
fn a_job_goes_to_one_of_many_that_claim_at_once() {
    const WORKERS: usize = 12;
    const JOBS: usize = 30;
    let hub = start();
    let toml: String = (0..JOBS).map(|n| format!("[[job]]\npackage = \"p{n}\"\n")).collect();
    let workers: Vec<_> = (0..WORKERS).map(|n| hub.worker(&format!("w{n}"), "")).collect();
    hub.add(&toml);
    let barrier = Barrier::new(WORKERS);
    let claimed: Vec<(String, String)> = std::thread::scope(|scope| {
        let threads: Vec<_> = workers
            .iter()
            .map(|worker| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    let mut claimed = Vec::new();
                    while let Some(job) = worker.claim() {
                        worker.deliver(&job, Verdict::Pass).expect("it is delivered");
                        claimed.push((job.job.id, job.lease));
                    }
                    claimed
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("the thread")).collect()
    });
    let jobs: BTreeSet<_> = claimed.iter().map(|(job, _)| job).collect();
    let leases: BTreeSet<_> = claimed.iter().map(|(_, lease)| lease).collect();
    assert_eq!((claimed.len(), jobs.len(), leases.len()), (JOBS, JOBS, JOBS));
}

#[test]
fn a_job_that_many_wait_for_goes_to_one_of_them() -> Outcome {
    const WORKERS: usize = 8;
    let hub = start();
    let workers: Vec<_> = (0..WORKERS).map(|n| hub.worker(&format!("w{n}"), "")).collect();
    let claimed: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = workers
            .iter()
            .map(|worker| {
                let claim = Claim { request: "first".into(), wait: 50, ..Claim::default() };
                scope.spawn(move || worker.client.claim(&claim).expect("an answer").expect("a job").job.id)
            })
            .collect();
        for number in 0..WORKERS {
            hub.add(&format!("[[job]]\npackage = \"p{number}\"\n"));
        }
        threads.into_iter().flat_map(std::thread::ScopedJoinHandle::join).collect()
    });
    assert_eq!(claimed.iter().collect::<BTreeSet<_>>().len(), WORKERS, "{claimed:?}");
    for job in hub.people().jobs(&client::JobQuery::default())?.jobs {
        assert_eq!(hub.people().job(&job.id)?.attempts.len(), 1);
    }
    Ok(())
}

#[test]
fn the_same_completion_from_many_threads_counts_once() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "");
    hub.add("[[job]]\npackage = \"gzip\"\n");
    let claimed = worker.begin();
    let verdicts = [Verdict::Pass, Verdict::Fail, Verdict::Neutral, Verdict::Timeout];
    let taken = std::thread::scope(|scope| {
        let (worker, claimed) = (&worker, &claimed);
        let threads: Vec<_> =
            verdicts.map(|verdict| scope.spawn(move || worker.deliver(claimed, verdict).is_ok())).into();
        threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|taken| *taken).count()
    });
    assert_eq!(taken, 1);
    assert_eq!(hub.client().results(&client::ResultQuery::default())?.results.len(), 1);
    Ok(())
}
