//! Runs jobs with autopkgtest, in testbeds over the read-only root.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use advice::Advice;
use gpu::{Gpu, Target};
use protocol::{GpuNeed, Job, Machine, Source};
use runner::{Cancel, GpuFaults, Observer, RunEvent, Setup};

use super::apt;
use super::job_source::{Assignment, Delivery, TestbedOptions};
use super::kernel::{LiveLog, SIMULATE_FAULT, simulate_fault};
use super::lists::Lists;
use appliance::paths::{self, APT, IMAGE, ONLINE};
use appliance::settings::Settings;

/// The agent's work directory while jobs run.
const WORK: &str = "/var/tmp/rocbed/work";

/// Directory for unfinished bundles, inside the data directory so that they can be moved to the outbox without a
/// copy.
const BUNDLES: &str = "bundles";

/// The control group of all testbeds, and a file that is there where control groups are.
const CONTROL_GROUP: &str = "/sys/fs/cgroup/testbeds";
const CONTROLLERS: &str = "/sys/fs/cgroup/cgroup.controllers";

/// How long a job that needs packages waits for a network.
const PATIENCE: Duration = Duration::from_secs(90);

/// The outcome of [`RunJob::run`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The job ran, and there is a result to deliver.
    Ran {
        /// The result.
        delivery: Delivery,
        /// Whether a process is stuck in the kernel, so that the machine has to be restarted.
        stuck: bool,
        /// The faults of its GPUs.
        faults: GpuFaults,
    },
    /// This machine cannot run the job, for this reason.
    Declined(String),
    /// The job was interrupted, by its [`super::Interrupt`] or because the machine is to stop; there is no result.
    Stopped {
        /// Whether a process is stuck in the kernel.
        stuck: bool,
    },
}

