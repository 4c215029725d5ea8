//! [`fix()`]: applies the edits of findings.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;

use durable::Readers;

use crate::checks::check;
use crate::directory::Directory;
use crate::edit::{Edit, apply};
use crate::report::{Finding, Report};
use crate::rules::{RULES, Severity};
use crate::tree::{Entry, Memory, Tree};

/// Most times that a tree is checked and mended.
const ROUNDS: usize = 300;

/// What [`fix()`] has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fixed {
    /// The files that were changed, each once.
    pub files: Vec<String>,
    /// How many findings fewer there are.
    pub findings: usize,
}

/// A tree whose files can be changed.
pub trait Mend: Tree {
    /// Replaces a file's text and keeps its mode.
    fn replace(&mut self, path: &str, text: &str) -> io::Result<()>;
    /// Gives a file execute permission.
    fn make_executable(&mut self, path: &str) -> io::Result<()>;
}

impl Mend for Memory {
    fn replace(&mut self, path: &str, text: &str) -> io::Result<()> {
        Self::replace(self, path, text);
        Ok(())
    }

    fn make_executable(&mut self, path: &str) -> io::Result<()> {
        Self::make_executable(self, path);
        Ok(())
    }
}

impl Mend for Directory {
    fn replace(&mut self, path: &str, text: &str) -> io::Result<()> {
        let path = self.writable(path)?;
        let permissions = fs::metadata(&path)?.permissions();
        durable::replace(&path, text.as_bytes(), Readers::Everyone)?;
        fs::set_permissions(&path, permissions)
    }

    fn make_executable(&mut self, path: &str) -> io::Result<()> {
        let path = self.writable(path)?;
        let mode = fs::metadata(&path)?.permissions().mode();
        // As chmod +x does for files that others may read.
        fs::set_permissions(&path, fs::Permissions::from_mode(mode | ((mode & 0o444) >> 2)))
    }
}

/// Mends what is mechanical: applies the edits of findings that are not silenced and at least this grave, rule by rule,
/// and checks again after each until there is nothing left to apply. Each file is replaced whole, and only regular files that no link leads
/// to.
///
/// # Errors
///
/// With the file's path, if it cannot be changed. Files before it are changed.
pub fn fix(tree: &mut impl Mend, least: Severity) -> Result<Fixed, (String, io::Error)> {
    let mut fixed = Fixed::default();
    let before = open(&check(tree), least);
    for _ in 0..ROUNDS {
        let report = check(tree);
        let mut changed = false;
        for (path, findings) in by_file(&report, least) {
            if mend(tree, path, &findings).map_err(|error| (path.to_owned(), error))? {
                changed = true;
                if !fixed.files.iter().any(|known| known == path) {
                    fixed.files.push(path.to_owned());
                }
            }
        }
        if !changed {
            break;
        }
    }
    fixed.findings = before.saturating_sub(open(&check(tree), least));
    Ok(fixed)
}

fn open(report: &Report, least: Severity) -> usize {
    report.open().filter(|finding| finding.rule.severity >= least).count()
}

/// What is mended in one round, by file: findings of one rule only, the first in the table, and one for each test. Two
/// edits of a stanza may contradict each other, as a corrected field and a new one of the same name do.
fn by_file(report: &Report, least: Severity) -> BTreeMap<&str, Vec<&Finding>> {
    let number = |finding: &Finding| RULES.iter().position(|rule| *rule == finding.rule);
    let wanted = |finding: &&Finding| finding.rule.severity >= least && !finding.edits.is_empty();
    let first = report.open().filter(wanted).map(number).min();
    let mut files: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    for finding in report.open().filter(wanted).filter(|finding| Some(number(finding)) == first) {
        let findings = files.entry(&finding.file).or_default();
        if !findings.iter().any(|other| other.test == finding.test) {
            findings.push(finding);
        }
    }
    files
}

/// Applies the edits of one file. Those of a finding are applied together or not at all.
fn mend(tree: &mut impl Mend, path: &str, findings: &[&Finding]) -> io::Result<bool> {
    let Entry::Text { text, executable } = tree.entry(path) else { return Ok(false) };
    let mut edits: Vec<(Range<usize>, &str)> = Vec::new();
    let mut execute = false;
    for finding in findings {
        let clash =
            |range: &Range<usize>| edits.iter().any(|(other, _)| range.start <= other.end && other.start <= range.end);
        let mut own = Vec::new();
        for edit in &finding.edits {
            match edit {
                Edit::Replace { range, text } => own.push((range.clone(), text.as_str())),
                Edit::MakeExecutable => execute = true,
            }
        }
        if !own.iter().any(|(range, _)| clash(range)) {
            edits.extend(own);
        }
    }
    let mended = apply(&text, &edits);
    let changed = mended != *text;
    if changed {
        tree.replace(path, &mended)?;
    }
    if execute && !executable {
        tree.make_executable(path)?;
    }
    Ok(changed || (execute && !executable))
}
