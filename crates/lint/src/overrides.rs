//! The override file: findings that are meant to be there, each with its reason.

use crate::report::Finding;
use crate::rules::{OVERRIDE, OVERRIDE_UNUSED, rule};
use crate::tree::Tree;

/// Path of the override file.
pub const OVERRIDES: &str = "debian/tests/rocbed-lint-overrides";
/// Most lines of it that are read.
const MOST: usize = 500;

/// A line of the file.
struct Override {
    rule: &'static str,
    /// A file or a test's name; empty for anywhere.
    place: String,
    reason: String,
    range: std::ops::Range<usize>,
    used: bool,
}

/// Silences what the tree's override file says, and adds what is wrong with that file.
pub(crate) fn apply(tree: &dyn Tree, findings: &mut Vec<Finding>) {
    let entry = tree.entry(OVERRIDES);
    let Some(text) = entry.text() else { return };
    let (mut overrides, mut wrong) = (Vec::new(), Vec::new());
    let mut at = 0;
    for line in text.split_inclusive('\n').take(MOST) {
        let start = at + (line.len() - line.trim_start().len());
        at += line.len();
        let body = line.trim();
        if body.is_empty() || body.starts_with('#') {
            continue;
        }
        let range = start..start + body.len();
        match parse(body) {
            Ok((rule, place, reason)) => overrides.push(Override { rule, place, reason, range, used: false }),
            Err(message) => wrong.push(Finding::new(&OVERRIDE, OVERRIDES, message).at(range)),
        }
    }
    for finding in findings.iter_mut() {
        let fits = |one: &&mut Override| {
            one.rule == finding.rule.id
                && (one.place.is_empty() || one.place == finding.file || finding.test.as_ref() == Some(&one.place))
        };
        if let Some(one) = overrides.iter_mut().find(fits) {
            one.used = true;
            finding.silenced = Some(safetext::printable(&one.reason));
        }
    }
    findings.append(&mut wrong);
    for one in overrides.into_iter().filter(|one| !one.used) {
        let place = if one.place.is_empty() { String::new() } else { format!(" about {}", one.place) };
        let message = format!("there is no finding of {}{place}: remove the line", one.rule);
        findings.push(Finding::new(&OVERRIDE_UNUSED, OVERRIDES, message).at(one.range));
    }
}

fn parse(line: &str) -> Result<(&'static str, String, String), String> {
    let Some((what, reason)) = line.split_once(": ") else {
        return Err("a line is `RULE: REASON` or `RULE WHERE: REASON`, and here the reason is missing".into());
    };
    let (id, place) = what.trim().split_once(char::is_whitespace).unwrap_or((what.trim(), ""));
    let Some(found) = rule(id) else {
        let ids = crate::rules::RULES.iter().map(|rule| rule.id);
        let meant = nearest::nearest(id, ids).first().map(|meant| format!("; did you mean {meant}?"));
        return Err(format!("there is no rule {id}{}", meant.unwrap_or_default()));
    };
    if found == &OVERRIDE || found == &OVERRIDE_UNUSED {
        return Err(format!("{id} is about this file, and cannot be silenced in it"));
    }
    Ok((found.id, place.trim().to_owned(), reason.trim().to_owned()))
}
