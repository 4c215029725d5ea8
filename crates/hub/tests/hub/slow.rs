//! Clients that are slow, hold connections open, or send too much: the hub keeps serving all others.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use protocol::api::{CreateUpload, ProblemCode};
use sha256::Digest;

use crate::support::{Outcome, Running, start_with};

/// Connects and sends the first bytes of a request.
fn send(hub: &Running, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(hub.address.trim_start_matches("http://")).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    stream.write_all(bytes).expect("it is sent");
    stream
}

fn impatient() -> Running {
    start_with(|config| config.patience = Duration::from_millis(200))
}

#[test]
fn slow_clients_are_left() {
    let hub = impatient();
    // Half a head: the connection is closed.
    assert_eq!(hub.raw(b"GET /api/v1/jobs HTTP/1.1\r\nhost:"), "");
    // Half a body: there is an answer.
    let admin = &hub.admin;
    let head = format!(
        "POST /api/v1/jobs HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {admin}\r\ncontent-length: 99\r\n\r\n{{"
    );
    assert!(hub.raw(head.as_bytes()).starts_with("HTTP/1.1 408"));
}

#[test]
fn a_head_that_comes_byte_by_byte_is_not_waited_for() {
    let hub = impatient();
    let mut stream = send(&hub, b"GET / HTTP/1.1\r\nhost: h\r\nx-slow: ");
    // Bytes keep arriving, but the head has a time limit.
    while stream.write_all(b"a").is_ok() {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(hub.get("/").0, 200);
}

#[test]
fn a_slow_upload_is_left_and_goes_on_from_where_it_was() -> Outcome {
    let hub = impatient();
    let worker = hub.worker("w1", "");
    let content = b"abcdef";
    let sha256 = Digest::of(content);
    let upload = worker.client.create_upload(&CreateUpload { direct: false, size: 6, sha256 })?;
    let token = worker.client.token().unwrap_or_default();
    let head = format!(
        "PATCH /api/v1/uploads/{} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {token}\r\nupload-offset: 0\r\n\
         content-length: 6\r\n\r\nabc",
        upload.id
    );
    let answer = hub.raw(head.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(worker.client.upload_offset(&upload.id)?, 3);
    assert_eq!(worker.client.append_upload(&upload.id, 3, &content[3..])?, (6, true));
    Ok(())
}

/// Waits until this connection is the only open one.
fn until_alone(hub: &Running) {
    while !hub.get("/metrics").1.contains("rocbed_http_connections 1\n") {
        std::thread::yield_now();
    }
}

#[test]
fn who_takes_no_answer_is_left() -> Outcome {
    let hub = impatient();
    let worker = hub.worker("w1", "");
    hub.add("[[job]]\npackage = \"gzip\"\n");
    let claimed = worker.begin();
    let mut length = 0;
    // More than the socket buffers of both sides hold.
    for _ in 0..24 {
        length = worker.client.append_log(&claimed.lease, length, &vec![b'x'; 1 << 20])?;
    }
    drop(worker);
    let stream = send(&hub, b"GET /api/v1/jobs/gzip/log HTTP/1.1\r\nhost: h\r\n\r\n");
    until_alone(&hub);
    drop(stream);
    Ok(())
}

#[test]
fn too_many_connections_wait_for_others_to_end() {
    let hub = start_with(|config| {
        config.patience = Duration::from_millis(300);
        config.max_connections = 3;
    });
    let idle: Vec<_> = (0..20).map(|_| send(&hub, b"")).collect();
    // The connection is accepted after idle ones were closed.
    assert_eq!(hub.get("/").0, 200);
    drop(idle);
}

#[test]
fn heads_and_bodies_that_are_too_large_are_refused() -> Outcome {
    let hub = start_with(|_| ());
    let head = format!("GET / HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n", "a".repeat(200 << 10));
    assert!(hub.raw(head.as_bytes()).starts_with("HTTP/1.1 431"));
    let many = format!("GET / HTTP/1.1\r\nhost: h\r\n{}\r\n", "a: b\r\n".repeat(500));
    assert!(hub.raw(many.as_bytes()).starts_with("HTTP/1.1 431"));

    let worker = hub.worker("w1", "");
    hub.add("[[job]]\npackage = \"gzip\"\n");
    let claimed = worker.begin();
    let error = worker.client.append_log(&claimed.lease, 0, &vec![0; (1 << 20) + 1]).expect_err("too large");
    assert_eq!(error.code(), Some(ProblemCode::TooLarge));
    let error =
        worker.client.create_upload(&CreateUpload { direct: false, size: u64::MAX, sha256: Digest::of("another") });
    assert_eq!(error.expect_err("too large").code(), Some(ProblemCode::TooLarge));
    let token = worker.client.token().unwrap_or_default();
    let body = r#"{"size": 1, "sha256": "../../../etc/passwd"}"#;
    let request = format!(
        "POST /api/v1/uploads HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = hub.raw(request.as_bytes());
    let refused = answer.starts_with("HTTP/1.1 422") && answer.contains("sha256: ");
    assert!(refused && answer.contains("is not a SHA-256 digest"), "{answer}");

    // Invalid offsets, and a body with an enormous length.
    let upload =
        worker.client.create_upload(&CreateUpload { direct: false, size: 3, sha256: Digest::of("another") })?;
    let token = worker.client.token().unwrap_or_default();
    for (offset, length, status) in
        [("-1", "3", 400), ("x", "3", 400), ("18446744073709551615", "3", 409), ("0", "99999999999999", 413)]
    {
        let mut stream = send(
            &hub,
            format!(
                "PATCH /api/v1/uploads/{} HTTP/1.1\r\nhost: h\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
                 upload-offset: {offset}\r\ncontent-length: {length}\r\n\r\n",
                upload.id
            )
            .as_bytes(),
        );
        // Writes as much as the hub accepts.
        let _ = stream.write_all(&vec![b'a'; 3 << 20]);
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"), "{offset}");
    }
    let mut stream =
        send(&hub, b"GET / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.matches("HTTP/1.1").count() <= 1, "one request, one answer: {answer}");
    Ok(())
}
