//! The exit code that debci gets for a result, and what debci makes of it.

use protocol::{JobResult, Verdict};

/// What debci calls the outcome of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// `pass`
    Pass,
    /// `neutral`
    Neutral,
    /// `fail`
    Fail,
    /// `tmpfail`: nothing is known about the package.
    Tmpfail,
}

impl Status {
    /// debci's status for an exit code of autopkgtest (autopkgtest(1), EXIT STATUS).
    pub fn of_exit_code(code: u8) -> Self {
        match code {
            0 | 2 => Self::Pass,
            4 | 6 | 12 | 14 => Self::Fail,
            8 => Self::Neutral,
            _ => Self::Tmpfail,
        }
    }
}

/// The exit code that debci gets: autopkgtest's own where the verdict agrees with it.
///
/// debci knows autopkgtest's exit codes only. A timeout of the job is a failed test (4), as with a test that autopkgtest
/// itself ends. After a fault of the GPU, a test that failed has failed, and everything else says nothing (16): that the
/// other tests passed before is never a pass.
///
/// Results of simulated GPUs are neutral (8), whether the tests passed or failed: debci has no word for such a GPU, and shows
/// what it gets as that of the real one.
pub fn exit_code(result: &JobResult) -> u8 {
    let code = said(result);
    if result.simulated && Status::of_exit_code(code) != Status::Tmpfail { 8 } else { code }
}

fn said(result: &JobResult) -> u8 {
    // A job of debci is run once, as one user. Of several runs, the one that made the verdict counts.
    let run = result.runs.iter().find(|run| run.verdict == result.verdict).or_else(|| result.runs.first());
    let own = run.and_then(|run| run.exit_status).and_then(|status| u8::try_from(status).ok());
    let (allowed, otherwise): (&[u8], u8) = match result.verdict {
        Verdict::Pass => (&[0, 2], 16),
        Verdict::Neutral => (&[8], 8),
        Verdict::Fail => (&[4, 6, 12, 14], 4),
        Verdict::Timeout => (&[4, 6], 4),
        Verdict::GpuFault => (&[4, 6], 16),
        Verdict::TestbedFailed => (&[], 16),
    };
    own.filter(|code| allowed.contains(code)).unwrap_or(otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result_file::fixtures;
    use Status::{Fail, Neutral, Pass, Tmpfail};

    #[test]
    fn debci_sees_what_autopkgtest_said() {
        for (status, verdict, says) in [
            (0, Verdict::Pass, Pass),
            (2, Verdict::Pass, Pass),
            (4, Verdict::Fail, Fail),
            (6, Verdict::Fail, Fail),
            (8, Verdict::Neutral, Neutral),
            (12, Verdict::Fail, Fail),
            (14, Verdict::Fail, Fail),
            (16, Verdict::TestbedFailed, Tmpfail),
        ] {
            let code = exit_code(&fixtures::result(verdict, Some(status)));
            assert_eq!((i32::from(code), Status::of_exit_code(code)), (status, says));
        }
        assert_eq!(exit_code(&fixtures::result(Verdict::TestbedFailed, Some(20))), 16);
    }

    #[test]
    fn a_simulated_gpu_says_nothing_about_the_package() {
        for verdict in Verdict::ALL {
            for status in [0, 2, 4, 6, 8, 12, 14, 16, 20] {
                let real = fixtures::result(verdict, Some(status));
                let simulated = exit_code(&JobResult { simulated: true, ..real.clone() });
                let is_failure_of_ours = Status::of_exit_code(exit_code(&real)) == Tmpfail;
                assert_eq!(Status::of_exit_code(simulated), if is_failure_of_ours { Tmpfail } else { Neutral });
            }
        }
    }

    #[test]
    fn only_a_pass_is_a_pass() {
        for verdict in Verdict::ALL {
            for status in [None, Some(-1), Some(1), Some(1000)].into_iter().chain((0..=20).map(Some)) {
                let said = Status::of_exit_code(exit_code(&fixtures::result(verdict, status)));
                assert!(said != Pass || verdict == Verdict::Pass, "{verdict} {status:?}");
            }
            let nothing_ran = JobResult { runs: Vec::new(), ..fixtures::result(verdict, None) };
            assert!(Status::of_exit_code(exit_code(&nothing_ran)) != Pass, "{verdict}");
        }
        let faulty = |status| exit_code(&fixtures::result(Verdict::GpuFault, status));
        assert_eq!((faulty(Some(0)), faulty(Some(4)), faulty(None)), (16, 4, 16));
    }
}
