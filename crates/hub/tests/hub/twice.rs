//! Every repeated request has one effect and the same answer.

use client::JobQuery;
use protocol::Verdict;
use protocol::api::{
    AddJobs, Claim, Complete, CreateUpload, GiveBack, GiveBackReason, Health, Heartbeat, Pause, ProblemCode,
    WorkerReport,
};
use sha256::Digest;

use crate::support::{Outcome, Worker, add_request, bundle, start};

#[test]
fn every_request_twice() -> Outcome {
    let hub = start();
    let people = hub.people();
    let request = add_request("[[job]]\npackage = \"gzip\"\n[[job]]\npackage = \"sed\"\n");
    assert_eq!(people.add_jobs(&request)?, people.add_jobs(&request)?);
    assert_eq!(people.jobs(&JobQuery::default())?.jobs.len(), 2);
    // The same request id for another list is an error, and adds nothing.
    for list in ["[[job]]\npackage = \"gzip\"\n", "[[job]]\npackage = \"gzip\"\n[[job]]\npackage = \"tar\"\n"] {
        let other = AddJobs { request: request.request.clone(), ..add_request(list) };
        let refused = people.add_jobs(&other).expect_err("it was used before");
        assert_eq!(refused.code(), Some(ProblemCode::RequestReused));
        assert!(refused.to_string().contains("has added other jobs: gzip, sed"), "{refused}");
    }
    assert_eq!(people.jobs(&JobQuery::default())?.jobs.len(), 2);

    // Both tokens are valid, whichever answer was lost.
    let join = hub.client().with_token(hub.hub.join_token());
    let workers = [Worker::register(&join, "w1", "b", "", &[]), Worker::register(&join, "w1", "b", "", &[])];
    assert_eq!(people.workers(None)?.workers.len(), 1);

    let claim = Claim { request: "c1".into(), wait: 0, ..Claim::default() };
    let claimed = workers[0].client.claim(&claim)?.expect("a job");
    assert_eq!(workers[1].client.claim(&claim)?.as_ref(), Some(&claimed));
    let lease = &claimed.lease;
    for worker in &workers {
        worker.client.heartbeat(lease, &Heartbeat::default())?;
        worker.client.report("w1", &WorkerReport { health: Health::Ready, message: String::new() })?;
        assert_eq!(worker.client.append_log(lease, 0, b"abc")?, 3);
    }
    // Registering again with the same boot id keeps the job.
    let worker = Worker::register(&join, "w1", "b", "", &[]);
    assert_eq!(worker.beat(lease), None);

    let content = bundle(&worker.result(&claimed.job, Verdict::Pass));
    let sha256 = worker.upload(&content)?;
    assert_eq!(worker.upload(&content)?, sha256);
    let complete = Complete { bundle: sha256, verdict: Verdict::Pass, summary: String::new() };
    assert_eq!(worker.client.complete(lease, &complete)?, worker.client.complete(lease, &complete)?);
    assert_eq!(people.results(&client::ResultQuery::default())?.results.len(), 1);
    let other = Complete { bundle: worker.upload(&bundle(&worker.result(&claimed.job, Verdict::Fail)))?, ..complete };
    let error = worker.client.complete(lease, &other).expect_err("it is completed");
    assert_eq!(error.code(), Some(ProblemCode::AlreadyCompleted));
    // Repeating the claim of an ended lease gets no new lease.
    assert_eq!(worker.client.claim(&claim).expect_err("over").code(), Some(ProblemCode::LeaseOver));

    let claimed = worker.begin();
    let back = GiveBack { reason: GiveBackReason::Other, message: String::new() };
    assert_eq!(worker.client.give_back(&claimed.lease, &back)?, worker.client.give_back(&claimed.lease, &back)?);
    assert_eq!(people.cancel("sed")?.state, people.cancel("sed")?.state);
    assert_eq!(people.retry("sed")?.id, people.retry("sed")?.id);
    assert_eq!(people.jobs(&JobQuery::default())?.jobs.len(), 3);

    let pause = Pause { reason: "for a talk".into() };
    assert_eq!(people.pause("w1", &pause)?.paused, people.pause("w1", &pause)?.paused);
    assert_eq!(people.resume("w1")?.paused, people.resume("w1")?.paused);
    Ok(())
}

#[test]
fn an_upload_announced_twice_is_one() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "");
    let announced = CreateUpload { direct: false, size: 3, sha256: Digest::of("another") };
    assert_eq!(worker.client.create_upload(&announced)?, worker.client.create_upload(&announced)?);
    assert_eq!(worker.client.append_upload(&worker.client.create_upload(&announced)?.id, 0, b"ab")?.0, 2);
    assert_eq!(worker.client.create_upload(&announced)?.offset, 2);
    Ok(())
}
