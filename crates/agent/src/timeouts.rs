//! [`Timeouts`]: the agent's timeouts and backoff.

use std::time::Duration;

use transfer::Backoff;

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
    /// How long a job of debci that is given out again waits while results are on their way to the collector, one of
    /// which may be its own.
    pub collected: Duration,
    /// How long the collector may need for the last one of them.
    pub collecting: Duration,
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
            collected: Duration::from_secs(60),
            collecting: Duration::from_secs(5),
        }
    }
}

impl Timeouts {
    /// The pauses between the attempts of one operation.
    pub fn backoff(&self) -> Backoff {
        Backoff::new(self.first_pause, self.longest_pause)
    }

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
            collected: Duration::from_secs(20),
            collecting: soon * 10,
        }
    }
}
