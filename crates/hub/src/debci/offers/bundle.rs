//! Makes a result bundle of what a worker of debci has sent.

use std::fs::{self, File, FileTimes};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::SystemTime;

use ::bundle::{BundleLimits, BundlePlan, ENTRIES, JUNIT, RESULT, regular};
use debci::Received;
use flate2::read::MultiGzDecoder;
use jiff::SignedDuration;
use protocol::{Job, JobResult, Machine, PackageVersion, Run, RunAs, Verdict};
use runner::summary::Summary;
use serde::Deserialize;

/// Name of the run's directory in bundles.
const RUN: &str = "user";
/// The directory with what only rocbed's workers send.
const OURS: &str = "rocbed";
/// Largest of autopkgtest's small files, and of the `result.json` of a worker, in bytes.
const SMALL: u64 = 4 << 20;

/// What a bundle is made of.
pub(super) struct Making<'a> {
    pub(super) received: &'a Received,
    /// Where the message was unpacked.
    pub(super) unpacked: &'a Path,
    /// The job as the hub has it.
    pub(super) job: &'a Job,
    /// The architecture in whose queue it was.
    pub(super) architecture: &'a str,
    /// A directory for the bundle and its files, on the same file system.
    pub(super) into: &'a Path,
    /// Longest log, in bytes.
    pub(super) longest_log: u64,
}

/// Writes the bundle. The same message gives the same bytes, so that one that comes again is recognised.
///
/// # Errors
/// If a file cannot be read or written here.
pub(super) fn make(making: &Making<'_>) -> io::Result<::bundle::Bundle> {
    let base = making.into.join("files");
    let run = base.join(RUN);
    fs::create_dir(&base)?;
    fs::rename(making.unpacked.join(&making.received.directory), &run)?;
    let mut warnings = Vec::new();
    write_log(&run, &base.join("log"), making.longest_log, &mut warnings)?;
    let theirs = take_ours(&run, &base)?;
    let plan = BundlePlan::make(&base, &[RUN.to_owned()], &BundleLimits { bytes: u64::MAX, entries: ENTRIES });
    warnings.extend(plan.left_out.iter().cloned());
    let mut result = result(making, theirs.as_deref(), &run);
    result.warnings.extend(warnings);
    let json = serde_json::to_vec_pretty(&result).map_err(io::Error::other)?;
    fs::write(base.join(RESULT), json)?;
    let first: Vec<&str> =
        [RESULT, JUNIT, "log", "kernel.log"].into_iter().filter(|name| base.join(name).exists()).collect();
    // Times are in the bundle.
    let ended = SystemTime::from(making.received.finished);
    for name in &first {
        File::options().append(true).open(base.join(name))?.set_times(FileTimes::new().set_modified(ended))?;
    }
    ::bundle::write(making.into, "result", &base, &first, &plan)
}

/// Unpacks the log, and removes it from among the other files.
fn write_log(run: &Path, to: &Path, longest: u64, warnings: &mut Vec<String>) -> io::Result<()> {
    let mut file = File::create(to)?;
    let Ok(packed) = regular::open_beneath(run, Path::new("log.gz")) else {
        warnings.push("the worker has sent no log".into());
        return Ok(());
    };
    let mut log = MultiGzDecoder::new(packed).take(longest);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match log.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => file.write_all(buffer.get(..length).unwrap_or_default())?,
            // What could be read of it is kept.
            Err(error) => {
                warnings.push(format!("the log that the worker has sent is damaged: {error}"));
                break;
            }
        }
    }
    if log.limit() == 0 {
        warnings.push(format!("the log is longer than {longest} bytes; the rest is left out"));
    }
    fs::remove_file(run.join("log.gz"))
}

/// Moves what only rocbed's workers send to where it is in bundles. Returns their `result.json`.
fn take_ours(run: &Path, base: &Path) -> io::Result<Option<Vec<u8>>> {
    let ours = run.join(OURS);
    // A test may have left anything of this name, a link to elsewhere too.
    if !ours.symlink_metadata().is_ok_and(|about| about.is_dir()) {
        return Ok(None);
    }
    for name in [JUNIT, "kernel.log"] {
        let file = ours.join(name);
        if file.symlink_metadata().is_ok_and(|about| about.is_file()) {
            fs::rename(file, base.join(name))?;
        }
    }
    let json = regular::read_beneath(&ours, Path::new(RESULT), SMALL).ok();
    fs::remove_dir_all(&ours)?;
    Ok(json)
}

