//! `rocbed results why`: what changed when tests began to fail.

use std::fmt::Write as _;

use anyhow::Result;
use client::HistoryQuery;
use protocol::api::{ChangeKind, Difference, Explanation};
use protocol::exit;
use safetext::printable;

use super::history::{about, day, headline};
use crate::cmdline::ResultsWhy;
use crate::commands::{print, print_json};
use crate::hubs::connect;
use crate::table::Screen;

/// Changed packages that are shown.
const PACKAGES: usize = 20;

pub(super) fn run(options: &ResultsWhy) -> Result<u8> {
    let (place, client) = connect(&options.at)?;
    let query = HistoryQuery {
        package: Some(options.of.package.clone()),
        target: options.of.target.map(|target| target.without_features().to_string()),
        test: options.of.test.clone(),
        ..HistoryQuery::default()
    };
    let mut found = client.why(&query).map_err(|error| place.explain(error))?.tests;
    let is_known = !found.is_empty() || !client.history(&query).map_err(|error| place.explain(error))?.tests.is_empty();
    // The whole run fails because of its tests.
    if options.of.test.is_none() && found.iter().any(|why| !why.test.test.is_empty()) {
        found.retain(|why| !why.test.test.is_empty());
    }
    if options.json {
        print_json(&found)?;
    } else {
        print(&text(&found, options, is_known))?;
    }
    Ok(match (found.is_empty(), is_known) {
        (false, _) => exit::SOME_FAILED,
        (true, true) => exit::PASSED,
        (true, false) => exit::NOTHING_TESTED,
    })
}

fn text(found: &[Explanation], options: &ResultsWhy, is_known: bool) -> String {
    let mut text = String::new();
    for why in found {
        // Writing to a String cannot fail.
        let _ = describe(&mut text, why, options.all, Screen::of_stdout());
    }
    if found.is_empty() {
        let package = printable(&options.of.package);
        text = if is_known {
            format!("no test of {package} fails\n")
        } else {
            format!("no result of {package} counts yet\n")
        };
    }
    text
}

fn describe(text: &mut String, why: &Explanation, all: bool, screen: Screen) -> std::fmt::Result {
    writeln!(text, "{}", headline(&why.test, screen))?;
    for (name, run) in [("last good", &why.test.last_good), ("first bad", &why.test.first_bad)] {
        if let Some(run) = run {
            writeln!(text, "  {name}: {}  {}", day(run), about(run))?;
        }
    }
    let (cleared, open): (Vec<&Difference>, Vec<_>) =
        why.changed.iter().partition(|change| change.cleared_by.is_some());
    let both = why.test.last_good.is_some() && why.test.first_bad.is_some();
    for (number, change) in open.iter().enumerate() {
        if number >= PACKAGES && !all && change.kind == ChangeKind::Package {
            writeln!(text, "           and {} more: --all lists them", open.len() - number)?;
            break;
        }
        let name = if number == 0 { "changed: " } else { "         " };
        let hint = match &change.passed_with[..] {
            [] => String::new(),
            list => format!("  (passed with it: {})", list.join(", ")),
        };
        writeln!(text, "  {name} {}", printable(&format!("{change}{hint}")))?;
    }
    if both && open.is_empty() {
        let what = if why.packages_known { "nothing that is recorded" } else { "the packages are not known" };
        writeln!(text, "  changed:  {what}")?;
    }
    if all {
        for change in &cleared {
            let job = change.cleared_by.as_deref().unwrap_or_default();
            writeln!(text, "  cleared:  {}", printable(&format!("{change}  (passed with it: {job})")))?;
        }
    } else if !cleared.is_empty() {
        let names: Vec<&str> = cleared.iter().take(PACKAGES).map(|change| change.name.as_str()).collect();
        writeln!(text, "  cleared:  {}", printable(&names.join(", ")))?;
    }
    for (name, list) in [
        ("also failing on:", &why.also_failing),
        ("passes on:", &why.passes_on),
        ("broke with it:", &why.broke_with_it),
    ] {
        if !list.is_empty() {
            writeln!(text, "  {name} {}", printable(&list.join(", ")))?;
        }
    }
    writeln!(text, "  next: {}", printable(&why.next))
}
