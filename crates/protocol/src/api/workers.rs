//! Workers: who they are, and how they are.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Machine;

/// `POST /workers`: a worker says who it is. Authorised by the join token, or by the worker's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Register {
    /// Version of the protocol that the worker speaks.
    #[serde(default = "first_version")]
    pub version: u32,
    /// What tells the machine from all others, the same after each start. Letters, digits and `. _ + - : @`.
    pub id: String,
    /// Chosen by the agent when it starts, different each time. A worker that comes with another one was restarted, and
    /// has lost all leases but those in `holding`.
    pub boot: String,
    /// Leases that the worker still means to complete, after a restart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holding: Vec<String>,
    /// What it is.
    pub machine: Machine,
}

fn first_version() -> u32 {
    1
}

/// The answer to [`Register`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Registered {
    /// The worker's id: the one it gave.
    pub worker: String,
    /// What authorises it from now on.
    pub token: String,
    /// Seconds without a heartbeat after which a lease runs out. Three heartbeats in this time are a good rate.
    pub lease_seconds: u64,
    /// The longest that a claim waits, in seconds.
    pub longest_wait: u64,
    /// Version of the protocol that the hub speaks.
    pub version: u32,
}

/// How a worker is, in its own view.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It takes jobs.
    #[default]
    Ready,
    /// It checks itself and takes none yet.
    Qualifying,
    /// It restarts.
    Rebooting,
    /// It has found that it cannot deliver, and takes none until somebody looks at it.
    Unfit,
    /// It was switched off in good order.
    Off,
}

impl Health {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Ready, Self::Qualifying, Self::Rebooting, Self::Unfit, Self::Off];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Qualifying => "qualifying",
            Self::Rebooting => "rebooting",
            Self::Unfit => "unfit",
            Self::Off => "off",
        }
    }
}

impl std::str::FromStr for Health {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|health| health.name() == text).ok_or_else(|| format!("`{text}` is no health"))
    }
}

/// `PUT /workers/{worker}/health`: a worker says how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerReport {
    /// How it is.
    pub health: Health,
    /// Why, and what to do about it; for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// A worker as the hub knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct WorkerInfo {
    /// Its id.
    pub id: String,
    /// What it is.
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
