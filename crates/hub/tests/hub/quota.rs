//! Quotas of a worker, and the cost of refused bundles.

use std::time::Duration;

use protocol::Verdict;
use protocol::api::{Complete, CreateUpload, ProblemCode};
use sha256::Digest;

use crate::support::{Outcome, Worker, archive, bundle, start_in, start_with};

const TWO: &str = "[[job]]\npackage = \"gzip\"\n[[job]]\npackage = \"sed\"\n";

/// Uploads bytes that are not a bundle.
fn upload(worker: &Worker, bytes: &[u8]) -> Result<Digest, client::ClientError> {
    worker.upload(bytes)
}

fn complete(worker: &Worker, lease: &str, bundle: Digest) -> Result<protocol::api::Completed, client::ClientError> {
    let complete = Complete { bundle, verdict: Verdict::Pass, summary: String::new() };
    worker.client.clone().with_attempts(1).complete(lease, &complete)
}

#[test]
fn a_worker_may_send_so_much_a_day() -> Outcome {
    let hub = start_with(|config| config.max_daily_upload = 1000);
    let (worker, other) = (hub.worker("w1", ""), hub.worker("w2", ""));
    upload(&worker, &[1; 600])?;
    let error = upload(&worker, &[2; 600]).expect_err("too much");
    assert_eq!(error.code(), Some(ProblemCode::QuotaExceeded), "{error}");
    assert!(
        error.is_passing() && !error.is_unwanted() && error.to_string().contains("1000 bytes in 24 hours"),
        "{error}"
    );
    let client::ClientError::Refused(problem) = error else { return Err("it is refused by the hub".into()) };
    assert!(problem.retry_after().is_some_and(|time| time > Duration::from_secs(3600)));
    // A bundle that the hub already has uses none of the quota, and other workers have their own.
    upload(&worker, &[1; 600])?;
    upload(&other, &[3; 900])?;
    hub.clock.advance(Duration::from_secs(25 * 3600));
    upload(&worker, &[2; 600])?;
    Ok(())
}

#[test]
fn what_belongs_to_no_result_is_limited() -> Outcome {
    let hub = start_with(|config| config.max_pending_upload = 4000);
    let worker = hub.worker("w1", "");
    hub.add(TWO);
    let claimed = worker.begin();
    let bytes = bundle(&worker.result(&claimed.job, Verdict::Pass));
    assert!(bytes.len() < 2000, "{}", bytes.len());
    let digest = upload(&worker, &bytes)?;
    let announced = CreateUpload { direct: false, size: 3900, sha256: Digest::of("another") };
    let error = worker.client.create_upload(&announced).expect_err("too much");
    assert_eq!(error.code(), Some(ProblemCode::QuotaExceeded), "{error}");
    // A bundle that belongs to a result no longer counts.
    complete(&worker, &claimed.lease, digest)?;
    worker.client.create_upload(&announced)?;
    Ok(())
}

#[test]
fn a_bundle_that_is_refused_is_removed_and_refused_again() -> Outcome {
    let temp = tempfile::tempdir()?;
    let hub = start_in(temp.path(), |config| config.max_unpacked = 1 << 20);
    let worker = hub.worker("w1", "");
    hub.add(TWO);
    let claimed = worker.begin();
    let bomb = upload(&worker, &archive(&[("zeros", &vec![0; 4 << 20])]))?;
    let path = temp.path().join("bundles").join(bomb.prefix(2)).join(bomb.to_string());
    assert!(path.exists());
    let error = complete(&worker, &claimed.lease, bomb).expect_err("a bomb");
    assert_eq!(error.code(), Some(ProblemCode::BundleInvalid), "{error}");
    assert!(!path.exists(), "it takes no room");
    // The same request has the same answer.
    let again = complete(&worker, &claimed.lease, bomb).expect_err("a bomb");
    assert_eq!(again.to_string(), error.to_string());
    // Another worker's request for the same bundle is separate.
    let other = hub.worker("w2", "");
    let of_other = other.begin();
    let error = complete(&other, &of_other.lease, bomb).expect_err("it is gone");
    assert_eq!(error.code(), Some(ProblemCode::BundleMissing), "{error}");
    worker.deliver(&claimed, Verdict::Pass)?;
    Ok(())
}

#[test]
fn refused_bundles_cost_their_worker_time_and_nobody_else() -> Outcome {
    let hub = start_with(|config| {
        config.max_unpacked = 1 << 20;
        config.free_checking = Duration::ZERO;
    });
    let (worker, other) = (hub.worker("w1", ""), hub.worker("w2", ""));
    hub.add(TWO);
    let (claimed, of_other) = (worker.begin(), other.begin());
    let bomb = upload(&worker, &archive(&[("zeros", &vec![0; 4 << 20])]))?;
    let error = complete(&worker, &claimed.lease, bomb).expect_err("a bomb");
    assert_eq!(error.code(), Some(ProblemCode::BundleInvalid), "{error}");
    let good = upload(&worker, &bundle(&worker.result(&claimed.job, Verdict::Pass)))?;
    let error = complete(&worker, &claimed.lease, good).expect_err("it has to wait");
    assert_eq!(error.code(), Some(ProblemCode::TooMany), "{error}");
    assert!(error.is_passing(), "the result is not lost");
    other.deliver(&of_other, Verdict::Pass)?;
    hub.clock.advance(Duration::from_secs(3600));
    worker.beat(&claimed.lease);
    complete(&worker, &claimed.lease, good)?;
    Ok(())
}

#[test]
fn who_waits_for_a_check_is_told_to_ask_again_and_gets_the_answer() -> Outcome {
    let hub = start_with(|config| config.check_wait = Duration::ZERO);
    let worker = hub.worker("w1", "");
    hub.add(TWO);
    let claimed = worker.begin();
    // The client repeats the request automatically.
    let completed = worker.deliver(&claimed, Verdict::Pass)?;
    assert_eq!((completed.job.as_str(), completed.late), ("gzip", false));
    // Without repeating, the client gets the reason and the time to wait.
    let claimed = worker.begin();
    let digest = upload(&worker, &bundle(&worker.result(&claimed.job, Verdict::Pass)))?;
    let body = serde_json::to_string(&Complete { bundle: digest, verdict: Verdict::Pass, summary: String::new() })?;
    let answer = hub.raw(
        format!(
            "POST /api/v1/leases/{}/complete HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{body}",
            claimed.lease,
            worker.client.token().unwrap_or_default(),
            body.len()
        )
        .as_bytes(),
    );
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1\r\n"), "{answer}");
    assert!(answer.contains("\"code\":\"checking\""), "{answer}");
    // The job is completed although no request waits for it.
    while !hub.people().job("sed")?.state.is_over() {
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
