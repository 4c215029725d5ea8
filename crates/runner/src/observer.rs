//! Whoever watches a job, and whoever ends it early.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::{Run, RunAs, TestOutcome};

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The source is being fetched or unpacked.
    Source(&'a str),
    /// autopkgtest begins.
    RunStarted(RunAs),
    /// The testbed is made ready for a test.
    Preparing(&'a str),
    /// A test begins.
    TestStarted(&'a str),
    /// A test has an outcome.
    TestEnded(&'a str, TestOutcome),
    /// The job's deadline has come: what there is is collected.
    Deadline,
    /// The kernel told of a fault that leaves the GPU not as it was, in this line: what there is is collected.
    GpuFault(&'a str),
    /// autopkgtest has ended, or was.
    RunEnded(&'a Run),
    /// The bundle is being written.
    Bundling,
}

/// Watches a job. Called from the thread that runs it; what takes long here makes the job wait.
pub trait Observer {
    /// More of the log, as it comes.
    fn log(&mut self, _bytes: &[u8]) {}

    /// Something happened.
    fn event(&mut self, _event: Event<'_>) {}
}

/// Watches nothing.
impl Observer for () {}

/// Ends a job from outside: from another thread, or a signal handler. Clones end the same job.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    flag: Arc<AtomicBool>,
    others: Vec<Arc<AtomicBool>>,
}

impl From<Arc<AtomicBool>> for Cancel {
    /// Ends the job once the flag is set.
    fn from(flag: Arc<AtomicBool>) -> Self {
        Self { flag, others: Vec::new() }
    }
}

impl Cancel {
    /// Asks for the end. It comes within a fraction of a second, and then takes as long as testbeds take to close.
    pub fn cancel(&self) {
        self.flag.store(true, Ordering::SeqCst);
    }

    /// Whether the end was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.others.iter().chain([&self.flag]).any(|flag| flag.load(Ordering::SeqCst))
    }

    /// Ends the job once this other flag is set, too.
    #[must_use]
    pub fn or(mut self, flag: Arc<AtomicBool>) -> Self {
        self.others.push(flag);
        self
    }

    /// The flag itself, for what sets flags upon signals.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_of_the_flags_ends_the_job() {
        let (machine, job) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let cancel = Cancel::from(machine).or(Arc::clone(&job));
        assert!(!cancel.is_cancelled());
        job.store(true, Ordering::SeqCst);
        assert!(cancel.is_cancelled() && cancel.clone().is_cancelled());
    }
}