/// The result: that of a worker of rocbed, if there is one and it agrees with the exit code, or else one made of what
/// autopkgtest has written.
fn result(making: &Making<'_>, theirs: Option<&[u8]>, run: &Path) -> JobResult {
    let received = making.received;
    let parsed = theirs.map(JobResult::parse);
    let mut warnings = Vec::new();
    match parsed {
        Some(Ok(theirs)) if debci::exit_code(&theirs) == received.exit_code => {
            let mut result = JobResult { job: making.job.clone(), ..theirs };
            // Of a job of debci there is one run.
            result.runs.truncate(1);
            result.runs.iter_mut().for_each(|first| RUN.clone_into(&mut first.directory));
            return result;
        }
        Some(Ok(_)) => warnings.push("the result.json of the worker has another verdict than its exit code".into()),
        Some(Err(error)) => warnings.push(format!("the result.json of the worker cannot be read: {error}")),
        None => {}
    }
    let small = |name: &str| regular::read_beneath(run, Path::new(name), SMALL).unwrap_or_default();
    let summary = Summary::parse(&small("summary"));
    let verdict = Verdict::of_exit_status(Some(received.exit_code.into()));
    let version = String::from_utf8_lossy(&small("testpkg-version")).into_owned();
    let mut words = version.split_whitespace().map(str::to_owned);
    let package = words.next().zip(words.next()).map(|(name, version)| PackageVersion { name, version });
    let seconds = i64::try_from(received.seconds).unwrap_or_default();
    let started = received.finished.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(received.finished);
    let problem = Some(summary.problems.join("; ")).filter(|text| !text.is_empty() && verdict != Verdict::Pass);
    let problem = problem.or_else(|| (verdict == Verdict::TestbedFailed).then(|| exit_words(received.exit_code)));
    JobResult {
        version: protocol::VERSION,
        job: making.job.clone(),
        verdict,
        simulated: false,
        started,
        finished: received.finished,
        runs: vec![Run {
            run_as: RunAs::User,
            verdict,
            exit_status: Some(received.exit_code.into()),
            seconds: received.seconds as f64,
            directory: RUN.to_owned(),
            package,
            tested: None,
            archives: Vec::new(),
            tests: summary.tests,
        }],
        gpus: Vec::new(),
        machine: machine(received, making.architecture, &small("testinfo.json")),
        warnings,
        problem,
        processors: None,
        gpu_energy: None,
        kernel_log: Vec::new(),
        installed: protocol::InstalledLists::default(),
        parts: Vec::new(),
    }
}

fn exit_words(code: u8) -> String {
    format!("the worker of debci says exit code {code}: a temporary failure")
}

/// What autopkgtest writes of its machine (`testinfo.json`). Whatever is missing or odd is left out.
#[derive(Debug, Default, Deserialize)]
struct TestInfo {
    #[serde(default)]
    kernel_version: Option<String>,
    #[serde(default)]
    cpu_model: Option<String>,
    #[serde(default)]
    nproc: Option<serde_json::Value>,
}

fn machine(received: &Received, architecture: &str, info: &[u8]) -> Machine {
    const LONGEST: usize = 200;
    let info: TestInfo = serde_json::from_slice(info).unwrap_or_default();
    let short = |text: String| safetext::printable(&text.chars().take(LONGEST).collect::<String>());
    // `Linux 7.2.13+deb14-amd64 #1 SMP ...`
    let kernel = info.kernel_version.map(short).unwrap_or_default();
    let kernel = kernel.strip_prefix("Linux ").unwrap_or(&kernel).split(' ').next().unwrap_or_default().to_owned();
    let processors = info.nproc.and_then(|count| count.as_u64().or_else(|| count.as_str()?.trim().parse().ok()));
    let name = if received.worker.is_empty() { format!("a worker of {architecture}") } else { received.worker.clone() };
    Machine {
        name,
        kernel,
        processor: info.cpu_model.map(short),
        processors: processors.and_then(|count| u32::try_from(count).ok()).unwrap_or_default(),
        ..Machine::default()
    }
}
