//! Leases: a job in a worker's hands.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Job, Verdict};

/// `POST /claims`: a worker asks for a job. The hub answers when it has one, or with 204 when `wait` is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Claim {
    /// Chosen by the worker, new for each job that it wants. A claim that is sent again because its answer was lost has
    /// the same one, and gets the same job.
    pub request: String,
    /// How long to wait for a job, in seconds; the hub may answer earlier.
    #[serde(default)]
    pub wait: u64,
    /// Ids of the GPUs that are free; all of the inventory if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<Vec<String>>,
}

/// The answer to [`Claim`]: a job, and a lease on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Claimed {
    /// The lease. Whoever has it may complete the job.
    pub lease: String,
    /// Seconds without a heartbeat after which it runs out.
    pub lease_seconds: u64,
    /// How many times the job was given out, with this time.
    pub attempt: u32,
    /// What to run. Its id is the hub's, and belongs into the result.
    pub job: Job,
    /// How many seconds the package's tests usually take, as far as the hub has results of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual_seconds: Option<u64>,
}

/// `POST /leases/{lease}/heartbeat`: the worker still has the job. The first says that it has begun.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Heartbeat {
    /// What it is doing, in a few words: `installing`, `running test 3`, `uploading`.
    #[serde(default)]
    pub phase: String,
}

/// The answer to [`Heartbeat`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HeartbeatAnswer {
    /// Seconds without a heartbeat after which the lease runs out.
    pub lease_seconds: u64,
    /// Why the worker should stop; missing if it should go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<String>,
}

/// The answer to `PUT /leases/{lease}/log?offset=N`: a piece of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogAnswer {
    /// How many bytes of the log the hub has: where the next piece begins.
    pub offset: u64,
}

/// `POST /leases/{lease}/complete`: the job has ended, and its bundle was uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Complete {
    /// SHA-256 of the bundle, in hexadecimal digits.
    pub bundle: sha256::Digest,
    /// What came of the job; the same as in the bundle's `result.json`.
    pub verdict: Verdict,
    /// In a few words, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
}

/// The answer to [`Complete`]: the result is kept, and the worker may forget it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Completed {
    /// The job's id.
    pub job: String,
    /// What came of it.
    pub verdict: Verdict,
    /// Whether the lease had run out before.
    pub late: bool,
}

/// `POST /leases/{lease}/give-back`: the worker will not complete the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GiveBack {
    /// Why.
    pub reason: GiveBackReason,
    /// In words, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Why a job is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GiveBackReason {
    /// It brings this machine down: the hub gives it to other machines only.
    MachineKiller,
    /// This machine cannot run it: the hub gives it to other machines only.
    CannotRun,
    /// The machine is switched off or restarted.
    ShuttingDown,
    /// The hub said to stop.
    Cancelled,
    /// Something else.
    Other,
}

impl GiveBackReason {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::MachineKiller => "machine-killer",
            Self::CannotRun => "cannot-run",
            Self::ShuttingDown => "shutting-down",
            Self::Cancelled => "cancelled",
            Self::Other => "other",
        }
    }

    /// Whether the job is not for this machine.
    pub fn excludes_machine(self) -> bool {
        matches!(self, Self::MachineKiller | Self::CannotRun)
    }
}

/// The answer to [`GiveBack`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Given {
    /// The job's id.
    pub job: String,
}
