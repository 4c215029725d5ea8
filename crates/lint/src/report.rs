//! [`Finding`] and [`Report`]: what the checks say.

use std::ops::Range;

use serde_json::{Value, json};

use crate::edit::Edit;
use crate::rules::{Rule, Severity};

/// Something that a rule says about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// The file, relative to the source tree.
    pub file: String,
    /// Bytes of the file that it is about; `None` if it is about the whole file.
    pub range: Option<Range<usize>>,
    /// Line and column of the range's first character, from 1; columns count characters.
    pub start: (usize, usize),
    /// Line and column after the range's last character.
    pub end: (usize, usize),
    /// Name of the test that it is about.
    pub test: Option<String>,
    /// What is wrong, in one sentence; it can be shown on a terminal.
    pub message: String,
    /// Changes of `file` that mend it, where that is mechanical.
    pub edits: Vec<Edit>,
    /// Why it is silenced, by the override file.
    pub silenced: Option<String>,
}

impl Finding {
    pub(crate) fn new(rule: &'static Rule, file: &str, message: impl AsRef<str>) -> Self {
        Self {
            rule,
            file: file.to_owned(),
            range: None,
            start: (1, 1),
            end: (1, 1),
            test: None,
            message: safetext::printable(message.as_ref()),
            edits: Vec::new(),
            silenced: None,
        }
    }

    /// Says which bytes of the file it is about.
    pub(crate) fn at(mut self, range: Range<usize>) -> Self {
        self.range = Some(range);
        self
    }

    /// Finds the lines and columns of its bytes in the file's text. That takes reading the file up to them, so it is done
    /// only for findings that are told.
    pub(crate) fn locate(&mut self, text: &str) {
        if let Some(range) = &self.range {
            (self.start, self.end) = (place(text, range.start), place(text, range.end));
        }
    }

    pub(crate) fn test(mut self, name: impl AsRef<str>) -> Self {
        self.test = Some(safetext::printable(name.as_ref()));
        self
    }

    pub(crate) fn edit(mut self, edit: Option<Edit>) -> Self {
        self.edits.extend(edit);
        self
    }

    /// As `--json` prints it.
    pub fn json(&self) -> Value {
        let mut value = json!({
            "rule": self.rule.id,
            "severity": self.rule.severity.name(),
            "file": self.file,
            "line": self.start.0,
            "column": self.start.1,
            "end-line": self.end.0,
            "end-column": self.end.1,
            "message": self.message,
            "fixable": !self.edits.is_empty(),
        });
        if let Some(members) = value.as_object_mut() {
            members.extend(self.test.as_ref().map(|test| ("test".to_owned(), json!(test))));
            members.extend(self.silenced.as_ref().map(|why| ("silenced".to_owned(), json!(why))));
        }
        value
    }
}

/// Line and column of a byte, from 1.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// All findings of a source package, in the order of files and lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Name of the source package, if debian/control has one.
    pub package: Option<String>,
    /// The findings, silenced ones included.
    pub findings: Vec<Finding>,
    /// Whether not all was looked at or told: the package is over a limit.
    pub cut: bool,
}

impl Report {
    /// How many findings there are of a severity, without those that are silenced.
    pub fn count(&self, severity: Severity) -> usize {
        self.open().filter(|finding| finding.rule.severity == severity).count()
    }

    /// Findings that are not silenced.
    pub fn open(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.silenced.is_none())
    }

    /// The report with findings of this severity and graver ones only.
    #[must_use]
    pub fn from_severity(mut self, least: Severity) -> Self {
        self.findings.retain(|finding| finding.rule.severity >= least);
        self
    }

    /// As `--json` prints it.
    pub fn json(&self) -> Value {
        json!({
            "package": self.package,
            "errors": self.count(Severity::Error),
            "warnings": self.count(Severity::Warning),
            "notes": self.count(Severity::Note),
            "cut": self.cut,
            "findings": self.findings.iter().map(Finding::json).collect::<Vec<_>>(),
        })
    }
}
