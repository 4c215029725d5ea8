//! A runner for tests: its jobs write a log and pass, without testbeds.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use protocol::{JobResult, Verdict};
use sha256::Digest;

use super::machine;
use crate::{Assignment, Delivery, Outcome, RunError, RunJob, Share};

/// The jobs that run, with their GPUs. No GPU may have two.
#[derive(Default)]
pub struct Floor {
    running: Mutex<Vec<(String, Vec<String>)>>,
    /// The most that ran at the same time.
    pub most: AtomicUsize,
}

impl Floor {
    fn enter(&self, name: &str, gpus: Vec<String>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for (other, theirs) in running.iter() {
            assert!(!theirs.iter().any(|gpu| gpus.contains(gpu)), "{name} and {other} have the same GPU: {gpus:?}");
        }
        running.push((name.to_owned(), gpus));
        self.most.fetch_max(running.len(), Ordering::SeqCst);
    }

    fn leave(&self, name: &str) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).retain(|(other, _)| other != name);
    }
}

/// A runner without testbeds, whose jobs pass.
pub(super) struct Double {
    /// Where it makes bundles.
    pub(super) made: PathBuf,
    /// Lets slow jobs end.
    pub(super) go_on: Arc<AtomicBool>,
    /// Tells jobs that the machine is to stop.
    pub(super) stop: Arc<AtomicBool>,
    pub(super) floor: Arc<Floor>,
}

/// A job that runs.
struct Place<'a> {
    floor: &'a Floor,
    name: &'a str,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.floor.leave(self.name);
    }
}

impl RunJob for Double {
    fn run(
        &self,
        assignment: &Assignment,
        share: &Share,
        log: &mut dyn FnMut(&[u8]),
        phase: &mut dyn FnMut(&str),
    ) -> Result<Outcome, RunError> {
        let id = &assignment.job.id;
        self.floor.enter(assignment.name(), share.ids());
        let _place = Place { floor: &self.floor, name: assignment.name() };
        phase("testing");
        log(format!("log of {id}: one\n").as_bytes());
        for path in assignment.packages.iter().chain(&assignment.tree) {
            let (name, content) =
                (path.file_name().unwrap_or_default(), std::fs::read(path).map_err(RunError::Prepare)?);
            log(format!("{}: {}\n", name.display(), String::from_utf8_lossy(&content)).as_bytes());
        }
        let interrupted = assignment.interrupt.flag();
        while id.starts_with("slow") && !self.go_on.load(Ordering::SeqCst) {
            if self.stop.load(Ordering::SeqCst) || interrupted.load(Ordering::SeqCst) {
                return Ok(Outcome::Stopped { stuck: false });
            }
            thread::sleep(Duration::from_millis(2));
        }
        // Long enough for the log to be on its way by itself.
        thread::sleep(Duration::from_millis(10));
        log(format!("log of {id}: two\n").as_bytes());
        if id.starts_with("cannot") {
            return Ok(Outcome::Declined("it needs another machine".into()));
        }
        std::fs::create_dir_all(&self.made).map_err(RunError::Prepare)?;
        let bundle = self.made.join(format!("{}.tar.zst", assignment.name()));
        let bytes = bundle_of(assignment);
        std::fs::write(&bundle, &bytes).map_err(RunError::Prepare)?;
        let sha256 = sha256_of(&bundle);
        let (job, size) = (id.clone(), bytes.len() as u64);
        let summary = "1 passed".to_owned();
        Ok(Outcome::Ran {
            delivery: Delivery { job, verdict: Verdict::Pass, summary, bundle, size, sha256 },
            stuck: false,
            faults: runner::GpuFaults { contained: true, ..runner::GpuFaults::default() },
        })
    }

    fn forget(&self, delivery: &Delivery) {
        assert!(!delivery.bundle.exists(), "it is in the outbox, or has been");
    }
}

/// As sha256sum(1) of coreutils says.
fn sha256_of(path: &Path) -> Digest {
    let output = std::process::Command::new("sha256sum").arg(path).output().expect("the package coreutils");
    String::from_utf8_lossy(&output.stdout)[..64].parse().expect("a digest")
}

/// The bundle of a job that has passed.
pub(super) fn bundle_of(assignment: &Assignment) -> Vec<u8> {
    let now = jiff::Timestamp::now();
    let result = JobResult {
        version: protocol::VERSION,
        job: assignment.job.clone(),
        verdict: Verdict::Pass,
        simulated: true,
        started: now,
        finished: now,
        runs: Vec::new(),
        gpus: Vec::new(),
        machine: machine(),
        warnings: Vec::new(),
        problem: None,
        processors: None,
        gpu_energy: None,
        kernel_log: Vec::new(),
        installed: protocol::InstalledLists::default(),
        parts: Vec::new(),
    };
    let mut builder = tar::Builder::new(Vec::new());
    // What does not compress, and takes more than one read: what is cut is cut in the middle.
    let noise: Vec<u8> = (0..300_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for (name, content) in [("result.json", serde_json::to_vec(&result).expect("JSON")), ("noise", noise)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, &content[..]).expect("an entry");
    }
    zstd::encode_all(&builder.into_inner().expect("an archive")[..], 1).expect("compressed")
}
