//! Reproducible random numbers: a test prints its seed, and can take one from the environment.

use std::time::{SystemTime, UNIX_EPOCH};

/// Environment variable with the seed to use.
const SEED: &str = "ROCBED_TEST_SEED";

/// A pseudorandom number generator with a seed (xorshift64*, Vigna 2016).
pub struct Random(u64);

impl Random {
    /// Uses the seed in `ROCBED_TEST_SEED`, or a new one. The seed is printed, and so it is shown when a test fails.
    pub fn announced() -> Self {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_micros() as u64);
        let seed =
            std::env::var(SEED).map_or_else(|_| now(), |text| text.parse().expect("a number in ROCBED_TEST_SEED"));
        println!("{SEED}={seed}");
        Self::new(seed)
    }

    /// Uses this seed.
    pub fn new(seed: u64) -> Self {
        // Never 0, and very different for similar seeds.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number, below a bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d);
        ((u128::from(drawn) * u128::from(bound)) >> 64) as u64
    }

    /// Shuffles a list.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}
