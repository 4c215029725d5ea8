//! Observing a job, and cancelling it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::{Run, RunAs, TestOutcome};

/// An event during a job.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RunEvent<'a> {
    /// The source is being fetched or unpacked.
    Source(&'a str),
    /// autopkgtest is starting.
    RunStarted(RunAs),
    /// The testbed is being prepared for a test.
    Preparing(&'a str),
    /// A test has started.
    TestStarted(&'a str),
    /// A test has ended with this outcome.
    TestEnded(&'a str, TestOutcome),
    /// The job's deadline has passed: the output so far is collected.
    Deadline,
    /// The kernel reported a serious GPU fault in this line: the output so far is collected.
    GpuFault(&'a str),
    /// autopkgtest has ended or was ended.
    RunEnded(&'a Run),
    /// The bundle is being written.
    Bundling,
}

/// Observes a job. The methods are called from the job's thread and delay it while they run.
pub trait Observer {
    /// The next piece of the log.
    fn log(&mut self, _bytes: &[u8]) {}

    /// An event.
    fn event(&mut self, _event: RunEvent<'_>) {}
}

/// Ignores all events.
impl Observer for () {}

/// Cancels a job from another thread or a signal handler. Clones cancel the same job.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    flag: Arc<AtomicBool>,
    others: Vec<Arc<AtomicBool>>,
}

impl From<Arc<AtomicBool>> for Cancel {
    /// Cancels the job when the flag is set.
    fn from(flag: Arc<AtomicBool>) -> Self {
        Self { flag, others: Vec::new() }
    }
}

impl Cancel {
    /// Requests the end of the job. It is noticed within a fraction of a second; closing the testbed takes additional
    /// time.
    pub fn cancel(&self) {
        self.flag.store(true, Ordering::SeqCst);
    }

    /// Whether cancellation was requested.
    pub fn is_cancelled(&self) -> bool {
        self.others.iter().chain([&self.flag]).any(|flag| flag.load(Ordering::SeqCst))
    }

    /// Cancels the job also when this other flag is set.
    #[must_use]
    pub fn or(mut self, flag: Arc<AtomicBool>) -> Self {
        self.others.push(flag);
        self
    }

    /// The flag, for code that sets flags on signals.
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
