//! `rocbed results history`: since when tests fail.

use std::fmt::Write as _;

use anyhow::Result;
use client::HistoryQuery;
use protocol::api::{TestHistory, TestRun, TestState};
use safetext::printable;

use crate::cmdline::ResultsHistory;
use crate::commands::{print, print_json};
use crate::context::Context;
use crate::hubs::connect;
use crate::table::{Screen, of_test_state};
use crate::wording::counted;

/// Most changes, and most runs, of a test.
const MOST: usize = 1000;
/// Changes of state that are shown.
const CHANGES: usize = 12;

pub(super) fn run(context: &Context, options: &ResultsHistory) -> Result<()> {
    let (place, client) = connect(&options.at)?;
    let query = HistoryQuery {
        package: Some(options.of.package.clone()),
        target: options.of.target.map(|target| target.without_features().to_string()),
        test: options.of.test.clone(),
        variants: options.variants,
        changes: if options.json { MOST } else { CHANGES },
        runs: if options.all { MOST } else { 0 },
        ..HistoryQuery::default()
    };
    let list = client.history(&query).map_err(|error| place.explain(error))?;
    if options.json {
        return print_json(&list.tests);
    }
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = describe(&mut text, &list.tests, Screen::of_stdout());
    if list.tests.is_empty() {
        context.reporter.say(&format!("no result of {} counts yet", options.of.package));
    }
    print(&text)
}

fn describe(text: &mut String, tests: &[TestHistory], screen: Screen) -> std::fmt::Result {
    for test in tests {
        writeln!(text, "{}", headline(test, screen))?;
        for change in &test.changes {
            writeln!(
                text,
                "  {}  {} -> {}  {}",
                day(&change.run),
                change.from.words(),
                screen.paint(of_test_state(change.to), &change.to.words()),
                about(&change.run)
            )?;
        }
        for run in &test.runs {
            let confirms = run.confirms.as_ref().map(|job| format!("  confirms {job}")).unwrap_or_default();
            writeln!(text, "  {}  {:<7}  {}{}", day(run), printable(&run.outcome), about(run), printable(&confirms))?;
        }
    }
    Ok(())
}

/// The state of a test in one line.
pub(super) fn headline(test: &TestHistory, screen: Screen) -> String {
    let name = if test.test.is_empty() { "(whole run)" } else { &test.test };
    let mut line = printable(&format!("{}  {name}  {}", test.package, test.target));
    if test.simulated {
        line.push_str(" (simulated)");
    }
    if test.run_as == protocol::RunAs::Root {
        line.push_str("  as root");
    }
    if !test.variant.is_empty() {
        line.push_str(&printable(&format!("  with {}", test.variant)));
    }
    line.push_str(&format!("  {}", screen.paint(of_test_state(test.state), &state(test))));
    line
}

/// State with what explains it: `regression since 2026-10-12 (3 in a row; good 2026-10-11, 1 flip in 60 days)`.
fn state(test: &TestHistory) -> String {
    let mut words = test.state.words();
    if test.state == TestState::Flaky {
        words.push_str(&format!(" {}/{}", test.failed, test.ran));
    }
    if let Some(since) = &test.since {
        words.push_str(&format!(" since {}", day(since)));
    }
    let mut details = Vec::new();
    if test.streak > 1 {
        details.push(format!("{} in a row", test.streak));
    }
    if test.first_bad.is_some()
        && let Some(good) = &test.last_good
    {
        details.push(format!("good {}", day(good)));
    }
    if test.flips > 0 {
        details.push(format!("{} in 60 days", counted(test.flips as usize, "flip", "flips")));
    }
    if test.infrastructure > 0 {
        details.push(counted(
            test.infrastructure as usize,
            "later failure of the machine",
            "later failures of the machine",
        ));
    }
    if let Some(known) = &test.known {
        details.push(printable(known.failure.bug.as_deref().unwrap_or(&known.failure.text)));
    }
    if details.is_empty() { words } else { format!("{words} ({})", details.join(", ")) }
}

/// The day of a run in UTC.
pub(super) fn day(run: &TestRun) -> String {
    run.at.strftime("%Y-%m-%d").to_string()
}

/// Version, kernel, worker and job of a run.
pub(super) fn about(run: &TestRun) -> String {
    let version = run.version.as_deref().unwrap_or("no version");
    printable(&format!("{version}  kernel {}  {}  {}", run.kernel, run.worker, run.job))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_since_when_and_how_sure_it_is() {
        let run = |day: &str, job: &str| TestRun {
            job: job.into(),
            at: format!("{day}T10:00:00Z").parse().expect("a time"),
            outcome: "fail".into(),
            version: Some("7.2.4-1".into()),
            worker: "epyc-1".into(),
            kernel: "7.2.13".into(),
            confirms: None,
        };
        let test: TestHistory = serde_json::from_value(serde_json::json!({
            "package": "rocfft", "test": "upstream", "target": "gfx1030", "as": "user", "simulated": false,
            "state": "regression", "streak": 3, "failed": 3, "ran": 30, "flips": 1,
            "since": run("2026-10-12", "rocfft-12"), "first-bad": run("2026-10-12", "rocfft-12"),
            "last-good": run("2026-10-11", "rocfft-11"),
            "changes": [{ "run": run("2026-10-13", "rocfft-13"), "from": "new-failure", "to": "regression" }],
        }))
        .expect("a history");
        let mut text = String::new();
        describe(&mut text, &[test], Screen::default()).expect("it is written");
        let expected = "\
rocfft  upstream  gfx1030  regression since 2026-10-12 (3 in a row, good 2026-10-11, 1 flip in 60 days)
  2026-10-13  new failure -> regression  7.2.4-1  kernel 7.2.13  epyc-1  rocfft-13
";
        assert_eq!(text, expected);
    }
}
