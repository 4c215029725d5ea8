//! [`Pace`]: how much is fetched in the background at once, so that reads do not wait for it on slow links.
//!
//! All that is known is how long requests took: their way there and back (latency) and their bytes. A link counts as fast once
//! [`FAST`] bytes are expected within [`TARGET`]: at 8 Mbit/s. Single chunks, which are often all that can be asked for in one
//! request, are smaller than that; if they come in half of [`TARGET`], larger requests are allowed, up to [`FAST`] bytes. So a
//! link with a latency of 50 ms counts as fast; one of 3 to 8 Mbit/s does too until a larger request was slow; one whose every
//! answer takes longer than 125 ms may count as slow however many bytes it carries.

use std::time::Duration;

/// Most bytes of one request in the background.
const MOST: u64 = 1 << 20;

/// Bytes of the first request, when the link is not known yet, and least bytes of later ones: one or two chunks of 128 KiB,
/// compressed.
const LEAST: u64 = 64 << 10;

/// Bytes of a request that say that the link is not slow: 8 Mbit/s.
const FAST: u64 = 256 << 10;

/// How long a request in the background may take.
const TARGET: Duration = Duration::from_millis(250);

/// The size of the next request in the background, by what the requests of reads and of the background took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    bytes: u64,
}

impl Pace {
    /// A link that is not known yet, which may be slow.
    pub(super) const fn new() -> Self {
        Self { bytes: LEAST }
    }

    /// Most bytes of the next request; where this is less than one chunk, it is one chunk.
    pub(super) fn bytes(self) -> u64 {
        self.bytes
    }

    /// Whether the link is slow, or not known: a request in the background takes a good part of it.
    pub(super) fn is_slow(self) -> bool {
        self.bytes < FAST
    }

    /// Notes how long so many bytes took. The next request has what comes within [`TARGET`] at this rate, and not more than
    /// twice as much as the last one was allowed to have.
    pub(super) fn took(&mut self, bytes: u64, time: Duration) {
        let target = u128::from(bytes) * TARGET.as_micros() / time.as_micros().max(1);
        let mut target = u64::try_from(target).unwrap_or(u64::MAX);
        // A small request says little of a link that is fast: most of its time may be latency.
        if bytes < self.bytes && time < TARGET {
            target = target.max(self.bytes);
            if time < TARGET / 2 {
                target = target.max((self.bytes * 2).min(FAST));
            }
        }
        self.bytes = target.min(self.bytes * 2).clamp(LEAST, MOST);
    }

    /// Notes that a request failed: nothing is known of the link any more.
    pub(super) fn failed(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(requests: &[(u64, u64)]) -> Pace {
        let mut pace = Pace::new();
        for (kilobytes, milliseconds) in requests {
            pace.took(kilobytes << 10, Duration::from_millis(*milliseconds));
        }
        pace
    }

    #[test]
    fn a_fast_link_gets_large_requests_after_some_small_ones() {
        assert!(Pace::new().is_slow());
        assert_eq!(after(&[(64, 1)]).bytes(), 128 << 10);
        let pace = after(&[(64, 1), (128, 1), (256, 2), (512, 3)]);
        assert_eq!((pace.bytes(), pace.is_slow()), (MOST, false));
        // A few bytes that are left change nothing, however little of the link they used.
        assert_eq!(after(&[(64, 1), (128, 1), (256, 2), (512, 3), (1, 5)]).bytes(), MOST);
    }

    #[test]
    fn a_slow_link_gets_single_chunks() {
        // 1 Mbit/s, and one that becomes slow.
        assert_eq!(after(&[(64, 512)]).bytes(), LEAST);
        let pace = after(&[(64, 1), (128, 1), (256, 2), (512, 3), (1024, 8000)]);
        assert_eq!((pace.bytes(), pace.is_slow()), (LEAST, true));
        // In between: what comes within a quarter of a second.
        let pace = after(&[(64, 1), (128, 1), (256, 500)]);
        assert_eq!((pace.bytes(), pace.is_slow()), (128 << 10, true));
    }

    #[test]
    fn a_fast_link_with_latency_counts_as_fast_though_only_single_chunks_are_asked_for() {
        assert_eq!(after(&[(45, 52)]).bytes(), 128 << 10);
        let pace = after(&[(45, 52); 3]);
        assert_eq!((pace.bytes(), pace.is_slow()), (FAST, false));
        // Its larger requests show more of it.
        assert_eq!(after(&[(45, 52), (45, 52), (256, 70), (512, 90)]).bytes(), MOST);
        // 1 and 2 Mbit/s stay slow; 4 Mbit/s is found to be when there is more to ask for.
        assert!(after(&[(45, 370); 9]).is_slow() && after(&[(45, 185); 9]).is_slow());
        assert!(after(&[(45, 90), (45, 90), (45, 90), (256, 512)]).is_slow());
    }

    #[test]
    fn nothing_is_known_after_an_error() {
        let mut pace = after(&[(64, 1), (128, 1)]);
        pace.failed();
        assert_eq!(pace, Pace::new());
    }

    #[test]
    fn no_time_and_no_bytes_are_no_problem() {
        let mut pace = Pace::new();
        pace.took(u64::MAX, Duration::ZERO);
        pace.took(0, Duration::MAX);
        assert_eq!(pace.bytes(), LEAST);
    }
}
