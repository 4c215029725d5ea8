//! `rocbed lint`: checks a source package's tests.

use std::path::Path;

use advice::{Advice, AtPath as _, WithHelp as _};
use anyhow::{Context as _, Result};
use clap::builder::styling::{AnsiColor, Style};
use lint::{Directory, Finding, RULES, Report, Rule, Scope, Severity};
use serde_json::json;

use super::{print, print_json};
use crate::cmdline::{Lint, LintFormat};
use crate::context::Context;
use crate::table::{Cell, Screen, Table};
use crate::wording::{capital, counted};

/// There are findings that are errors.
const FOUND: u8 = 1;
/// The source package could not be checked, or the command was misused; clap's status for the latter.
const NOT_CHECKED: u8 = 2;

/// Runs the command; returns the exit code.
pub fn run(context: &Context, options: &Lint) -> Result<u8> {
    let outcome = if let Some(id) = &options.explain {
        explain(id, options.json).map(|()| 0)
    } else if options.list {
        list(options.json).map(|()| 0)
    } else {
        check(context, options)
    };
    outcome.or_else(|error| {
        context.reporter.error(&crate::error::report(&error));
        Ok(NOT_CHECKED)
    })
}

fn check(context: &Context, options: &Lint) -> Result<u8> {
    let source = options.source.as_path();
    let report = if source.extension().is_some_and(|ending| ending == "dsc") {
        if options.fix {
            anyhow::bail!(Advice::new(
                "a .dsc cannot be mended",
                "unpack it with `dpkg-source -x`, and name the directory"
            ));
        }
        lint::check(lint::dsc::open(source).at_path("opening the source package", source)?.tree())
    } else {
        let mut tree = open(source)?;
        if options.fix {
            fix(context, &mut tree, options.level)?;
        }
        lint::check(&tree)
    };
    let report = report.from_severity(options.level);
    match (options.format, options.json) {
        (LintFormat::Json, _) | (_, true) => print_json(&report.json())?,
        (LintFormat::Sarif, _) => print_json(&lint::sarif(&report))?,
        (LintFormat::Text, false) => print(&text(&report, source, Screen::of_stdout()))?,
    }
    context.reporter.say(&summary(&report));
    Ok(if report.count(Severity::Error) > 0 { FOUND } else { 0 })
}

fn open(source: &Path) -> Result<Directory> {
    Directory::new(source)
        .with_context(|| format!("opening the source package {}", source.display()))
        .help("name an unpacked source package, with debian/control in it, or a .dsc")
}

fn fix(context: &Context, tree: &mut Directory, least: Severity) -> Result<()> {
    let fixed =
        lint::fix(tree, least).map_err(|(file, error)| anyhow::Error::new(error).context(format!("mending {file}")))?;
    for file in &fixed.files {
        context.reporter.say(&format!("mended {}", safetext::printable(file)));
    }
    Ok(())
}

/// The findings as a compiler prints them, each with the command that says more.
fn text(report: &Report, source: &Path, screen: Screen) -> String {
    report.open().map(|finding| line(finding, source, screen)).collect()
}

fn line(finding: &Finding, source: &Path, screen: Screen) -> String {
    // A path that can be clicked on or given to an editor.
    let file = if source == Path::new(".") || source.extension().is_some_and(|ending| ending == "dsc") {
        finding.file.clone()
    } else {
        source.join(&finding.file).display().to_string()
    };
    let place = match &finding.range {
        Some(_) => format!("{file}:{}:{}", finding.start.0, finding.start.1),
        None => file,
    };
    let severity = screen.paint(style(finding.rule.severity), finding.rule.severity.name());
    let id = screen.paint(Style::new().dimmed(), &format!("[{}]", finding.rule.id));
    format!("{}: {severity}: {} {id}\n", safetext::printable(&place), finding.message)
}

fn style(severity: Severity) -> Style {
    match severity {
        Severity::Error => AnsiColor::Red.on_default().bold(),
        Severity::Warning => AnsiColor::Yellow.on_default().bold(),
        Severity::Note => AnsiColor::Cyan.on_default(),
    }
}

fn summary(report: &Report) -> String {
    let silenced = report.findings.len() - report.open().count();
    let mut parts: Vec<String> = Severity::ALL
        .into_iter()
        .map(|severity| (report.count(severity), severity))
        .filter(|(count, _)| *count > 0)
        .map(|(count, severity)| counted(count, severity.name(), &format!("{}s", severity.name())))
        .collect();
    if parts.is_empty() {
        parts.push("nothing to complain about".to_owned());
    }
    if silenced > 0 {
        parts.push(format!("{silenced} silenced"));
    }
    let package = report.package.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
    let fixable = report.open().filter(|finding| !finding.edits.is_empty()).count();
    let hint = if fixable > 0 { format!("; --fix mends {fixable} of them") } else { String::new() };
    let more = if report.open().next().is_some() { "; --explain RULE says more" } else { "" };
    let cut = if report.cut { ", and more that are not told" } else { "" };
    format!("{package}{}{cut}{hint}{more}", parts.join(", "))
}

fn explain(id: &str, json: bool) -> Result<()> {
    let rule = lint::rule(id).with_context(|| {
        let meant = nearest::nearest(id, RULES.iter().map(|rule| rule.id));
        let meant = meant.first().map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
        format!("there is no rule {id}{meant}")
    });
    let rule = rule.help("`rocbed lint --list` lists them")?;
    if json {
        return print_json(&describe(rule));
    }
    let scope = match rule.scope {
        Scope::Every => "every package",
        Scope::Rocm => "packages of the ROCm stack, and tests that use a GPU",
    };
    let section = rule.section.map(|section| format!("\nSee docs/test-guidelines.md#{section}\n")).unwrap_or_default();
    print(&format!(
        "{} ({}, for {scope})\n\n{}.\n\n{}\n{section}",
        rule.id,
        rule.severity,
        capital(rule.summary),
        rule.explanation
    ))
}

fn list(json: bool) -> Result<()> {
    if json {
        return print_json(&RULES.iter().map(|rule| describe(rule)).collect::<Vec<_>>());
    }
    let mut table = Table::new(&["RULE", "SEVERITY", "WHAT"]);
    for rule in RULES {
        table.row([rule.id.into(), Cell::coloured(rule.severity.name(), style(rule.severity)), rule.summary.into()]);
    }
    print(&table.text(Screen::of_stdout()))
}

fn describe(rule: &Rule) -> serde_json::Value {
    json!({
        "rule": rule.id,
        "severity": rule.severity.name(),
        "scope": if rule.scope == Scope::Rocm { "rocm" } else { "every" },
        "summary": rule.summary,
        "explanation": rule.explanation,
        "guideline": rule.section,
    })
}
