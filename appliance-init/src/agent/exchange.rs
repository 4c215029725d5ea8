//! [`Exchange`]: where jobs come from and results go.

use std::path::PathBuf;

use protocol::{Job, Machine, Verdict};

/// Gives jobs one at a time, and takes what came of them.
pub trait Exchange {
    /// What people call it.
    fn name(&self) -> String;

    /// The machine can take work.
    fn ready(&mut self, machine: &Machine) -> Result<(), ExchangeError>;

    /// Asks for a job. Waits as long as it thinks right.
    fn claim(&mut self) -> Result<Claim, ExchangeError>;

    /// The job has begun.
    fn started(&mut self, job: &Job) -> Result<(), ExchangeError>;

    /// A piece of its log.
    fn log(&mut self, bytes: &[u8]) -> Result<(), ExchangeError>;

    /// What came of it. Returns once it is safe there.
    fn deliver(&mut self, delivery: &Delivery) -> Result<(), ExchangeError>;

    /// This machine cannot run the job, and why.
    fn decline(&mut self, job: &Job, why: &str) -> Result<(), ExchangeError>;

    /// The machine will take no more jobs.
    fn end(&mut self) -> Result<(), ExchangeError>;
}

/// What came of asking for a job.
#[derive(Debug)]
pub enum Claim {
    /// A job.
    Job(Box<Assignment>),
    /// There will be no more, and why.
    End(String),
}

/// A job and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The job.
    pub job: Job,
    /// Its source tree, if it came along: a directory, a `.dsc` or a `.tar`.
    pub tree: Option<PathBuf>,
    /// Its number in a list of known length, and that length.
    pub position: Option<(usize, usize)>,
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
