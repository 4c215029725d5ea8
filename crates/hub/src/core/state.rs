//! [`State`]: what is known in memory. All of it can be read from the database again, but for when workers were heard
//! of and what they are doing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use protocol::Machine;
use protocol::api::{Health, is_clock_off};

use crate::core::queue::Queue;
use crate::core::waiters::Waiters;
use crate::token::{TokenHash, Who};

/// What is known in memory.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) queue: Queue,
    pub(crate) waiters: Waiters,
    /// Active leases by their ids.
    pub(crate) leases: HashMap<String, Live>,
    pub(crate) workers: HashMap<String, Worker>,
    pub(crate) tokens: HashMap<TokenHash, Who>,
}

/// A lease that has not ended.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    /// The job's number.
    pub(crate) job: i64,
    /// The job's id.
    pub(crate) job_id: String,
    pub(crate) attempt: u32,
    pub(crate) worker: String,
    /// What the worker had registered when it got the job.
    pub(crate) machine: Arc<Machine>,
    /// When it runs out, by the clock that nobody sets, in milliseconds.
    pub(crate) deadline: i64,
    /// Whether a heartbeat has come, and the database knows it.
    pub(crate) confirmed: bool,
    pub(crate) phase: String,
}

/// A worker that has registered.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    /// What people call it.
    pub(crate) name: String,
    pub(crate) machine: Arc<Machine>,
    pub(crate) boot: String,
    pub(crate) health: Health,
    pub(crate) message: String,
    pub(crate) registered: i64,
    /// When it was heard of last. Changes while others read.
    pub(crate) seen: Arc<AtomicI64>,
    /// Why it gets no jobs, if somebody has paused it.
    pub(crate) paused: Option<String>,
    /// GPUs that it is to try again, until it was restarted; all if the list is empty. A hub that is restarted forgets it.
    pub(crate) retry: Option<Vec<String>>,
    /// What is known of its clock. Changes while others read.
    pub(crate) clock: ClockOffset,
}

/// By how many milliseconds a worker's clock is ahead of ours (below zero: behind), where that is known.
#[derive(Debug, Clone)]
pub(crate) struct ClockOffset(Arc<AtomicI64>);

impl ClockOffset {
    /// Stands for what is not known.
    const UNKNOWN: i64 = i64::MIN;

    pub(crate) fn new(ahead: Option<i64>) -> Self {
        Self(Arc::new(AtomicI64::new(ahead.unwrap_or(Self::UNKNOWN))))
    }

    pub(crate) fn get(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|ahead| *ahead != Self::UNKNOWN)
    }

    /// In whole seconds, to the nearest.
    pub(crate) fn seconds(&self) -> Option<i64> {
        self.get().map(|ahead| ahead.saturating_add(500).div_euclid(1000))
    }

    /// Takes a new one. True if the clock is off from now on, or right from now on.
    pub(crate) fn set(&self, ahead: Option<i64>) -> bool {
        let was = self.seconds().is_some_and(is_clock_off);
        self.0.store(ahead.unwrap_or(Self::UNKNOWN), Ordering::Relaxed);
        self.seconds().is_some_and(is_clock_off) != was
    }
}

impl State {
    /// Notes that a worker was heard of.
    pub(crate) fn saw(&self, worker: &str, now: i64) {
        if let Some(worker) = self.workers.get(worker) {
            worker.seen.fetch_max(now, Ordering::Relaxed);
        }
    }

    /// What people call a worker; its id if it was removed.
    pub(crate) fn name_of<'a>(&'a self, worker: &'a str) -> &'a str {
        self.workers.get(worker).map_or(worker, |worker| &worker.name)
    }

    /// The job that a lease is for; only of the worker that has the lease.
    pub(crate) fn lease_of(&self, lease: &str, worker: &str) -> Option<&Live> {
        self.leases.get(lease).filter(|live| live.worker == worker)
    }

    /// Keeps a lease that was confirmed before; this needs no database. False if the slow way has to be gone.
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
    /// Whether it was heard of since the time given.
    pub(crate) fn seen_since(&self, time: i64) -> bool {
        self.seen.load(Ordering::Relaxed) >= time
    }
}
