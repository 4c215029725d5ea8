//! Reports among the artifacts of tests: JUnit XML, and the format of GoogleTest's `--gtest_output=xml`.
//!
//! They come from the testbed and are untrusted. A report is read as a stream; a truncated one, such as that of a
//! crashed program, counts as far as it can be read.

use std::io::BufRead;

use protocol::Cases;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// Deepest nesting of elements in a report.
const DEEPEST: usize = 64;
/// Longest text that is kept, in bytes.
const LONGEST_TEXT: usize = 16 << 10;

/// Outcome of one case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CaseOutcome {
    /// It passed.
    #[default]
    Passed,
    /// It failed, or could not be run.
    Failed,
    /// It was not run.
    Skipped,
}

/// One case of a report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Case {
    /// Class or suite of the case.
    pub class: String,
    /// Name of the case.
    pub name: String,
    /// Duration in seconds, as the report has it; empty if it has none.
    pub time: String,
    /// Outcome of the case.
    pub outcome: CaseOutcome,
    /// Message of the failure, or reason of the skip.
    pub message: String,
}

/// Result of examining a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examined {
    /// The counted cases, as far as they can be read; `None` if the file is not a report.
    pub cases: Option<Cases>,
    /// The fault of a file that may have been meant as a report: it is truncated, or not XML at all. Another kind of
    /// XML is not a fault.
    pub fault: Option<String>,
}

/// Reads a report and passes its cases to `each`. `None` if it is not a report: not XML, or another kind of XML.
pub fn read(report: impl BufRead, each: &mut dyn FnMut(Case)) -> Option<Cases> {
    examine(report, each).cases
}

/// Like [`read`], and also returns the fault.
pub fn examine(report: impl BufRead, each: &mut dyn FnMut(Case)) -> Examined {
    walk(report, &mut |item| match item {
        Item::Case(case) => each(case),
        Item::Suite { .. } => {}
    })
}

/// An element of a report, in the report's order.
#[derive(Debug)]
pub(crate) enum Item {
    /// The begin of a suite, or of the root element.
    Suite {
        name: String,
        /// Number of its cases, as the suite says.
        tests: Option<u64>,
    },
    Case(Case),
}

/// Like [`examine`], and also passes on where suites begin.
pub(crate) fn walk(report: impl BufRead, each: &mut dyn FnMut(Item)) -> Examined {
    let mut reader = Reader::from_reader(report);
    // A report with mismatched tags is broken; the cases before that count.
    reader.config_mut().check_end_names = false;
    let mut buffer = Vec::new();
    let mut cases: Option<Cases> = None;
    let mut case: Option<Case> = None;
    let (mut depth, mut suite) = (0_usize, String::new());
    let mut in_message = false;
    let mut fault: Option<String> = None;
    loop {
        buffer.clear();
        let event = match reader.read_event_into(&mut buffer) {
            Ok(Event::Eof) if cases.is_none() => {
                fault.get_or_insert_with(|| "there is no XML in it".into());
                break;
            }
            Ok(Event::Eof) => {
                if depth > 0 {
                    fault.get_or_insert_with(|| "it breaks off".into());
                }
                break;
            }
            Err(error) => {
                fault.get_or_insert_with(|| {
                    format!("it cannot be read from byte {} on: {error}", reader.error_position())
                });
                break;
            }
            Ok(event) => event,
        };
        if std::str::from_utf8(&event).map_or(true, |text| text.contains('\0')) {
            fault.get_or_insert_with(|| "it is not UTF-8".into());
        }
        match event {
            Event::Start(ref start) | Event::Empty(ref start) => {
                let ends = matches!(event, Event::Empty(_));
                match start.local_name().as_ref() {
                    b"testsuites" | b"testsuite" if depth == 0 || cases.is_some() => {
                        cases.get_or_insert_default();
                        suite = attribute(start, "name");
                        each(Item::Suite { name: suite.clone(), tests: attribute(start, "tests").parse().ok() });
                    }
                    _ if cases.is_none() => return Examined { cases, fault },
                    b"testcase" => {
                        if start.attributes().any(|attribute| attribute.is_err()) {
                            fault.get_or_insert_with(|| "a case in it has attributes that cannot be read".into());
                        }
                        case = Some(begin(start, &suite));
                    }
                    name => {
                        if let Some(case) = &mut case {
                            in_message = mark(case, name, start) && !ends;
                        }
                    }
                }
                if ends {
                    if start.local_name().as_ref() == b"testcase" {
                        finish(case.take(), cases.as_mut(), each);
                    }
                } else {
                    depth = depth.saturating_add(1);
                    if depth > DEEPEST {
                        fault = Some(format!("its elements are more than {DEEPEST} deep"));
                        break;
                    }
                }
            }
            Event::End(end) => {
                depth = depth.saturating_sub(1);
                in_message = false;
                if end.local_name().as_ref() == b"testcase" {
                    finish(case.take(), cases.as_mut(), each);
                }
            }
            Event::Text(text) if in_message => append(case.as_mut(), &text.unescape().unwrap_or_default()),
            Event::CData(text) if in_message => append(case.as_mut(), &String::from_utf8_lossy(&text)),
            _ => {}
        }
    }
    // The case in which the program crashed.
    if let Some(mut crashed) = case {
        crashed.outcome = CaseOutcome::Failed;
        finish(Some(crashed), cases.as_mut(), each);
    }
    Examined { cases, fault }
}

