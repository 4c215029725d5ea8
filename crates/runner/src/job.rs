//! Runs a whole job: prepares its source, runs autopkgtest, determines the verdict, writes the bundle.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use bundle::{Bundle, BundleLimits, JUNIT, RESULT};
use jiff::Timestamp;
use protocol::{InstalledLists, Job, JobResult, LocalPackage, Run, RunAs, TestOutcome, Verdict};

use crate::bounded::BoundedLog;
use crate::bounds::{Bounds, Stopped};
use crate::energy::EnergyMeter;
use crate::kernel_log::{OutOfMemory, Watch};
use crate::log::Reader;
use crate::output::{self, TestReport};
use crate::reached;
use crate::run::{self, EndReason, RunContext, RunEnd};
use crate::{
    Cancel, Error, GpuFaults, KernelLog, Observer, RunEvent, Setup, apt, apt_files, clean, command, installed, junit,
    source, timeouts,
};

/// The outcome of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// The result, as it is in the bundle.
    pub result: JobResult,
    /// The bundle.
    pub bundle: Bundle,
    /// Whether the job was cancelled; then its result is incomplete.
    pub cancelled: bool,
    /// Whether a process is stuck in the kernel, so that the machine has to be restarted.
    pub stuck: bool,
    /// Faults of the job's GPUs.
    pub faults: GpuFaults,
}

/// Files at the top of a bundle, after the result.
const FILES: [&str; 3] = [JUNIT, "log", "kernel.log"];

/// Runs a job: autopkgtest once for each user that the job names. Writes the bundle.
///
/// It takes no longer than the job's timeout plus the limits for ending processes, not counting the time to read and
/// compress the tests' output. The calling process must not wait for children that are not its own, as autopkgtest's
/// exit status would be lost, and must not have inheritable file descriptors open.
///
/// # Errors
///
/// If the source is not available, autopkgtest is missing, or files cannot be written. Any failure of the tests is a
/// result.
pub fn run(
    job: &Job,
    setup: &Setup,
    kernel: &mut dyn KernelLog,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Finished, Error> {
    let (started, began) = (Timestamp::now(), Instant::now());
    let scratch = tempfile::Builder::new().prefix("rocbed-job.").tempdir_in(&setup.work);
    let scratch = scratch.map_err(Error::step(format!("making a directory in {}", setup.work.display())))?;
    let directory = match &setup.keep {
        Some(directory) => empty(directory)?,
        None => empty(&scratch.path().join("results"))?,
    };
    let create = |name: &str| File::create(directory.join(name)).map_err(Error::step(format!("making {name}")));
    let mut state = State {
        job,
        setup,
        directory: &directory,
        temporary: empty(&scratch.path().join("tmp"))?,
        log: BoundedLog::new(create("log")?, setup.limits.log),
        kernel: Watch::new(kernel, create("kernel.log")?, &setup.gpus),
        observer,
        cancel,
        runs: Vec::new(),
        reports: Vec::new(),
        warnings: Vec::new(),
        problems: Vec::new(),
        installed: InstalledLists::default(),
        ended_early: None,
        stuck: false,
    };
    let local = installed::local_packages(job, setup)?;
    let files = apt_files::write(job, &setup.extra_sources, &scratch.path().join("apt"))?;
    state.observer.event(RunEvent::Source(job.source.name()));
    let time = setup.time_of(job);
    let hard = began + time.0;
    let source = state.source(&scratch.path().join("source"), hard)?;
    // Getting the source uses no GPU.
    let energy = EnergyMeter::start(Path::new("/sys"), &setup.gpus);
    let soft = hard.checked_sub(timeouts::reserve(time.0)).unwrap_or(hard);
    for run_as in &job.run_as {
        let Some(source) = &source else { break };
        state.run_as(*run_as, &Prepared { source, files: &files }, soft, hard)?;
        if state.ended_early.is_some() {
            break;
        }
    }
    let mut result = state.result(started, local);
    result.gpu_energy = energy.and_then(EnergyMeter::finish);
    let faults = state.kernel.faults();
    let State { reports, stuck, ended_early, observer, .. } = state;
    observer.event(RunEvent::Bundling);
    let bundle = keep(&mut result, &reports, &directory, setup)?;
    Ok(Finished { result, bundle, cancelled: ended_early == Some(EndReason::Cancelled), stuck, faults })
}

/// Most lines in a result about simulated GPUs.
const SIMULATION_LINES: usize = 20;

/// Creates a directory, or accepts an existing empty one.
fn empty(directory: &Path) -> Result<PathBuf, Error> {
    let what = format!("making {}", directory.display());
    fs::create_dir_all(directory).map_err(Error::step(what.as_str()))?;
    let directory = directory.canonicalize().map_err(Error::step(what.as_str()))?;
    if fs::read_dir(&directory).map_err(Error::step(what))?.next().is_some() {
        return Err(Error::NotEmpty(directory));
    }
    Ok(directory)
}

/// Removes temporary files from autopkgtest's output directory: if it was ended early, it leaves whole source trees.
fn remove_scratch(output: &Path) -> Result<(), Error> {
    for name in ["tests-tree", "pkg", "fake.dsc", "apt-control"] {
        let path = output.join(name);
        let removed = match path.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(_) => continue,
        };
        removed.map_err(Error::step(format!("removing {}", path.display())))?;
    }
    Ok(())
}

