//! [`Exchange`]: where jobs come from and results go.

use std::path::PathBuf;

use protocol::api::{GiveBackReason, Health};
use protocol::{Job, Machine, Verdict};

use super::interrupt::Interrupt;
use super::running::Left;

/// Gives jobs one at a time, and takes what came of them.
pub trait Exchange {
    /// What people call it.
    fn name(&self) -> String;

    /// The machine is there. `left` is what ran when it, or the agent, was last interrupted.
    fn ready(&mut self, machine: &Machine, left: Option<&Left>) -> Result<(), ExchangeError>;

    /// How the machine is, and why, for people.
    fn health(&mut self, _health: Health, _message: &str) -> Result<(), ExchangeError> {
        Ok(())
    }

    /// Asks for a job. Waits as long as it thinks right, but not when the machine is to stop.
    fn claim(&mut self) -> Result<Claim, ExchangeError>;

    /// The job has begun.
    fn started(&mut self, assignment: &Assignment) -> Result<(), ExchangeError>;

    /// What the job is at.
    fn phase(&mut self, _text: &str) {}

    /// A piece of its log. Must not wait: the test does meanwhile.
    fn log(&mut self, bytes: &[u8]) -> Result<(), ExchangeError>;

    /// What came of it. Returns once it is safe: there, or in a place from where it is sent later.
    fn deliver(&mut self, assignment: &Assignment, delivery: &Delivery) -> Result<(), ExchangeError>;

    /// This machine does not complete the job, and why.
    fn give_back(
        &mut self,
        assignment: &Assignment,
        reason: GiveBackReason,
        message: &str,
    ) -> Result<(), ExchangeError>;

    /// The machine will take no more jobs: the last chance to deliver what waits.
    fn end(&mut self, end: &End) -> Result<(), ExchangeError>;
}

/// What came of asking for a job.
#[derive(Debug)]
pub enum Claim {
    /// A job.
    Job(Box<Assignment>),
    /// There is none now; ask again.
    Nothing,
    /// There will be no more, and why.
    End(String),
    /// Somebody wants GPUs to be tried again that were left out, by their ids; all if none is named.
    RetryGpus(Vec<String>),
}

/// Why no more jobs are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// There are none, for this reason.
    Done(String),
    /// PID 1 said to stop.
    Stopped,
    /// The machine has to be restarted, for this reason.
    Restart(String),
}

/// A job and what belongs to it.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// The job.
    pub job: Job,
    /// Names this time that the job is given out, where whoever gives it does: a hub's lease.
    pub lease: Option<String>,
    /// Its source tree, if it came along: a directory, a `.dsc` or a `.tar`.
    pub tree: Option<PathBuf>,
    /// Its number in a list of known length, and that length.
    pub position: Option<(usize, usize)>,
    /// Ends it early.
    pub interrupt: Interrupt,
}

impl Assignment {
    /// A job of which nothing more is known.
    pub fn new(job: Job) -> Self {
        Self { job, lease: None, tree: None, position: None, interrupt: Interrupt::default() }
    }

    /// What bundles and records of it are named by: the lease, or the job.
    pub fn name(&self) -> &str {
        self.lease.as_deref().unwrap_or(&self.job.id)
    }
}

/// What came of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The job's id.
    pub job: String,
    /// What it says.
    pub verdict: Verdict,
    /// In a few words.
    pub summary: String,
    /// The bundle.
    pub bundle: PathBuf,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
}

/// The other side cannot be reached or understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct ExchangeError {
    /// What failed, on what, and why.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}
