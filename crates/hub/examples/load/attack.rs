//! Load test of a hub under attack by a visitor and by a worker: measures claims and completions of the other workers.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use sha256::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::http::Connection;
use crate::worker::{WAITERS, register_at, upload_and_complete};
use crate::{Outcome, Process, add, percentile};

/// Workers that claim during the attack and never get a job, and likewise workers that complete the jobs they get.
const CLAIMING: usize = 4;
const COMPLETING: usize = 4;

/// GPU target of the workers that never get a job.
const OTHER: &str = "gfx942";

/// Event streams that a visitor opens.
const STREAMS: usize = 8_000;

/// Connections over which a visitor searches a log again and again.
const SEARCHES: usize = 24;

/// Length of the searched log, in bytes.
const LOG: usize = 256 << 20;

/// Unpacked size of the attacking worker's bundle, in bytes.
const BOMB: u64 = 15 << 30;

/// The attack during a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attack {
    Nothing,
    Streams,
    Searches,
    Bundles,
}

/// Waiting times of the honest workers, for each request.
#[derive(Debug, Default)]
struct Waited {
    claims: Vec<Duration>,
    completions: Vec<Duration>,
    failed: usize,
}

/// Attacks a hub of this build and, if its program is given, one of another build, in the same ways. Prints both
/// results and their ratio.
pub async fn run(other: Option<&Path>, seconds: u64) -> Outcome<()> {
    let mine = std::env::current_exe()?;
    let programs: Vec<(&str, &Path)> =
        other.map(|other| ("other", other)).into_iter().chain([("this", mine.as_path())]).collect();
    println!("{CLAIMING} workers that claim, {COMPLETING} that complete, {seconds} s each; times in ms");
    let mut before: Vec<f64> = Vec::new();
    for (name, program) in programs {
        for (number, attack) in
            [Attack::Nothing, Attack::Streams, Attack::Searches, Attack::Bundles].into_iter().enumerate()
        {
            let mut waited = under(program, attack, Duration::from_secs(seconds)).await?;
            let claims = percentile(&mut waited.claims, 0.99);
            let completions = percentile(&mut waited.completions, 1.0);
            let ratio = before.get(number).map(|before| format!(", {:.1} times faster", before / claims));
            println!(
                "{name:<5} {attack:<9?} p50 {:8.1}  p99 {claims:8.1} ({} claims)  completion {completions:8.1} ({})  failed {}{}",
                percentile(&mut waited.claims, 0.5),
                waited.claims.len(),
                waited.completions.len(),
                waited.failed,
                ratio.unwrap_or_default()
            );
            if name == "other" {
                before.push(claims);
            }
        }
    }
    Ok(())
}