/// How far tests came on simulated GPUs, in a line for each; those that did not use them have none.
fn simulation(reached: &[(String, String)], run_as: RunAs) -> Vec<String> {
    let line = |(test, what): &(String, String)| format!("test {test} as {run_as}: on the simulated GPU it {what}");
    let mut lines: Vec<String> = reached.iter().map(line).collect();
    lines.dedup();
    if lines.len() > SIMULATION_LINES {
        let more = lines.len() - SIMULATION_LINES;
        lines.truncate(SIMULATION_LINES);
        lines.push(format!("{more} more tests used the simulated GPU"));
    }
    lines
}

/// What is prepared once for all runs of a job.
struct Prepared<'a> {
    source: &'a source::Ready,
    /// Files for apt, and where they belong in testbeds.
    files: &'a [(PathBuf, String)],
}

/// A running job.
struct State<'a, 'k> {
    job: &'a Job,
    setup: &'a Setup,
    directory: &'a Path,
    temporary: PathBuf,
    log: BoundedLog,
    kernel: Watch<'k>,
    observer: &'a mut dyn Observer,
    cancel: &'a Cancel,
    runs: Vec<Run>,
    reports: Vec<Vec<TestReport>>,
    warnings: Vec<String>,
    problems: Vec<String>,
    installed: InstalledLists,
    /// Reason why the runs were ended early, if they were.
    ended_early: Option<EndReason>,
    stuck: bool,
}

impl State<'_, '_> {
    /// Prepares the source; `None` if the job ended meanwhile.
    fn source(&mut self, directory: &Path, hard: Instant) -> Result<Option<source::Ready>, Error> {
        let bounds = Bounds::new(source::TIME.min(self.setup.time_of(self.job).0), self.cancel);
        let error = match source::prepare(self.job, self.setup.source.as_deref(), directory, &bounds) {
            Ok(source) => return Ok(Some(source)),
            Err(error) => error,
        };
        match bounds.check() {
            Err(Stopped::Cancelled) => {
                self.ended_early = Some(EndReason::Cancelled);
                self.problems.push("the job was cancelled while its source was fetched".into());
            }
            Err(Stopped::Late(_)) if Instant::now() >= hard => {
                self.ended_early = Some(EndReason::Deadline);
                self.problems.push(format!("the job's time of {} was over: {error}", self.setup.time_of(self.job)));
            }
            _ => return Err(error),
        }
        Ok(None)
    }

