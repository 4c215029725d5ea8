//! [`Clock`]: the current time, replaceable in tests.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Source of the current time.
pub trait Clock: Send + Sync + 'static {
    /// Wall-clock time in milliseconds since 1970. It jumps when the machine's clock is set.
    fn millis(&self) -> i64;

    /// Monotonic time in milliseconds, from a fixed start while the hub runs. Setting the clock does not change it;
    /// lease deadlines use it.
    fn monotonic(&self) -> i64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn millis(&self) -> i64 {
        Timestamp::now().as_millisecond()
    }

    fn monotonic(&self) -> i64 {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        millis(START.elapsed())
    }
}

/// A clock for tests that moves only when told to.
#[derive(Debug)]
pub struct ManualClock {
    monotonic: AtomicI64,
    /// Wall-clock time at which the monotonic clock was 0.
    start: AtomicI64,
}

impl Default for ManualClock {
    fn default() -> Self {
        Self { monotonic: AtomicI64::new(0), start: AtomicI64::new(1_790_000_000_000) }
    }
}

impl ManualClock {
    /// Advances both clocks.
    pub fn advance(&self, by: Duration) {
        self.monotonic.fetch_add(millis(by), Ordering::SeqCst);
    }

    /// Sets the wall clock forward, as an administrator would to correct it; the monotonic clock stays.
    pub fn set_forward(&self, by: Duration) {
        self.start.fetch_add(millis(by), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn millis(&self) -> i64 {
        self.start.load(Ordering::SeqCst).saturating_add(self.monotonic())
    }

    fn monotonic(&self) -> i64 {
        self.monotonic.load(Ordering::SeqCst)
    }
}

/// A duration in milliseconds; a longer one than fits becomes the maximum.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A time of the calendar, in milliseconds since 1970, by the monotonic clock. One that has passed is now.
pub(crate) fn deadline_at(clock: &dyn Clock, time: i64) -> i64 {
    clock.monotonic().saturating_add(time.saturating_sub(clock.millis()).max(0))
}

/// The timestamp for stored milliseconds. Values out of range become 1970.
pub(crate) fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}
