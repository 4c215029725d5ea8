//! [`State`]: the in-memory state. All of it can be loaded from the database, except when workers were last heard from
//! and what they are doing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use protocol::Machine;
use protocol::api::{Health, is_clock_off};
use sha256::Digest;

use crate::core::queue::Queue;
use crate::core::reservations::Reservations;
use crate::core::waiters::Waiters;
use crate::token::Who;

/// The in-memory state.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) queue: Queue,
    pub(crate) waiters: Waiters,
    pub(crate) reservations: Reservations,
    /// Active leases by id.
    pub(crate) leases: HashMap<String, Live>,
    pub(crate) workers: HashMap<String, Worker>,
    pub(crate) tokens: HashMap<Digest, Who>,
}

/// A lease that has not ended.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    /// Number of the job.
    pub(crate) job: i64,
    /// Id of the job.
    pub(crate) job_id: String,
    pub(crate) attempt: u32,
    pub(crate) worker: String,
    /// The machine as registered when the worker got the job; `None` if that is not known any more, because the lease was
    /// lost or the hub restarted meanwhile.
    pub(crate) machine: Option<Arc<Machine>>,
    /// Deadline by the monotonic clock, in milliseconds.
    pub(crate) deadline: i64,
    /// Whether a heartbeat has arrived and is recorded in the database.
    pub(crate) confirmed: bool,
    pub(crate) phase: String,
}

/// A registered worker.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    /// Name shown to users.
    pub(crate) name: String,
    pub(crate) machine: Arc<Machine>,
    pub(crate) boot: String,
    pub(crate) health: Health,
    pub(crate) message: String,
    pub(crate) registered: i64,
    /// Time of the last contact. Atomic, as it changes while others read.
    pub(crate) seen: Arc<AtomicI64>,
    /// Reason of the pause, if the worker is paused and gets no jobs.
    pub(crate) paused: Option<String>,
    /// GPUs that the worker is to retry until it restarts; an empty list means all. Lost when the hub restarts.
    pub(crate) retry: Option<Vec<String>>,
    /// Offset of the worker's clock. Atomic, as it changes while others read.
    pub(crate) clock: ClockOffset,
}

/// Offset of a worker's clock from the hub's, in milliseconds (positive: ahead), if known.
#[derive(Debug, Clone)]
pub(crate) struct ClockOffset(Arc<AtomicI64>);

impl ClockOffset {
    /// Value for an unknown offset.
    const UNKNOWN: i64 = i64::MIN;

    pub(crate) fn new(ahead: Option<i64>) -> Self {
        Self(Arc::new(AtomicI64::new(ahead.unwrap_or(Self::UNKNOWN))))
    }

    pub(crate) fn get(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|ahead| *ahead != Self::UNKNOWN)
    }

    /// The offset in seconds, rounded.
    pub(crate) fn seconds(&self) -> Option<i64> {
        self.get().map(|ahead| ahead.saturating_add(500).div_euclid(1000))
    }

    /// Sets the offset. True if this changes whether the clock counts as wrong.
    pub(crate) fn set(&self, ahead: Option<i64>) -> bool {
        let was = self.seconds().is_some_and(is_clock_off);
        self.0.store(ahead.unwrap_or(Self::UNKNOWN), Ordering::Relaxed);
        self.seconds().is_some_and(is_clock_off) != was
    }
}

impl State {
    /// Records contact with a worker.
    pub(crate) fn saw(&self, worker: &str, now: i64) {
        if let Some(worker) = self.workers.get(worker) {
            worker.seen.fetch_max(now, Ordering::Relaxed);
        }
    }

    /// Name of a worker; its id if it was removed.
    pub(crate) fn name_of<'a>(&'a self, worker: &'a str) -> &'a str {
        self.workers.get(worker).map_or(worker, |worker| &worker.name)
    }

    /// The lease, if it belongs to this worker.
    pub(crate) fn lease_of(&self, lease: &str, worker: &str) -> Option<&Live> {
        self.leases.get(lease).filter(|live| live.worker == worker)
    }

    /// Renews a lease that was confirmed before, without the database. False if the database must be asked.
    pub(crate) fn heartbeat(&mut self, lease: &str, worker: &str, deadline: i64, phase: &str) -> bool {
        match self.leases.get_mut(lease) {
            Some(live) if live.worker == worker && live.confirmed => {
                live.deadline = deadline;
                phase.clone_into(&mut live.phase);
                true
            }
            _ => false,
        }
    }
}

impl Worker {
    /// Whether the worker was heard from since the given time.
    pub(crate) fn seen_since(&self, time: i64) -> bool {
        self.seen.load(Ordering::Relaxed) >= time
    }
}
