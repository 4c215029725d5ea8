//! [`Verdict`]: the outcome of a job.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{UnknownWord, exit};

/// The outcome of a job, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// All tests passed, or some passed and the others were skipped.
    Pass,
    /// Nothing was tested: the package has no tests, or all were skipped.
    Neutral,
    /// A test failed, or the package's tests could not be read or built.
    Fail,
    /// The job's deadline came first.
    Timeout,
    /// The GPU faulted, hung, was reset or disappeared while the job ran.
    GpuFault,
    /// The testbed failed: the result says nothing about the package.
    TestbedFailed,
}

impl Verdict {
    /// All verdicts, from good to bad.
    pub const ALL: [Self; 6] =
        [Self::Pass, Self::Neutral, Self::Fail, Self::Timeout, Self::GpuFault, Self::TestbedFailed];

    /// The verdict for autopkgtest's exit status (autopkgtest(1), EXIT STATUS), read as debci reads it; `None` for a run that
    /// a signal ended.
    pub fn of_exit_status(code: Option<i32>) -> Self {
        match code {
            Some(0 | 2) => Self::Pass,
            // 12 and 14: the package is broken; 4 and 6: tests failed.
            Some(4 | 6 | 12 | 14) => Self::Fail,
            Some(8) => Self::Neutral,
            _ => Self::TestbedFailed,
        }
    }

    /// The exit code of a program that ran only this job.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Pass => exit::PASSED,
            Self::Neutral => exit::NOTHING_TESTED,
            Self::Fail | Self::Timeout | Self::GpuFault => exit::SOME_FAILED,
            Self::TestbedFailed => exit::TESTBED_FAILED,
        }
    }

    /// The exit code of a program that ran several jobs: that of the worst. Jobs without a test beside jobs with some count
    /// as skipped tests.
    pub fn exit_code_of_all(verdicts: impl IntoIterator<Item = Self>) -> u8 {
        let (mut worst, mut passed, mut skipped) = (exit::PASSED, false, false);
        for verdict in verdicts {
            match verdict {
                Self::Pass => passed = true,
                Self::Neutral => skipped = true,
                other => worst = worst.max(other.exit_code()),
            }
        }
        match (worst, passed, skipped) {
            (exit::SOME_FAILED, _, true) => exit::SOME_FAILED | exit::SOME_SKIPPED,
            (exit::PASSED, true, true) => exit::SOME_SKIPPED,
            (exit::PASSED, false, _) => exit::NOTHING_TESTED,
            _ => worst,
        }
    }

    /// The verdict on several runs of one thing, or on parts of it: the worst. Runs without a test beside runs with some count as
    /// skipped tests. [`Neutral`](Self::Neutral) if there is none.
    pub fn worst(verdicts: impl IntoIterator<Item = Self>) -> Self {
        let is_tested = |verdict: &Self| *verdict != Self::Neutral;
        verdicts.into_iter().filter(is_tested).max().unwrap_or(Self::Neutral)
    }

    /// Whether it says something about the package: not where the GPU or the testbed failed.
    pub fn is_of_package(self) -> bool {
        !matches!(self, Self::GpuFault | Self::TestbedFailed)
    }

    /// The name in JSON and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Neutral => "neutral",
            Self::Fail => "fail",
            Self::Timeout => "timeout",
            Self::GpuFault => "gpu-fault",
            Self::TestbedFailed => "testbed-failed",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Verdict {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        UnknownWord::find(text, "a verdict", Self::ALL, Self::name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Fail, GpuFault, Neutral, Pass, TestbedFailed, Timeout};

    #[test]
    fn exit_statuses_of_autopkgtest() {
        let table = [(0, "pass"), (2, "pass"), (4, "fail"), (6, "fail"), (8, "neutral"), (12, "fail"), (14, "fail")];
        for (code, name) in table.into_iter().chain([(16, "testbed-failed"), (20, "testbed-failed")]) {
            assert_eq!(Verdict::of_exit_status(Some(code)).name(), name, "{code}");
        }
        assert_eq!(Verdict::of_exit_status(None), Verdict::TestbedFailed);
    }

    #[test]
    fn names_are_as_in_json() -> Result<(), serde_json::Error> {
        for verdict in Verdict::ALL {
            assert_eq!(serde_json::to_string(&verdict)?, format!("\"{verdict}\""));
            assert_eq!(verdict.name().parse(), Ok(verdict));
        }
        Ok(())
    }

    #[test]
    fn the_worst_counts() {
        let table: [(&[Verdict], u8); 8] = [
            (&[Pass, Pass], 0),
            (&[Pass, Neutral], 2),
            (&[Pass, Fail], 4),
            (&[Fail, Neutral], 6),
            (&[Neutral, Neutral], 8),
            (&[], 8),
            (&[Fail, TestbedFailed, Pass], 16),
            (&[GpuFault, Timeout], 4),
        ];
        for (verdicts, code) in table {
            assert_eq!(Verdict::exit_code_of_all(verdicts.iter().copied()), code, "{verdicts:?}");
        }
    }

    #[test]
    fn parts_have_the_worst_verdict() {
        let table: [(&[Verdict], Verdict); 5] = [
            (&[Pass, Pass], Pass),
            (&[Neutral, Pass], Pass),
            (&[Neutral, Neutral], Neutral),
            (&[Pass, Fail, Neutral], Fail),
            (&[Timeout, TestbedFailed, GpuFault], TestbedFailed),
        ];
        for (verdicts, worst) in table {
            assert_eq!(Verdict::worst(verdicts.iter().copied()), worst, "{verdicts:?}");
        }
    }
}
