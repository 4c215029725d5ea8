//! [`JobSource`]: where jobs come from and their results go to.

use std::path::PathBuf;

use advice::Advice;
use protocol::api::{GiveBackReason, Health};
use protocol::{Job, Machine, Verdict};
use sha256::Digest;

use super::allocation::{Allocation, Fit, Offer};
use super::bundle_place::BundlePlace;
use super::interrupt::Interrupt;
use super::running::InterruptedJob;

/// A job source and result sink: gives out jobs, several of which may run at the same time, and takes their results.
///
/// # Errors
/// If the other side cannot be reached, its answer is not valid, or this machine cannot keep what it has to.
pub trait JobSource {
    /// The name that is shown to people.
    fn name(&self) -> String;

    /// The address of the hub, if this is one: people can look at it.
    fn hub(&self) -> Option<String> {
        None
    }

    /// Announces the machine. `interrupted` are the jobs that ran when the machine or the agent was last interrupted.
    fn ready(&mut self, machine: &Machine, interrupted: &[InterruptedJob]) -> Result<(), Advice>;

    /// Reports the machine's health, with a reason for people.
    fn health(&mut self, _health: Health, _message: &str) -> Result<(), Advice> {
        Ok(())
    }

    /// Asks for a job for what is free. May wait as long as it likes, but returns early when the machine is to stop or
    /// [`Room::is_over`]. The job need not fit: then it waits until it does.
    fn claim(&mut self, room: &Room<'_>) -> Result<Claim, Advice>;

    /// Takes back a claim that is still to be answered: the machine rests. A job that was given out on it is given back.
    fn withdraw(&mut self) -> Result<(), Advice> {
        Ok(())
    }

    /// Whether results, or what was reported of the machine, are still on their way.
    fn has_undelivered(&self) -> bool {
        false
    }

    /// Reports that the job has begun. Returns what takes its log and phases.
    fn started(&mut self, assignment: &Assignment) -> Result<Box<dyn Progress>, Advice>;

    /// Delivers the result. Returns once it is durable: accepted by the other side or queued in the outbox.
    fn deliver(&mut self, assignment: &Assignment, delivery: &Delivery) -> Result<(), Advice>;

    /// Gives a job back that this machine does not complete, with the reason.
    fn give_back(&mut self, assignment: &Assignment, reason: GiveBackReason, message: &str) -> Result<(), Advice>;

    /// Says that the machine takes no more jobs; this is the last chance to deliver pending results.
    fn end(&mut self, end: &End) -> Result<(), Advice>;
}

/// Takes what a running job has to tell, in the job's own thread.
pub trait Progress: Send {
    /// Reports the job's current phase.
    fn phase(&mut self, _text: &str) {}

    /// Takes a piece of the job's log. Must not block: the test would wait for it.
    ///
    /// # Errors
    /// If the log cannot be passed on; the job goes on without.
    fn log(&mut self, _bytes: &[u8]) -> Result<(), Advice> {
        Ok(())
    }
}

/// For sources that take the log with the result.
impl Progress for () {}

/// What the machine has for another job, while others may be running.
#[derive(Clone, Copy)]
pub struct Room<'a> {
    allocation: &'a Allocation,
    alone: &'a dyn Fn(&Job) -> bool,
    over: &'a dyn Fn() -> bool,
}

impl<'a> Room<'a> {
    /// The room that there is in an allocation. `alone` tells which jobs are to run alone, and `over` when this is not
    /// true any more, because a job has ended.
    pub fn new(allocation: &'a Allocation, alone: &'a dyn Fn(&Job) -> bool, over: &'a dyn Fn() -> bool) -> Self {
        Self { allocation, alone, over }
    }

    /// All of a machine, where nothing runs.
    pub fn all_of(allocation: &'a Allocation) -> Self {
        Self { allocation, alone: &|_| false, over: &|| false }
    }

    /// Whether a job has ended, so that there is more room.
    pub fn is_over(&self) -> bool {
        (self.over)()
    }

    /// Whether no job runs.
    pub fn is_idle(&self) -> bool {
        self.allocation.is_idle()
    }

    /// What is free; `None` if that is nothing.
    pub fn offer(&self) -> Option<Offer> {
        self.allocation.offer()
    }

    /// Whether a job need not wait for others: it can begin, or cannot run here at all.
    pub fn suits(&self, job: &Job) -> bool {
        self.allocation.fit(job, (self.alone)(job)) != Fit::Later
    }
}

/// The answer to [`JobSource::claim`].
#[derive(Debug)]
pub enum Claim {
    /// A job.
    Job(Box<Assignment>),
    /// No job now; ask again.
    Nothing,
    /// There will be no more jobs, for this reason.
    End(String),
    /// Try quarantined GPUs again, given by their ids; all of them if the list is empty.
    RetryGpus(Vec<String>),
}

/// The reason why no more jobs are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// There are no more jobs, for this reason.
    Done(String),
    /// PID 1 asked the agent to stop.
    Stopped,
    /// The machine has to be restarted, for this reason.
    Restart(String),
}

/// A job together with what is needed to run it.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// The job.
    pub job: Job,
    /// The hub's lease, which identifies this assignment of the job; `None` for sources without leases.
    pub lease: Option<String>,
    /// The source tree that came with the job: a directory, a `.dsc` or a `.tar`.
    pub tree: Option<PathBuf>,
    /// The job's own `.deb` files on this machine, in its order.
    pub packages: Vec<PathBuf>,
    /// The job's number in a list and the list's length, if that is known.
    pub position: Option<(usize, usize)>,
    /// How many seconds it usually takes, if the source knows.
    pub usual_seconds: Option<u64>,
    /// What the source wants of testbeds.
    pub testbed: TestbedOptions,
    /// Ends the job early.
    pub interrupt: Interrupt,
    /// Where the storage will have the job's bundle, if there is storage: for results that point to it.
    pub storage: Option<BundlePlace>,
}

/// What a source wants of testbeds, and jobs cannot say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TestbedOptions {
    /// Upgrade all packages before the tests, so that results do not depend on the image's age (autopkgtest's
    /// `--apt-upgrade`).
    pub upgrade: bool,
    /// Additional lines for apt's sources.list(5). Then packages are pinned to these sources, and no other releases are
    /// added for pins.
    pub apt_sources: Vec<String>,
    /// OpenPGP keys of these sources, in ASCII armour.
    pub signing_keys: Vec<Vec<u8>>,
}

impl Assignment {
    /// An assignment with only the job.
    pub fn new(job: Job) -> Self {
        Self {
            job,
            lease: None,
            tree: None,
            packages: Vec::new(),
            position: None,
            usual_seconds: None,
            testbed: TestbedOptions::default(),
            interrupt: Interrupt::default(),
            storage: None,
        }
    }

    /// The name for bundles and records of this assignment: the lease, or else the job's id.
    pub fn name(&self) -> &str {
        self.lease.as_deref().unwrap_or(&self.job.id)
    }
}

/// A job's result, ready to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The job's id.
    pub job: String,
    /// The result's verdict.
    pub verdict: Verdict,
    /// The result in a few words.
    pub summary: String,
    /// Path of the result bundle.
    pub bundle: PathBuf,
    /// The bundle's length in bytes.
    pub size: u64,
    /// The bundle's SHA-256.
    pub sha256: Digest,
}
