//! A report in the Static Analysis Results Interchange Format (SARIF) 2.1.0, which code hosts and editors show.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};

use crate::report::{Finding, Report};
use crate::rules::{RULES, Rule, Severity};

/// What is escaped in a path of a URI (RFC 3986, section 3.3).
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The report as a SARIF log with one run. Paths are relative to `SRCROOT`, the top of the source tree.
pub fn sarif(report: &Report) -> Value {
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "rocbed lint",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": RULES.iter().map(|rule| describe(rule)).collect::<Vec<_>>(),
            } },
            "columnKind": "unicodeCodePoints",
            "results": report.findings.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

fn describe(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "shortDescription": { "text": rule.summary },
        "fullDescription": { "text": rule.explanation.replace(['`', '*'], "") },
        "help": { "text": rule.explanation.replace(['`', '*'], ""), "markdown": rule.explanation },
        "defaultConfiguration": { "level": level(rule.severity) },
    })
}

fn level(severity: Severity) -> &'static str {
    severity.name()
}

fn result(finding: &Finding) -> Value {
    let index = RULES.iter().position(|rule| *rule == finding.rule);
    let mut place = json!({
        "artifactLocation": {
            "uri": utf8_percent_encode(&finding.file, ESCAPED).to_string(),
            "uriBaseId": "SRCROOT",
        },
    });
    if let (Some(_), Some(members)) = (&finding.range, place.as_object_mut()) {
        let region = json!({
            "startLine": finding.start.0,
            "startColumn": finding.start.1,
            "endLine": finding.end.0,
            "endColumn": finding.end.1,
        });
        members.insert("region".into(), region);
    }
    // If one result of a run has suppressions, all have to say that they have none (section 3.27.23).
    let suppressions: Vec<Value> =
        finding.silenced.iter().map(|why| json!({ "kind": "external", "justification": why })).collect();
    json!({
        "ruleId": finding.rule.id,
        "ruleIndex": index,
        "level": level(finding.rule.severity),
        "message": { "text": finding.message },
        "locations": [{ "physicalLocation": place }],
        "suppressions": suppressions,
    })
}
