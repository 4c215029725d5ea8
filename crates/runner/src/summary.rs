//! Parses autopkgtest's summary file (autopkgtest(1), OUTPUT FORMAT): a line for each test, and lines about problems.

use crate::shards::badness;
use protocol::{TestOutcome, TestResult};

/// Longest reason or name that is kept, in characters.
const LONGEST_REASON: usize = 1000;

/// Added to the reason where several tests have one name, of which the worst counts.
const SEVERAL: &str = "the worst of several tests of this name";

/// Contents of a summary.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// Each test once, in order. A summary has neither times nor cases.
    pub tests: Vec<TestResult>,
    /// Problems outside of tests: `testbed failure: …`, `erroneous package: …`, `badpkg: …`.
    pub problems: Vec<String>,
}

impl Summary {
    /// Parses any bytes. Lines that are not understood become problems shown to users, or are ignored.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut summary = Self::default();
        let text = String::from_utf8_lossy(bytes);
        for line in text.lines() {
            if let Some(test) = test(line) {
                // Skipped tests are listed once for each time that the control file is read.
                match summary.tests.iter_mut().find(|other| other.name == test.name) {
                    Some(other) if other.outcome == TestOutcome::Skip => *other = test,
                    Some(_) if test.outcome == TestOutcome::Skip => {}
                    // The control file may give one name to several tests: autopkgtest runs them all, and all count.
                    Some(other) => {
                        if badness(test.outcome) > badness(other.outcome) {
                            *other = test;
                        }
                        if !other.reason.ends_with(SEVERAL) {
                            let room = LONGEST_REASON - SEVERAL.len() - 2;
                            let reason: String = other.reason.chars().take(room).collect();
                            let reason = [reason.as_str(), SEVERAL].into_iter().filter(|part| !part.is_empty());
                            other.reason = reason.collect::<Vec<_>>().join("; ");
                        }
                    }
                    None => summary.tests.push(test),
                }
            } else if !line.trim().is_empty() && !line.starts_with("blame: ") {
                let line = shortened(line.trim());
                if !summary.problems.contains(&line) {
                    summary.problems.push(line);
                }
            }
        }
        summary
    }
}

fn test(line: &str) -> Option<TestResult> {
    let (name, rest) = line.split_once(char::is_whitespace)?;
    let rest = rest.trim();
    let (word, reason) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    // `BROKEN` marks an invalid stanza in debian/tests/control.
    let outcome = if word == "BROKEN" { TestOutcome::Fail } else { TestOutcome::of_word(word)? };
    if name.is_empty() {
        return None;
    }
    let reason = reason.trim();
    let reason = reason.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or(reason);
    // The name has no blanks.
    let name = name.chars().map(|char| if char.is_control() { '?' } else { char }).take(LONGEST_REASON).collect();
    Some(TestResult { name, outcome, reason: shortened(reason), seconds: None, cases: None, installed: None })
}

/// Cuts a text to the maximum length, and makes it safe for terminals.
fn shortened(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(LONGEST_REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use protocol::TestOutcome::{Fail, Flaky, Pass, Skip};

    fn read(text: &str) -> Vec<(String, TestOutcome, String)> {
        let tests = Summary::parse(text.as_bytes()).tests;
        tests.into_iter().map(|test| (test.name, test.outcome, test.reason)).collect()
    }

    #[test]
    fn every_kind_of_line() {
        let text = "\
machine              SKIP Test restriction \"isolation-machine\" requires testbed capability \"isolation-machine\"
machine              SKIP Test restriction \"isolation-machine\" requires testbed capability \"isolation-machine\"
exit-status          FAIL non-zero exit status 3
stderr               FAIL stderr: something is wrong
a-name-of-more-than-twenty-letters PASS
nothing              PASS (superficial)
sometimes            FLAKY non-zero exit status 1
odd                  BROKEN unknown field
";
        let expected = [
            (
                "machine",
                Skip,
                "Test restriction \"isolation-machine\" requires testbed capability \"isolation-machine\"",
            ),
            ("exit-status", Fail, "non-zero exit status 3"),
            ("stderr", Fail, "stderr: something is wrong"),
            ("a-name-of-more-than-twenty-letters", Pass, ""),
            ("nothing", Pass, "superficial"),
            ("sometimes", Flaky, "non-zero exit status 1"),
            ("odd", Fail, "unknown field"),
        ];
        assert_eq!(read(text), expected.map(|(name, outcome, reason)| (name.into(), outcome, reason.into())));
    }

    #[test]
    fn the_worst_of_several_tests_of_one_name_counts() {
        let fail =
            [("a".to_owned(), Fail, "non-zero exit status 1; the worst of several tests of this name".to_owned())];
        assert_eq!(read("a  PASS\na  FAIL non-zero exit status 1\na  PASS\n"), fail);
        assert_eq!(read("a  FAIL non-zero exit status 1\na  PASS\na  SKIP no GPU\n"), fail);
        assert_eq!(read("a SKIP no GPU\na PASS\n"), [("a".to_owned(), Pass, String::new())]);
    }

    #[test]
    fn a_package_without_tests() {
        let expected = ("*".to_owned(), Skip, "no tests in this package".to_owned());
        assert_eq!(read("*                    SKIP no tests in this package\n"), [expected]);
    }

    #[test]
    fn what_went_wrong_outside_of_tests() {
        let text =
            "t                    FAIL badpkg\nblame: foo deb:bar\nbadpkg: Test dependencies are unsatisfiable\n";
        assert_eq!(Summary::parse(text.as_bytes()).problems, ["badpkg: Test dependencies are unsatisfiable"]);
        let text = "testbed failure: cannot send to testbed: [Errno 32] Broken pipe\n";
        let summary = Summary::parse(text.as_bytes());
        assert_eq!((summary.tests.len(), summary.problems.len()), (0, 1));
    }

    #[test]
    fn hostile_names_and_reasons_are_cut_and_cleaned() {
        let text = format!("t\x1b[2J FAIL stderr: \x1b[2J{0}\n{0} PASS\n", "x".repeat(5000));
        let tests = Summary::parse(text.as_bytes()).tests;
        assert_eq!(tests[0].reason.chars().count(), LONGEST_REASON);
        assert!(!tests[0].reason.contains('\x1b'));
        assert_eq!((tests[0].name.as_str(), tests[1].name.len()), ("t?[2J", LONGEST_REASON));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes: Vec<u8>) {
            let _ = Summary::parse(&bytes);
        }

        #[test]
        fn reads_what_autopkgtest_writes(
            tests in proptest::collection::btree_map("[a-z0-9][a-z0-9.+-]{0,30}", 0_usize..4, 0..12),
        ) {
            let words = ["PASS", "FAIL non-zero exit status 1", "SKIP no GPU", "FLAKY timed out"];
            let lines: Vec<String> = tests.iter().map(|(name, word)| format!("{name:<20} {}", words[*word])).collect();
            let text = lines.join("\n");
            let read: Vec<_> = Summary::parse(text.as_bytes()).tests.into_iter().map(|test| test.name).collect();
            prop_assert_eq!(read, tests.into_keys().collect::<Vec<_>>());
        }
    }
}
