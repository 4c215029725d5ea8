//! The history of a test on a target: since when it fails, and what changed.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::KnownFailure;
use crate::{RunAs, UnknownWord};

/// State of a test on a target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TestState {
    /// It failed at least twice since it last passed.
    Regression,
    /// It failed once since it last passed.
    NewFailure,
    /// It has never passed.
    AlwaysFailed,
    /// It passes and fails by chance.
    Flaky,
    /// It passes although its failure is listed as known.
    UnexpectedPass,
    /// It no longer runs.
    Stopped,
    /// Its failure is listed as known.
    Known,
    /// It passes again.
    Fixed,
    /// It passes.
    Ok,
    /// It passed, but has not been tested for two weeks.
    Stale,
    /// Nothing is known but failures of the GPU or the testbed.
    Infrastructure,
    /// It was never tested.
    #[default]
    Untested,
}

impl TestState {
    /// All states, those that need attention first.
    pub const ALL: [Self; 12] = [
        Self::Regression,
        Self::NewFailure,
        Self::AlwaysFailed,
        Self::Flaky,
        Self::UnexpectedPass,
        Self::Stopped,
        Self::Known,
        Self::Fixed,
        Self::Ok,
        Self::Stale,
        Self::Infrastructure,
        Self::Untested,
    ];

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Regression => "regression",
            Self::NewFailure => "new-failure",
            Self::AlwaysFailed => "always-failed",
            Self::Flaky => "flaky",
            Self::UnexpectedPass => "unexpected-pass",
            Self::Stopped => "stopped",
            Self::Known => "known",
            Self::Fixed => "fixed",
            Self::Ok => "ok",
            Self::Stale => "stale",
            Self::Infrastructure => "infrastructure",
            Self::Untested => "untested",
        }
    }

    /// The name as words: `new failure`.
    pub fn words(self) -> String {
        self.name().replace('-', " ")
    }

    /// Whether the test fails and nobody has listed that as known.
    pub fn is_failing(self) -> bool {
        matches!(self, Self::Regression | Self::NewFailure | Self::AlwaysFailed)
    }
}

impl fmt::Display for TestState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for TestState {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        UnknownWord::find(text, "the state of a test", Self::ALL, Self::name)
    }
}

/// A run of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TestRun {
    /// Id of the job.
    pub job: String,
    /// When the hub gave the job out.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// The outcome: `pass`, `fail`, `skip`, `timeout`, or `nothing` if the GPU or the testbed failed.
    pub outcome: String,
    /// Version of the tested package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What people call the worker.
    pub worker: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Id of the job that this run repeats to confirm its outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirms: Option<String>,
}

/// A change of state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct StateChange {
    /// The run that changed it.
    pub run: TestRun,
    /// The state before.
    pub from: TestState,
    /// The state after.
    pub to: TestState,
}

/// The history of a test on a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TestHistory {
    /// The source package.
    pub package: String,
    /// The test; empty for the outcome of the whole run.
    pub test: String,
    /// The target; `none` without a GPU.
    pub target: String,
    /// Who ran it.
    #[serde(rename = "as")]
    pub run_as: RunAs,
    /// Where the packages came from besides the archive: `pin experimental=src:rocr-runtime`, `url ...`; empty for the
    /// archive alone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// Whether the GPU was simulated.
    pub simulated: bool,
    /// The state.
    pub state: TestState,
    /// The first run of the current streak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<TestRun>,
    /// The last run that passed; before the failure if it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good: Option<TestRun>,
    /// The first run of the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_bad: Option<TestRun>,
    /// The last run that says whether it passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<TestRun>,
    /// How many times in a row it had its present outcome.
    pub streak: u32,
    /// How many of the last 30 runs failed at least once.
    pub failed: u32,
    /// How many of the last 30 runs there are.
    pub ran: u32,
    /// Changes between passing and failing in 60 days.
    pub flips: u32,
    /// Later runs in which the GPU or the testbed failed.
    #[serde(default)]
    pub infrastructure: u32,
    /// The entry that lists the failure as known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<KnownFailure>,
    /// Changes of state, newest first; where they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<StateChange>,
    /// All runs, newest first; where they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<TestRun>,
}

/// Histories of tests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryList {
    /// By package, target and test.
    pub tests: Vec<TestHistory>,
}

/// Kind of a thing that differs between two runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// The kernel's release.
    Kernel,
    /// Versions of the GPU's firmware.
    Firmware,
    /// The image that the machine was booted from.
    Image,
    /// The kernel's command line.
    CommandLine,
    /// The machine.
    Machine,
    /// A source package.
    Package,
}

impl ChangeKind {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Firmware => "firmware",
            Self::Image => "image",
            Self::CommandLine => "command-line",
            Self::Machine => "machine",
            Self::Package => "package",
        }
    }
}

/// Something that differs between the last good and the first bad run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    /// What kind of thing it is.
    pub kind: ChangeKind,
    /// Name of the source package, or of the kind.
    pub name: String,
    /// The version or value before; missing if it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The version or value after; missing if it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The job of a run of this test on this target that passed with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleared_by: Option<String>,
    /// Other tests or targets that passed with it: a hint, as they may not use it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_with: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
        write!(f, "{} {} -> {}", self.name, value(&self.from), value(&self.to))
    }
}

/// Why a test fails on a target, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// The test.
    pub test: TestHistory,
    /// What changed between the last good and the first bad run; kernel, firmware, image and machine first.
    pub changed: Vec<Difference>,
    /// Whether the packages of both runs are known.
    pub packages_known: bool,
    /// Targets on which the same test fails since about the same time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_failing: Vec<String>,
    /// Targets on which it passes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passes_on: Vec<String>,
    /// Other packages' tests on the same target that broke within two days.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub broke_with_it: Vec<String>,
    /// What to do next.
    pub next: String,
}

/// Why the tests of a package fail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExplanationList {
    /// One for each test that does not pass.
    pub tests: Vec<Explanation>,
}

/// Jobs that confirm a result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Confirmed {
    /// Ids of the jobs that run the failing tests again.
    pub jobs: Vec<String>,
    /// Names of these tests; empty if the run failed before any test.
    pub tests: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_the_names_that_they_have_in_json() -> Result<(), serde_json::Error> {
        for state in TestState::ALL {
            assert_eq!(serde_json::to_string(&state)?, format!("\"{state}\""));
            assert_eq!(state.name().parse(), Ok(state));
        }
        Ok(())
    }
}
