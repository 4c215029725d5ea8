//! A hub with a year of results: how long its tables take to be made, how large the database is, and how fast pages and
//! histories are.
//!
//! `cargo run --release -p hub --example year -- DIRECTORY [RUNS-A-DAY]` fills the directory once, and measures. With 30
//! packages on 12 targets, two runs a day are 260,000 results with 1,050,000 outcomes. It is run by hand: it takes minutes.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Instant;

use hub::{Config, Hub, Listener};
use protocol::{InstalledPackage, PackageList};
use rusqlite::{Connection, params};
use serde_json::json;
use sha256::Digest;

const PACKAGES: usize = 30;
const TESTS: usize = 3;
const DAYS: usize = 365;
const TARGETS: [&str; 12] = [
    "gfx900", "gfx906", "gfx908", "gfx90a", "gfx942", "gfx1030", "gfx1031", "gfx1035", "gfx1100", "gfx1101", "gfx1103",
    "gfx1201",
];
/// Binary packages in a testbed.
const INSTALLED: usize = 320;
const DAY: usize = 24 * 3600 * 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("name a directory")?;
    let each_day: usize = arguments.next().map_or(Ok(2), |text| text.parse())?;
    let directory = Path::new(&directory);
    let database = directory.join("hub.sqlite");
    if !database.exists() {
        drop(Hub::open(directory, Config::default())?);
        let began = Instant::now();
        let count = fill(&database, each_day)?;
        println!("{count} results written in {:.0} s", began.elapsed().as_secs_f64());
    }
    let began = Instant::now();
    let hub = Hub::open(directory, Config { min_free: 0, ..Config::default() })?;
    println!("opened in {:.1} s", began.elapsed().as_secs_f64());
    println!("database: {} MiB", std::fs::metadata(&database)?.len() >> 20);

    let socket = TcpListener::bind("127.0.0.1:0")?;
    let address = socket.local_addr()?;
    let serving = hub.clone();
    std::thread::spawn(move || serving.serve_blocking(vec![Listener::plain(socket)], std::future::pending()));
    // The job of package-07 on gfx1030 on a day.
    let job = |day: usize| format!("package-07-{}", ((day * PACKAGES + 7) * TARGETS.len() + 5) * each_day + 1);
    let compare = format!("/compare?before={}&after={}", job(200), job(320));
    let page = format!("/jobs/{}", job(320));
    for path in [
        "/",
        "/?package=*-0*&target=gfx1030&state=regression",
        "/regressions",
        "/regressions?package=*-0*&target=gfx1030&as=user",
        "/flaky",
        &compare,
        &page,
        "/jobs?package=*-0*",
        "/jobs?package=none*",
        "/jobs?package=*7&state=given-up",
        "/jobs?package=*-0*&worker=worker-3",
        "/workers",
        "/workers?name=3",
        "/archive",
        "/problems",
        "/webhooks",
        "/storage",
        "/metrics",
        "/badge/package-07/gfx1030.svg",
        "/packages/package-07",
        "/packages/package-07/gfx1030",
        "/feed.atom",
        "/jobs",
        "/data/status/unstable/amd64+gfx1030/packages.json",
        "/api/v1/history?package=package-07&target=gfx1030&changes=1000&runs=1000",
        "/api/v1/why?package=package-07",
        "/api/v1/jobs?package=*-0*",
        "/api/v1/results?package=package-07&target=gfx1030",
        "/api/v1/compare?before=2026-06-01&after=2026-11-01",
    ] {
        let mut times = Vec::new();
        let mut bytes = 0;
        for _ in 0..7 {
            let began = Instant::now();
            bytes = get(&address.to_string(), path)?;
            times.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        times.sort_by(f64::total_cmp);
        println!("{:>8.1} ms median {:>8.1} ms worst {:>8} bytes  {path}", times[3], times[6], bytes);
    }
    Ok(())
}

fn get(address: &str, path: &str) -> Result<usize, Box<dyn Error>> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if !answer.starts_with(b"HTTP/1.1 200") {
        return Err(format!("{path}: {}", String::from_utf8_lossy(&answer[..answer.len().min(200)])).into());
    }
    Ok(answer.len())
}

/// Whether a test fails on a day. Some fail by chance, some from a day on, and some for a while.
fn fails(package: usize, target: usize, test: usize, day: usize, run: usize) -> bool {
    let key = (package * 31 + target * 7 + test * 3) % 40;
    let chance = |per_mille: usize| {
        let mut state = (package * 1_000_003 + target * 10_007 + test * 101 + day * 11 + run) as u64;
        state = state.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (state >> 40) as usize % 1000 < per_mille
    };
    match key {
        0 => day > 300,
        1 => (100..160).contains(&day),
        2 => chance(120),
        3 => true,
        _ => chance(1),
    }
}

