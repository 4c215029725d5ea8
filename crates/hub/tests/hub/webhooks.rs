//! Webhooks: what a receiver on a loopback port gets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use hub::{Config, Webhook, WebhookOptions};
use protocol::Verdict;
use protocol::api::{StateEvent, TestState};
use safetext::Secret;

use crate::support::{Outcome, Running, Worker, start_in, start_with};

const SECRET: &str = "not to be guessed";

/// What a receiver got.
struct Posted {
    head: String,
    body: Vec<u8>,
}

impl Posted {
    fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    fn event(&self) -> StateEvent {
        serde_json::from_slice(&self.body).expect("an event")
    }
}

/// A receiver that answers with these heads, one after the other.
struct Post {
    address: SocketAddr,
    answers: Sender<&'static str>,
    posted: Receiver<Posted>,
}

const TAKEN: &str = "204 No Content\r\n";

impl Post {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let ((answers, next), (got, posted)) = (channel::<&str>(), channel());
        std::thread::spawn(move || {
            // It waits for each answer, and ends with the test.
            for answer in next {
                let Ok((stream, _)) = listener.accept() else { return };
                let mut stream = BufReader::new(stream);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).is_ok_and(|length| length > 0) {}
                let length = head.to_ascii_lowercase();
                let length = length.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
                let mut body = vec![0; length.unwrap_or(0)];
                let _ = stream.read_exact(&mut body);
                let answer = format!("HTTP/1.1 {answer}Content-Length: 0\r\nConnection: close\r\n\r\n");
                let _ = stream.get_mut().write_all(answer.as_bytes());
                let _ = got.send(Posted { head, body });
            }
        });
        Self { address, answers, posted }
    }

    /// The next delivery, which is answered like this.
    fn next(&self, answer: &'static str) -> Posted {
        self.answers.send(answer).expect("it listens");
        self.posted.recv_timeout(Duration::from_secs(30)).expect("a delivery")
    }

    fn hook(&self, states: &[TestState]) -> Webhook {
        let address = Secret::new(format!("http://{}/unsaid", self.address));
        let (states, secret) = (states.to_vec(), Secret::new(SECRET));
        let (name, hub) = (Some("ci".into()), Some("https://hub.example".into()));
        Webhook::new(WebhookOptions { name, address, secret, states, authorities: None, hub }).expect("a webhook")
    }
}

/// Runs a job of rocfft with these verdicts, one after the other.
fn run(hub: &Running, worker: &Worker, verdicts: &[Verdict]) {
    for verdict in verdicts {
        hub.add("[[job]]\npackage = \"rocfft\"\n");
        let claimed = worker.begin();
        let mut result = worker.result(&claimed.job, *verdict);
        result.runs[0].tests.clear();
        worker.deliver_result(&claimed, &result).expect("it is taken");
    }
}

/// Waits until the page of webhooks says something.
fn until(hub: &Running, words: &str) {
    until_at(hub, "/webhooks", words);
}

fn until_at(hub: &Running, path: &str, words: &str) {
    for _ in 0..600 {
        let page = hub.get(path).1;
        assert!(!page.contains("unsaid") && !page.contains(SECRET), "{page}");
        if page.contains(words) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{words} is not in {}", hub.get(path).1);
}

#[test]
fn changes_are_posted_signed_and_in_their_order() -> Outcome {
    let post = Post::start();
    let hub = start_with(|config| config.webhooks = vec![post.hook(&[])]);
    let worker = hub.worker("w1", "gfx1030");
    run(&hub, &worker, &[Verdict::Pass, Verdict::Fail, Verdict::Fail]);
    let (first, second) = (post.next(TAKEN), post.next(TAKEN));
    assert!(first.head.starts_with("POST /unsaid HTTP/1.1\r\n"), "{}", first.head);
    assert_eq!(first.header("content-type"), "application/json");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = hex::decode(first.header("x-hub-signature-256").trim_start_matches("sha256="))?;
    assert!(ring::hmac::verify(&key, &first.body, &tag).is_ok());

    let event = first.event();
    assert_eq!(first.header("x-rocbed-delivery"), event.id);
    assert_eq!((event.package.as_str(), event.target.as_str(), event.simulated), ("rocfft", "gfx1030", true));
    assert_eq!((event.change.from, event.change.to), (TestState::Ok, TestState::NewFailure));
    assert_eq!((event.change.run.job.as_str(), event.hub.as_deref()), ("rocfft-2", Some("https://hub.example")));
    assert_eq!(second.event().change.to, TestState::Regression);
    assert_ne!(second.event().id, event.id);
    until(&hub, "works");

    // A failure that is listed as known is a change, too.
    hub.people().add_known(&protocol::api::AddKnown {
        package: "rocfft".into(),
        text: "x".into(),
        ..Default::default()
    })?;
    assert_eq!(post.next(TAKEN).event().change.to, TestState::Known);
    assert!(hub.get("/metrics").1.contains("rocbed_webhooks_failing 0\n"));
    Ok(())
}

#[test]
fn an_event_is_repeated_until_it_is_taken_also_after_a_restart() -> Outcome {
    let (directory, post) = (tempfile::tempdir()?, Post::start());
    let settings = |config: &mut Config| config.webhooks = vec![post.hook(&[TestState::NewFailure, TestState::Fixed])];
    let hub = start_in(directory.path(), settings);
    let worker = hub.worker("w1", "gfx1030");
    run(&hub, &worker, &[Verdict::Pass, Verdict::Fail]);
    let first = post.next("503 Service Unavailable\r\n");
    until(&hub, "503");
    assert!(hub.get("/metrics").1.contains("rocbed_webhooks_waiting 1\n"));
    // It leads elsewhere, and is not followed.
    let elsewhere = "307 Temporary Redirect\r\nLocation: http://192.0.2.1/\r\n";
    assert_eq!(post.next(elsewhere).body, first.body);
    until(&hub, "events go to no other address");
    drop(hub);

    let hub = start_in(directory.path(), settings);
    let again = post.next(TAKEN);
    assert_eq!((again.body, again.head.contains(&first.event().id)), (first.body, true));
    until(&hub, "works");
    until_at(&hub, "/metrics", "rocbed_webhooks_delivered_total 1\n");
    Ok(())
}

#[test]
fn only_wanted_changes_wait_and_not_too_many() {
    let (all, one) = (Post::start(), Post::start());
    let hub = start_with(|config| {
        config.webhooks = vec![all.hook(&[]), one.hook(&[TestState::NewFailure])];
        config.max_webhook_queue = 1;
    });
    let worker = hub.worker("w1", "gfx1030");
    run(&hub, &worker, &[Verdict::Pass, Verdict::Fail, Verdict::Fail]);
    let metrics = hub.get("/metrics").1;
    assert!(metrics.contains("rocbed_webhooks_waiting 2\n"), "one for each: {metrics}");
    assert!(metrics.contains("rocbed_webhooks_dropped_total 1\n"), "the older one of all: {metrics}");
    assert_eq!(one.next(TAKEN).event().change.to, TestState::NewFailure);
}

#[test]
fn without_receivers_the_page_says_so() {
    let page = start_with(|_| ()).get("/webhooks").1;
    assert!(page.contains("posted nowhere"), "{page}");
}
