//! Test cases of a result, from its `junit.xml`.

mod compare;

use roxmltree::{Document, Node};

pub use compare::add_cases;

/// Largest file shown, in bytes; larger ones are for programs.
const LARGEST: usize = 16 << 20;

/// Most failed cases of a suite shown with their texts, and most other cases shown by name.
const MOST: (usize, usize) = (100, 5_000);

/// Longest text of a failed case, in characters.
const LONGEST: usize = 8_000;

/// A test suite.
#[derive(Debug, Default)]
pub(crate) struct Suite {
    pub(crate) name: String,
    pub(crate) total: usize,
    pub(crate) failures: usize,
    pub(crate) skipped: usize,
    /// Failed cases, with their messages.
    pub(crate) failed: Vec<Case>,
    /// Number of failed cases that are not shown.
    pub(crate) more: usize,
    /// Other cases, with their outcomes.
    pub(crate) others: Vec<Case>,
    /// Number of other cases that are not shown.
    pub(crate) more_others: usize,
}

impl Suite {
    /// Number of cases that did not fail and are not shown.
    pub(crate) fn left_out(&self) -> usize {
        self.total.saturating_sub(self.failures).saturating_sub(self.others.len())
    }
}

/// A test case.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// Why cases cannot be shown, as a sentence for the page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CasesError {
    /// The file has this many bytes.
    #[error("There are too many cases to show ({}): see junit.xml in the bundle.", crate::format::size(*.0))]
    TooMany(u64),
    #[error("The cases cannot be shown: junit.xml is not UTF-8.")]
    NotUtf8(#[from] std::str::Utf8Error),
    #[error("The cases cannot be shown: junit.xml: {0}.")]
    Xml(#[from] roxmltree::Error),
}

/// Reads the suites of a `junit.xml`.
pub(crate) fn suites(junit: &[u8]) -> Result<Vec<Suite>, CasesError> {
    let document = parse(junit)?;
    let suites = document.descendants().filter(|node| node.has_tag_name("testsuite"));
    Ok(suites.map(suite).filter(|suite| suite.total > 0).collect())
}

fn parse(junit: &[u8]) -> Result<Document<'_>, CasesError> {
    if junit.len() > LARGEST {
        return Err(CasesError::TooMany(junit.len() as u64));
    }
    Ok(Document::parse(std::str::from_utf8(junit)?)?)
}

/// What a case says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Pass,
    Skip,
    Fail,
}

fn children<'a, 'input>(suite: Node<'a, 'input>) -> impl Iterator<Item = Node<'a, 'input>> {
    suite.children().filter(|child| child.has_tag_name("testcase"))
}

fn child<'a, 'input>(case: Node<'a, 'input>, names: [&str; 2]) -> Option<Node<'a, 'input>> {
    case.children().find(|child| names.contains(&child.tag_name().name()))
}

fn failure<'a, 'input>(case: Node<'a, 'input>) -> Option<Node<'a, 'input>> {
    child(case, ["failure", "error"])
}

fn outcome(case: Node) -> Outcome {
    if failure(case).is_some() {
        Outcome::Fail
    } else if child(case, ["skipped", "disabled"]).is_some() || case.attribute("status") == Some("notrun") {
        Outcome::Skip
    } else {
        Outcome::Pass
    }
}

fn name_of_suite(suite: Node) -> String {
    suite.attribute("name").unwrap_or("cases").to_owned()
}

fn name_of_case(case: Node, suite: &str) -> String {
    match (case.attribute("classname"), case.attribute("name").unwrap_or("")) {
        (Some(class), name) if class != suite && !class.is_empty() => format!("{class}.{name}"),
        (_, name) => name.to_owned(),
    }
}

