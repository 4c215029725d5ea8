//! The hub is killed at each moment of each request of a worker: answered requests have taken effect, unanswered ones
//! are repeated, and nothing happens twice.

use std::net::TcpListener;
use std::time::Duration;

use client::{Client, ClientOptions};
use hub::{Config, Hub};
use protocol::Verdict;
use protocol::api::{Claim, Complete, GiveBack, GiveBackReason, Heartbeat, JobState};

use crate::guard::{Guard, MOMENTS};
use crate::support::{Outcome, Worker, add_request, bundle};

/// Every request that changes something: its method and a part of its path.
const STEPS: [(&str, &str); 10] = [
    ("POST", "/workers"),
    ("PUT", "/health"),
    ("POST", "/claims"),
    ("POST", "/heartbeat"),
    ("PUT", "/log"),
    ("POST", "/uploads"),
    ("PATCH", "/uploads/"),
    ("POST", "/complete"),
    ("POST", "/give-back"),
    ("POST", "/jobs"),
];

#[test]
fn the_hub_killed_at_each_moment_of_each_request() -> Outcome {
    let temp = tempfile::tempdir()?;
    let first = Hub::open(temp.path(), Config::default())?;
    let admin = first.new_admin_token().unwrap_or_default().to_owned();
    let join = first.join_token().to_owned();
    drop(first);
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let guard = Guard::start(temp.path(), &address)?;
    let pause = Duration::from_millis(5);
    let options =
        ClientOptions { attempts: 500, first_pause: pause, longest_pause: pause * 4, ..ClientOptions::default() };
    let client = Client::new(&guard.address, &options)?;
    let people = client.clone().with_token(&admin);

    let mut jobs = Vec::new();
    for (method, path) in STEPS {
        for moment in MOMENTS {
            let job = format!("p{}", jobs.len());
            let what = format!("{method} {path}, {moment:?}");
            guard.plan(method, path, moment);
            let gives_back = path == "/give-back";
            one_job(&client.clone().with_token(&join), &people, &job, gives_back)
                .map_err(|error| format!("{what}: {error}"))?;
            assert!(guard.has_killed(), "{what}: the hub was not killed");

            let info = people.job(&job)?;
            assert_eq!(info.state, JobState::Finished, "{what}");
            assert_eq!(info.attempts.len(), if gives_back { 2 } else { 1 }, "{what}: {info:?}");
            let (mut log, mut bytes) = (Vec::new(), Vec::new());
            people.log(&job, &mut log)?;
            assert_eq!(String::from_utf8_lossy(&log), format!("the log of {job}\n"), "{what}");
            people.bundle(&job, &mut bytes)?;
            assert_eq!(people.result(&job)?.info.size, bytes.len() as u64, "{what}");
            jobs.push(job);
        }
    }
    let query = client::ResultQuery { limit: Some(1000), ..client::ResultQuery::default() };
    assert_eq!(people.results(&query)?.results.len(), jobs.len());
    assert_eq!(people.jobs(&client::JobQuery { limit: Some(1000), ..Default::default() })?.jobs.len(), jobs.len());
    assert_eq!(people.workers(None)?.workers.len(), 1);
    guard.stop();
    let database = rusqlite::Connection::open(temp.path().join("hub.sqlite"))?;
    let verdict: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    assert_eq!(verdict, "ok");
    Ok(())
}

/// Every call for one job.
fn one_job(joining: &Client, people: &Client, job: &str, gives_back: bool) -> Outcome {
    people.add_jobs(&add_request(&format!("[[job]]\npackage = \"{job}\"\n")))?;
    let worker = Worker::register(joining, "w1", job, "", &[]);
    let health = protocol::api::WorkerReport { health: protocol::api::Health::Ready, message: job.into() };
    worker.client.report("w1", &health)?;
    let claim =
        |name: &str| worker.client.claim(&Claim { request: format!("{job}-{name}"), wait: 5, ..Claim::default() });
    let mut claimed = claim("first")?.ok_or("no job")?;
    if gives_back {
        let reason = GiveBack { reason: GiveBackReason::Other, message: "later".into() };
        worker.client.give_back(&claimed.lease, &reason)?;
        claimed = claim("second")?.ok_or("no job")?;
    }
    let lease = &claimed.lease;
    worker.client.heartbeat(lease, &Heartbeat { phase: "running".into() })?;
    let log = format!("the log of {job}\n");
    let (one, two) = log.as_bytes().split_at(5);
    worker.client.append_log(lease, 0, one)?;
    worker.client.append_log(lease, 5, two)?;
    let bundle = worker.upload(&bundle(&worker.result(&claimed.job, Verdict::Pass)))?;
    worker.client.complete(lease, &Complete { bundle, verdict: Verdict::Pass, summary: String::new() })?;
    Ok(())
}
