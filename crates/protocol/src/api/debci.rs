//! What a hub says of a debci server whose jobs it takes, and of workers of debci that get its jobs.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a job came from, if a debci server has asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DebciOrigin {
    /// Address of the server's message broker, without a password.
    pub server: String,
    /// The job's number at that server.
    pub run: u64,
    /// The architecture whose queue it was in: `amd64+gfx1030`.
    pub architecture: String,
    /// The suite that the server asks for.
    pub suite: String,
    /// Why the server made the job, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// Additional apt sources; a run with any is not the package's plain run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apt_sources: Vec<String>,
    /// When the broker confirmed the result, or the job was found to have one from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub answered: Option<Timestamp>,
    /// What became of the answer, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// `GET /debci`: the connection to a debci server's message broker, and to that of debci's workers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DebciStatus {
    /// Address of the broker, without a password; missing if the hub was started without `--debci`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Since when it is connected; missing if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub connected: Option<Timestamp>,
    /// The queues that jobs are taken from: those of the targets of all workers.
    #[serde(default)]
    pub queues: Vec<String>,
    /// Jobs that the broker keeps for this hub until they are answered.
    #[serde(default)]
    pub held: u64,
    /// Jobs taken since the hub was started.
    #[serde(default)]
    pub taken: u64,
    /// Results that the broker has confirmed since then.
    #[serde(default)]
    pub answered: u64,
    /// The last thing that went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<DebciProblem>,
    /// Workers of debci to which the hub offers jobs; missing if it was started without `--debci-workers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<DebciWorkers>,
}

/// The connection to the message broker of debci's workers, to which a hub offers jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DebciWorkers {
    /// Address of the broker, without a password.
    pub server: String,
    /// Since when it is connected; missing if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub connected: Option<Timestamp>,
    /// The queues in which jobs are offered.
    #[serde(default)]
    pub queues: Vec<String>,
    /// Jobs that are offered and have no result yet.
    #[serde(default)]
    pub offered: u64,
    /// Results taken since the hub was started.
    #[serde(default)]
    pub results: u64,
    /// Messages refused since then: of no job that was offered, or of one that has its result.
    #[serde(default)]
    pub refused: u64,
    /// The last thing that went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<DebciProblem>,
}

/// What went wrong between a hub and a debci server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DebciProblem {
    /// When it went wrong.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub when: Timestamp,
    /// What went wrong, and what to do about it; for people.
    pub what: String,
}