fn fill(database: &Path, each_day: usize) -> Result<usize, Box<dyn Error>> {
    let mut db = Connection::open(database)?;
    let tx = db.transaction()?;
    let mut number = 0_i64;
    let start = 1_765_000_000_000_i64;
    {
        let mut job_row = tx.prepare(
            "INSERT INTO jobs (number, id, package, job, state, lease, worker, attempts, added, ended)
             VALUES (?1, ?2, ?3, ?4, 'finished', ?5, ?6, 1, ?7, ?7)",
        )?;
        let mut lease_row = tx.prepare(
            "INSERT INTO leases (id, job, worker, request, attempt, state, confirmed, given, turn)
             VALUES (?1, ?2, ?3, ?1, 1, 'completed', 1, ?4, ?2)",
        )?;
        let mut result_row = tx
            .prepare("INSERT INTO results VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, 'done', ?8, ?8, ?8, ?10, 1000, ?9)")?;
        let mut cover_row = tx.prepare(
            "INSERT OR REPLACE INTO coverage (package, target, simulated, job, turn, verdict, received)
             VALUES (?1, ?2, 0, ?3, ?3, ?4, ?5)",
        )?;
        let mut list_row = tx.prepare("INSERT OR IGNORE INTO package_lists (sha256, packages) VALUES (?1, ?2)")?;
        for target in 0..TARGETS.len() {
            tx.execute("INSERT INTO names (worker, name) VALUES (?1, ?1)", [format!("worker-{target}")])?;
        }
        for day in 0..DAYS {
            for package in 0..PACKAGES {
                let list = list(package, day);
                let digest = list.sha256();
                list_row.execute(params![digest.to_string(), zstd::encode_all(list.text().as_bytes(), 9)?])?;
                let name = format!("package-{package:02}");
                for (index, target) in TARGETS.iter().enumerate() {
                    for run in 0..each_day {
                        number += 1;
                        let at = start + i64::try_from(day * DAY + run * DAY / 2 + index * 1000 + package)?;
                        let (id, lease, worker) =
                            (format!("{name}-{number}"), format!("lease-{number}"), format!("worker-{index}"));
                        let outcomes: Vec<bool> =
                            (0..TESTS).map(|test| fails(package, index, test, day, run)).collect();
                        let verdict = if outcomes.contains(&true) { "fail" } else { "pass" };
                        let version = format!("7.{}.{}-1", day / 90, day / 30 % 3);
                        let tests: Vec<_> = outcomes
                            .iter()
                            .enumerate()
                            .map(|(test, fails)| {
                                json!({ "name": format!("test-{test}"), "installed": digest, "seconds": 12.5,
                                    "outcome": if *fails { "fail" } else { "pass" } })
                            })
                            .collect();
                        let gpus = gpu::simulate(target)?;
                        let mut machine = json!({
                            "name": worker, "kernel": format!("7.{}.1+deb14-amd64", day / 60), "processors": 16,
                            "memory": 65536, "rocbed": "0.1.0", "gpus": gpus,
                        });
                        machine["gpus"]["simulated"] = false.into();
                        machine["gpus"]["gpus"][0]["simulated"] = false.into();
                        let time = jiff::Timestamp::from_millisecond(at)?.to_string();
                        let job = json!({ "id": id, "package": name });
                        let result = json!({
                            "version": 1, "job": job, "verdict": verdict, "simulated": false, "started": time,
                            "finished": time, "gpus": ["simulated-0"], "machine": machine, "runs": [{
                                "as": "user", "verdict": verdict, "seconds": 60.0, "directory": "user",
                                "tested": version, "tests": tests,
                            }],
                        });
                        job_row.execute(params![number, id, name, job.to_string(), lease, worker, at])?;
                        lease_row.execute(params![lease, number, worker, at])?;
                        let result = result.to_string();
                        let bundle = Digest::of(&lease).to_string();
                        let row = params![number, lease, worker, name, version, verdict, target, at, result, bundle];
                        result_row.execute(row)?;
                        cover_row.execute(params![name, target, number, verdict, at])?;
                    }
                }
            }
        }
    }
    tx.commit()?;
    Ok(number as usize)
}

/// The packages in a package's testbed on a day: a tenth of them change each month.
fn list(package: usize, day: usize) -> PackageList {
    let one = |number: usize| InstalledPackage {
        name: format!("lib{number}-{}", package % 4),
        architecture: "amd64".into(),
        version: format!("1.{}-1", (day + number / 3 * 13) / 120),
        source: format!("source-{}", number / 3),
        source_version: format!("1.{}-1", (day + number / 3 * 13) / 120),
    };
    (0..INSTALLED).map(one).collect()
}
