//! [`Timeouts`]: the agent's timeouts and backoff.

use std::time::Duration;

/// The agent's timeouts and backoff; tests use shorter ones.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// The first pause before a retry; each further one is twice as long.
    pub first_pause: Duration,
    /// The longest pause between retries.
    pub longest_pause: Duration,
    /// Timeout for small requests to the hub.
    pub answer: Duration,
    /// How long a piece of a log waits for more data before it is sent.
    pub gather: Duration,
    /// How long shutdown waits for pending deliveries, if they survive it.
    pub farewell: Duration,
    /// How long a claim waits for a job, if the machine is switched off when there is none.
    pub last_claim: Duration,
    /// How long a claim waits otherwise; less if the hub says so.
    pub claim: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
            answer: Duration::from_secs(15),
            gather: Duration::from_secs(1),
            farewell: Duration::from_secs(20),
            last_claim: Duration::from_secs(10),
            claim: Duration::from_secs(50),
        }
    }
}

impl Timeouts {
    /// Short timeouts for tests.
    #[cfg(test)]
    pub fn of_tests() -> Self {
        let soon = Duration::from_millis(2);
        Self {
            first_pause: soon,
            longest_pause: soon * 10,
            answer: Duration::from_secs(10),
            gather: soon,
            farewell: Duration::from_secs(10),
            last_claim: Duration::from_secs(1),
            claim: Duration::from_secs(1),
        }
    }
}

/// Exponential backoff with jitter, for one operation.
#[derive(Debug, Clone)]
pub struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    /// Starts with the first pause.
    pub fn new(timeouts: &Timeouts) -> Self {
        Self { next: timeouts.first_pause, longest: timeouts.longest_pause }
    }

    /// The next pause, with random jitter so that a hub that comes back does not get requests from all its workers at
    /// once.
    pub fn next_pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = self.next.saturating_mul(2).min(self.longest);
        let mut byte = [128];
        // Without random numbers all workers pause for the same time, which is still a pause.
        let _ = rustix::rand::getrandom(&mut byte, rustix::rand::GetRandomFlags::NONBLOCK);
        pause / 2 + pause.mul_f64(f64::from(byte[0]) / 512.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit() {
        let mut pauses = Pauses::new(&Timeouts::default());
        let all: Vec<_> = (0..20).map(|_| pauses.next_pause()).collect();
        assert!(all[0] <= Duration::from_millis(500) && all[0] >= Duration::from_millis(250));
        assert!(all[19] <= Duration::from_secs(30) && all[19] >= Duration::from_secs(15));
    }
}
