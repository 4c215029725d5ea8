//! Load test of a hub: 10,000 workers, most of them waiting for jobs by long poll, some renewing leases by heartbeats.
//!
//! ```text
//! cargo run --release -p hub --example load [WORKERS [JOBS]]
//! cargo run --release -p hub --example load attack [SECONDS [PROGRAM]]
//! ```
//!
//! The hub is a separate process with its data in a temporary directory. Prints the duration of the registrations, the
//! time from adding a job until its worker had it, the rate of uploaded and completed bundles, whether leases were
//! lost, and the memory that the hub used.
//!
//! With `attack`, a visitor and a worker attack the hub, and the output is the duration of other workers' claims and
//! completions meanwhile; `PROGRAM` is this example of another build, for comparison.

mod attack;
mod http;
mod worker;

use std::error::Error;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hub::{Config, Hub, Listener};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::http::Connection;
use crate::worker::{HOLDERS, Shared, WAITERS, holder, waiter};

/// Duration of a lease without heartbeats.
const LEASE: Duration = Duration::from_secs(30);

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, directory, address] = &arguments[..]
        && word == "hub"
    {
        return serve(Path::new(directory), address);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if arguments.first().is_some_and(|word| word == "attack") {
        let seconds = arguments.get(1).and_then(|text| text.parse().ok()).unwrap_or(20);
        return runtime.block_on(attack::run(arguments.get(2).map(Path::new), seconds));
    }
    let number = |at: usize, default: usize| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    runtime.block_on(load(number(0, 10_000), number(1, 3_000)))
}

fn serve(directory: &Path, address: &str) -> Outcome<()> {
    let hub = Hub::open(directory, Config { lease: LEASE, min_free: 0, ..Config::default() })?;
    hub.serve_blocking(vec![Listener::plain(TcpListener::bind(address)?)], std::future::pending())?;
    Ok(())
}

/// The hub's process, killed when this is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// A line of the process's `/proc` status, in MiB.
    fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default();
        let line =
            status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok());
        line.unwrap_or(0) / 1024
    }
}

async fn load(workers: usize, jobs: usize) -> Outcome<()> {
    let temp = tempfile::tempdir()?;
    let first = tokio::task::block_in_place(|| {
        Hub::open(temp.path(), Config::default())
            .map(|hub| (hub.new_admin_token().unwrap_or_default().to_owned(), hub.join_token().to_owned()))
    })?;
    let (admin, join) = first;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let hub = Command::new(std::env::current_exe()?).arg("hub").arg(temp.path()).arg(&address).spawn()?;
    let hub = Process(hub);
    let mut people = Connection::open(&address, &admin).await?;

    let shared = Arc::new(Shared::new(&address));
    let started = Instant::now();
    // A fifth of the workers always have a job.
    let holders = workers / 5;
    add(&mut people, "held", holders, HOLDERS).await?;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..workers {
        let (shared, join) = (shared.clone(), join.clone());
        if number < holders {
            tasks.spawn(holder(shared, join, number, LEASE / 3));
        } else {
            tasks.spawn(waiter(shared, join, number));
        }
        // In groups, as in a lab whose power returns.
        if number % 200 == 199 {
            while shared_ready(&tasks, number, 400, &started).await {}
        }
    }
    wait_for(&mut people, "rocbed_claims_waiting", workers - holders).await?;
    println!(
        "workers            {workers}, of which {holders} hold a lease by heartbeats; all there after {:.1} s",
        started.elapsed().as_secs_f64()
    );
    println!("memory             {} MiB with all of them connected", hub.memory("VmRSS:"));

    // One at a time, to measure the time until a worker has the job.
    let mut latencies = Vec::new();
    for number in 0..500 {
        let before = Instant::now();
        shared.expect(before);
        add(&mut people, &format!("single{number}-"), 1, WAITERS).await?;
        latencies.push(shared.arrived(before).await);
    }
    println!("claim latency      {}", percentiles(&mut latencies));
    wait_for(&mut people, "rocbed_claims_waiting", workers - holders).await?;

    let before = shared.completed.load(Ordering::SeqCst);
    let started = Instant::now();
    shared.start_burst(started);
    add(&mut people, "burst", jobs, WAITERS).await?;
    while shared.completed.load(Ordering::SeqCst) < before + jobs {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("burst              {jobs} jobs added at once, claimed, uploaded and completed in {seconds:.2} s");
    println!("uploads            {:.0} bundles per second, each with its completion", jobs as f64 / seconds);
    println!("claims in burst    {}", percentiles(&mut shared.burst_latencies()));
    println!("heartbeats         {}", percentiles(&mut shared.heartbeat_latencies()));

    // Longer than a lease, so that leases without heartbeats would be lost.
    tokio::time::sleep(LEASE + Duration::from_secs(5)).await;
    let metrics = people.get("/metrics").await?;
    let value = |name: &str| worker::metric(&metrics, name).unwrap_or(u64::MAX);
    println!("leases lost        {} of {holders} that are held", value("rocbed_expired_leases_total"));
    println!("leases held        {}", value("rocbed_leases_active"));
    println!("memory             {} MiB now, {} MiB at most", hub.memory("VmRSS:"), hub.memory("VmHWM:"));
    println!("requests           {}", value("rocbed_http_requests_total"));
    tasks.abort_all();
    Ok(())
}

/// Waits for the started workers to register before more are started.
async fn shared_ready(
    tasks: &tokio::task::JoinSet<Outcome<()>>,
    number: usize,
    ahead: usize,
    started: &Instant,
) -> bool {
    let registered = worker::REGISTERED.load(Ordering::SeqCst);
    if number.saturating_sub(registered) < ahead || started.elapsed() > Duration::from_secs(300) {
        return false;
    }
    assert!(!tasks.is_empty(), "no worker is left");
    tokio::time::sleep(Duration::from_millis(2)).await;
    true
}

async fn add(people: &mut Connection, name: &str, count: usize, gpu: &str) -> Outcome<()> {
    let jobs: Vec<_> = (0..count).map(|number| json!({ "package": format!("{name}{number}"), "gpu": gpu })).collect();
    let request = json!({ "request": name, "list": { "version": 1, "job": jobs } });
    let (status, body) = people.send("POST", "/api/v1/jobs", &[], request.to_string().as_bytes()).await?;
    if status == 200 { Ok(()) } else { Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into()) }
}

async fn wait_for(people: &mut Connection, name: &str, count: usize) -> Outcome<()> {
    let mut found = None;
    for _ in 0..3000 {
        found = worker::metric(&people.get("/metrics").await?, name);
        if found == Some(count as u64) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(format!("{name} is {found:?} and not {count}").into())
}

/// The value below which this part of the latencies lies, in milliseconds.
fn percentile(latencies: &mut [Duration], part: f64) -> f64 {
    latencies.sort_unstable();
    let at = ((latencies.len() as f64 * part) as usize).min(latencies.len().saturating_sub(1));
    latencies.get(at).copied().unwrap_or_default().as_secs_f64() * 1000.0
}

fn percentiles(latencies: &mut [Duration]) -> String {
    latencies.sort_unstable();
    let at = |part: f64| latencies.get((latencies.len() as f64 * part) as usize).copied().unwrap_or_default();
    let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let most = latencies.last().copied().unwrap_or_default();
    format!(
        "p50 {:.2} ms, p99 {:.2} ms, most {:.2} ms ({} measured)",
        millis(at(0.5)),
        millis(at(0.99)),
        millis(most),
        latencies.len()
    )
}
