//! Delays between retries.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use jiff::Timestamp;

/// Backoff after `failures` failures in a row: `first` doubled each time, at most `longest`, times a random factor
/// between one half and one, so that many clients that failed together do not return together.
pub(crate) fn backoff(failures: u32, first: Duration, longest: Duration) -> Duration {
    let full = first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX)).min(longest);
    // A new RandomState has new keys, which makes it a good enough source of randomness.
    let chance = RandomState::new().hash_one(failures) as f64 / u64::MAX as f64;
    full.mul_f64(chance.mul_add(0.5, 0.5))
}

/// The delay that a `Retry-After` header asks for (RFC 9110, section 10.2.3: seconds or a date), relative to `now`.
pub(crate) fn retry_after(value: &[u8], now: Timestamp) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let seconds = date.as_second().checked_sub(now.as_second())?;
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn retry_after_takes_seconds_and_dates() {
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        assert_eq!(retry_after(b"120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after(b"Mon, 23 Nov 2026 10:00:30 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after(b"Mon, 23 Nov 2026 09:00:30 GMT", now), Some(Duration::ZERO));
        for nonsense in [&b"soon"[..], b"", b"-1", b"\xff", b"99999999999999999999999"] {
            assert_eq!(retry_after(nonsense, now), None);
        }
    }

    proptest! {
        #[test]
        fn a_wait_is_between_half_and_all_of_the_doubled_first(failures in 1_u32..100) {
            let (first, longest) = (Duration::from_millis(500), Duration::from_secs(30));
            let full = if failures > 6 { longest } else { first * 2_u32.pow(failures - 1) };
            let wait = backoff(failures, first, longest);
            prop_assert!(wait >= full / 2 && wait <= full.min(longest), "{wait:?}");
        }
    }
}
