//! Results as a hub has them. A job has at most one, so the job's id names it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{JobResult, Verdict};

/// A result in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ResultInfo {
    /// The job's id.
    pub job: String,
    /// What was tested.
    pub package: String,
    /// Its version, where autopkgtest came to know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Targets of the GPUs that were in the testbed, without feature settings; empty if there was none.
    pub targets: Vec<String>,
    /// What came of it.
    pub verdict: Verdict,
    /// Whether the GPUs were made up: then it is not counted as coverage.
    pub simulated: bool,
    /// In a few words, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Where it ran.
    pub worker: String,
    /// What people call that worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_name: Option<String>,
    /// When it began, by the worker's clock.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started: Timestamp,
    /// When it had ended, by the worker's clock.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub finished: Timestamp,
    /// When the hub took it, by the hub's clock; missing from a hub that does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub received: Option<Timestamp>,
    /// SHA-256 of the bundle, in hexadecimal digits.
    pub bundle: sha256::Digest,
    /// The bundle's length in bytes.
    pub size: u64,
}

impl ResultInfo {
    /// What people call the worker.
    pub fn worker_name(&self) -> &str {
        self.worker_name.as_deref().unwrap_or(&self.worker)
    }
}

/// `GET /results/{job}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResultDetail {
    /// In short.
    pub info: ResultInfo,
    /// `result.json` of the bundle.
    pub result: JobResult,
}

/// `GET /results`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResultPage {
    /// Results, the latest first.
    pub results: Vec<ResultInfo>,
    /// What to give as `after` for the next ones; missing if these were the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
