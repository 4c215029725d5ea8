//! Quotas of a worker: bundle bytes in 24 hours, and processor time for refused bundles.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Length of a counting interval in milliseconds: an hour.
const HOUR: i64 = 3_600_000;

/// Number of intervals that count.
const HOURS: i64 = 24;

/// Seconds after which one second of checking refused bundles is forgiven.
const FORGIVEN: u32 = 20;

/// Bytes that each worker has sent in the last 24 hours. Reset when the hub starts.
#[derive(Debug, Default)]
pub(crate) struct Received {
    workers: Mutex<HashMap<String, VecDeque<(i64, u64)>>>,
}

impl Received {
    /// Whether a worker may send this many more bytes. `now` is a monotonic time in milliseconds.
    ///
    /// # Errors
    ///
    /// The seconds after which to try again.
    pub(crate) fn check(&self, worker: &str, bytes: u64, most: u64, now: i64) -> Result<(), u64> {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(hours) = workers.get_mut(worker) else { return if bytes <= most { Ok(()) } else { Err(3600) } };
        forget(hours, now);
        let mut sent = hours.iter().fold(0_u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
        if sent.saturating_add(bytes) <= most {
            return Ok(());
        }
        // Finds the hour after which enough old bytes no longer count.
        let mut last = now.div_euclid(HOUR);
        for (hour, bytes_then) in &*hours {
            (sent, last) = (sent.saturating_sub(*bytes_then), *hour);
            if sent.saturating_add(bytes) <= most {
                break;
            }
        }
        let then = last.saturating_add(HOURS).saturating_mul(HOUR);
        Err(u64::try_from(then.saturating_sub(now)).unwrap_or(0).div_ceil(1000).max(1))
    }

    /// Counts bytes that a worker has sent.
    pub(crate) fn add(&self, worker: &str, bytes: u64, now: i64) {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let hours = workers.entry(worker.to_owned()).or_default();
        forget(hours, now);
        let hour = now.div_euclid(HOUR);
        match hours.back_mut().filter(|(last, _)| *last == hour) {
            Some((_, sum)) => *sum = sum.saturating_add(bytes),
            None => hours.push_back((hour, bytes)),
        }
    }
}

/// Removes hours that no longer count.
fn forget(hours: &mut VecDeque<(i64, u64)>, now: i64) {
    let first = now.div_euclid(HOUR).saturating_sub(HOURS);
    while hours.front().is_some_and(|(hour, _)| *hour <= first) {
        hours.pop_front();
    }
}

/// Time spent on checking a worker's refused bundles, less what was forgiven since.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Debt {
    time: Duration,
    at: i64,
}

impl Debt {
    /// The time that is not forgiven yet.
    fn left(self, now: i64) -> Duration {
        let since = Duration::from_millis(u64::try_from(now.saturating_sub(self.at)).unwrap_or(0));
        self.time.saturating_sub(since / FORGIVEN)
    }

    /// How long the worker has to wait before another of its bundles is checked.
    pub(crate) fn wait(self, free: Duration, now: i64) -> Option<Duration> {
        let over = self.left(now).checked_sub(free).filter(|over| !over.is_zero())?;
        Some(over.saturating_mul(FORGIVEN))
    }

    /// Adds the time for checking another refused bundle.
    pub(crate) fn add(&mut self, time: Duration, now: i64) {
        *self = Self { time: self.left(now).saturating_add(time), at: now };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_for_a_day() {
        let received = Received::default();
        let hours = |count: i64| count * HOUR + 5;
        assert_eq!(received.check("w", 100, 100, 0), Ok(()));
        assert_eq!(received.check("w", 101, 100, 0), Err(3600));
        received.add("w", 60, hours(0));
        received.add("w", 30, hours(10));
        assert_eq!(received.check("w", 10, 100, hours(10)), Ok(()));
        assert_eq!(received.check("other", 100, 100, hours(10)), Ok(()));
        // There is room when the first hour no longer counts.
        assert_eq!(received.check("w", 20, 100, hours(10)), Err(14 * 3600));
        assert_eq!(received.check("w", 80, 100, hours(10)), Err(24 * 3600));
        assert_eq!(received.check("w", 20, 100, hours(24)), Ok(()));
        assert_eq!(received.check("w", 100, 100, hours(34)), Ok(()));
    }

    #[test]
    fn time_in_vain_is_forgiven_slowly() {
        let (free, mut debt) = (Duration::from_secs(5), Debt::default());
        debt.add(Duration::from_secs(3), 1000);
        assert_eq!(debt.wait(free, 1000), None);
        debt.add(Duration::from_secs(4), 1000);
        assert_eq!(debt.wait(free, 1000), Some(Duration::from_secs(40)));
        assert_eq!(debt.wait(free, 21_000), Some(Duration::from_secs(20)));
        assert_eq!(debt.wait(free, 41_000), None);
        assert_eq!(debt.wait(Duration::ZERO, 41_000), Some(Duration::from_secs(100)));
    }
}