fn begin(start: &BytesStart<'_>, suite: &str) -> Case {
    let class = attribute(start, "classname");
    let unrun = attribute(start, "status") == "notrun" || attribute(start, "result") == "suppressed";
    Case {
        class: if class.is_empty() { suite.to_owned() } else { class },
        name: attribute(start, "name"),
        time: attribute(start, "time"),
        outcome: if unrun { CaseOutcome::Skipped } else { CaseOutcome::Passed },
        message: String::new(),
    }
}

/// Updates a case from an element within it; returns whether the element's text is a message.
fn mark(case: &mut Case, name: &[u8], start: &BytesStart<'_>) -> bool {
    let outcome = match name {
        b"failure" | b"error" => CaseOutcome::Failed,
        b"skipped" => CaseOutcome::Skipped,
        _ => return false,
    };
    if case.outcome != CaseOutcome::Failed {
        case.outcome = outcome;
    }
    append(Some(case), &attribute(start, "message"));
    true
}

fn append(case: Option<&mut Case>, text: &str) {
    let Some(case) = case else { return };
    let text = text.trim();
    // An element's text often repeats its attribute.
    if text.is_empty() || case.message.len() > LONGEST_TEXT || case.message == text {
        return;
    }
    if text.starts_with(case.message.as_str()) {
        case.message.clear();
    } else if !case.message.is_empty() {
        case.message.push('\n');
    }
    case.message.push_str(cut(text));
}

