//! The text of a bug report about a result.

use protocol::api::{Explanation, TestState};
use protocol::{Job, JobResult, TestOutcome};

/// Most failed tests in a report.
const MOST_TESTS: usize = 20;
/// Most changes in a report.
const MOST_CHANGES: usize = 60;

/// The text of a bug report for reportbug(1): pseudo headers, then what happened, with the facts.
pub(crate) fn bug_report(job: &Job, result: &JobResult, why: &[Explanation], address: &str) -> String {
    let source = job.source.name();
    let version = result.tested_version().unwrap_or("unknown");
    let failed: Vec<_> = result.tests().filter(|(_, test)| test.outcome == TestOutcome::Fail).collect();
    let targets = result.targets();
    let on = if targets.is_empty() { String::new() } else { format!(" on {}", targets.join(", ")) };
    let what =
        failed.first().map_or_else(|| "autopkgtest".to_owned(), |(_, test)| format!("autopkgtest {}", test.name));
    let regression = why.iter().any(|why| why.test.state == TestState::Regression);
    let mut text = format!("Subject: {source}: {what} {}{on}\n\n", if regression { "regressed" } else { "fails" });
    text.push_str(&format!("Source: {source}\nVersion: {version}\nSeverity: important\n"));
    text.push_str("User: debian-ci@lists.debian.org\n");
    text.push_str(&format!("Usertags: {}\n\n", if regression { "regression" } else { "fails-always" }));
    text.push_str(&format!("Dear Maintainer,\n\nthe autopkgtest of {source} {version} fails{on}:\n\n"));
    for (run, test) in failed.iter().take(MOST_TESTS) {
        let cases = test.cases.filter(|cases| cases.failed > 0);
        let cases =
            cases.map(|cases| format!(", {} of {} cases failed", cases.failed, cases.total)).unwrap_or_default();
        text.push_str(&format!("  {} (as {}): {}{cases}\n", test.name, run.run_as, test.reason));
    }
    if failed.is_empty() {
        text.push_str(&format!("  {}\n", result.problem.as_deref().unwrap_or("the run ended without a test")));
    }
    for why in why {
        text.push('\n');
        text.push_str(&since(why));
    }
    text.push_str("\n-- System:\n");
    for gpu in result.used_gpus() {
        text.push_str(&format!(
            "GPU: {} ({}){}\n",
            gpu.name,
            gpu.target,
            if gpu.simulated { ", simulated" } else { "" }
        ));
        let firmware: Vec<String> = gpu.firmware.iter().map(|(name, version)| format!("{name} {version}")).collect();
        if !firmware.is_empty() {
            text.push_str(&format!("Firmware: {}\n", firmware.join(", ")));
        }
    }
    text.push_str(&format!("Kernel: {}\n", result.machine.kernel));
    if let Some(line) = &result.machine.command_line {
        text.push_str(&format!("Kernel command line: {line}\n"));
    }
    for archive in result.runs.iter().flat_map(|run| &run.archives).take(8) {
        text.push_str(&format!("Archive: {} {}, {}\n", archive.origin, archive.suite, archive.date));
    }
    if !result.kernel_log.is_empty() {
        text.push_str("\n-- Kernel log:\n");
        for line in result.kernel_log.iter().take(40) {
            text.push_str(&format!("{line}\n"));
        }
    }
    text.push_str(&format!("\n-- To reproduce:\n{}\n", result.reproduce(job)));
    text.push_str(&format!("\nResult, log and installed packages: {address}\n"));
    text
}

/// Since when a test fails, and what changed.
fn since(why: &Explanation) -> String {
    let test = &why.test;
    let name = if test.test.is_empty() { "the whole run" } else { &test.test };
    let day = |at: jiff::Timestamp| at.strftime("%Y-%m-%d").to_string();
    let run =
        |run: &protocol::api::TestRun| format!("{} ({})", day(run.at), run.version.as_deref().unwrap_or("no version"));
    let mut text = format!("{name} on {}: {}\n", test.target, test.state.words());
    if let Some(good) = &test.last_good {
        text.push_str(&format!("  last good: {}\n", run(good)));
    }
    if let Some(bad) = &test.first_bad {
        text.push_str(&format!("  first bad: {}\n", run(bad)));
    }
    if !why.changed.is_empty() {
        text.push_str("  changed between them:\n");
    }
    for change in why.changed.iter().take(MOST_CHANGES) {
        let cleared = change.cleared_by.as_ref().map(|job| format!(" (passed with it: {job})")).unwrap_or_default();
        text.push_str(&format!("    {change}{cleared}\n"));
    }
    if why.changed.len() > MOST_CHANGES {
        text.push_str(&format!("    and {} more\n", why.changed.len() - MOST_CHANGES));
    }
    for (what, list) in [("also fails on", &why.also_failing), ("passes on", &why.passes_on)] {
        if !list.is_empty() {
            text.push_str(&format!("  {what}: {}\n", list.join(", ")));
        }
    }
    text
}
