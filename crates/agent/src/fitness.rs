//! [`Fitness`]: whether the machine is fit to run jobs.

mod checks;
mod command;
mod compute;
mod probe;
mod quarantine;
mod record;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use advice::{Advice, Help};
use gpu::FaultKind;
use protocol::Verdict;

pub use probe::{Probe, ThisMachine};
pub use record::RestartRecord;
pub use worker::Worker;

/// Checks the machine before it takes work, and after each job.
pub trait Fitness {
    /// QUALIFY: the defects that keep the machine from taking jobs; empty if it can take them. Called before the
    /// first job and after each one. `busy` are ids of GPUs that running jobs have: nothing may be tried on them.
    fn qualify(&mut self, busy: &BTreeSet<String>) -> Vec<Defect>;

    /// CHECK: the reason why the machine has to be restarted after a job, if there is one.
    fn check(&mut self, ended: EndedJob) -> Option<String>;

    /// Forgets the faults of quarantined GPUs, so that they get jobs again after a restart; of all GPUs if the list
    /// is empty. Returns a message that says what is going to happen.
    fn retry_gpus(&mut self, _gpus: &[String]) -> String {
        "somebody wants the GPUs to be tried again".into()
    }

    /// The reason to restart before jobs are taken, if QUALIFY found one.
    fn wants_restart(&mut self) -> Option<String> {
        None
    }

    /// How long to wait before an unfit machine is checked again.
    fn pause(&mut self) -> Duration;
}

/// The end of a job, as far as it matters for the machine's fitness.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndedJob {
    /// The verdict of its result, if there is one.
    pub verdict: Option<Verdict>,
    /// Whether a test's process is stuck in the kernel.
    pub stuck: bool,
    /// Whether there were faults and all of them were the test's own doing: they say nothing about the GPU.
    pub contained: bool,
    /// Ids of the GPUs that the job was given.
    pub gpus: Vec<String>,
    /// The GPUs among them that had faults, with the kinds of fault.
    pub faulty: BTreeMap<String, BTreeSet<FaultKind>>,
}

/// A defect of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defect {
    /// What is wrong, and what to do about it.
    pub advice: Advice,
    /// Whether it may go away soon without any action.
    pub passes: bool,
}

impl Defect {
    /// A defect that lasts until it is dealt with.
    pub fn new(what: impl Into<String>, help: impl Into<Help>) -> Self {
        Self { advice: Advice::new(what, help), passes: false }
    }

    /// A defect that may go away soon.
    pub fn passing(what: impl Into<String>, help: impl Into<Help>) -> Self {
        Self { passes: true, ..Self::new(what, help) }
    }
}

/// Accepts any machine: for virtual machines whose jobs come from the program that runs them, which waits for all of
/// them.
#[derive(Debug)]
pub struct AlwaysFit;

impl Fitness for AlwaysFit {
    fn qualify(&mut self, _: &BTreeSet<String>) -> Vec<Defect> {
        Vec::new()
    }

    fn check(&mut self, _: EndedJob) -> Option<String> {
        None
    }

    fn pause(&mut self) -> Duration {
        Duration::ZERO
    }
}
