//! Pages of a log: each shows a part of limited size, so it is fast however long the log is.

use askama::Template;
use axum::extract::{Path, Query, State};
use protocol::TestOutcome;
use serde::Deserialize;

use crate::format::size;
use crate::http::Reader;
use crate::http::answer::io_problem;
use crate::http::jobs::find;
use crate::http::results::detail;
use crate::hub::Shared;
use crate::pages::{Converter, Page, PageError, render};
use crate::party::Party;
use crate::store::Logs;

/// Bytes of a log on one page.
const PAGE: u64 = 256 << 10;

/// Bytes shown before a line that was found.
const BEFORE: u64 = 2 << 10;

/// Longest search text, in bytes.
const LONGEST: usize = 200;

/// Most tests listed as links.
const TESTS: usize = 100;

#[derive(Template)]
#[template(path = "log.html")]
struct LogPage {
    here: &'static str,
    id: String,
    attempt: u32,
    part: Part,
    before: u64,
    length: String,
    live: bool,
    text: String,
    /// Offset at which the search continues.
    next: Option<u64>,
    tests: Vec<(String, TestOutcome)>,
}

/// Query for the part of a log.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Which {
    pub(crate) attempt: Option<u32>,
    pub(crate) from: Option<u64>,
    /// Text to search for; the part shows its line.
    pub(crate) find: Option<String>,
}

/// A part of a log: its first byte, its end, and its HTML.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) from: u64,
    pub(crate) end: u64,
    pub(crate) length: u64,
    pub(crate) html: String,
}

/// Text with which autopkgtest marks the start of a test in its log (autopkgtest(1)).
pub(crate) fn beginning_of(test: &str) -> String {
    format!("test {test}: [---")
}

pub(crate) async fn page(
    State(shared): State<Shared>,
    _: Reader,
    party: Party,
    Path(id): Path<String>,
    Query(which): Query<Which>,
) -> Page {
    let (number, last, job) = find(&shared, &id).await?;
    let attempt = which.attempt.unwrap_or(last);
    let text: String = which.find.unwrap_or_default().chars().take(LONGEST).collect();
    let found = match text.trim() {
        "" => None,
        text => search(&shared, &party, (number, attempt), which.from.unwrap_or(0), text.to_owned()).await?,
    };
    let from = found.map(|found| found.saturating_sub(BEFORE)).or(which.from);
    let part = part(&shared, (number, attempt), from, PAGE, found).await?;
    let tests = match &job.result {
        Some(_) => detail(&shared, &id).await?.tests().map(|(_, test)| (test.name.clone(), test.outcome)).collect(),
        None => Vec::new(),
    };
    render(&LogPage {
        here: "jobs",
        id,
        attempt,
        live: !job.state.is_over() && attempt == last && part.end == part.length,
        length: size(part.length),
        before: part.from.saturating_sub(PAGE),
        text,
        next: found.map(|found| found.saturating_add(1)),
        tests: jumps(tests),
        part,
    })
}

/// Tests to link to, each once: failed ones first.
fn jumps(mut tests: Vec<(String, TestOutcome)>) -> Vec<(String, TestOutcome)> {
    tests.sort_by_key(|(_, outcome)| matches!(outcome, TestOutcome::Pass | TestOutcome::Skip));
    tests.dedup_by(|one, other| one.0 == other.0);
    tests.truncate(TESTS);
    tests
}

async fn search(
    shared: &Shared,
    party: &Party,
    (number, attempt): (i64, u32),
    from: u64,
    text: String,
) -> Result<Option<u64>, PageError> {
    let logs = shared.logs.clone();
    // An offset within a line means the line after it.
    let search = move || -> std::io::Result<Option<u64>> {
        let from = if from == 0 { 0 } else { next_line(&logs, number, attempt, from - 1)? };
        logs.find(number, attempt, from, text.as_bytes())
    };
    Ok(shared.limits.search(party, search).await?.map_err(|error| io_problem(&error))?)
}

/// Start of the first line after an offset, if it is near.
fn next_line(logs: &Logs, number: i64, attempt: u32, from: u64) -> std::io::Result<u64> {
    let bytes = logs.read(number, attempt, from, PAGE as usize)?;
    Ok(from.saturating_add(memchr::memchr(b'\n', &bytes).map_or(1, |at| at as u64 + 1)))
}

/// Reads a part of about `most` bytes of an attempt's log, starting at `from`, or its end if `from` is not given. It
/// starts and ends at line boundaries, unless lines are longer than the part. The line at `found` is highlighted.
pub(crate) async fn part(
    shared: &Shared,
    (number, attempt): (i64, u32),
    from: Option<u64>,
    most: u64,
    found: Option<u64>,
) -> Result<Part, PageError> {
    let logs = shared.logs.clone();
    let task = tokio::task::spawn_blocking(move || -> std::io::Result<Part> {
        let length = logs.length(number, attempt)?;
        let wanted = from.unwrap_or(length.saturating_sub(most)).min(length);
        let bytes = logs.read(number, attempt, wanted, most as usize)?;
        // If the start is within a line, begins after that line.
        let skipped = if wanted == 0 { 0 } else { skip(&bytes, &logs.read(number, attempt, wanted - 1, 1)?) };
        let last = memchr::memrchr(b'\n', &bytes).map(|at| at + 1);
        let at_end = wanted.saturating_add(bytes.len() as u64) >= length;
        let stop = if at_end { bytes.len() } else { last.filter(|last| *last > skipped).unwrap_or(bytes.len()) };
        let shown = bytes.get(skipped..stop).unwrap_or_default();
        let first = wanted.saturating_add(skipped as u64);
        let html = marked(shown, found.and_then(|found| usize::try_from(found.checked_sub(first)?).ok()));
        Ok(Part { from: first, end: wanted.saturating_add(stop as u64), length, html })
    });
    Ok(task.await?.map_err(|error| io_problem(&error))?)
}

/// HTML with the line that begins at `line` highlighted.
fn marked(bytes: &[u8], line: Option<usize>) -> String {
    let mut converter = Converter::default();
    let Some((before, rest)) = line.and_then(|line| bytes.split_at_checked(line)) else { return converter.html(bytes) };
    let (line, after) = rest.split_at(memchr::memchr(b'\n', rest).unwrap_or(rest.len()));
    let before = converter.html(before);
    let line = converter.html(line);
    format!("{before}<mark id=\"found\">{line}</mark>{}", converter.html(after))
}

/// Number of bytes at the start that belong to the previous line.
fn skip(bytes: &[u8], before: &[u8]) -> usize {
    if before == b"\n" {
        return 0;
    }
    memchr::memchr(b'\n', bytes).map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_was_found_is_marked() {
        for (line, expected) in [
            (None, "a\n&lt;b&gt;\nc\n"),
            (Some(2), "a\n<mark id=\"found\">&lt;b&gt;</mark>\nc\n"),
            (Some(6), "a\n&lt;b&gt;\n<mark id=\"found\">c</mark>\n"),
            (Some(99), "a\n&lt;b&gt;\nc\n"),
        ] {
            assert_eq!(marked(b"a\n<b>\nc\n", line), expected, "{line:?}");
        }
    }

    #[test]
    fn tests_that_failed_are_jumped_to_first() {
        let tests = [("a", TestOutcome::Pass), ("b", TestOutcome::Fail), ("c", TestOutcome::Flaky)];
        let names: Vec<_> = jumps(tests.map(|(name, outcome)| (name.to_owned(), outcome)).into()).into_iter().collect();
        assert_eq!(names.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["b", "c", "a"]);
    }
}
