//! [`judge`]: what the result of a run says about a set of packages, for a search by [`crate::bisect`].

use protocol::{JobResult, TestOutcome, TestResult, Verdict};

use crate::bisect::Answer;
use crate::question::Seen;

/// What a run says about the packages that it ran with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// The test passed, failed, or cannot run with them.
    Answer(Answer),
    /// The job's deadline came first. One such run says nothing, as the machine may have been slow.
    TimedOut,
    /// Nothing: the GPU or the testbed failed, for this reason.
    Nothing(String),
}

/// Reads the outcome of a test from a result.
///
/// A test whose packages cannot be installed, that was skipped, or that does not exist in this version, is an
/// [`Answer::Skip`]. A test that is marked as flaky and fails is bad: who searches for its failure wants to know.
pub fn judge(result: &JobResult, test: &str) -> Judged {
    if result.verdict == Verdict::TestbedFailed && result.problem.as_deref().is_some_and(is_unsatisfiable) {
        return Judged::Answer(Answer::Skip);
    }
    if !result.verdict.is_of_package() {
        let reason = result.problem.clone().unwrap_or_else(|| format!("the verdict is {}", result.verdict));
        return Judged::Nothing(reason);
    }
    let Some(found) = result.tests().map(|(_, found)| found).find(|found| found.name == test) else {
        return Judged::Answer(Answer::Skip);
    };
    match Seen::of_test(found, result.verdict) {
        _ if is_not_installable(found) => Judged::Answer(Answer::Skip),
        Seen::Pass => Judged::Answer(Answer::Good),
        Seen::Fail => Judged::Answer(Answer::Bad),
        Seen::Skip => Judged::Answer(Answer::Skip),
        Seen::TimedOut => Judged::TimedOut,
        Seen::Nothing if found.outcome == TestOutcome::Flaky => Judged::Answer(Answer::Bad),
        Seen::Nothing => Judged::Nothing(format!("{test} has no outcome")),
    }
}

/// Whether a test failed because of its dependencies: autopkgtest says `badpkg` then.
fn is_not_installable(test: &TestResult) -> bool {
    test.outcome == TestOutcome::Fail && test.reason.split([':', ' ']).next() == Some("badpkg")
}

/// Whether apt said that the wanted versions do not exist or do not fit together. A testbed that could not be set up for
/// another reason, such as a mirror that was away, says nothing about the packages.
fn is_unsatisfiable(problem: &str) -> bool {
    const WORDS: [&str; 7] = [
        "was not found",
        "Unable to locate package",
        "No packages found",
        "unmet dependencies",
        "Unable to satisfy dependencies",
        "held broken packages",
        "in place of the wanted version",
    ];
    WORDS.iter().any(|words| problem.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{InstalledLists, Job, Machine, Run, RunAs};

    fn result(verdict: Verdict, tests: &[(&str, TestOutcome, &str)]) -> JobResult {
        let test = |(name, outcome, reason): &(&str, TestOutcome, &str)| TestResult {
            name: (*name).into(),
            outcome: *outcome,
            reason: (*reason).into(),
            seconds: None,
            cases: None,
            installed: None,
        };
        let time = jiff::Timestamp::UNIX_EPOCH;
        JobResult {
            version: protocol::VERSION,
            job: Job::of_package("rocfft"),
            verdict,
            simulated: false,
            started: time,
            finished: time,
            runs: vec![Run {
                run_as: RunAs::User,
                verdict,
                exit_status: None,
                seconds: 1.0,
                directory: "user".into(),
                package: None,
                tested: None,
                archives: Vec::new(),
                tests: tests.iter().map(test).collect(),
            }],
            gpus: Vec::new(),
            machine: Machine::default(),
            warnings: Vec::new(),
            problem: None,
            processors: None,
            gpu_energy: None,
            kernel_log: Vec::new(),
            installed: InstalledLists::default(),
            parts: Vec::new(),
        }
    }

    #[test]
    fn only_what_the_test_says_is_an_answer() {
        use TestOutcome::{Fail, Flaky, Pass, Skip, Unfinished};
        let good = Judged::Answer(Answer::Good);
        let (bad, skip) = (Judged::Answer(Answer::Bad), Judged::Answer(Answer::Skip));
        for (verdict, outcome, reason, says) in [
            (Verdict::Pass, Pass, "", good),
            (Verdict::Fail, Fail, "non-zero exit status 1", bad.clone()),
            (Verdict::Fail, Flaky, "non-zero exit status 1", bad),
            (Verdict::Fail, Fail, "badpkg", skip.clone()),
            (Verdict::Fail, Fail, "badpkg: Test dependencies are unsatisfiable", skip.clone()),
            (Verdict::Neutral, Skip, "no GPU", skip.clone()),
            (Verdict::Timeout, Fail, "timed out", Judged::TimedOut),
            (Verdict::Timeout, Unfinished, "", Judged::TimedOut),
            (Verdict::GpuFault, Fail, "", Judged::Nothing("the verdict is gpu-fault".into())),
            (Verdict::TestbedFailed, Pass, "", Judged::Nothing("the verdict is testbed-failed".into())),
        ] {
            assert_eq!(judge(&result(verdict, &[("t", outcome, reason)]), "t"), says, "{verdict} {outcome} {reason}");
        }
        let because = |problem: &str| {
            let result = JobResult { problem: Some(problem.into()), ..result(Verdict::TestbedFailed, &[]) };
            judge(&result, "t")
        };
        assert_eq!(because("apt said: E: Version '9' for 'gzip' was not found"), skip);
        assert_eq!(because("apt said: E: Failed to fetch x"), Judged::Nothing("apt said: E: Failed to fetch x".into()));
        // Another test's failure is not this one's, and a test that is not there cannot be searched for.
        let both = result(Verdict::Fail, &[("other", Fail, "x"), ("t", Pass, "")]);
        assert_eq!(judge(&both, "t"), Judged::Answer(Answer::Good));
        assert_eq!(judge(&both, "gone"), skip);
    }
}
