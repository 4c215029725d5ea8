//! Runs jobs with autopkgtest, in testbeds over the read-only root.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use advice::Advice;
use gpu::Sysfs;
use protocol::{Job, Machine};
use runner::{Cancel, GpuFaults, Observer, RunEvent, Setup};

use super::allocation::Share;
use super::apt;
use super::job_source::{Assignment, Delivery, TestbedOptions};
use super::kernel::{LiveLog, SIMULATE_FAULT, simulate_fault};
use super::limits::{TestbedLimits, near};
use super::lists::{Layer, Lists};
use super::rules::OwnerRules;
use appliance::paths::{self, APT, IMAGE, ONLINE};
use appliance::settings::Settings;

/// The directory with a work directory for each running job.
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

/// Runs jobs, several at once in as many threads.
pub trait RunJob: Sync {
    /// Runs a job to its end, with the share of the machine that it was given. Pieces of the log and phases are passed
    /// on as they come.
    ///
    /// # Errors
    /// If there is no result for reasons that have nothing to do with the job.
    fn run(
        &self,
        assignment: &Assignment,
        share: &Share,
        log: &mut dyn FnMut(&[u8]),
        phase: &mut dyn FnMut(&str),
    ) -> Result<Outcome, RunError>;

    /// Removes the job's files after its result was delivered.
    fn forget(&self, delivery: &Delivery);
}

/// Runs jobs with autopkgtest.
#[derive(Debug)]
pub struct Autopkgtest<'a> {
    settings: &'a Settings,
    machine: &'a Machine,
    stop: Arc<AtomicBool>,
    lists: Mutex<Lists>,
    /// How many jobs have begun.
    begun: AtomicU32,
}

impl<'a> Autopkgtest<'a> {
    /// Runs jobs on this machine; they are interrupted once `stop` is set.
    pub fn new(settings: &'a Settings, machine: &'a Machine, stop: Arc<AtomicBool>) -> Self {
        Self { settings, machine, stop, lists: Mutex::new(Lists::new(APT.into())), begun: AtomicU32::new(0) }
    }

    fn setup(&self, assignment: &Assignment, share: &Share, lists: Option<&Layer>, work: &Path) -> io::Result<Setup> {
        let bundles = Path::new(super::DATA).join(BUNDLES);
        for directory in [work, &bundles] {
            fs::create_dir_all(directory)?;
        }
        let mut setup = Setup::new(self.server(share, lists), work.to_owned(), bundles, assignment.name());
        setup.machine = self.machine.clone();
        setup.gpus = share.gpus.iter().map(Into::into).collect();
        setup.source.clone_from(&assignment.tree);
        setup.packages.clone_from(&assignment.packages);
        setup.processors = near(&share.gpus, &Sysfs::default());
        setup.longest = OwnerRules::new(self.settings).longest();
        add_options(&mut setup, &assignment.testbed);
        Ok(setup)
    }

    /// The command line of the virtualisation server, which makes testbeds.
    fn server(&self, share: &Share, lists: Option<&Layer>) -> Vec<OsString> {
        let limits = TestbedLimits::new(self.settings, self.machine, share);
        let mut words: Vec<OsString> = [paths::PROGRAM, "virt", "--root", IMAGE].map(OsString::from).to_vec();
        words.extend(["--overlay-size".into(), limits.overlay_size.into()]);
        words.extend(["--layer".into(), Lists::settings_in(Path::new(APT)).into_os_string()]);
        words.extend(lists.iter().flat_map(|layer| ["--layer".into(), layer.path().as_os_str().to_owned()]));
        // Without control groups, which the start has told, tests run as they did before there were limits.
        if Path::new(CONTROLLERS).exists() {
            words.extend(["--cgroup", CONTROL_GROUP, "--memory", &limits.memory].map(OsString::from));
            words
                .extend(limits.cpu_weight.iter().flat_map(|weight| ["--cpu-weight".into(), weight.to_string().into()]));
        }
        words.extend(
            near(&share.gpus, &Sysfs::default()).into_iter().flat_map(|list| ["--processors".into(), list.into()]),
        );
        // Without a file there are no sources to allow.
        let sources = fs::read_to_string(Path::new(IMAGE).join(apt::SOURCES)).unwrap_or_default();
        words.extend(OwnerRules::new(self.settings).network(&sources).into_iter().map(OsString::from));
        words.extend(limits.processes.iter().flat_map(|most| ["--processes".into(), most.to_string().into()]));
        words
    }

