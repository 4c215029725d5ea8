//! [`Rates`]: rate limits for requests of each party (token buckets).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::party::Party;

/// Number of known parties above which those without recent requests are removed.
const MANY: usize = 4096;

/// A rate limit: `burst` requests at once, and `per_second` on average.
#[derive(Debug)]
pub(crate) struct Rates {
    per_second: f64,
    burst: f64,
    parties: Mutex<HashMap<Party, Bucket>>,
}

/// The part of a party's burst that is used.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    used: f64,
    at: Instant,
}

impl Rates {
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second: f64::from(per_second.max(1)), burst: f64::from(burst.max(1)), parties: Mutex::default() }
    }

    /// Counts a request.
    ///
    /// # Errors
    ///
    /// The time until the next request is allowed, if there were too many.
    pub(crate) fn count(&self, party: &Party, now: Instant) -> Result<(), Duration> {
        let mut parties = self.parties.lock().unwrap_or_else(PoisonError::into_inner);
        if parties.len() >= MANY {
            let whole = self.burst / self.per_second;
            parties.retain(|_, bucket| now.duration_since(bucket.at).as_secs_f64() < whole);
        }
        let bucket = parties.entry(party.clone()).or_insert(Bucket { used: 0.0, at: now });
        let since = now.saturating_duration_since(bucket.at).as_secs_f64();
        let used = (bucket.used - since * self.per_second).max(0.0) + 1.0;
        if used > self.burst {
            return Err(Duration::from_secs_f64((used - self.burst) / self.per_second));
        }
        *bucket = Bucket { used, at: now };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_so_many_a_second() {
        let rates = Rates::new(10, 3);
        let (one, other) = (Party::Worker("one".into()), Party::Worker("other".into()));
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        for _ in 0..3 {
            assert_eq!(rates.count(&one, at(0)), Ok(()));
        }
        assert_eq!(rates.count(&one, at(0)), Err(Duration::from_millis(100)));
        assert_eq!(rates.count(&other, at(0)), Ok(()));
        assert_eq!(rates.count(&one, at(100)), Ok(()));
        assert!(rates.count(&one, at(100)).is_err());
        assert_eq!(rates.count(&one, at(900)), Ok(()));
    }

    #[test]
    fn who_is_quiet_is_forgotten() {
        let rates = Rates::new(10, 10);
        let start = Instant::now();
        for number in 0..MANY {
            assert_eq!(rates.count(&Party::Worker(number.to_string()), start), Ok(()));
        }
        assert_eq!(rates.count(&Party::Admin, start + Duration::from_secs(2)), Ok(()));
        assert_eq!(rates.parties.lock().expect("a lock").len(), 1);
    }
}
