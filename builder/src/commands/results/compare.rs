//! `rocbed results compare`: what differs between two jobs or days.

use std::fmt::Write as _;

use anyhow::Result;
use clap::builder::styling::Style;
use client::Client;
use jiff::Zoned;
use protocol::api::{Compared, ComparedTest, Comparison};
use protocol::{RunAs, exit};
use safetext::printable;

use super::history::about;
use crate::cmdline::ResultsCompare;
use crate::commands::{print, print_json};
use crate::hubs::{HubAccess, connect};
use crate::table::{Cell, Screen, Table, of_outcome};

pub(super) fn run(options: &ResultsCompare) -> Result<u8> {
    let (place, client) = connect(&options.at)?;
    let (before, after) = (day_or_job(&options.before), day_or_job(&options.after));
    let comparison = client.compare(&before, &after, options.package.as_deref());
    let comparison = comparison.map_err(|error| place.explain(error))?;
    if options.json {
        print_json(&comparison)?;
    } else {
        print(&text(&comparison, options.all, Screen::of_stdout()))?;
    }
    let regressed = comparison.tests.iter().any(|test| test.compared == Compared::Regressed);
    Ok(match (comparison.tests.is_empty(), regressed) {
        (true, _) => exit::NOTHING_TESTED,
        (_, true) => exit::SOME_FAILED,
        _ => exit::PASSED,
    })
}

/// Prints what differs between two jobs that are over.
pub(in crate::commands) fn jobs(
    place: &HubAccess,
    client: &Client,
    before: &str,
    after: &str,
    json: bool,
) -> Result<()> {
    show(&client.compare(before, after, None).map_err(|error| place.explain(error))?, json)
}

/// Prints what differs between two results, and what does not.
pub(in crate::commands) fn show(comparison: &Comparison, json: bool) -> Result<()> {
    if json { print_json(comparison) } else { print(&text(comparison, true, Screen::of_stdout())) }
}

/// Turns `today` and `yesterday` into days in UTC, as the hub's pages have them.
fn day_or_job(text: &str) -> String {
    let today = || Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).date();
    match text {
        "today" => today().to_string(),
        "yesterday" => today().yesterday().map_or_else(|_| text.to_owned(), |day| day.to_string()),
        other => other.to_owned(),
    }
}

fn text(comparison: &Comparison, all: bool, screen: Screen) -> String {
    let mut text = String::new();
    let mut table = Table::new(&["", "PACKAGE", "TEST", "TARGET", "BEFORE", "AFTER"]).expendable(&["BEFORE", "AFTER"]);
    let mut shown = 0;
    for test in &comparison.tests {
        if test.compared == Compared::StillPassing && !all {
            continue;
        }
        shown += 1;
        let run = |run: &Option<protocol::api::TestRun>| run.as_ref().map(about).unwrap_or_default();
        table.row([
            Cell::coloured(test.compared.name(), style(test.compared)),
            test.package.clone().into(),
            name(test).into(),
            test.target.clone().into(),
            run(&test.before).into(),
            run(&test.after).into(),
        ]);
    }
    if shown > 0 {
        text.push_str(&table.text(screen));
    }
    // Writing to a String cannot fail.
    for change in &comparison.changed {
        let _ = writeln!(text, "changed: {}", printable(&change.to_string()));
    }
    if !comparison.cases.is_empty() {
        let mut table = Table::new(&["", "CASE", "SUITE"]).expendable(&["SUITE"]);
        for case in &comparison.cases {
            let cell = Cell::coloured(case.compared.name(), style(case.compared));
            table.row([cell, case.case.clone().into(), case.suite.clone().into()]);
        }
        text.push_str(&table.text(screen));
    }
    if comparison.more_cases > 0 {
        let _ = writeln!(text, "{} more cases differ or fail in both", comparison.more_cases);
    }
    if let Some(problem) = &comparison.cases_problem {
        let _ = writeln!(text, "cases: {}", printable(problem));
    }
    let counts = Compared::ALL.into_iter().filter_map(|how| {
        let count = comparison.tests.iter().filter(|test| test.compared == how).count();
        (count > 0).then(|| format!("{count} {}", how.name().replace('-', " ")))
    });
    let counts = counts.collect::<Vec<_>>().join(", ");
    let _ = writeln!(text, "{}", if counts.is_empty() { "nothing to compare" } else { &counts });
    text
}

/// The test for people, with its user if that is root.
fn name(test: &ComparedTest) -> String {
    let name = if test.test.is_empty() { "(whole run)" } else { &test.test };
    if test.run_as == Some(RunAs::Root) { format!("{name} (root)") } else { name.to_owned() }
}

fn style(compared: Compared) -> Style {
    match compared {
        Compared::Regressed | Compared::StillFailing => of_outcome(protocol::TestOutcome::Fail),
        Compared::Fixed | Compared::StillPassing => of_outcome(protocol::TestOutcome::Pass),
        Compared::Stopped | Compared::Added => of_outcome(protocol::TestOutcome::Skip),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worse_comes_first_and_what_passes_is_only_counted() {
        let comparison: Comparison = serde_json::from_value(serde_json::json!({
            "tests": [
                { "package": "rocfft", "test": "", "target": "gfx1030", "compared": "regressed" },
                { "package": "rocfft", "test": "upstream", "as": "root", "target": "gfx1030", "compared": "fixed" },
                { "package": "rocrand", "test": "upstream", "target": "gfx1030", "compared": "still-passing" },
            ],
            "changed": [{ "kind": "package", "name": "llvm", "from": "1", "to": "2" }],
            "cases": [{ "suite": "gtest", "case": "Sum.Large", "compared": "fixed" }], "more-cases": 3,
        }))
        .expect("a comparison");
        let text = text(&comparison, false, Screen::default());
        assert!(text.contains("regressed  rocfft   (whole run)      gfx1030"), "{text}");
        assert!(text.contains("fixed      rocfft   upstream (root)  gfx1030") && !text.contains("rocrand"), "{text}");
        assert!(text.contains("changed: llvm 1 -> 2\n") && text.contains("fixed  Sum.Large  gtest"), "{text}");
        assert!(
            text.ends_with("3 more cases differ or fail in both\n1 regressed, 1 fixed, 1 still passing\n"),
            "{text}"
        );
    }

    #[test]
    fn days_have_names() {
        assert_eq!((day_or_job("rocfft-12"), day_or_job("today").len()), ("rocfft-12".to_owned(), 10));
    }
}
