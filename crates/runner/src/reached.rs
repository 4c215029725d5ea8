//! Limits that testbeds reached, as the virtualisation server tells them: which test it was, and what happened.

use protocol::{RunAs, TestOutcome, TestResult};

/// Environment variable with the path of a file to which the virtualisation server appends a line for each limit that a
/// testbed reached: the test, or nothing, a tab, and what happened.
pub(crate) const NOTES: &str = "ROCBED_LIMIT_NOTES";
/// Most lines in a result about limits.
const LINES: usize = 20;

/// A limit that was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LimitNote {
    /// The test that had just ended, if it was one.
    test: Option<String>,
    what: String,
}

impl LimitNote {
    /// Reads a line; `None` if it is not a note.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (test, what) = line.split_once('\t')?;
        let test = (!test.is_empty()).then(|| test.to_owned());
        (!what.is_empty()).then(|| Self { test, what: what.to_owned() })
    }
}

/// Adds to the reason of each test that did not pass which limit its testbed reached. Returns warnings about all.
pub(crate) fn explain(notes: &[LimitNote], tests: &mut [TestResult], run_as: RunAs) -> Vec<String> {
    for note in notes {
        let found = tests.iter_mut().find(|test| Some(&test.name) == note.test.as_ref());
        let Some(test) = found.filter(|test| matches!(test.outcome, TestOutcome::Fail | TestOutcome::Flaky)) else {
            continue;
        };
        let between = if test.reason.is_empty() { "" } else { "; " };
        test.reason = format!("{}{between}{}", test.reason, note.what);
    }
    let line = |LimitNote { test, what }: &LimitNote| match test {
        Some(test) => format!("test {test} as {run_as}: {what}"),
        None => what.clone(),
    };
    let mut lines: Vec<String> = notes.iter().take(LINES).map(line).collect();
    if notes.len() > LINES {
        lines.push(format!("{} more times a testbed reached a limit", notes.len() - LINES));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(name: &str, outcome: TestOutcome, reason: &str) -> TestResult {
        TestResult { name: name.into(), outcome, reason: reason.into(), seconds: None, cases: None, installed: None }
    }

    #[test]
    fn the_reason_of_a_test_that_failed_has_the_limit() {
        let mut tests = [
            test("hog", TestOutcome::Fail, "non-zero exit status 137"),
            test("fills", TestOutcome::Flaky, ""),
            test("copes", TestOutcome::Pass, ""),
        ];
        let lines =
            ["hog\tthe memory was used up", "fills\tit is full", "copes\tit is full", "\tit is full", "what\t", ""];
        let notes: Vec<_> = lines.into_iter().filter_map(LimitNote::parse).collect();
        let warnings = explain(&notes, &mut tests, RunAs::User);
        let reasons = tests.map(|test| test.reason);
        assert_eq!(reasons, ["non-zero exit status 137; the memory was used up", "it is full", ""]);
        let expected = [
            "test hog as user: the memory was used up",
            "test fills as user: it is full",
            "test copes as user: it is full",
            "it is full",
        ];
        assert_eq!(warnings, expected);
    }

    #[test]
    fn limits_without_end_are_counted() {
        let notes = vec![LimitNote { test: None, what: "x".into() }; LINES + 3];
        let warnings = explain(&notes, &mut [], RunAs::Root);
        assert_eq!((warnings.len(), warnings[LINES].as_str()), (LINES + 1, "3 more times a testbed reached a limit"));
    }
}
