//! [`Tester`]: makes the runs of a search: at a hub, in testbeds on this machine, or in virtual machines.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use history::bisect::Upgraded;
use protocol::{Job, JobResult, PackageList, RunAs};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// A run that has ended.
pub(super) struct Ran {
    /// Its job at the hub.
    pub(super) job: Option<String>,
    /// What people call the machine.
    pub(super) machine: String,
    pub(super) result: JobResult,
    /// The packages that were installed while the test ran, if that is known.
    pub(super) packages: Option<PackageList>,
    /// The command that repeats it.
    pub(super) reproduce: String,
}

/// How a run ended.
pub(super) enum Ended {
    /// With a result.
    Ran(Box<Ran>),
    /// Without one, for this reason.
    Lost(String),
    /// There cannot be one with this set, for this reason.
    Impossible(String),
    /// Not yet: the search was told to stop.
    Stopped,
}

/// Makes runs.
pub(super) trait Tester {
    /// Begins a run. Returns the id by which it can be waited for later, also by another process; `None` if it cannot.
    /// `before` is a run of the same that said nothing: another machine is to be taken if there is one.
    fn begin(&mut self, job: &Job, before: Option<&str>) -> Result<Option<String>>;

    /// Waits for the run of a set, or makes it.
    fn finish(&mut self, job: &Job, set: &Upgraded, id: Option<&str>, stop: &Stop) -> Result<Ended>;
}

/// Whether the search was told to stop, by Ctrl-C.
#[derive(Clone)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Listens for signals: the first one stops the search in good order, the second one at once.
    pub(super) fn on_signals() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register_conditional_shutdown(
                signal,
                protocol::exit::TESTBED_FAILED.into(),
                Arc::clone(&flag),
            )
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .context("listening for signals")?;
        }
        Ok(Self(flag))
    }

    /// One that nobody asks.
    #[cfg(test)]
    pub(super) fn never() -> Self {
        Self(Arc::default())
    }

    /// One that was asked already.
    #[cfg(test)]
    pub(super) fn asked() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    pub(super) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The packages that were installed while a test ran.
pub(super) fn packages(result: &JobResult, test: &str, run_as: RunAs, lists: &Lists) -> Option<PackageList> {
    let mut runs = result.tests().filter(|(run, found)| run.run_as == run_as && found.name == test);
    let digest = runs.find_map(|(_, found)| found.installed.as_ref())?;
    lists.get(digest).cloned()
}

/// Package lists by digest.
pub(super) type Lists = std::collections::BTreeMap<sha256::Digest, PackageList>;
