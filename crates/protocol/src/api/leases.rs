//! Leases: a worker's right to run a job and deliver its result.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Job, Verdict};

/// `POST /claims`: requests a job. The hub answers when it has one, or with 204 after `wait`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Claim {
    /// Identifies this claim. A claim that is sent again because the answer was lost has the same value, and gets the
    /// same job.
    pub request: String,
    /// How long to wait for a job, in seconds; the hub may answer earlier.
    #[serde(default)]
    pub wait: u64,
    /// Ids of the free GPUs; if it is missing, all of the machine is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<Vec<String>>,
    /// Whether a job that gets no GPU can begin, where `gpus` is given.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_gpu: bool,
    /// MiB of memory that running jobs have not been given, where `gpus` is given; if it is missing, all of the machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
}

/// The answer to [`Claim`]: a job, and a lease on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Claimed {
    /// The lease's id, which authorises completing the job.
    pub lease: String,
    /// Seconds without a heartbeat after which it runs out.
    pub lease_seconds: u64,
    /// Number of this attempt, from 1.
    pub attempt: u32,
    /// The job, with the id that the hub gave it, which the result must have.
    pub job: Job,
    /// How many seconds the package's tests usually take, if the hub has results of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual_seconds: Option<u64>,
    /// What is wanted of the testbed, where that is more than the job says.
    #[serde(default, skip_serializing_if = "Testbed::is_default")]
    pub testbed: Testbed,
}

/// What is wanted of a testbed: for jobs of a debci server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Testbed {
    /// Upgrade all packages before the tests (autopkgtest's `--apt-upgrade`).
    #[serde(default)]
    pub upgrade: bool,
    /// Additional lines for apt's sources.list(5).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apt_sources: Vec<String>,
    /// OpenPGP keys that these sources are signed with, in ASCII armour.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signing_keys: Vec<String>,
}

impl Testbed {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// `POST /leases/{lease}/heartbeat`: keeps a lease. The first one reports that the job has begun.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Heartbeat {
    /// What the worker is doing, in a few words: `installing`, `running test 3`, `uploading`.
    #[serde(default)]
    pub phase: String,
}

/// The answer to [`Heartbeat`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HeartbeatAnswer {
    /// Seconds without a heartbeat after which the lease runs out.
    pub lease_seconds: u64,
    /// The reason why the worker has to stop; missing if it is to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<String>,
}

/// The answer to `PUT /leases/{lease}/log?offset=N`: a piece of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogAnswer {
    /// Number of bytes of the log that the hub has, at which the next piece begins.
    pub offset: u64,
}

/// `POST /leases/{lease}/complete`: delivers the result of a job whose bundle was uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Complete {
    /// SHA-256 of the bundle, in hexadecimal digits.
    pub bundle: sha256::Digest,
    /// The verdict, the same as in the bundle's `result.json`.
    pub verdict: Verdict,
    /// A summary in a few words, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
}

/// The answer to [`Complete`]: the result is stored, and the worker may delete its copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Completed {
    /// The job's id.
    pub job: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Whether the lease had run out before.
    pub late: bool,
}

/// `POST /leases/{lease}/give-back`: gives a job back without a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GiveBack {
    /// The reason.
    pub reason: GiveBackReason,
    /// An explanation for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// The reason why a job is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GiveBackReason {
    /// It crashes this machine: the hub gives it to other machines only.
    MachineKiller,
    /// This machine cannot run it: the hub gives it to other machines only.
    CannotRun,
    /// The machine is shut down or restarted.
    ShuttingDown,
    /// The hub cancelled the job.
    Cancelled,
    /// Another reason.
    Other,
}

impl GiveBackReason {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::MachineKiller => "machine-killer",
            Self::CannotRun => "cannot-run",
            Self::ShuttingDown => "shutting-down",
            Self::Cancelled => "cancelled",
            Self::Other => "other",
        }
    }

    /// Whether the hub must not give the job to this machine again.
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