    /// Runs autopkgtest once, as one user.
    fn run_as(&mut self, run_as: RunAs, prepared: &Prepared, soft: Instant, hard: Instant) -> Result<(), Error> {
        let began = Instant::now();
        let name = run_as.to_string();
        let output = self.directory.join(&name);
        let left = hard.saturating_duration_since(began);
        let arguments =
            command::arguments(self.job, self.setup, prepared.source, prepared.files, run_as, &output, left)?;
        self.log.write(format!("rocbed: running the tests as {name}\n").as_bytes());
        self.observer.event(RunEvent::RunStarted(run_as));
        let (mut reader, mut apt) = (Reader::default(), apt::Errors::default());
        let mut context = RunContext {
            program: &self.setup.autopkgtest,
            temporary: &self.temporary,
            output: &output,
            simulation: &self.setup.simulation(),
            limits: &self.setup.limits,
            deadlines: (soft, hard),
            log: &mut self.log,
            kernel: &mut self.kernel,
            apt: &mut apt,
            observer: self.observer,
            cancel: self.cancel,
        };
        let end = run::run(&arguments, &mut context, &mut reader)?;
        // autopkgtest may have ended before it created the directory.
        fs::create_dir_all(&output).map_err(Error::step(format!("making {}", output.display())))?;
        if end.status.is_none() {
            remove_scratch(&output)?;
        }
        self.warnings.extend(end.left_out.iter().cloned());
        self.warnings.extend(simulation(&end.simulated, run_as));
        let removed = clean::clean(&output).map_err(Error::step(format!("looking through {}", output.display())))?;
        self.warnings.extend(removed);
        let begun = if end.status.is_some() { 0 } else { end.begun };
        let mut read = output::read(&output, &reader, begun);
        self.warnings.extend(reached::explain(&end.limits, &mut read.tests, run_as));
        let tested = read.package.as_ref().map_or_else(|| self.job.source.name(), |package| &package.name).to_owned();
        let records = installed::read(&self.temporary.join(run::RECORDS));
        let seen = records.note(&mut self.installed, &mut read.tests, &tested);
        let others = records.other_versions(&self.job.versions);
        let verdict = self.verdict(&end, &read.tests, left, &others);
        self.problems.extend(others);
        // For failures outside of tests, autopkgtest rarely gives a reason.
        let said = apt.said().filter(|_| !read.problems.is_empty());
        self.problems.extend(read.problems.into_iter().chain(said).filter(|_| verdict != Verdict::Pass));
        self.warnings.extend(read.tests.iter().filter_map(output::failed_cases));
        self.warnings.extend(read.faults);
        self.note(&end, run_as, &reader);
        let run = Run {
            run_as,
            verdict,
            exit_status: end.status,
            seconds: began.elapsed().as_secs_f64(),
            directory: name,
            package: read.package,
            tested: seen.version,
            archives: seen.archives,
            tests: read.tests,
        };
        self.observer.event(RunEvent::RunEnded(&run));
        self.runs.push(run);
        self.reports.push(read.reports);
        self.stuck |= end.stuck;
        if end.reason != EndReason::Completed || end.stuck {
            self.ended_early = Some(end.reason);
        }
        Ok(())
    }

    /// The verdict on a run. `others` are installed versions that the job did not want.
    fn verdict(
        &self,
        end: &RunEnd,
        tests: &[protocol::TestResult],
        left: std::time::Duration,
        others: &[String],
    ) -> Verdict {
        match end.reason {
            EndReason::Deadline => return Verdict::Timeout,
            EndReason::GpuFault => return Verdict::GpuFault,
            EndReason::Cancelled => return Verdict::TestbedFailed,
            EndReason::Completed if !others.is_empty() => return Verdict::TestbedFailed,
            EndReason::Completed => {}
        }
        let verdict = Verdict::of_exit_status(end.status);
        // A test with less time than the default limit ran into the job's deadline.
        let cut_short = left.as_secs() < 10_000 || self.setup.time_of(self.job) > Job::TIMEOUT;
        let timed_out = tests.iter().any(|test| test.outcome == TestOutcome::Fail && test.reason == "timed out");
        if verdict == Verdict::Fail && cut_short && timed_out { Verdict::Timeout } else { verdict }
    }

    /// Records the parts of a run's end that users should know.
    fn note(&mut self, end: &RunEnd, run_as: RunAs, reader: &Reader) {
        let last = reader.order.get(..end.begun).and_then(<[String]>::last);
        let during = last.map(|name| format!(", at the test {name}")).unwrap_or_default();
        match end.reason {
            EndReason::Deadline => self.problems.push(format!(
                "the job's time of {} was over while the tests ran as {run_as}{during}; what there was is kept",
                self.setup.time_of(self.job)
            )),
            EndReason::GpuFault => {
                self.problems.push(format!(
                    "the job was ended for it while the tests ran as {run_as}{during}; what there was is kept"
                ));
            }
            EndReason::Cancelled => self.problems.push(format!("the job was cancelled{during}")),
            EndReason::Completed if end.status_lost => {
                self.problems.push("autopkgtest's exit status was taken by another part of this process".into());
            }
            EndReason::Completed if end.status.is_none() => self.problems.push("autopkgtest was killed".into()),
            EndReason::Completed => {}
        }
        if end.stuck {
            self.problems.push("processes of the tests are stuck in the kernel: restart the machine".into());
        }
    }

