//! The hub is killed at random moments while workers continue: every finished job has exactly one result.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use client::{Client, ClientOptions, ResultQuery};
use hub::{Config, Hub, Listener};
use protocol::Verdict;
use protocol::api::{Claim, Complete, Heartbeat, JobState};

use crate::support::{Outcome, Worker, add_request, bundle};

/// Number of kills, and of jobs added before each.
const KILLS: usize = 12;
const JOBS_EACH: usize = 8;
const JOBS: usize = KILLS * JOBS_EACH;
const WORKERS: usize = 3;
const DIRECTORY: &str = "HUB_TEST_DIRECTORY";
const ADDRESS: &str = "HUB_TEST_ADDRESS";

/// Not a test: the process to be killed. This program starts itself with this test's name.
#[test]
fn the_hub_that_is_killed() -> Outcome {
    let (Ok(directory), Ok(address)) = (std::env::var(DIRECTORY), std::env::var(ADDRESS)) else { return Ok(()) };
    let hub = Hub::open(Path::new(&directory), Config { min_free: 0, ..Config::default() })?;
    hub.serve_blocking(vec![Listener::plain(TcpListener::bind(address)?)], std::future::pending())?;
    Ok(())
}

/// A hub in its own process, killed when this is dropped.
pub struct Process(Child);

impl Process {
    pub fn start(directory: &Path, address: &str) -> std::io::Result<Self> {
        Command::new(std::env::current_exe()?)
            .args(["--exact", "crash::the_hub_that_is_killed"])
            .env(DIRECTORY, directory)
            .env(ADDRESS, address)
            .stdout(Stdio::null())
            .spawn()
            .map(Self)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs jobs until all are done, and repeats each request until it is answered.
fn work(worker: &Worker, done: &AtomicUsize) {
    let patient = worker.client.clone().with_attempts(200);
    for number in 0.. {
        let claim = Claim { request: format!("{}-{number}", worker.id), wait: 1, ..Claim::default() };
        let claimed = loop {
            if done.load(Ordering::SeqCst) >= JOBS {
                return;
            }
            match patient.claim(&claim) {
                Ok(Some(claimed)) => break claimed,
                Ok(None) => {}
                Err(error) => assert!(error.is_passing(), "{error}"),
            }
        };
        let lease = &claimed.lease;
        patient.heartbeat(lease, &Heartbeat { phase: "running".into() }).expect("an answer");
        patient.append_log(lease, 0, claimed.job.id.as_bytes()).expect("an answer");
        let bytes = bundle(&worker.result(&claimed.job, Verdict::Pass));
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), bytes).expect("it is written");
        let bundle = patient.upload(file.path(), |_, _| ()).expect("it is uploaded");
        let complete = Complete { bundle, verdict: Verdict::Pass, summary: String::new() };
        patient.complete(lease, &complete).expect("it is completed");
        done.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn every_finished_job_has_one_result_though_the_hub_is_killed_again_and_again() -> Outcome {
    let temp = tempfile::tempdir()?;
    let first = Hub::open(temp.path(), Config::default())?;
    let admin = first.new_admin_token().unwrap_or_default().to_owned();
    let join = first.join_token().to_owned();
    drop(first);
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let pause = Duration::from_millis(10);
    let options =
        ClientOptions { attempts: 200, first_pause: pause, longest_pause: pause * 5, ..ClientOptions::default() };
    let client = Client::new(&format!("http://{address}"), &options)?;
    let people = client.clone().with_token(&admin);

    let mut process = Some(Process::start(temp.path(), &address)?);
    let joining = client.with_token(&join);
    let workers: Vec<_> = (0..WORKERS).map(|n| Worker::register(&joining, &format!("w{n}"), "b", "", &[])).collect();
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| -> Outcome {
        for worker in &workers {
            scope.spawn(|| work(worker, &done));
        }
        for kill in 0..KILLS {
            let jobs = kill * JOBS_EACH..(kill + 1) * JOBS_EACH;
            let toml: String = jobs.map(|n| format!("[[job]]\npackage = \"p{n}\"\n")).collect();
            people.add_jobs(&add_request(&toml))?;
            // Between the first answers after a start and the middle of the work.
            std::thread::sleep(Duration::from_millis(10 + kill as u64 * 37 % 130));
            drop(process.take());
            process = Some(Process::start(temp.path(), &address)?);
        }
        Ok(())
    })?;

    let results = people.results(&ResultQuery { limit: Some(1000), ..ResultQuery::default() })?.results;
    assert_eq!(results.len(), JOBS);
    for result in &results {
        let job = people.job(&result.job)?;
        assert_eq!(job.state, JobState::Finished);
        assert_eq!(job.attempts.len(), 1, "{job:?}");
        let (mut bytes, mut log) = (Vec::new(), Vec::new());
        people.bundle(&result.job, &mut bytes)?;
        assert_eq!(bytes.len() as u64, result.size);
        people.log(&result.job, &mut log)?;
        assert_eq!(log, result.job.as_bytes());
    }
    drop(process.take());
    let database = rusqlite::Connection::open(temp.path().join("hub.sqlite"))?;
    let verdict: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    assert_eq!(verdict, "ok");
    Ok(())
}
