//! Watching an archive: jobs for what changed in it.
//!
//! The program that runs the hub reads the archive and checks its signatures ([`ReadArchive`]), as the hub knows nothing
//! of Release files. What it has read is kept in the database, with what each package was last tested with on each
//! target. What differs between the two [waits](reconcile) until a worker has [room](plan) for it, and then becomes a
//! [job](make). So nothing is lost if the archive cannot be read for a while, or if the hub is started again, and however
//! often a package changes while it waits, it is tested once.

mod make;
mod plan;
mod reconcile;
mod run;
mod tables;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use advice::Advice;
use jiff::Timestamp;
use protocol::GpuNeed;
use sha256::Digest;

pub(crate) use tables::{Overview, TABLE, is_watched, overview};

/// An archive whose signature was checked, as far as it matters for jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveState {
    /// The suite, as people name it: `sid`.
    pub suite: String,
    /// `Date` of the Release file.
    pub date: Timestamp,
    /// Digest of the signed text.
    pub release: Digest,
    /// The packages that are tested, each once.
    pub packages: Vec<WatchedPackage>,
}

/// A source package that is tested when it changes, or something that it depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedPackage {
    /// Name of the source package.
    pub package: String,
    /// Its newest version.
    pub version: String,
    /// The GPU that its tests need.
    pub need: GpuNeed,
    /// Binary packages that its tests run with, its own among them, with their versions.
    pub tested_with: BTreeMap<String, String>,
}

/// Reads an archive.
pub trait ReadArchive: Send + Sync + 'static {
    /// Fetches the archive and checks its signature. `None` if its Release file is still the `known` one. It blocks, for
    /// minutes if it has to.
    ///
    /// # Errors
    /// What is wrong with the archive, or on the way to it, and what to do about it.
    fn read(&self, known: Option<Digest>) -> Result<Option<ArchiveState>, Advice>;
}

/// Which archive is watched, and how many jobs that may make.
#[derive(Clone)]
pub struct WatchOptions {
    /// Reads the archive.
    pub archive: Arc<dyn ReadArchive>,
    /// How often it is read. One that cannot be read is tried again sooner.
    pub every: Duration,
    /// Most jobs in 24 hours for each worker; for one with several GPUs, for each GPU.
    pub budget: u32,
    /// Priority of the jobs.
    pub priority: i32,
}

impl fmt::Debug for WatchOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchOptions")
            .field("every", &self.every)
            .field("budget", &self.budget)
            .field("priority", &self.priority)
            .finish_non_exhaustive()
    }
}

/// What watches the archive, as requests see it.
pub(crate) struct Watch {
    pub(crate) options: WatchOptions,
    status: Mutex<WatchStatus>,
}

/// How reading the archive goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WatchStatus {
    /// When it was last read, or found unchanged.
    pub(crate) read: Option<Timestamp>,
    /// What is wrong since its last reading; the first of its kind says since when.
    pub(crate) problem: Option<WatchProblem>,
}

/// Why the archive cannot be used now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WatchProblem {
    pub(crate) since: Timestamp,
    pub(crate) what: String,
}

impl Watch {
    pub(crate) fn status(&self) -> WatchStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn worked(&self, now: Timestamp) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if status.problem.is_some() {
            tracing::warn!("the archive can be read again");
        }
        *status = WatchStatus { read: Some(now), problem: None };
    }

    /// Notes what went wrong. The log has it once, however often it happens in a row.
    fn failed(&self, now: Timestamp, what: String) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match &status.problem {
            Some(known) if known.what == what => return,
            Some(known) => known.since,
            None => now,
        };
        tracing::warn!("the archive that is watched: {what}");
        status.problem = Some(WatchProblem { since, what });
    }
}
