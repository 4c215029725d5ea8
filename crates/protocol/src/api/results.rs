//! Results on a hub. A job has at most one, which has the job's id.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{JobResult, Verdict};

/// Summary of a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ResultInfo {
    /// The job's id.
    pub job: String,
    /// The package that was tested.
    pub package: String,
    /// The package's version, if autopkgtest determined it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Targets of the GPUs that were in the testbed, without feature settings; empty if there was none.
    pub targets: Vec<String>,
    /// The verdict.
    pub verdict: Verdict,
    /// Whether the GPUs were simulated: then it does not count as coverage.
    pub simulated: bool,
    /// A summary in a few words, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Id of the worker that ran the job.
    pub worker: String,
    /// Short name of that worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_name: Option<String>,
    /// When the job began, by the worker's clock.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started: Timestamp,
    /// When the job ended, by the worker's clock.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub finished: Timestamp,
    /// When the hub received it, by the hub's clock; older hubs do not send it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub received: Option<Timestamp>,
    /// SHA-256 of the bundle, in hexadecimal digits.
    pub bundle: sha256::Digest,
    /// The bundle's length in bytes.
    pub size: u64,
}

impl ResultInfo {
    /// Short name of the worker, or else its id.
    pub fn worker_name(&self) -> &str {
        self.worker_name.as_deref().unwrap_or(&self.worker)
    }
}

/// `GET /results/{job}`: a whole result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResultDetail {
    /// The summary.
    pub info: ResultInfo,
    /// `result.json` of the bundle.
    pub result: JobResult,
}

/// `GET /results`: a page of results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResultPage {
    /// Results, the latest first.
    pub results: Vec<ResultInfo>,
    /// Value of `after` for the next page; missing on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
