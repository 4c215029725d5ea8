//! A debci server for tests: a broker that fails where it is told to, a collector, and the answers to `job_state`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use amqp::fixtures::{Behaviour, TestBroker};
use protocol::{Job, JobResult, PackageVersion, Run, RunAs, Verdict};
use sha256::Digest;
use tempfile::TempDir;

use super::super::*;
use super::{Result, claimed};
use crate::job_source::Delivery;

pub(super) const JOBS: &str = "debci-tests-amd64+gfx1030-lxc";

/// Time limit for anything that must happen in the end.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a result that debci gets has in it, by the names in its directory.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

type States = Arc<Mutex<BTreeMap<u64, &'static str>>>;

pub(super) struct Lab {
    pub(super) broker: TestBroker,
    states: States,
    web: SocketAddr,
    directory: TempDir,
}

impl Lab {
    pub(super) fn start() -> Result<Self> {
        Self::with(Behaviour::default())
    }

    pub(super) fn with(behaviour: Behaviour) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (web, states) = (listener.local_addr()?, States::default());
        let theirs = Arc::clone(&states);
        // It ends with the test program.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                drop(answer(stream, &theirs));
            }
        });
        Ok(Self { broker: TestBroker::start(behaviour)?, states, web, directory: tempfile::tempdir()? })
    }

    /// Enqueues a job.
    pub(super) fn enqueue(&self, run: u64) {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).insert(run, "pending");
        self.broker.put(JOBS, format!("rocrand unstable run-id:{run} backend:lxc").as_bytes());
    }

    /// Gives a job a result without any worker.
    pub(super) fn complete(&self, run: u64) {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).insert(run, "completed");
    }

    /// Whether all jobs have left their queue for good.
    pub(super) fn is_empty(&self) -> bool {
        self.broker.messages(JOBS).is_empty() && self.broker.taken() == 0
    }

    /// The worker of this name: after a restart, if there was one.
    pub(super) fn worker(&self, name: &str, api: Api) -> Result<Debci> {
        let data = self.data(name);
        fs::create_dir_all(&data)?;
        let settings = Settings {
            address: self.broker.address(),
            api: (api == Api::Known).then(|| format!("http://{}/", self.web)),
            timeouts: Timeouts { longest_pause: Duration::from_millis(5), ..Timeouts::of_tests() },
            ..super::settings(&data)?
        };
        let mut debci = Debci::open(settings).map_err(|error| error.what)?;
        let machine = Machine { name: name.into(), gpus: gpu::simulate("gfx1030")?, ..Machine::default() };
        debci.ready(&machine, &[]).map_err(|error| error.what)?;
        Ok(debci)
    }

    pub(super) fn data(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Ends a worker as a power cut does.
    pub(super) fn kill(&self, worker: Debci) {
        drop(worker);
        self.broker.cut();
    }

    /// The results that wait for the collector.
    pub(super) fn results(&self) -> Result<Vec<(u64, Files)>> {
        self.broker.messages(RESULTS_QUEUE).iter().map(|bytes| unpacked(bytes)).collect()
    }

    /// Lets the collector take all results. Returns their jobs.
    pub(super) fn collect(&self) -> Result<Vec<u64>> {
        let results: Result<Vec<_>> = self.broker.drain(RESULTS_QUEUE).iter().map(|bytes| unpacked(bytes)).collect();
        let runs: Vec<u64> = results?.into_iter().map(|(run, _)| run).collect();
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.extend(runs.iter().map(|run| (*run, "completed")));
        Ok(runs)
    }
}

/// Whether a worker may ask the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    Known,
    Unknown,
}

/// Claims until there is a job.
pub(super) fn claim(worker: &mut Debci) -> Result<Assignment> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Claim::Job(assignment) = claimed(worker).map_err(|error| error.what)? {
            return Ok(*assignment);
        }
    }
    Err("there is no job".into())
}

/// Claims until all jobs are gone. None of them is to be run.
pub(super) fn settle(lab: &Lab, worker: &mut Debci) -> Result {
    let began = Instant::now();
    while !lab.is_empty() {
        assert!(began.elapsed() < PATIENCE, "jobs are left");
        let claimed = claimed(worker).map_err(|error| error.what)?;
        assert!(!matches!(claimed, Claim::Job(_)), "{claimed:?}");
    }
    Ok(())
}