fn cut(text: &str) -> &str {
    let end = (0..=LONGEST_TEXT.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text.get(..end).unwrap_or_default()
}

fn finish(case: Option<Case>, cases: Option<&mut Cases>, each: &mut dyn FnMut(Item)) {
    let (Some(case), Some(cases)) = (case, cases) else { return };
    cases.total += 1;
    match case.outcome {
        CaseOutcome::Passed => {}
        CaseOutcome::Failed => cases.failed += 1,
        CaseOutcome::Skipped => cases.skipped += 1,
    }
    each(Item::Case(case));
}

fn attribute(start: &BytesStart<'_>, name: &str) -> String {
    let found =
        start.attributes().with_checks(false).flatten().find(|attribute| attribute.key.as_ref() == name.as_bytes());
    let Some(found) = found else { return String::new() };
    let raw = String::from_utf8_lossy(&found.value).into_owned();
    let text = quick_xml::escape::unescape(&raw).map_or_else(|_| raw.clone(), std::borrow::Cow::into_owned);
    cut(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(report: &str) -> (Option<Cases>, Vec<Case>) {
        let mut seen = Vec::new();
        let cases = read(report.as_bytes(), &mut |case| seen.push(case));
        (cases, seen)
    }

    #[test]
    fn googletest() {
        let report = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="4" failures="1" disabled="1" errors="0" time="0.25" name="AllTests">
  <testsuite name="Sum" tests="4" failures="1" disabled="1" skipped="1" errors="0" time="0.25">
    <testcase name="Small" status="run" result="completed" time="0.1" classname="Sum" />
    <testcase name="Large" status="run" result="completed" time="0.15" classname="Sum">
      <failure message="a.cpp:7&#x0A;1 &lt; 0" type=""><![CDATA[a.cpp:7
1 < 0]]></failure>
    </testcase>
    <testcase name="Unfit" status="run" result="skipped" time="0" classname="Sum"><skipped message="no GPU"/></testcase>
    <testcase name="DISABLED_Huge" status="notrun" result="suppressed" time="0" classname="Sum" />
  </testsuite>
</testsuites>"#;
        let (cases, seen) = all(report);
        assert_eq!(cases, Some(Cases { total: 4, failed: 1, skipped: 2 }));
        assert_eq!(seen[1].message, "a.cpp:7\n1 < 0", "said once");
        assert_eq!((seen[2].message.as_str(), seen[0].time.as_str()), ("no GPU", "0.1"));
    }

    #[test]
    fn plain_junit_with_errors_and_no_classes() {
        let (cases, seen) =
            all(r#"<testsuite name="py"><testcase name="t"><error>boom</error></testcase></testsuite>"#);
        assert_eq!(cases, Some(Cases { total: 1, failed: 1, skipped: 0 }));
        assert_eq!((seen[0].class.as_str(), seen[0].message.as_str()), ("py", "boom"));
    }

    #[test]
    fn a_report_that_breaks_off_counts_as_far_as_it_goes() {
        let (cases, seen) =
            all(r#"<testsuites><testsuite name="s"><testcase name="a"/><testcase name="b"><system-out>x"#);
        assert_eq!(cases, Some(Cases { total: 2, failed: 1, skipped: 0 }));
        assert_eq!(seen[1].outcome, CaseOutcome::Failed, "it crashed in b");
    }

    #[test]
    fn what_is_wrong_with_a_report_is_told() {
        let fault = |bytes: &[u8]| examine(bytes, &mut drop).fault.unwrap_or_default();
        let utf16: Vec<u8> = "\u{feff}<testsuites/>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let deep = format!("<testsuites>{}", "<testsuite>".repeat(100));
        for (bytes, says) in [
            (&b"<testsuites><testsuite><testcase name=\"a\" resu"[..], "cannot be read from byte"),
            (b"<testsuites><testsuite><testcase name=\"a\">", "breaks off"),
            (b"<testsuites><testcase name=\"a status=\"run\" b\"/></testsuites>", "attributes that cannot be read"),
            (b"<testsuites><testcase name=\"K\xe4se\"/></testsuites>", "not UTF-8"),
            (&utf16, "not UTF-8"),
            (deep.as_bytes(), "64 deep"),
            (b"", "no XML"),
            (b"hello <", "cannot be read"),
        ] {
            assert!(fault(bytes).contains(says), "{:?}: {}", String::from_utf8_lossy(bytes), fault(bytes));
        }
        for whole in [
            "<testsuites><testcase name=\"a\"/></testsuites>",
            "<html/>",
            "\u{feff}<?xml version=\"1.0\"?><testsuite/>",
        ] {
            assert_eq!(fault(whole.as_bytes()), "", "{whole}");
        }
    }

    #[test]
    fn other_files_are_no_reports() {
        for text in ["", "<html><body/></html>", "\u{7f}ELF", "<coverage><testsuite/></coverage>", "{}"] {
            assert_eq!(all(text).0, None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_report_or_none(bytes: Vec<u8>) {
            let mut seen = 0;
            let cases = read(&bytes[..], &mut |_| seen += 1);
            prop_assert_eq!(cases.unwrap_or_default().total, seen);
        }

        #[test]
        fn almost_reports_too(
            text in r#"(<testsuites>|<testsuite name="s">|<testcase name="&amp;"|/>|>|</testcase>|<failure message="x">|</failure>|<!\[CDATA\[|\]\]>|&bad;|<skipped/>){0,20}"#
        ) {
            let (cases, seen) = all(&text);
            prop_assert_eq!(cases.unwrap_or_default().total, seen.len() as u64);
        }
    }
}
