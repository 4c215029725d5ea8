//! Timing of retransmissions.

use std::time::Duration;

/// A moment, as the time since a fixed other moment. It must be monotonic: `CLOCK_MONOTONIC`, not the date.
pub type Time = Duration;

/// The longest pause between two requests for an address.
const LONGEST: Duration = Duration::from_secs(32);

/// Random numbers for message ids and jitter. Not for secrets (xorshift64*, Vigna 2016).
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Self(seed | 1)
    }

    pub fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    /// `time`, reduced by a random part of up to `percent`. For ever stays for ever.
    pub fn less(&mut self, time: Duration, percent: u8) -> Duration {
        if time == Duration::MAX {
            return time;
        }
        time.saturating_sub(time.saturating_mul(self.next() % (u32::from(percent.min(100)) + 1)) / 100)
    }
}

/// The time to wait for an answer to request number `tries` (from 0): 1, 2, 4 ... 32 s, each up to a quarter less.
///
/// RFC 2131 section 4.1 proposes to begin with 4 s and leaves the choice to the client. Links are faster now, and a
/// switch that begins to forward late (spanning tree: up to 30 s) should not delay a machine for much longer than
/// that.
pub(super) fn wait(random: &mut Random, tries: u32) -> Duration {
    let wait = Duration::from_secs(1_u64.checked_shl(tries).unwrap_or(u64::MAX)).min(LONGEST);
    random.less(wait, 25)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stop_growing() {
        let mut random = Random::new(0);
        for (tries, most) in [(0, 1), (1, 2), (2, 4), (3, 8), (4, 16), (5, 32), (6, 32), (64, 32), (u32::MAX, 32)] {
            for _ in 0..100 {
                let wait = wait(&mut random, tries).as_millis();
                assert!((most * 750..=most * 1000).contains(&wait), "{tries}: {wait}");
            }
        }
    }
}
