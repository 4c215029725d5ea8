//! Compares the test cases of two results.

use std::collections::{BTreeMap, BTreeSet};

use history::Seen;
use protocol::RunAs;
use protocol::api::{Compared, ComparedCase, Comparison};

use super::{CasesError, Outcome, children, name_of_case, name_of_suite, outcome, parse};

/// Most cases in a comparison.
const MOST: usize = 500;

/// Suite and case.
type Key = (String, String);

/// The cases that differ between two results, or that fail in both.
#[derive(Debug, Default, PartialEq, Eq)]
struct CaseChanges {
    /// Those that need attention first; at most 500.
    cases: Vec<ComparedCase>,
    /// How many there are besides.
    more: u64,
}

/// Adds to the comparison of two results' tests what differs between the test cases in their `junit.xml`.
pub fn add_cases(comparison: &mut Comparison, before: &[u8], after: &[u8]) {
    // These suites repeat the tests.
    let packages: BTreeSet<&str> = comparison.tests.iter().map(|test| test.package.as_str()).collect();
    let without: Vec<String> = packages
        .into_iter()
        .flat_map(|package| [RunAs::User, RunAs::Root].map(|user| format!("{package}.{user}")))
        .collect();
    match compare(before, after, &without) {
        Ok(CaseChanges { cases, more }) => (comparison.cases, comparison.more_cases) = (cases, more),
        Err(problem) => comparison.cases_problem = Some(problem.to_string()),
    }
}

/// Compares the cases in two `junit.xml`. Suites with these names are left out.
fn compare(before: &[u8], after: &[u8], without: &[String]) -> Result<CaseChanges, CasesError> {
    let (before, after) = (outcomes(before, without)?, outcomes(after, without)?);
    let mut found: Vec<ComparedCase> = Vec::new();
    let mut add = |(suite, case): &Key, old: Option<Outcome>, new: Option<Outcome>| {
        if let Some(compared) = how(old, new) {
            found.push(ComparedCase { suite: suite.clone(), case: case.clone(), compared });
        }
    };
    for (key, old) in &before {
        add(key, Some(*old), after.get(key).copied());
    }
    for (key, new) in after.iter().filter(|(key, _)| !before.contains_key(key)) {
        add(key, None, Some(*new));
    }
    found.sort_by(|one, other| (one.compared, &one.suite, &one.case).cmp(&(other.compared, &other.suite, &other.case)));
    let more = found.len().saturating_sub(MOST) as u64;
    found.truncate(MOST);
    Ok(CaseChanges { cases: found, more })
}

/// The outcome of each case; the worst of those with the same name.
fn outcomes(junit: &[u8], without: &[String]) -> Result<BTreeMap<Key, Outcome>, CasesError> {
    let document = parse(junit)?;
    let mut outcomes = BTreeMap::new();
    for node in document.descendants().filter(|node| node.has_tag_name("testsuite")) {
        let suite = name_of_suite(node);
        if without.contains(&suite) {
            continue;
        }
        for case in children(node) {
            let known = outcomes.entry((suite.clone(), name_of_case(case, &suite))).or_insert(Outcome::Pass);
            *known = outcome(case).max(*known);
        }
    }
    Ok(outcomes)
}

/// How two outcomes differ, by the rule for tests; `None` if the difference is not listed.
fn how(old: Option<Outcome>, new: Option<Outcome>) -> Option<Compared> {
    let seen = |outcome| match outcome {
        Outcome::Pass => Seen::Pass,
        Outcome::Fail => Seen::Fail,
        Outcome::Skip => Seen::Skip,
    };
    history::compared(old.map(seen), new.map(seen)).filter(|compared| *compared != Compared::StillPassing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn junit(cases: &[(&str, &str)]) -> String {
        let case = |(name, inner): &(&str, &str)| format!("<testcase name=\"{name}\">{inner}</testcase>");
        let cases: String = cases.iter().map(case).collect();
        format!(
            "<testsuites><testsuite name=\"rocfft.user\"><testcase name=\"upstream\"><failure/></testcase></testsuite>\
             <testsuite name=\"gtest\">{cases}</testsuite></testsuites>"
        )
    }

    #[test]
    fn cases_are_compared_as_tests_are() -> Result<(), CasesError> {
        let (pass, fail, skip) = ("", "<failure/>", "<skipped/>");
        let before = junit(&[("a", pass), ("b", fail), ("c", fail), ("d", pass), ("e", pass), ("f", skip)]);
        let after = junit(&[("a", fail), ("b", pass), ("c", fail), ("d", pass), ("f", pass), ("g", skip)]);
        let without = ["rocfft.user".to_owned()];
        let changes = compare(before.as_bytes(), after.as_bytes(), &without)?;
        let found: Vec<_> = changes.cases.iter().map(|case| (case.case.as_str(), case.compared)).collect();
        let expected = [
            ("a", Compared::Regressed),
            ("b", Compared::Fixed),
            ("c", Compared::StillFailing),
            ("e", Compared::Stopped),
            ("f", Compared::Added),
        ];
        assert_eq!((found, changes.more), (expected.to_vec(), 0));
        assert_eq!(compare(before.as_bytes(), before.as_bytes(), &without)?.cases.len(), 2);
        assert!(compare(b"<a", before.as_bytes(), &[]).is_err());
        Ok(())
    }

    #[test]
    fn many_changes_are_counted() -> Result<(), CasesError> {
        let names: Vec<String> = (0..700).map(|number| format!("case-{number}")).collect();
        let all = |inner| junit(&names.iter().map(|name| (name.as_str(), inner)).collect::<Vec<_>>());
        let changes = compare(all("").as_bytes(), all("<error/>").as_bytes(), &[])?;
        assert_eq!((changes.cases.len() as u64 + changes.more, changes.cases.len()), (701, MOST));
        assert!(changes.cases.iter().all(|case| case.compared == Compared::Regressed));
        Ok(())
    }

    proptest! {
        #[test]
        fn any_bytes_are_compared_or_refused(one in prop::collection::vec(any::<u8>(), 0..80), names in "[a-z<&\"]{0,9}") {
            let other = junit(&[(&names.replace(['<', '&', '"'], ""), "")]);
            let _ = compare(&one, other.as_bytes(), &[]);
            let same = compare(other.as_bytes(), other.as_bytes(), &["rocfft.user".to_owned()]);
            prop_assert_eq!(same.ok(), Some(CaseChanges::default()));
        }
    }
}
