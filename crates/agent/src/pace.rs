//! [`Pace`]: how long the agent waits for what.

use std::time::Duration;

/// How long the agent waits for what. Tests are in more of a hurry than machines.
#[derive(Debug, Clone)]
pub struct Pace {
    /// The first pause before something is tried again; the next are each twice as long.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// How long the hub may take to answer what is small.
    pub answer: Duration,
    /// How long a piece of a log waits for more before it is sent.
    pub gather: Duration,
    /// How long the end waits for what is still to be sent, where it survives the end.
    pub farewell: Duration,
    /// How long a claim waits for a job, where the machine is switched off if there is none.
    pub last_claim: Duration,
    /// How long a claim waits otherwise; less if the hub says so.
    pub claim: Duration,
}

impl Default for Pace {
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

impl Pace {
    /// For tests.
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

/// The pauses between tries of one thing.
#[derive(Debug, Clone)]
pub struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    /// From the first one on.
    pub fn new(pace: &Pace) -> Self {
        Self { next: pace.first_pause, longest: pace.longest_pause }
    }

    /// The next, a little different each time so that a hub that comes back does not hear all its workers at once.
    pub fn next_pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = self.next.saturating_mul(2).min(self.longest);
        let mut byte = [128];
        // Without random numbers all pause alike, which is still a pause.
        rustix::rand::getrandom(&mut byte, rustix::rand::GetRandomFlags::NONBLOCK).unwrap_or_default();
        pause / 2 + pause.mul_f64(f64::from(byte[0]) / 512.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit() {
        let mut pauses = Pauses::new(&Pace::default());
        let all: Vec<_> = (0..20).map(|_| pauses.next_pause()).collect();
        assert!(all[0] <= Duration::from_millis(500) && all[0] >= Duration::from_millis(250));
        assert!(all[19] <= Duration::from_secs(30) && all[19] >= Duration::from_secs(15));
    }
}