    /// Writes apt's settings, and makes sure that testbeds have package lists; returns the layer with them. If there are
    /// none, each testbed fetches its own.
    fn prepare_apt(
        &self,
        job: &Job,
        share: &Share,
        cancel: &Cancel,
        log: &mut dyn FnMut(&[u8]),
        phase: &mut dyn FnMut(&str),
    ) -> Result<Option<Arc<Layer>>, RunError> {
        let mut lists = self.lock_lists(phase);
        let settings = Lists::settings_in(Path::new(APT));
        apt::write(self.settings, Path::new("/"), &settings).map_err(RunError::Apt)?;
        if lists.are_due(job, Path::new(ONLINE).exists()) {
            phase("fetching the package lists");
            log(b"rocbed: fetching the package lists, once for all testbeds\n");
            let server = self.server(share, lists.layer().as_deref());
            if let Err(error) = lists.fetch(&server, cancel, log) {
                log(format!("rocbed: fetching the package lists: {error}; each testbed tries it itself\n").as_bytes());
            }
        }
        Ok(lists.layer())
    }

    /// Waits while another job fetches the lists.
    fn lock_lists(&self, phase: &mut dyn FnMut(&str)) -> MutexGuard<'_, Lists> {
        match self.lists.try_lock() {
            Ok(lists) => return lists,
            Err(TryLockError::Poisoned(lists)) => return lists.into_inner(),
            Err(TryLockError::WouldBlock) => {}
        }
        phase("waiting for the package lists");
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a network if the job needs packages; without one the job starts anyway, and apt reports the problem.
    fn wait_for_network(&self, job: &Job, phase: &mut dyn FnMut(&str)) {
        if job.may_run_offline() {
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
        &self,
        assignment: &Assignment,
        share: &Share,
        log: &mut dyn FnMut(&[u8]),
        phase: &mut dyn FnMut(&str),
    ) -> Result<Outcome, RunError> {
        let job = &assignment.job;
        if let Some(why) = OwnerRules::new(self.settings).refusal(job) {
            return Ok(Outcome::Declined(why));
        }
        self.wait_for_network(job, phase);
        let cancel = Cancel::from(Arc::clone(&self.stop)).or(assignment.interrupt.flag());
        let lists = self.prepare_apt(job, share, &cancel, log, phase)?;
        // A directory of its own: others run at the same time. Its path is short, because those of sockets are limited.
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let work = WorkDirectory(Path::new(WORK).join(format!("{}-{number}", std::process::id())));
        let setup = self.setup(assignment, share, lists.as_deref(), &work.0).map_err(RunError::Prepare)?;
        // Real GPUs have faults of their own.
        let simulated = self.settings.simulate_faults && self.machine.gpus.simulated;
        let mut kernel = LiveLog::open(simulated, share.ids()).map_err(RunError::KernelLog)?;
        let fault = job.env.get(SIMULATE_FAULT).filter(|_| simulated);
        let fault = fault.map(|lines| (lines.as_str(), share.gpus.first().map(|gpu| gpu.id.as_str())));
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

    fn forget(&self, delivery: &Delivery) {
        // If space runs out, the next bundle will report it. A bundle in the outbox was moved away already.
        let _ = fs::remove_file(&delivery.bundle);
        let _ = fs::remove_dir_all(PathBuf::from(super::virtio_channel::TREES).join(&delivery.job));
    }
}

/// A job's work directory, which is removed with it.
struct WorkDirectory(PathBuf);

impl Drop for WorkDirectory {
    fn drop(&mut self) {
        // What cannot be removed takes room in memory only, until the next start.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Adds what a source wants of testbeds.
fn add_options(setup: &mut Setup, wanted: &TestbedOptions) {
    if wanted.upgrade {
        setup.options.push("--apt-upgrade".into());
    }
    setup.extra_sources.lines.clone_from(&wanted.apt_sources);
    setup.extra_sources.keys.clone_from(&wanted.signing_keys);
}

/// Passes on what the runner reports.
struct Watcher<'a> {
    log: &'a mut dyn FnMut(&[u8]),
    phase: &'a mut dyn FnMut(&str),
    /// A fault to simulate once a test has begun, and the GPU that is to have it.
    fault: Option<(&'a str, Option<&'a str>)>,
}

impl Observer for Watcher<'_> {
    fn log(&mut self, bytes: &[u8]) {
        (self.log)(bytes);
    }

    fn event(&mut self, event: RunEvent<'_>) {
        if matches!(event, RunEvent::TestStarted(_))
            && let Some((lines, gpu)) = self.fault.take()
            && let Err(error) = simulate_fault(lines, gpu)
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

    #[test]
    fn testbeds_get_what_the_source_wants() {
        let mut setup = Setup::new(Vec::new(), "/work".into(), "/bundles".into(), "job");
        let source = "deb http://deb.example/x unstable main".to_owned();
        let wanted =
            TestbedOptions { upgrade: true, apt_sources: vec![source.clone()], signing_keys: vec![b"key".to_vec()] };
        add_options(&mut setup, &wanted);
        assert_eq!(setup.options, [OsString::from("--apt-upgrade")]);
        assert_eq!((setup.extra_sources.lines, setup.extra_sources.keys), (vec![source], vec![b"key".to_vec()]));
    }
}
