//! [`RateLimit`]: how much may pass in a time, for what a test can have the machine say.

use std::time::{Duration, Instant};

/// A token bucket: a burst passes at once, and more as time goes by.
#[derive(Debug)]
pub(crate) struct RateLimit {
    burst: f64,
    per_second: f64,
    left: f64,
    at: Instant,
}

impl RateLimit {
    /// A limit that lets `burst` pass at once and `per_second` later on.
    pub(crate) fn new(burst: u32, per_second: u32) -> Self {
        let burst = f64::from(burst);
        Self { burst, per_second: f64::from(per_second), left: burst, at: Instant::now() }
    }

    /// Whether one more passes now. One that does not is not counted.
    pub(crate) fn admits(&mut self, now: Instant) -> bool {
        self.refill(now);
        let passes = self.left >= 1.0;
        if passes {
            self.left -= 1.0;
        }
        passes
    }

    /// Counts what has passed. Returns how long the next has to wait.
    pub(crate) fn spend(&mut self, count: usize, now: Instant) -> Duration {
        self.refill(now);
        self.left -= count as f64;
        Duration::try_from_secs_f64((-self.left).max(0.0) / self.per_second).unwrap_or(Duration::MAX)
    }

    fn refill(&mut self, now: Instant) {
        let time = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + time * self.per_second).min(self.burst);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_so_many_in_a_second() {
        let mut limit = RateLimit::new(3, 2);
        let begin = limit.at;
        let passed = |limit: &mut RateLimit, now| (0..100).filter(|_| limit.admits(now)).count();
        assert_eq!(passed(&mut limit, begin), 3);
        assert_eq!(passed(&mut limit, begin + Duration::from_secs(1)), 2);
        assert_eq!(passed(&mut limit, begin + Duration::from_secs(100)), 3, "what is not used is not kept");
    }

    #[test]
    fn who_has_sent_much_waits() {
        let mut limit = RateLimit::new(1000, 100);
        let begin = limit.at;
        assert_eq!(limit.spend(1000, begin), Duration::ZERO);
        assert_eq!(limit.spend(50, begin), Duration::from_millis(500));
        assert_eq!(limit.spend(0, begin + Duration::from_millis(500)), Duration::ZERO);
    }
}
