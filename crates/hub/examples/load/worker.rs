//! Simulated workers.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha256::Digest;
use tokio::sync::Notify;

use crate::Outcome;
use crate::http::Connection;

pub static REGISTERED: AtomicUsize = AtomicUsize::new(0);

/// State shared by all workers.
pub struct Shared {
    address: String,
    pub completed: AtomicUsize,
    last_claim: Mutex<Option<Instant>>,
    claimed: Notify,
    burst: Mutex<Option<Instant>>,
    burst_claims: Mutex<Vec<Duration>>,
    heartbeats: Mutex<Vec<Duration>>,
}

impl Shared {
    pub fn new(address: &str) -> Self {
        Self {
            address: address.into(),
            completed: AtomicUsize::new(0),
            last_claim: Mutex::default(),
            claimed: Notify::new(),
            burst: Mutex::default(),
            burst_claims: Mutex::default(),
            heartbeats: Mutex::default(),
        }
    }

    /// Forgets earlier claims.
    pub fn expect(&self, _: Instant) {
        *self.last_claim.lock().expect("a lock") = None;
    }

    /// Time from a moment until a worker got a job.
    pub async fn arrived(&self, since: Instant) -> Duration {
        loop {
            let notified = self.claimed.notified();
            if let Some(at) = *self.last_claim.lock().expect("a lock") {
                return at.duration_since(since);
            }
            notified.await;
        }
    }

    pub fn start_burst(&self, at: Instant) {
        *self.burst.lock().expect("a lock") = Some(at);
    }

    pub fn burst_latencies(&self) -> Vec<Duration> {
        self.burst_claims.lock().expect("a lock").clone()
    }

    pub fn heartbeat_latencies(&self) -> Vec<Duration> {
        self.heartbeats.lock().expect("a lock").clone()
    }

    fn got_a_job(&self) {
        let now = Instant::now();
        *self.last_claim.lock().expect("a lock") = Some(now);
        if let Some(burst) = *self.burst.lock().expect("a lock") {
            self.burst_claims.lock().expect("a lock").push(now.duration_since(burst));
        }
        self.claimed.notify_waiters();
        self.claimed.notify_one();
    }
}

/// GPU target of the workers that hold a job, and of those that wait for one: each group has its own jobs.
pub const HOLDERS: &str = "gfx906";
pub const WAITERS: &str = "gfx1030";

fn machine(name: &str, gpu: &str) -> Value {
    let gpus = gpu::simulate(gpu).expect("a target");
    json!({ "name": name, "kernel": "7.2", "processors": 8, "memory": 32000, "rocbed": "0.1.0", "gpus": gpus })
}

async fn register(shared: &Shared, join: &str, name: &str, gpu: &str) -> Outcome<Connection> {
    let connection = register_at(&shared.address, join, name, gpu).await?;
    REGISTERED.fetch_add(1, Ordering::SeqCst);
    Ok(connection)
}

/// Registers a worker; the connection has its token.
pub async fn register_at(address: &str, join: &str, name: &str, gpu: &str) -> Outcome<Connection> {
    let mut connection = Connection::open(address, join).await?;
    let request = json!({ "version": 1, "id": name, "boot": "b", "machine": machine(name, gpu) });
    let (status, body) = connection.send("POST", "/api/v1/workers", &[], request.to_string().as_bytes()).await?;
    if status != 200 {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into());
    }
    let registered: Value = serde_json::from_slice(&body)?;
    connection.set_token(registered["token"].as_str().unwrap_or_default());
    Ok(connection)
}

/// A job and its lease.
async fn claim(connection: &mut Connection, request: &str) -> Outcome<(String, Value)> {
    let body = json!({ "request": request, "wait": 60 }).to_string();
    loop {
        let (status, answer) = connection.send("POST", "/api/v1/claims", &[], body.as_bytes()).await?;
        match status {
            200 => {
                let claimed: Value = serde_json::from_slice(&answer)?;
                return Ok((claimed["lease"].as_str().unwrap_or_default().to_owned(), claimed["job"].clone()));
            }
            204 => {}
            _ => return Err(format!("{status}: {}", String::from_utf8_lossy(&answer)).into()),
        }
    }
}

async fn beat(shared: &Shared, connection: &mut Connection, lease: &str) -> Outcome<()> {
    let before = Instant::now();
    let (status, answer) =
        connection.send("POST", &format!("/api/v1/leases/{lease}/heartbeat"), &[], b"{\"phase\":\"running\"}").await?;
    if status != 200 || String::from_utf8_lossy(&answer).contains("cancel") {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&answer)).into());
    }
    shared.heartbeats.lock().expect("a lock").push(before.elapsed());
    Ok(())
}

/// A worker with one long job.
pub async fn holder(shared: std::sync::Arc<Shared>, join: String, number: usize, pause: Duration) -> Outcome<()> {
    let mut connection = register(&shared, &join, &format!("holder{number}"), HOLDERS).await?;
    let (lease, _) = claim(&mut connection, "long").await?;
    loop {
        beat(&shared, &mut connection, &lease).await?;
        tokio::time::sleep(pause).await;
    }
}

/// A worker that claims jobs and completes them at once.
pub async fn waiter(shared: std::sync::Arc<Shared>, join: String, number: usize) -> Outcome<()> {
    let name = format!("worker{number}");
    let mut connection = register(&shared, &join, &name, WAITERS).await?;
    for turn in 0_u64.. {
        let (lease, job) = claim(&mut connection, &format!("c{turn}")).await?;
        shared.got_a_job();
        beat(&shared, &mut connection, &lease).await?;
        upload_and_complete(&mut connection, &lease, &job, &name).await?;
        shared.completed.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

/// Delivers a result.
pub async fn upload_and_complete(connection: &mut Connection, lease: &str, job: &Value, name: &str) -> Outcome<()> {
    let bundle = bundle(job, name)?;
    let sha256 = Digest::of(&bundle);
    let announced = json!({ "size": bundle.len(), "sha256": sha256 }).to_string();
    let (_, answer) = connection.send("POST", "/api/v1/uploads", &[], announced.as_bytes()).await?;
    let upload: Value = serde_json::from_slice(&answer)?;
    let path = format!("/api/v1/uploads/{}", upload["id"].as_str().unwrap_or_default());
    connection.send("PATCH", &path, &[("upload-offset", "0")], &bundle).await?;
    let complete = json!({ "bundle": sha256, "verdict": "pass" }).to_string();
    let path = format!("/api/v1/leases/{lease}/complete");
    let (status, answer) = connection.send("POST", &path, &[], complete.as_bytes()).await?;
    if status == 200 { Ok(()) } else { Err(format!("{status}: {}", String::from_utf8_lossy(&answer)).into()) }
}

/// A bundle of about 64 KiB of incompressible data.
fn bundle(job: &Value, name: &str) -> Outcome<Vec<u8>> {
    let result = json!({
        "version": 1, "job": job, "verdict": "pass", "simulated": true, "started": "2026-11-24T00:00:00Z",
        "finished": "2026-11-24T00:01:00Z", "runs": [], "gpus": ["simulated-0"], "machine": machine(name, WAITERS),
    });
    let mut noise = vec![0; 64 << 10];
    getrandom::fill(&mut noise).map_err(|error| error.to_string())?;
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in [("result.json", result.to_string().as_bytes()), ("log", &noise[..])] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, content)?;
    }
    Ok(zstd::encode_all(&builder.into_inner()?[..], 1)?)
}

/// A number in `/metrics`.
pub fn metric(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}
