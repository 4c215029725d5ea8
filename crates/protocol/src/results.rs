//! [`ResultList`]: what came of a job list that was run from a stick, `results.json` beside the bundles.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha256::Digest;

use crate::VERSION;
use crate::verdict::Verdict;

/// What came of each job of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ResultList {
    /// Version of the format.
    pub version: u32,
    /// SHA-256 of the list, in hexadecimal digits.
    pub list: Digest,
    /// The jobs, in the order in which they ended. Those that nothing is known of are missing.
    pub jobs: Vec<Listed>,
}

/// What is known of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Listed {
    /// Its id.
    pub job: String,
    /// What came of it; missing if it was not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// In a few words; why it was not run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// The bundle's file name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
    /// Its length in bytes.
    #[serde(default)]
    pub size: u64,
    /// Its SHA-256, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// Each time that the machine came to an end while the job ran, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interruptions: Vec<String>,
}

impl ResultList {
    /// That of a list of which no job was run yet.
    pub fn of(sha256: Digest) -> Self {
        Self { version: VERSION, list: sha256, jobs: Vec::new() }
    }
}

impl Listed {
    /// A job of which nothing is known.
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