/// A note if the suites have fewer cases than the tests have reported.
pub(crate) fn left_out(reported: u64, suites: &[Suite]) -> Option<String> {
    let shown = suites.iter().fold(0_u64, |sum, suite| sum.saturating_add(suite.total as u64));
    let missing = reported.checked_sub(shown).filter(|missing| *missing > 0)?;
    Some(format!("{missing} of {reported} cases are not in junit.xml; the reports that have them are in the bundle."))
}

fn suite(node: Node) -> Suite {
    let mut suite = Suite { name: name_of_suite(node), ..Suite::default() };
    for case in children(node) {
        suite.total += 1;
        let name = name_of_case(case, &suite.name);
        if let Some(failure) = failure(case) {
            suite.failures += 1;
            if suite.failed.len() < MOST.0 {
                suite.failed.push(Case { name, text: words(failure) });
            } else {
                suite.more += 1;
            }
            continue;
        }
        let skipped = outcome(case) == Outcome::Skip;
        suite.skipped += usize::from(skipped);
        if suite.others.len() < MOST.1 {
            suite.others.push(Case { name, text: if skipped { "skip" } else { "pass" }.to_owned() });
        } else {
            suite.more_others += 1;
        }
    }
    suite
}

fn words(failure: Node) -> String {
    let parts = [failure.attribute("message").unwrap_or(""), failure.text().unwrap_or("")];
    let mut parts: Vec<&str> = parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect();
    if let [message, text] = parts[..]
        && text.starts_with(message)
    {
        parts = vec![text];
    }
    parts.join("\n").chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_that_failed_come_with_their_words() -> Result<(), Box<dyn std::error::Error>> {
        let junit = br#"<testsuites><testsuite name="empty"/><testsuite name="gtest">
            <testcase classname="Add" name="works"/><testcase name="off" status="notrun"/>
            <testcase classname="Add" name="fails"><failure message="1 != 2">1 != 2
at line 3</failure></testcase></testsuite></testsuites>"#;
        let suites = suites(junit)?;
        let [suite] = &suites[..] else { return Err(format!("{suites:?}").into()) };
        assert_eq!((suite.total, suite.failures, suite.skipped, suite.others.len()), (3, 1, 1, 2));
        assert_eq!((suite.failed[0].name.as_str(), suite.failed[0].text.as_str()), ("Add.fails", "1 != 2\nat line 3"));
        Ok(())
    }

    #[test]
    fn cases_are_shown_or_counted() -> Result<(), Box<dyn std::error::Error>> {
        let junit = |passed: usize, failed: usize| {
            let passed = (0..passed).map(|n| format!("<testcase name=\"p{n}\"/>")).collect::<String>();
            let failed =
                (0..failed).map(|n| format!("<testcase name=\"f{n}\"><failure/></testcase>")).collect::<String>();
            format!("<testsuites><testsuite name=\"gtest\">{passed}{failed}</testsuite></testsuites>")
        };
        for (passed, failed) in [(1_284, 0), (1_000, 284), (5_001, 101), (20_000, 0)] {
            let suites = suites(junit(passed, failed).as_bytes())?;
            let [suite] = &suites[..] else { return Err(format!("{} suites", suites.len()).into()) };
            assert_eq!((suite.total, suite.failures), (passed + failed, failed));
            assert_eq!((suite.failed.len() + suite.more, suite.others.len() + suite.more_others), (failed, passed));
            assert_eq!(left_out(suite.total as u64, &suites), None);
        }
        let suites = suites(junit(1_284, 0).as_bytes())?;
        assert_eq!((suites[0].others.len(), suites[0].more_others), (1_284, 0));
        assert!(left_out(2_000, &suites).is_some_and(|text| text.starts_with("716 of 2000 cases")));
        Ok(())
    }

    #[test]
    fn what_is_no_xml_is_told() {
        assert!(suites(b"<a").is_err());
        assert!(suites(b"\xff").is_err());
        // Entity expansion: a DTD is refused.
        assert!(suites(b"<!DOCTYPE x [<!ENTITY a \"aaaa\">]><x>&a;</x>").is_err());
    }
}
