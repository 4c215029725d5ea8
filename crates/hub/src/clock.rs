//! [`Clock`]: what time it is, so that tests can say.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Says what time it is.
pub trait Clock: Send + Sync + 'static {
    /// Now, in milliseconds since 1970. Somebody may set it.
    fn millis(&self) -> i64;

    /// Milliseconds since a time that is always the same while the hub runs. Nobody sets it: leases run out by it.
    fn steady(&self) -> i64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn millis(&self) -> i64 {
        Timestamp::now().as_millisecond()
    }

    fn steady(&self) -> i64 {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        millis(START.elapsed())
    }
}

/// A clock that stands still until it is told to go on, for tests.
#[derive(Debug)]
pub struct ManualClock {
    steady: AtomicI64,
    /// The time at which the other was 0.
    start: AtomicI64,
}

impl Default for ManualClock {
    fn default() -> Self {
        Self { steady: AtomicI64::new(0), start: AtomicI64::new(1_790_000_000_000) }
    }
}

impl ManualClock {
    /// Goes on.
    pub fn advance(&self, by: Duration) {
        self.steady.fetch_add(millis(by), Ordering::SeqCst);
    }

    /// Is set forward, as by somebody who sees that it is wrong.
    pub fn set_forward(&self, by: Duration) {
        self.start.fetch_add(millis(by), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn millis(&self) -> i64 {
        self.start.load(Ordering::SeqCst).saturating_add(self.steady())
    }

    fn steady(&self) -> i64 {
        self.steady.load(Ordering::SeqCst)
    }
}

/// A duration in milliseconds; one that is too long for that is as long as can be.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A time that was kept as milliseconds. What is out of range becomes 1970.
pub(crate) fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}