/// Why there is no result, for reasons that have nothing to do with the job.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The settings of apt cannot be written.
    #[error("writing apt's settings in {APT}")]
    Apt(#[source] io::Error),
    /// The files for the run cannot be written.
    #[error("preparing its run")]
    Prepare(#[source] io::Error),
    /// The kernel's log cannot be read.
    #[error("opening the kernel's log")]
    KernelLog(#[source] io::Error),
    /// There is no bundle.
    #[error(transparent)]
    Runner(#[from] runner::Error),
}

impl RunError {
    /// The message, its causes and what to do, for places that have one line.
    pub fn in_one_line(&self) -> String {
        let report = advice::Report::of(self, advice::help_of::<runner::Error>);
        let what = std::iter::once(report.message).chain(report.causes).collect::<Vec<_>>().join(": ");
        Advice::new(what, report.help).in_one_line()
    }
}

/// Runs a job.
pub trait RunJob {
    /// Runs a job to its end. Pieces of the log and phases are passed on as they come.
    ///
    /// # Errors
    /// If there is no result for reasons that have nothing to do with the job.
    fn run(
        &mut self,
        assignment: &Assignment,
        log: &mut dyn FnMut(&[u8]),
        phase: &mut dyn FnMut(&str),
    ) -> Result<Outcome, RunError>;

    /// Removes the job's files after its result was delivered.
    fn forget(&mut self, delivery: &Delivery);
}

/// Runs jobs with autopkgtest.
#[derive(Debug)]
pub struct Autopkgtest<'a> {
    settings: &'a Settings,
    machine: &'a Machine,
    stop: Arc<AtomicBool>,
    lists: Lists,
}

impl<'a> Autopkgtest<'a> {
    /// Runs jobs on this machine; a job is interrupted once `stop` is set.
    pub fn new(settings: &'a Settings, machine: &'a Machine, stop: Arc<AtomicBool>) -> Self {
        Self { settings, machine, stop, lists: Lists::new(APT.into()) }
    }

    fn setup(&self, assignment: &Assignment, gpus: &[&Gpu]) -> io::Result<Setup> {
        let bundles = Path::new(super::DATA).join(BUNDLES);
        for directory in [Path::new(WORK), &bundles] {
            fs::create_dir_all(directory)?;
        }
        let mut setup = Setup::new(self.server(), WORK.into(), bundles, assignment.name());
        setup.machine = self.machine.clone();
        setup.gpus = gpus.iter().map(|gpu| (*gpu).into()).collect();
        setup.source.clone_from(&assignment.tree);
        add_options(&mut setup, &assignment.testbed, &Path::new(WORK).join("keys"))?;
        Ok(setup)
    }

    /// The command line of the virtualisation server, which makes testbeds.
    fn server(&self) -> Vec<OsString> {
        let program = [paths::PROGRAM, "virt", "--root", IMAGE, "--overlay-size", &self.settings.overlay_size];
        let layer = [OsString::from("--layer"), self.lists.layer().into_os_string()];
        let memory = ["--cgroup", CONTROL_GROUP, "--memory", &self.settings.testbed_memory];
        // Without control groups, which the start has told, tests run as they did before there were limits.
        let memory = memory.into_iter().filter(|_| Path::new(CONTROLLERS).exists()).map(OsString::from);
        program.map(OsString::from).into_iter().chain(layer).chain(memory).collect()
    }

    /// Makes sure that testbeds have package lists. If that fails, each testbed fetches its own.
    fn fetch_lists(&mut self, job: &Job, cancel: &Cancel, log: &mut dyn FnMut(&[u8]), phase: &mut dyn FnMut(&str)) {
        if !self.lists.are_due(job, Path::new(ONLINE).exists()) {
            return;
        }
        phase("fetching the package lists");
        log(b"rocbed: fetching the package lists, once for all testbeds\n");
        let server = self.server();
        if let Err(error) = self.lists.fetch(&server, cancel, log) {
            log(format!("rocbed: fetching the package lists: {error}; each testbed tries it itself\n").as_bytes());
        }
    }

    /// Waits for a network if the job needs packages; without one the job starts anyway, and apt reports the problem.
    fn wait_for_network(&self, job: &Job, phase: &mut dyn FnMut(&str)) {
        if matches!(job.source, Source::Path(_)) {
            return;
        }
        let began = Instant::now();
        while !Path::new(ONLINE).exists() && began.elapsed() < PATIENCE && !self.stop.load(Ordering::Relaxed) {
            if began.elapsed() < Duration::from_millis(200) {
                phase("waiting for the network");
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl RunJob for Autopkgtest<'_> {
    fn run(
        &mut self,
        assignment: &Assignment,
        log: &mut dyn FnMut(&[u8]),
        phase: &mut dyn FnMut(&str),
    ) -> Result<Outcome, RunError> {
        let job = &assignment.job;
        let gpus = match grant(job, self.machine) {
            Ok(gpus) => gpus,
            Err(why) => return Ok(Outcome::Declined(why.to_string())),
        };
        self.wait_for_network(job, phase);
        let cancel = Cancel::from(Arc::clone(&self.stop)).or(assignment.interrupt.flag());
        apt::write(self.settings, Path::new("/"), &self.lists.layer()).map_err(RunError::Apt)?;
        self.fetch_lists(job, &cancel, log, phase);
        let setup = self.setup(assignment, &gpus).map_err(RunError::Prepare)?;
        // Real GPUs have faults of their own.
        let simulated = self.settings.simulate_faults && self.machine.gpus.simulated;
        let mut kernel = LiveLog::open(simulated).map_err(RunError::KernelLog)?;
        let fault = job.env.get(SIMULATE_FAULT).filter(|_| simulated).map(String::as_str);
        let finished = runner::run(job, &setup, &mut kernel, &mut Watcher { log, phase, fault }, &cancel)?;
        if finished.cancelled {
            // Its result only says that the job was interrupted.
            let _ = fs::remove_file(&finished.bundle.path);
            return Ok(Outcome::Stopped { stuck: finished.stuck });
        }
        let delivery = Delivery {
            job: job.id.clone(),
            verdict: finished.result.verdict,
            summary: finished.result.summary(),
            bundle: finished.bundle.path,
            size: finished.bundle.size,
            sha256: finished.bundle.sha256,
        };
        Ok(Outcome::Ran { delivery, stuck: finished.stuck, faults: finished.faults })
    }

    fn forget(&mut self, delivery: &Delivery) {
        // If space runs out, the next bundle will report it. A bundle in the outbox was moved away already.
        let _ = fs::remove_file(&delivery.bundle);
        let _ = fs::remove_dir_all(PathBuf::from(super::virtio_channel::TREES).join(&delivery.job));
    }
}

/// Adds what a source wants of testbeds to autopkgtest's command line. Its keys are written into a directory of their
/// own, from where they are copied.
fn add_options(setup: &mut Setup, wanted: &TestbedOptions, keys: &Path) -> io::Result<()> {
    if wanted.upgrade {
        setup.options.push("--apt-upgrade".into());
    }
    setup.options.extend(wanted.apt_sources.iter().map(|line| format!("--add-apt-source={line}").into()));
    if keys.exists() {
        fs::remove_dir_all(keys)?;
    }
    for (number, key) in wanted.signing_keys.iter().enumerate() {
        fs::create_dir_all(keys)?;
        let name = format!("{}.asc", number + 1);
        fs::write(keys.join(&name), key)?;
        setup.copies.push((keys.join(&name), format!("/etc/apt/trusted.gpg.d/rocbed-{name}")));
    }
    Ok(())
}

/// Why a machine cannot run a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsuitable {
    /// It lacks the GPUs.
    #[error("it needs {}{need}, and this machine has {}", times(*.count), listed(.there))]
    Gpus {
        /// What the job needs.
        need: GpuNeed,
        /// How many of them.
        count: usize,
        /// Targets of the machine's GPUs.
        there: Vec<Target>,
    },
    /// It has too little memory.
    #[error("it needs {needed} MiB of memory, and this machine has {there} MiB")]
    Memory {
        /// MiB that the job needs.
        needed: u64,
        /// MiB that the machine has.
        there: u64,
    },
}

fn times(count: usize) -> String {
    if count > 1 { format!("{count} times ") } else { String::new() }
}

fn listed(targets: &[Target]) -> String {
    if targets.is_empty() {
        return "no GPU that can be used".to_owned();
    }
    targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Chooses the GPUs for the job's testbeds.
///
/// # Errors
/// If the machine cannot run the job.
pub fn grant<'a>(job: &Job, machine: &'a Machine) -> Result<Vec<&'a Gpu>, Unsuitable> {
    let matching = job.gpu.matching(&machine.gpus);
    let wanted = job.gpus as usize;
    if job.gpu.is_required() && matching.len() < wanted {
        let there = machine.gpus.gpus.iter().map(|gpu| gpu.target).collect();
        return Err(Unsuitable::Gpus { need: job.gpu.clone(), count: wanted, there });
    }
    if let Some(needed) = job.memory.filter(|needed| *needed > machine.memory) {
        return Err(Unsuitable::Memory { needed, there: machine.memory });
    }
    let wanted = if job.gpu == GpuNeed::None { 0 } else { wanted };
    Ok(matching.into_iter().take(wanted).collect())
}

/// Passes on what the runner reports.
struct Watcher<'a> {
    log: &'a mut dyn FnMut(&[u8]),
    phase: &'a mut dyn FnMut(&str),
    /// A fault to simulate once a test has begun.
    fault: Option<&'a str>,
}

impl Observer for Watcher<'_> {
    fn log(&mut self, bytes: &[u8]) {
        (self.log)(bytes);
    }

    fn event(&mut self, event: RunEvent<'_>) {
        if matches!(event, RunEvent::TestStarted(_))
            && let Some(lines) = self.fault.take()
            && let Err(error) = simulate_fault(lines)
        {
            (self.log)(format!("rocbed: simulating a fault: {error}\n").as_bytes());
        }
        let text = match event {
            RunEvent::Source(name) => format!("getting the source of {name}"),
            RunEvent::RunStarted(run_as) => format!("starting autopkgtest, tests run as {run_as}"),
            RunEvent::Preparing(test) => format!("preparing test {test}"),
            RunEvent::TestStarted(test) => format!("test {test}"),
            RunEvent::TestEnded(test, outcome) => format!("test {test}: {outcome}"),
            RunEvent::Deadline => "the deadline has come: collecting what there is".to_owned(),
            RunEvent::GpuFault(line) => format!("a fault of the GPU ends the job: {line}"),
            RunEvent::Bundling => "writing the bundle".to_owned(),
            _ => return,
        };
        (self.phase)(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(targets: &str) -> Machine {
        Machine { gpus: gpu::simulate(targets).expect("targets"), memory: 4096, ..Machine::default() }
    }

    fn job(gpu: &str, more: &str) -> Job {
        let text = format!("[[job]]\npackage = \"rocrand\"\ngpu = {gpu}\n{more}");
        protocol::JobList::parse(text.as_bytes()).expect("a list").job.remove(0)
    }

    #[test]
    fn a_job_gets_the_gpus_it_asks_for() {
        let machine = machine("gfx1030,gfx942,gfx942");
        let ids =
            |job: &Job| grant(job, &machine).map(|gpus| gpus.iter().map(|gpu| gpu.id.clone()).collect::<Vec<_>>());
        assert_eq!(ids(&job("[\"gfx942\"]", "")), Ok(vec!["simulated-1".to_owned()]));
        assert_eq!(ids(&job("[\"gfx942\"]", "gpus = 2")).map(|ids| ids.len()), Ok(2));
        assert_eq!(ids(&job("\"none\"", "")), Ok(Vec::new()));
        assert_eq!(ids(&Job::of_package("gzip")), Ok(vec!["simulated-0".to_owned()]));
    }

    #[test]
    fn testbeds_get_what_the_source_wants() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let keys = directory.path().join("keys");
        let mut setup = Setup::new(Vec::new(), "/work".into(), "/bundles".into(), "job");
        let source = "deb http://deb.example/x unstable main".to_owned();
        let wanted =
            TestbedOptions { upgrade: true, apt_sources: vec![source.clone()], signing_keys: vec![b"key".to_vec()] };
        add_options(&mut setup, &wanted, &keys)?;
        assert_eq!(setup.options, [OsString::from("--apt-upgrade"), format!("--add-apt-source={source}").into()]);
        assert_eq!(setup.copies, [(keys.join("1.asc"), "/etc/apt/trusted.gpg.d/rocbed-1.asc".to_owned())]);
        assert_eq!(fs::read(keys.join("1.asc"))?, b"key");
        // The next job has none of them.
        add_options(&mut Setup::new(Vec::new(), "/".into(), "/".into(), "x"), &TestbedOptions::default(), &keys)?;
        assert!(!keys.exists());
        Ok(())
    }

    #[test]
    fn a_job_that_cannot_run_here_says_why() {
        let why = |job: &Job| grant(job, &machine("gfx1030")).map(|gpus| gpus.len()).unwrap_err().to_string();
        assert_eq!(why(&job("[\"gfx90a\"]", "")), "it needs gfx90a, and this machine has gfx1030");
        assert_eq!(why(&job("\"any\"", "gpus = 2")), "it needs 2 times any GPU, and this machine has gfx1030");
        assert!(why(&job("\"none\"", "memory = 8192")).contains("8192 MiB"));
        let none = grant(&job("\"any\"", ""), &Machine::default()).map(|gpus| gpus.len());
        assert_eq!(none.unwrap_err().to_string(), "it needs any GPU, and this machine has no GPU that can be used");
    }
}
