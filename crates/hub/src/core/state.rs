//! [`State`]: the in-memory state. All of it can be loaded from the database, except when workers were last heard from
//! and what they are doing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::Machine;
use sha256::Digest;

use crate::core::queue::Queue;
use crate::core::reservations::Reservations;
use crate::core::waiters::Waiters;
use crate::core::worker::Worker;
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
