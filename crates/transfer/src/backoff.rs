//! Exponential backoff with jitter.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The pauses between the attempts of one operation: each is twice as long as the one before, up to a limit. Each is
/// shortened by a random part, at most half, so that clients that lost one server together do not return together.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// Starts with `first`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        let first = first.min(longest);
        Self { first, next: first, longest }
    }

    /// The next pause.
    pub fn next_pause(&mut self) -> Duration {
        self.next_pause_after(None)
    }

    /// The next pause, if the other side may have asked for one (`Retry-After`, RFC 9110, section 10.2.3): then it is not
    /// shorter, unless it would exceed the limit.
    pub fn next_pause_after(&mut self, asked: Option<Duration>) -> Duration {
        let pause = self.next.mul_f64(random().mul_add(0.5, 0.5));
        self.next = self.next.saturating_mul(2).min(self.longest);
        pause.max(asked.unwrap_or_default()).min(self.longest)
    }

    /// Begins again with the first pause: an attempt was successful, or came further.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A random number from 0 to 1. The keys of a new [`RandomState`] differ, which is random enough for pauses.
fn random() -> f64 {
    RandomState::new().hash_one(()) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_between_half_and_all_of_a_time_that_doubles_up_to_a_limit() {
        let (first, longest) = (Duration::from_millis(500), Duration::from_secs(30));
        let mut backoff = Backoff::new(first, longest);
        for _ in 0..2 {
            for attempt in 0..100 {
                let full = if attempt >= 6 { longest } else { first * 2_u32.pow(attempt) };
                let pause = backoff.next_pause();
                assert!(pause >= full / 2 && pause <= full, "{attempt}: {pause:?}");
            }
            backoff.reset();
        }
    }

    #[test]
    fn pauses_differ() {
        let pause = || Backoff::new(Duration::from_secs(1), Duration::from_secs(1)).next_pause();
        let first = pause();
        assert!((0..100).any(|_| pause() != first));
    }

    #[test]
    fn a_pause_is_as_long_as_the_other_side_asks_up_to_the_limit() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        assert_eq!(backoff.next_pause_after(Some(Duration::from_secs(2))), Duration::from_secs(2));
        assert_eq!(backoff.next_pause_after(Some(Duration::from_secs(9))), Duration::from_secs(5));
        assert!(backoff.next_pause_after(Some(Duration::ZERO)) >= Duration::from_millis(200));
    }
}
