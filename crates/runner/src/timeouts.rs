//! Derives autopkgtest's own timeouts from the job's deadline.
//!
//! When autopkgtest itself ends a test, it fetches the test's output and artifacts. Its timers start with each step, so
//! the runner triggers them (SIGALRM) some time before the deadline. The timeouts set here are slightly later: one that
//! fired a second time, while autopkgtest fetches the output, would end it with an error.

use std::time::Duration;

/// autopkgtest's own defaults, in seconds (autopkgtest(1), TIMEOUT OPTIONS).
const DEFAULTS: [(&str, u64); 5] =
    [("short", 100), ("copy", 300), ("install", 3_000), ("test", 10_000), ("build", 100_000)];

/// The part of a job's time that is reserved for collecting the output at its end. su(1), which runs the tests, needs
/// two seconds to end a test that ignores signals.
pub(crate) fn reserve(timeout: Duration) -> Duration {
    (timeout / 10).clamp(Duration::from_secs(15), Duration::from_secs(120)).min(timeout / 2)
}

/// The options for a run with this much time until the deadline. In a job with more time than the default, the test may
/// use all of it.
pub(crate) fn options(left: Duration, timeout: Duration) -> Vec<String> {
    let left = left.as_secs().max(1);
    let patient = timeout > protocol::Job::TIMEOUT.0;
    let option = |(name, default): (&str, u64)| {
        let limit = if name == "test" && patient { left } else { left.min(default) };
        format!("--timeout-{name}={limit}")
    };
    DEFAULTS.into_iter().map(option).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_later_than_the_deadline() {
        let options = options(Duration::from_secs(540), Duration::from_secs(600)).join(" ");
        let expected =
            "--timeout-short=100 --timeout-copy=300 --timeout-install=540 --timeout-test=540 --timeout-build=540";
        assert_eq!(options, expected);
    }

    #[test]
    fn only_patient_jobs_have_patient_tests() {
        let day = Duration::from_secs(86_400);
        assert!(options(day, day).contains(&"--timeout-test=86400".to_owned()));
        let usual = protocol::Job::TIMEOUT.0;
        assert!(options(usual, usual).contains(&"--timeout-test=10000".to_owned()));
        assert_eq!(options(Duration::ZERO, usual).first().map(String::as_str), Some("--timeout-short=1"));
    }

    #[test]
    fn some_time_is_kept_for_the_end() {
        for (timeout, reserved) in [(10, 5), (60, 15), (600, 60), (86_400, 120)] {
            assert_eq!(reserve(Duration::from_secs(timeout)), Duration::from_secs(reserved));
        }
    }
}
