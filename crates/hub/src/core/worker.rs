//! [`Worker`]: a registered worker, as it is in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use protocol::Machine;
use protocol::api::{Health, is_clock_off};

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

impl Worker {
    /// Whether the worker was heard from since the given time.
    pub(crate) fn seen_since(&self, time: i64) -> bool {
        self.seen.load(Ordering::Relaxed) >= time
    }
}
