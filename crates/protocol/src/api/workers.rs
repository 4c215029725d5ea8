//! Workers: registration and status.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Machine, Span, UnknownWord};

/// Difference in seconds between a worker's clock and the hub's that is still tolerated: it may be the network's delay.
const CLOCK_TOLERANCE: u64 = 60;

/// `POST /workers`: registers a worker. Authorised by the join token, or by the worker's own token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Register {
    /// The worker's version of the protocol.
    #[serde(default = "first_version")]
    pub version: u32,
    /// Identifies the machine, the same after each start. Letters, digits and `. _ + - : @`.
    pub id: String,
    /// Identifies this start of the agent. A worker that registers with another value was restarted, and has lost all
    /// leases but those in `holding`.
    pub boot: String,
    /// Leases that the worker will still complete after a restart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holding: Vec<String>,
    /// Description of the machine.
    pub machine: Machine,
    /// Proposed name, such as the product's or the board's. The hub makes a short unique name of it when the worker
    /// registers for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

fn first_version() -> u32 {
    1
}

/// The answer to [`Register`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Registered {
    /// The worker's id: the one it gave.
    pub worker: String,
    /// The worker's short name. The same each time; empty from a hub that has no names.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The token that authorises it from now on.
    pub token: String,
    /// Seconds without a heartbeat after which a lease runs out. Three heartbeats in this time are a good rate.
    pub lease_seconds: u64,
    /// The longest time that a claim waits, in seconds.
    pub longest_wait: u64,
    /// The hub's version of the protocol.
    pub version: u32,
}

impl std::fmt::Debug for Registered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registered")
            .field("worker", &self.worker)
            .field("token", &safetext::NOT_SHOWN)
            .field("lease_seconds", &self.lease_seconds)
            .field("longest_wait", &self.longest_wait)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// The health of a worker, as it reports it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It accepts jobs.
    #[default]
    Ready,
    /// It checks itself, and accepts no jobs yet.
    Qualifying,
    /// Its owner lets it take jobs at other times: it accepts none until then.
    OutsideHours,
    /// It is restarting.
    Rebooting,
    /// It failed its own checks, and accepts no jobs until a person has looked at it.
    Unfit,
    /// It was shut down.
    Off,
}

impl Health {
    /// All values.
    pub const ALL: [Self; 6] =
        [Self::Ready, Self::Qualifying, Self::OutsideHours, Self::Rebooting, Self::Unfit, Self::Off];

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Qualifying => "qualifying",
            Self::OutsideHours => "outside-hours",
            Self::Rebooting => "rebooting",
            Self::Unfit => "unfit",
            Self::Off => "off",
        }
    }
}

impl std::str::FromStr for Health {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        UnknownWord::find(text, "the health of a worker", Self::ALL, Self::name)
    }
}

/// `PUT /workers/{worker}/health`: reports a worker's health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerReport {
    /// The worker's health.
    pub health: Health,
    /// The reason, and what to do about it; for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// A worker as the hub knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct WorkerInfo {
    /// The worker's id.
    pub id: String,
    /// The worker's short name, which is unique. Accepted wherever its id is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Description of the machine.
    pub machine: Machine,
    /// How it is, in its own view.
    pub health: Health,
    /// What it said about that.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Whether it was heard of lately.
    pub online: bool,
    /// When it was heard of last.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub seen: Timestamp,
    /// When it registered first.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub registered: Timestamp,
    /// Ids of the jobs that it runs.
    pub jobs: Vec<String>,
    /// Why it gets no jobs, if somebody has paused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
    /// By how many seconds its clock is ahead of the hub's, where that is known; below zero if it is behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead: Option<i64>,
}

impl WorkerInfo {
    /// What people call it.
    pub fn name(&self) -> &str {
        if self.name.is_empty() { &self.id } else { &self.name }
    }

    /// That its clock is off, in words; `None` if it is right or nothing is known about it.
    pub fn clock_fault(&self) -> Option<String> {
        self.clock_ahead.filter(|ahead| is_clock_off(*ahead)).map(clock_fault)
    }
}

/// Whether a clock that is ahead by so many seconds (below zero: behind) is said to be off.
pub fn is_clock_off(ahead: i64) -> bool {
    ahead.unsigned_abs() > CLOCK_TOLERANCE
}

fn clock_fault(ahead: i64) -> String {
    let seconds = ahead.unsigned_abs();
    // How the network delayed it is not to be seen.
    let minutes = seconds.saturating_add(30) / 60;
    let by = Span::seconds(minutes.saturating_mul(60));
    let way = if ahead < 0 { "behind" } else { "ahead of" };
    format!("its clock is {by} {way} the hub's")
}

/// `POST /workers/{worker}/pause`: no more jobs for this worker, until it is resumed. What it runs goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Pause {
    /// Why, for people.
    #[serde(default)]
    pub reason: String,
}

/// `POST /workers/{worker}/retry-gpus`: GPUs that the worker has left out for their faults get jobs again. The worker hears
/// of it when it asks for its next job, and restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetryGpus {
    /// Ids or unique ids of GPUs; all that were left out if it is empty.
    #[serde(default)]
    pub gpus: Vec<String>,
}

/// `GET /workers`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerPage {
    /// Workers, by id.
    pub workers: Vec<WorkerInfo>,
    /// What to give as `after` for the next ones; missing if these were the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_told_in_minutes() {
        assert_eq!([-60, 0, 60].map(is_clock_off), [false; 3]);
        assert_eq!(clock_fault(-3_601), "its clock is 1h behind the hub's");
        assert_eq!(clock_fault(61), "its clock is 1m ahead of the hub's");
        assert_eq!(clock_fault(86_400 + 150), "its clock is 1d3m ahead of the hub's");
    }
}