    /// Assembles the result.
    fn result(&mut self, started: Timestamp, local: Vec<LocalPackage>) -> JobResult {
        for (name, written) in [("log", self.log.finish()), ("kernel.log", self.kernel.finish())] {
            if let Err(error) = written {
                self.warnings.push(format!("{name} is not whole: {error}"));
            }
        }
        let granted = &self.setup.gpus;
        let without =
            if self.ended_early == Some(EndReason::Deadline) { Verdict::Timeout } else { Verdict::TestbedFailed };
        let mut verdict = self.runs.iter().map(|run| run.verdict).max().unwrap_or(without);
        let ids = || granted.iter().map(|gpu| gpu.id.as_str()).collect::<Vec<_>>().join(", ");
        if self.kernel.gpu_fault {
            verdict = Verdict::GpuFault;
            self.problems
                .insert(0, format!("the kernel's log tells of faults of the GPU while the tests ran ({})", ids()));
        }
        let all_skipped =
            |run: &Run| !run.tests.is_empty() && run.tests.iter().all(|test| test.outcome == TestOutcome::Skip);
        if !granted.is_empty() && self.runs.iter().any(all_skipped) {
            self.warnings.push(format!("all tests were skipped, although the testbed has a GPU ({})", ids()));
        }
        match self.kernel.out_of_memory {
            Some(OutOfMemory::Machine) => {
                self.warnings.push("the machine's memory was used up, and the kernel killed processes".into());
            }
            // The testbed itself has told, and it may have been another job's.
            Some(OutOfMemory::Group) if self.setup.limits_memory() => {}
            Some(OutOfMemory::Group) => self.warnings.push(
                "the memory that a control group may have was used up, and the kernel killed processes in it".into(),
            ),
            None => {}
        }
        if let Some(error) = self.kernel.failure.take().filter(|_| !granted.is_empty()) {
            self.warnings.push(format!("the kernel's log could not be read, so GPU faults are not known: {error}"));
        }
        JobResult {
            version: protocol::VERSION,
            job: self.job.clone(),
            verdict,
            simulated: granted.iter().any(|gpu| gpu.simulated),
            started,
            finished: Timestamp::now(),
            runs: std::mem::take(&mut self.runs),
            gpus: granted.iter().map(|gpu| gpu.id.clone()).collect(),
            processors: self.setup.processors.clone(),
            gpu_energy: None,
            machine: self.setup.machine.clone(),
            warnings: std::mem::take(&mut self.warnings),
            problem: (!self.problems.is_empty()).then(|| self.problems.join("; ")),
            kernel_log: std::mem::take(&mut self.kernel.lines),
            installed: InstalledLists { local, ..std::mem::take(&mut self.installed) },
            parts: Vec::new(),
        }
    }
}

/// Writes the files at the top, and then the bundle.
fn keep(result: &mut JobResult, reports: &[Vec<TestReport>], directory: &Path, setup: &Setup) -> Result<Bundle, Error> {
    let path = setup.bundles.join(format!("{}{}", setup.name, bundle::SUFFIX));
    let runs: Vec<String> = result.runs.iter().map(|run| run.directory.clone()).collect();
    let limits = BundleLimits { bytes: setup.limits.artifacts, entries: setup.limits.files };
    let plan = bundle::BundlePlan::make(directory, &runs, &limits);
    result.warnings.extend(plan.left_out.iter().cloned());
    let write = || {
        fs::create_dir_all(&setup.bundles)?;
        junit::write(File::create(directory.join(JUNIT))?, result, reports, directory)?;
        let json = serde_json::to_vec_pretty(&result).map_err(std::io::Error::other)?;
        fs::write(directory.join(RESULT), json)?;
        let first: Vec<&str> = std::iter::once(RESULT).chain(FILES).collect();
        bundle::write(&setup.bundles, &setup.name, directory, &first, &plan)
    };
    let written = write();
    written.map_err(|source| Error::Bundle { path, source, result: Box::new(result.clone()) })
}
