//! Interrupted, wrong and too large uploads.

use protocol::Verdict;
use protocol::api::{Complete, CreateUpload, ProblemCode};
use sha256::Digest;

use crate::support::{Outcome, bundle, start, start_with};

#[test]
fn an_upload_that_was_cut_goes_on() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "");
    hub.add("[[job]]\npackage = \"gzip\"\n");
    let claimed = worker.begin();
    let content = bundle(&worker.result(&claimed.job, Verdict::Pass));
    let digest = Digest::of(&content);
    let upload =
        worker.client.create_upload(&CreateUpload { direct: false, size: content.len() as u64, sha256: digest })?;

    // The connection breaks in the middle of the body.
    let half = content.len() / 2;
    let token = worker.client.token().unwrap_or_default();
    let mut request = format!(
        "PATCH /api/v1/uploads/{} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {token}\r\nupload-offset: 0\r\n\
         content-length: {}\r\n\r\n",
        upload.id,
        content.len()
    )
    .into_bytes();
    request.extend(&content[..half]);
    cut(&hub.address, &request);
    // The received bytes are kept, as soon as the hub has noticed.
    while worker.client.upload_offset(&upload.id)? == 0 {
        std::thread::yield_now();
    }
    let wrong = worker.client.append_upload(&upload.id, 0, &content).expect_err("it is there already");
    assert!(matches!(wrong.code(), Some(ProblemCode::WrongOffset | ProblemCode::Busy)), "{wrong}");
    assert_eq!(worker.upload(&content)?, digest);
    let complete = Complete { bundle: digest, verdict: Verdict::Pass, summary: String::new() };
    worker.client.complete(&claimed.lease, &complete)?;
    Ok(())
}

fn cut(address: &str, bytes: &[u8]) {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(address.trim_start_matches("http://")).expect("a connection");
    stream.write_all(bytes).expect("it is sent");
}

#[test]
fn a_wrong_digest_is_noticed_and_the_upload_begins_again() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "");
    let announced = CreateUpload { direct: false, size: 3, sha256: Digest::of(b"abc") };
    let upload = worker.client.create_upload(&announced)?;
    let error = worker.client.append_upload(&upload.id, 0, b"abd").expect_err("another digest");
    assert_eq!(error.code(), Some(ProblemCode::DigestMismatch));
    assert_eq!(worker.client.append_upload(&upload.id, 0, b"abc")?, (3, true));
    Ok(())
}

#[test]
fn a_lease_is_not_completed_by_a_bundle_that_is_not_there() {
    let hub = start();
    let worker = hub.worker("w1", "");
    hub.add("[[job]]\npackage = \"gzip\"\n");
    let claimed = worker.begin();
    let complete = Complete { bundle: Digest::of("another"), verdict: Verdict::Pass, summary: String::new() };
    let error = worker.client.complete(&claimed.lease, &complete).expect_err("nothing is there");
    assert_eq!(error.code(), Some(ProblemCode::BundleMissing));
}

#[test]
fn more_than_allowed_or_announced_is_refused() -> Outcome {
    let hub = start_with(|config| {
        config.max_upload = 10;
        config.max_log = 8;
    });
    let worker = hub.worker("w1", "");
    let too_large =
        worker.client.create_upload(&CreateUpload { direct: false, size: 11, sha256: Digest::of("another") });
    assert_eq!(too_large.expect_err("too large").code(), Some(ProblemCode::TooLarge));
    let upload =
        worker.client.create_upload(&CreateUpload { direct: false, size: 3, sha256: Digest::of("another") })?;
    let error = worker.client.append_upload(&upload.id, 0, b"abcd").expect_err("more than announced");
    assert_eq!(error.code(), Some(ProblemCode::TooLarge));
    assert_eq!(worker.client.upload_offset(&upload.id)?, 0);

    hub.add("[[job]]\npackage = \"gzip\"\n");
    let claimed = worker.begin();
    assert_eq!(worker.client.append_log(&claimed.lease, 0, b"12345678")?, 8);
    let error = worker.client.append_log(&claimed.lease, 8, b"9").expect_err("the log is full");
    assert_eq!(error.code(), Some(ProblemCode::TooLarge));
    let error = worker.client.append_log(&claimed.lease, 20, b"9").expect_err("a gap");
    let protocol_offset = match error {
        client::ClientError::Refused(problem) => problem.offset,
        other => return Err(other.into()),
    };
    assert_eq!(protocol_offset, Some(8));
    Ok(())
}
