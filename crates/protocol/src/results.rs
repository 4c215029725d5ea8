//! [`ResultList`]: the results of a job list that was run from a stick, `results.json` beside the bundles.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha256::Digest;

use crate::VERSION;
use crate::verdict::Verdict;

/// The results of a job list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ResultList {
    /// Version of the format.
    pub version: u32,
    /// SHA-256 of the job list, in hexadecimal digits.
    pub list: Digest,
    /// The jobs, in the order in which they ended. Jobs that have not been tried are missing.
    pub jobs: Vec<Listed>,
}

/// The result of one job of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Listed {
    /// The job's id.
    pub job: String,
    /// The verdict; missing if it was not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// A summary in a few words, or the reason why it was not run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// The bundle's file name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
    /// The bundle's length in bytes.
    #[serde(default)]
    pub size: u64,
    /// The bundle's SHA-256, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// Each time that the machine went down while the job ran, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interruptions: Vec<String>,
}

impl ResultList {
    /// The results of a list with this digest, before any job was run.
    pub fn of(sha256: Digest) -> Self {
        Self { version: VERSION, list: sha256, jobs: Vec::new() }
    }
}

impl Listed {
    /// A job without a result.
    pub fn of(job: &str) -> Self {
        Self {
            job: job.to_owned(),
            verdict: None,
            summary: String::new(),
            bundle: None,
            size: 0,
            sha256: None,
            interruptions: Vec::new(),
        }
    }
}
