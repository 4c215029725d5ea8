//! Comparisons of two jobs or days.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::RunAs;
use crate::api::{Difference, TestRun};

/// How a test differs between two jobs or days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Compared {
    /// It passed before and fails now.
    Regressed,
    /// It failed before and passes now.
    Fixed,
    /// It fails in both.
    StillFailing,
    /// It ran before and does not run now.
    Stopped,
    /// It runs now and did not run before.
    Added,
    /// It passes in both.
    StillPassing,
}

impl Compared {
    /// All of them, those that need attention first.
    pub const ALL: [Self; 6] =
        [Self::Regressed, Self::Fixed, Self::StillFailing, Self::Stopped, Self::Added, Self::StillPassing];

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Regressed => "regressed",
            Self::Fixed => "fixed",
            Self::StillFailing => "still-failing",
            Self::Stopped => "stopped",
            Self::Added => "added",
            Self::StillPassing => "still-passing",
        }
    }
}

/// A test in a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ComparedTest {
    /// The source package.
    pub package: String,
    /// The test; empty for the whole run.
    pub test: String,
    /// Who ran it; missing from hubs of before.
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    pub run_as: Option<RunAs>,
    /// The target.
    pub target: String,
    /// How it differs.
    pub compared: Compared,
    /// The run before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<TestRun>,
    /// The run after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<TestRun>,
}

/// A test case in a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ComparedCase {
    /// The suite in the results' `junit.xml`.
    pub suite: String,
    /// The case.
    pub case: String,
    /// How it differs.
    pub compared: Compared,
}

/// A comparison of two jobs or days.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Comparison {
    /// The tests, those that need attention first.
    pub tests: Vec<ComparedTest>,
    /// What differs between the environments of two jobs; empty for days.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<Difference>,
    /// Test cases of two jobs that differ, or fail in both, those that need attention first; at most 500.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cases: Vec<ComparedCase>,
    /// How many more of these cases there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_cases: u64,
    /// Why cases are missing: a report cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cases_problem: Option<String>,
}

/// Whether a number is left out.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_have_the_names_that_they_have_in_json() -> Result<(), serde_json::Error> {
        for compared in Compared::ALL {
            assert_eq!(serde_json::to_string(&compared)?, format!("\"{}\"", compared.name()));
        }
        Ok(())
    }
}