/// Runs a job that passes and leaves an artifact of so many bytes.
pub(super) fn run(lab: &Lab, assignment: &Assignment, artifact: usize) -> Result<Delivery> {
    let path = lab.directory.path().join(format!("made-{}", assignment.name()));
    let mut builder = tar::Builder::new(zstd::Encoder::new(fs::File::create(&path)?, 1)?);
    let result = serde_json::to_vec(&result(&assignment.job))?;
    for (name, content) in [
        ("result.json", result),
        ("log", b"rocbed: running\n".to_vec()),
        ("user/log", b"autopkgtest: done\n".to_vec()),
        ("user/summary", b"upstream             PASS\n".to_vec()),
        ("user/artifacts/noise", noise(artifact)),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content.as_slice())?;
    }
    builder.into_inner()?.finish()?;
    let size = fs::metadata(&path)?.len();
    let (job, summary) = (assignment.job.id.clone(), "1 passed".into());
    Ok(Delivery { job, verdict: Verdict::Pass, summary, bundle: path, size, sha256: Digest::of(b"") })
}

pub(super) fn deliver(worker: &mut Debci, assignment: &Assignment, delivery: &Delivery) -> Result {
    Ok(worker.deliver(assignment, delivery).map_err(|error| error.what)?)
}

fn result(job: &Job) -> JobResult {
    let started = jiff::Timestamp::UNIX_EPOCH;
    JobResult {
        version: protocol::VERSION,
        job: job.clone(),
        verdict: Verdict::Pass,
        simulated: false,
        started,
        finished: started + Duration::from_secs(137),
        runs: vec![Run {
            run_as: RunAs::User,
            verdict: Verdict::Pass,
            exit_status: Some(0),
            seconds: 130.0,
            directory: "user".into(),
            package: Some(PackageVersion { name: "rocrand".into(), version: "6.4.3-1".into() }),
            tested: None,
            archives: Vec::new(),
            tests: Vec::new(),
        }],
        gpus: Vec::new(),
        machine: Machine::default(),
        warnings: Vec::new(),
        problem: None,
        processors: None,
        gpu_energy: None,
        kernel_log: Vec::new(),
        installed: protocol::InstalledLists::default(),
        parts: Vec::new(),
    }
}

/// Bytes that cannot be compressed.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// The run id of a result, as the collector finds it, and its files.
fn unpacked(bytes: &[u8]) -> Result<(u64, Files)> {
    let (mut run, mut files) = (None, Files::new());
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        if path.file_name() == Some("exitcode".as_ref()) {
            run = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()?.parse().ok());
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        let name = path.iter().skip_while(|part| part.to_str().is_none_or(|part| part.parse::<u64>().is_err())).skip(1);
        files.insert(name.collect::<PathBuf>().to_string_lossy().into_owned(), content);
    }
    Ok((run.ok_or("no exitcode")?, files))
}

/// The log of a result.
pub(super) fn log(files: &Files) -> Result<String> {
    let mut log = String::new();
    let packed = files.get("log.gz").ok_or("no log")?;
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut log)?;
    Ok(log)
}

/// Answers one request for a job's state, as debci does.
fn answer(mut stream: TcpStream, states: &States) -> Result {
    let mut first = String::new();
    let mut reader = BufReader::new(stream.try_clone()?);
    reader.read_line(&mut first)?;
    let mut line = first.clone();
    while !line.trim().is_empty() {
        line.clear();
        reader.read_line(&mut line)?;
    }
    let run = first.split_whitespace().nth(1).and_then(|path| path.strip_prefix("/api/v1/job_state/")?.parse().ok());
    let states = states.lock().unwrap_or_else(PoisonError::into_inner);
    let state = run.and_then(|run: u64| states.get(&run).copied());
    let (status, body) = match state {
        Some(state) => ("200 OK", format!("{{\"state\": \"{state}\"}}")),
        None => ("400 Bad Request", "{\"error\": \"Cannot find Job with this id\"}".to_owned()),
    };
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")?;
    Ok(())
}