async fn under(program: &Path, attack: Attack, time: Duration) -> Outcome<Waited> {
    let temp = tempfile::tempdir()?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let (admin, join) = tokio::task::block_in_place(|| {
        hub::Hub::open(temp.path(), hub::Config::default())
            .map(|hub| (hub.new_admin_token().unwrap_or_default().to_owned(), hub.join_token().to_owned()))
    })?;
    let _hub = Process(Command::new(program).arg("hub").arg(temp.path()).arg(&address).spawn()?);
    let mut people = Connection::open(&address, &admin).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut attackers = JoinSet::new();
    match attack {
        Attack::Nothing => {}
        Attack::Streams => {
            for _ in 0..STREAMS {
                attackers.spawn(stream(address.clone(), stop.clone()));
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        Attack::Searches => {
            long_log(&address, &mut people, &join, temp.path()).await?;
            for _ in 0..SEARCHES {
                attackers.spawn(search(address.clone(), stop.clone()));
            }
        }
        Attack::Bundles => {
            bomb(&address, &mut people, &join, &mut attackers, stop.clone()).await?;
        }
    }
    let mut honest = JoinSet::new();
    for number in 0..CLAIMING + COMPLETING {
        let gpu = if number < CLAIMING { OTHER } else { WAITERS };
        honest.spawn(work(address.clone(), join.clone(), number, gpu, stop.clone()));
    }
    let end = Instant::now() + time;
    for number in 0.. {
        if Instant::now() >= end {
            break;
        }
        // Causes constant changes, which all open pages are told about.
        let _ = add(&mut people, &format!("job{number}-"), 2, WAITERS).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stop.store(true, Ordering::SeqCst);
    let mut all = Waited::default();
    while let Some(waited) = honest.join_next().await {
        match waited? {
            Ok(waited) => {
                all.claims.extend(waited.claims);
                all.completions.extend(waited.completions);
                all.failed += waited.failed;
            }
            Err(error) => eprintln!("a worker has ended: {error}"),
        }
    }
    attackers.shutdown().await;
    Ok(all)
}

/// An honest worker: claims without waiting, and completes the jobs that it gets.
async fn work(
    address: String,
    join: String,
    number: usize,
    gpu: &'static str,
    stop: Arc<AtomicBool>,
) -> Outcome<Waited> {
    let name = format!("honest{number}");
    let mut waited = Waited::default();
    let mut connection = register_at(&address, &join, &name, gpu).await?;
    for turn in 0_u64.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let body = json!({ "request": format!("c{turn}"), "wait": 0 }).to_string();
        let before = Instant::now();
        let answer = connection.send("POST", "/api/v1/claims", &[], body.as_bytes()).await;
        // A claim that gets a job is a larger transaction, so it is not measured here.
        if gpu == OTHER {
            waited.claims.push(before.elapsed());
        }
        match answer {
            Ok((200, answer)) => {
                let claimed: serde_json::Value = serde_json::from_slice(&answer)?;
                let lease = claimed["lease"].as_str().unwrap_or_default().to_owned();
                let before = Instant::now();
                match upload_and_complete(&mut connection, &lease, &claimed["job"], &name).await {
                    Ok(()) => waited.completions.push(before.elapsed()),
                    Err(_) => waited.failed += 1,
                }
            }
            Ok((204, _)) => {}
            Ok(_) | Err(_) => waited.failed += 1,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(waited)
}

/// A visitor without a token: an event stream that is opened again when it ends.
async fn stream(address: String, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::SeqCst) {
        if let Ok(mut stream) = TcpStream::connect(&address).await {
            let _ = stream.write_all(b"GET /events HTTP/1.1\r\nhost: h\r\n\r\n").await;
            let mut buffer = [0; 1024];
            while stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

/// A visitor that searches a long log for text that it does not contain.
async fn search(address: String, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::SeqCst) {
        if let Ok(mut stream) = TcpStream::connect(&address).await {
            let request = "GET /jobs/long0/log?find=nowhere HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(request.as_bytes()).await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            if answer.starts_with(b"HTTP/1.1 429") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// A job with the longest possible log. The file is written directly, as a worker would take too long to send it.
async fn long_log(address: &str, people: &mut Connection, join: &str, data: &Path) -> Outcome<()> {
    add(people, "long", 1, "gfx906").await?;
    let mut worker = register_at(address, join, "talks", "gfx906").await?;
    let claim = json!({ "request": "long", "wait": 5 }).to_string();
    let (status, answer) = worker.send("POST", "/api/v1/claims", &[], claim.as_bytes()).await?;
    if status != 200 {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&answer)).into());
    }
    // The first job has number 1.
    let directory = data.join("logs/01");
    std::fs::create_dir_all(&directory)?;
    let mut file = std::fs::File::create(directory.join("1-1.log"))?;
    let line = b"a line of a log that says very little and goes on for a while\n".repeat(1 << 14);
    for _ in 0..LOG / line.len() {
        file.write_all(&line)?;
    }
    Ok(())
}

/// A worker that completes its lease again and again with a bundle that unpacks to very much.
async fn bomb(
    address: &str,
    people: &mut Connection,
    join: &str,
    attackers: &mut JoinSet<()>,
    stop: Arc<AtomicBool>,
) -> Outcome<()> {
    add(people, "bomb", 1, "gfx906").await?;
    let mut worker = register_at(address, join, "bomber", "gfx906").await?;
    let claim = json!({ "request": "bomb", "wait": 5 }).to_string();
    let (_, answer) = worker.send("POST", "/api/v1/claims", &[], claim.as_bytes()).await?;
    let claimed: serde_json::Value = serde_json::from_slice(&answer)?;
    let bundle = tokio::task::block_in_place(made_bomb)?;
    let sha256 = Digest::of(&bundle);
    let announced = json!({ "size": bundle.len(), "sha256": sha256 }).to_string();
    let (_, answer) = worker.send("POST", "/api/v1/uploads", &[], announced.as_bytes()).await?;
    let upload: serde_json::Value = serde_json::from_slice(&answer)?;
    let path = format!("/api/v1/uploads/{}", upload["id"].as_str().unwrap_or_default());
    worker.send("PATCH", &path, &[("upload-offset", "0")], &bundle).await?;
    let path = format!("/api/v1/leases/{}/complete", claimed["lease"].as_str().unwrap_or_default());
    let body = json!({ "bundle": sha256, "verdict": "pass" }).to_string();
    // Several at once, as many as a hub without limits would process.
    for _ in 0..4 {
        let (path, body, stop) = (path.clone(), body.clone(), stop.clone());
        let mut connection = register_at(address, join, "bomber", "gfx906").await?;
        attackers.spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let _ = connection.send("POST", &path, &[], body.as_bytes()).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }
    Ok(())
}

/// A bundle of zeros without a result.
fn made_bomb() -> Outcome<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_path("zeros")?;
    header.set_size(BOMB);
    header.set_mode(0o644);
    header.set_cksum();
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1)?;
    encoder.write_all(header.as_bytes())?;
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), BOMB + 1024), &mut encoder)?;
    Ok(encoder.finish()?)
}
