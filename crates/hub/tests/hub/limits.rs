//! Visitors and workers that exceed their limits: they are told so, and all others continue.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use protocol::api::{Problem, ProblemCode};

use crate::support::{Outcome, Running, start, start_with};

/// Sends a request over its own connection and keeps it open. Returns the answer so far, and the connection.
fn ask(hub: &Running, path: &str, headers: &str) -> std::io::Result<(String, TcpStream)> {
    let mut stream = TcpStream::connect(hub.address.trim_start_matches("http://"))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: h\r\n{headers}\r\n").as_bytes())?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? > 0 {
        head.push(byte[0]);
    }
    Ok((String::from_utf8_lossy(&head).into_owned(), stream))
}

fn status(head: &str) -> &str {
    head.get(9..12).unwrap_or_default()
}

/// A number in `/metrics`, read with a token that is never refused.
fn metric(hub: &Running, name: &str) -> Option<u64> {
    let request =
        format!("GET /metrics HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {}\r\nconnection: close\r\n\r\n", hub.admin);
    hub.raw(request.as_bytes()).lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn event_streams_of_one_address_keep_no_worker_from_its_jobs() -> Outcome {
    let hub = start_with(|config| config.max_connections_per_address = 128);
    let worker = hub.worker("w1", "");
    let streams: Vec<_> = (0..300).map(|_| ask(&hub, "/events", "")).collect::<Result<_, _>>()?;
    let refused = streams.iter().filter(|(head, _)| status(head) == "429").count();
    let taken = streams.iter().filter(|(head, _)| status(head) == "200").count();
    assert!(taken >= 32 && refused >= 100 && taken + refused == 300, "{taken} and {refused}");
    // Most connections that were only held open were closed, but none with a token.
    assert!(metric(&hub, "rocbed_http_connections").is_some_and(|count| count <= 128 + 8));
    hub.add("[[job]]\npackage = \"gzip\"\n");
    let claimed = worker.begin();
    // A worker that connects only now finds a place too.
    let late = hub.worker("w2", "");
    assert!(late.claim().is_none());
    worker.deliver(&claimed, protocol::Verdict::Pass)?;
    Ok(())
}

#[test]
fn a_stream_too_many_is_refused_until_another_ends() -> Outcome {
    let hub = start_with(|config| config.max_streams = 2);
    hub.add("[[job]]\npackage = \"gzip\"\n");
    let first = ask(&hub, "/events", "")?;
    let second = ask(&hub, "/jobs/gzip/log/live", "")?;
    assert_eq!((status(&first.0), status(&second.0)), ("200", "200"));
    let (head, mut stream) = ask(&hub, "/events", "connection: close\r\n")?;
    assert!(
        status(&head) == "429" && head.contains("retry-after: ") && head.contains("application/problem+json"),
        "{head}"
    );
    let mut body = String::new();
    stream.read_to_string(&mut body)?;
    let problem: Problem = serde_json::from_str(&body)?;
    assert!(problem.code == ProblemCode::TooMany && problem.detail.contains("event streams"), "{problem}");
    assert!(problem.retry_after().is_some());
    // Another client has its own places.
    let token = format!("authorization: Bearer {}\r\n", hub.admin);
    assert_eq!(status(&ask(&hub, "/events", &token)?.0), "200");
    drop(first);
    // As soon as the hub has noticed.
    while status(&ask(&hub, "/events", "")?.0) == "429" {
        std::thread::sleep(Duration::from_millis(20));
        // The hub notices when it writes.
        hub.add("[[job]]\npackage = \"sed\"\n");
    }
    Ok(())
}

#[test]
fn who_asks_too_often_is_told_when_to_ask_again() -> Outcome {
    let hub = start_with(|config| config.max_requests = 1);
    let worker = hub.worker("w1", "");
    let statuses: Vec<u16> = (0..30).map(|_| hub.get("/api/v1/jobs").0).collect();
    assert_eq!(statuses[..10], [200; 10]);
    assert!(statuses.contains(&429), "{statuses:?}");
    let answer = hub.raw(b"GET /jobs HTTP/1.1\r\nhost: h\r\naccept: text/html\r\nconnection: close\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 429") && answer.contains("retry-after: ") && answer.contains("<main"),
        "{answer}"
    );
    // The same address, with tokens.
    for _ in 0..50 {
        assert!(worker.claim().is_none());
        hub.people().jobs(&client::JobQuery::default())?;
    }
    Ok(())
}

#[test]
fn a_worker_has_a_share_of_the_connections_too() -> Outcome {
    let hub = start();
    let (greedy, other) = (hub.worker("greedy", ""), hub.worker("other", ""));
    let token = greedy.client.token().unwrap_or_default();
    let mut waiting = Vec::new();
    for number in 0..100 {
        let body = format!("{{\"request\": \"r{number}\", \"wait\": 60}}");
        let mut stream = TcpStream::connect(hub.address.trim_start_matches("http://"))?;
        let head = format!("POST /api/v1/claims HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {token}\r\n");
        stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes())?;
        waiting.push(stream);
    }
    // Its oldest connections are closed. Besides its own there are the other worker's and the one that reads the
    // metrics.
    while metric(&hub, "rocbed_http_left_connections_total").is_none_or(|count| count < 36) {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(other.claim().is_none());
    Ok(())
}

#[test]
fn a_proxy_that_is_trusted_says_for_whom_it_asks() -> Outcome {
    let forwarded = |address: &str| format!("x-forwarded-for: 203.0.113.1, {address}\r\n");
    let trusting = start_with(|config| {
        config.max_streams = 1;
        config.trusted_proxies = vec!["127.0.0.1".parse().expect("an address")];
    });
    let mut held = Vec::new();
    for (address, expected) in [
        ("198.51.100.7", "200"),
        ("198.51.100.7", "429"),
        ("198.51.100.8", "200"),
        ("2001:db8:1:2::1", "200"),
        ("2001:db8:1:2::2", "429"),
        ("2001:db8:1:3::1", "200"),
    ] {
        let (head, stream) = ask(&trusting, "/events", &forwarded(address))?;
        assert_eq!(status(&head), expected, "{address}");
        held.push(stream);
    }
    // Without trusted proxies the header is ignored.
    let hub = start_with(|config| config.max_streams = 1);
    let first = ask(&hub, "/events", &forwarded("198.51.100.7"))?;
    let second = ask(&hub, "/events", &forwarded("198.51.100.8"))?;
    assert_eq!((status(&first.0), status(&second.0)), ("200", "429"));
    Ok(())
}

#[test]
fn idle_connections_make_room_for_who_has_a_token() -> Outcome {
    let hub = start_with(|config| {
        config.max_connections = 20;
        config.max_connections_per_address = 1000;
    });
    let worker = hub.worker("w1", "");
    let address = hub.address.trim_start_matches("http://").to_owned();
    let idle: Vec<_> = (0..200).map(|_| TcpStream::connect(&address)).collect::<Result<_, _>>()?;
    hub.add("[[job]]\npackage = \"gzip\"\n");
    let claimed = worker.begin();
    assert_eq!(claimed.job.id, "gzip");
    assert!(metric(&hub, "rocbed_http_left_connections_total").is_some_and(|count| count >= 150));
    drop(idle);
    Ok(())
}
