//! Exponential backoff with jitter: pauses double up to a limit, and differ between clients.

use std::time::Duration;

/// The pauses of one call.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first.min(longest), longest }
    }

    /// The next pause: between half and all of the current backoff time. `wished` is the pause that the hub asks for.
    pub(crate) fn next(&mut self, wished: Option<Duration>, random: u8) -> Duration {
        let full = self.next.max(wished.unwrap_or_default()).min(self.longest);
        self.next = self.next.saturating_mul(2).min(self.longest);
        full / 2 + full.mul_f64(f64::from(random) / 512.0)
    }
}

/// A random byte, used as jitter only.
pub(crate) fn random() -> u8 {
    let mut byte = [0];
    // Without random numbers all clients have the same pauses, which still work.
    if getrandom::fill(&mut byte).is_err() { 128 } else { byte[0] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(500));
        let mut pause = |wished, random| backoff.next(wished, random).as_millis();
        assert_eq!([pause(None, 0), pause(None, 0), pause(None, 0), pause(None, 0)], [50, 100, 200, 250]);
        assert_eq!(pause(Some(Duration::from_secs(9)), 255), 499);
    }

    #[test]
    fn a_pause_is_as_long_as_the_hub_wishes() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        assert_eq!(backoff.next(Some(Duration::from_secs(2)), 0), Duration::from_secs(1));
    }
}
