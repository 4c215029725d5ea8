//! Cases of a result, from its `junit.xml`.

use roxmltree::{Document, Node};

/// A larger file is left to programs, in bytes.
const LARGEST: usize = 16 << 20;

/// The most failed cases of a suite with their texts, and the most others by name.
const MOST: (usize, usize) = (100, 1_000);

/// The longest text of a failed case, in characters.
const LONGEST: usize = 8_000;

/// A suite of cases.
#[derive(Debug, Default)]
pub(crate) struct Suite {
    pub(crate) name: String,
    pub(crate) total: usize,
    pub(crate) failures: usize,
    pub(crate) skipped: usize,
    /// Those that failed, with what they said.
    pub(crate) failed: Vec<Case>,
    /// How many more failed than are shown.
    pub(crate) more: usize,
    /// The others, with their outcomes.
    pub(crate) others: Vec<Case>,
}

impl Suite {
    /// How many that did not fail are not shown.
    pub(crate) fn left_out(&self) -> usize {
        self.total.saturating_sub(self.failures).saturating_sub(self.others.len())
    }
}

/// A case.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// Reads the suites of a `junit.xml`. Why it cannot be shown is an error for people.
pub(crate) fn suites(junit: &[u8]) -> Result<Vec<Suite>, String> {
    if junit.len() > LARGEST {
        return Err(format!(
            "There are too many cases to show ({}): see junit.xml in the bundle.",
            super::words::size(junit.len() as u64)
        ));
    }
    let text =
        std::str::from_utf8(junit).map_err(|_| "The cases cannot be shown: junit.xml is not UTF-8.".to_owned())?;
    let document = Document::parse(text).map_err(|error| format!("The cases cannot be shown: junit.xml: {error}."))?;
    let suites = document.descendants().filter(|node| node.has_tag_name("testsuite"));
    Ok(suites.map(suite).filter(|suite| suite.total > 0).collect())
}

fn suite(node: Node) -> Suite {
    let mut suite = Suite { name: node.attribute("name").unwrap_or("cases").to_owned(), ..Suite::default() };
    for case in node.children().filter(|child| child.has_tag_name("testcase")) {
        suite.total += 1;
        let child = |names: [&str; 2]| case.children().find(|child| names.contains(&child.tag_name().name()));
        let name = match (case.attribute("classname"), case.attribute("name").unwrap_or("")) {
            (Some(class), name) if class != suite.name && !class.is_empty() => format!("{class}.{name}"),
            (_, name) => name.to_owned(),
        };
        if let Some(failure) = child(["failure", "error"]) {
            suite.failures += 1;
            if suite.failed.len() < MOST.0 {
                suite.failed.push(Case { name, text: words(failure) });
            } else {
                suite.more += 1;
            }
            continue;
        }
        let skipped = child(["skipped", "disabled"]).is_some() || case.attribute("status") == Some("notrun");
        suite.skipped += usize::from(skipped);
        if suite.others.len() < MOST.1 {
            suite.others.push(Case { name, text: if skipped { "skip" } else { "pass" }.to_owned() });
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
    fn cases_that_failed_come_with_their_words() -> Result<(), String> {
        let junit = br#"<testsuites><testsuite name="empty"/><testsuite name="gtest">
            <testcase classname="Add" name="works"/><testcase name="off" status="notrun"/>
            <testcase classname="Add" name="fails"><failure message="1 != 2">1 != 2
at line 3</failure></testcase></testsuite></testsuites>"#;
        let suites = suites(junit)?;
        let [suite] = &suites[..] else { return Err(format!("{suites:?}")) };
        assert_eq!((suite.total, suite.failures, suite.skipped, suite.others.len()), (3, 1, 1, 2));
        assert_eq!((suite.failed[0].name.as_str(), suite.failed[0].text.as_str()), ("Add.fails", "1 != 2\nat line 3"));
        Ok(())
    }

    #[test]
    fn cases_beyond_what_a_page_has_are_counted() -> Result<(), String> {
        let cases = "<testcase name=\"works\"/>".repeat(1_284);
        let suites = suites(format!("<testsuite name=\"gtest\">{cases}</testsuite>").as_bytes())?;
        let [suite] = &suites[..] else { return Err(format!("{suites:?}")) };
        assert_eq!((suite.total, suite.others.len(), suite.left_out()), (1_284, 1_000, 284));
        Ok(())
    }

    #[test]
    fn what_is_no_xml_is_told() {
        assert!(suites(b"<a").is_err());
        assert!(suites(b"\xff").is_err());
        // Entities that grow: a DTD is not read at all.
        assert!(suites(b"<!DOCTYPE x [<!ENTITY a \"aaaa\">]><x>&a;</x>").is_err());
    }
}
