//! Packages that were installed while tests ran.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha256::Digest;

use crate::RunAs;

/// The packages that were installed while the tests of a job ran.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobPackages {
    /// The tests, by user and name.
    pub tests: Vec<TestPackages>,
}

/// The packages of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TestPackages {
    /// Who ran it.
    #[serde(rename = "as")]
    pub run_as: RunAs,
    /// The test.
    pub test: String,
    /// Digest of the list.
    pub sha256: Digest,
    /// The list's lines: `NAME ARCHITECTURE VERSION [SOURCE [SOURCE-VERSION]]`. Only with the first test that has the
    /// list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
}
