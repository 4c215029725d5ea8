//! Workers with wrong clocks.

use std::sync::Arc;
use std::time::Duration;

use hub::{Clock, SystemClock};
use jiff::{SignedDuration, Timestamp};
use protocol::Verdict;

use crate::support::{Outcome, Running, start, start_with};

/// The text about the clock on the worker's page and in the list of workers.
fn told(hub: &Running) -> Option<String> {
    let fault = hub.client().worker("w1").expect("a worker").clock_fault();
    for page in ["/workers", "/workers/w1"] {
        let html = hub.get(page).1;
        match &fault {
            Some(fault) => assert!(html.contains(fault.replace('\'', "&#39;").as_str()), "{page}: {html}"),
            None => assert!(!html.contains("its clock is"), "{page}: {html}"),
        }
    }
    fault
}

fn now(hub: &Running) -> Timestamp {
    Timestamp::from_millisecond(hub.clock.millis()).expect("a time")
}

#[test]
fn a_request_s_date_tells_how_far_the_worker_s_clock_is_off() {
    // The hub and the worker use the same clock.
    let hub = start_with(|config| config.clock = Arc::new(SystemClock));
    hub.worker("w1", "");
    assert_eq!(told(&hub), None);
    assert!(hub.client().worker("w1").expect("a worker").clock_ahead.is_some_and(|ahead| ahead.abs() < 30));
    // This hub's clock stands still at another time.
    let hub = start();
    let ahead = Timestamp::now().duration_since(now(&hub));
    let worker = hub.worker("w1", "");
    let fault = told(&hub).expect("it is off");
    assert!(fault.contains(if ahead.is_positive() { "ahead of" } else { "behind" }), "{fault}");
    hub.clock.advance(Duration::from_secs(400));
    assert!(told(&hub).is_some(), "it is kept while the worker is silent");
    drop(worker);
}

#[test]
fn a_result_tells_it_too() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "");
    for (hours, says) in
        [(-1, Some("its clock is 1h behind the hub's")), (0, None), (2, Some("its clock is 2h ahead of the hub's"))]
    {
        hub.add("[[job]]\npackage = \"gzip\"\n");
        let claimed = worker.claim().expect("a job");
        let mut result = worker.result(&claimed.job, Verdict::Pass);
        result.finished = now(&hub) + SignedDuration::from_hours(hours);
        result.started = result.finished;
        let sha256 = worker.upload(&crate::support::bundle(&result))?;
        // A worker of another implementation, which does not send its time.
        let body = serde_json::json!({ "bundle": sha256, "verdict": "pass" }).to_string();
        let token = worker.client.token().unwrap_or_default();
        let answer = hub.raw(
            format!(
                "POST /api/v1/leases/{}/complete HTTP/1.1\r\nhost: h\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                claimed.lease,
                body.len()
            )
            .as_bytes(),
        );
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(told(&hub).as_deref(), says, "{hours}");
    }
    Ok(())
}

#[test]
fn results_have_the_hub_s_time_too() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "");
    hub.add("[[job]]\npackage = \"gzip\"\n");
    hub.clock.advance(Duration::from_secs(7_200));
    let claimed = worker.begin();
    worker.deliver(&claimed, Verdict::Pass)?;
    let info = hub.client().result("gzip")?.info;
    assert_eq!(info.received, Some(now(&hub)));
    assert_ne!(Some(info.finished), info.received);
    Ok(())
}
