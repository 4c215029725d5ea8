//! Exit codes of programs that run tests: autopkgtest's own (autopkgtest(1), section EXIT STATUS).

use crate::Verdict;

/// All tests passed.
pub const PASSED: u8 = 0;
/// At least one test was skipped, and none failed.
pub const SOME_SKIPPED: u8 = 2;
/// At least one test failed.
pub const SOME_FAILED: u8 = 4;
/// There were no tests, or all were skipped.
pub const NOTHING_TESTED: u8 = 8;
/// The testbed failed.
pub const TESTBED_FAILED: u8 = 16;
/// The program itself failed.
pub const OWN_ERROR: u8 = 20;

/// One exit code for several jobs: that of the worst. Jobs without a test beside jobs with some count as skipped tests.
pub fn of_all(verdicts: impl IntoIterator<Item = Verdict>) -> u8 {
    let (mut worst, mut passed, mut skipped) = (PASSED, false, false);
    for verdict in verdicts {
        match verdict {
            Verdict::Pass => passed = true,
            Verdict::Neutral => skipped = true,
            other => worst = worst.max(other.exit_code()),
        }
    }
    match (worst, passed, skipped) {
        (SOME_FAILED, _, true) => SOME_FAILED | SOME_SKIPPED,
        (PASSED, true, true) => SOME_SKIPPED,
        (PASSED, false, _) => NOTHING_TESTED,
        _ => worst,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Fail, GpuFault, Neutral, Pass, TestbedFailed, Timeout};

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
            assert_eq!(of_all(verdicts.iter().copied()), code, "{verdicts:?}");
        }
    }
}
