//! [`Fitness`]: whether the machine can deliver what it takes on.

mod checks;
mod command;
mod compute;
mod probe;
mod quarantine;
mod record;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use gpu::FaultKind;
use protocol::Verdict;

pub use probe::{Probe, ThisMachine};
pub use record::Record;
pub use worker::Worker;

/// Looks at the machine before it takes work, and after each job.
pub trait Fitness {
    /// QUALIFY: what keeps the machine from delivering; nothing if it can take work. Called before the first job, and
    /// after each.
    fn qualify(&mut self) -> Vec<Defect>;

    /// CHECK: why the machine has to be restarted after a job, if it has.
    fn check(&mut self, ended: Ended) -> Option<String>;

    /// Forgets the faults of GPUs that were left out, so that they get jobs again after a restart; of all if none is named.
    /// Says what is going to happen.
    fn retry_gpus(&mut self, _gpus: &[String]) -> String {
        "somebody wants the GPUs to be tried again".into()
    }

    /// Why the machine has to be restarted before it takes jobs, if QUALIFY found that.
    fn wants_restart(&mut self) -> Option<String> {
        None
    }

    /// How long to wait before a machine that is not fit is looked at again.
    fn pause(&mut self) -> Duration;
}

/// How a job ended, as far as it says something about the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ended {
    /// What its result says, if there is one.
    pub verdict: Option<Verdict>,
    /// A process of a test is stuck in the kernel.
    pub stuck: bool,
    /// There were faults, and all were the test's own doing: they say nothing about the GPU.
    pub contained: bool,
    /// Ids of the GPUs that the job had.
    pub gpus: Vec<String>,
    /// Those of them that are not as they were, and what happened to each.
    pub faulty: BTreeMap<String, BTreeSet<FaultKind>>,
}

/// What is wrong with a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defect {
    /// What.
    pub what: String,
    /// What to do about it.
    pub advice: String,
    /// Whether it may be over soon without anybody doing anything.
    pub passes: bool,
}

impl Defect {
    /// One that lasts until somebody does something.
    pub fn new(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what: what.into(), advice: advice.into(), passes: false }
    }

    /// One that may be over soon.
    pub fn passing(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { passes: true, ..Self::new(what, advice) }
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.advice)
    }
}

/// Takes any machine: where whoever runs a virtual machine has said what it is to do, and waits for all of it.
#[derive(Debug)]
pub struct AsItIs;

impl Fitness for AsItIs {
    fn qualify(&mut self) -> Vec<Defect> {
        Vec::new()
    }

    fn check(&mut self, _: Ended) -> Option<String> {
        None
    }

    fn pause(&mut self) -> Duration {
        Duration::ZERO
    }
}
