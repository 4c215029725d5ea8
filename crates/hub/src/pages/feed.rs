//! What other programs read: the Atom feed of changes (RFC 4287), badges, and debci's list of package states.

use askama::Template;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use protocol::api::TestState;
use protocol::{JobResult, Verdict};
use rusqlite::Connection;
use serde::Serialize;

use crate::clock::timestamp;
use crate::history::{self, HistoryFilter};
use crate::http::Reader;
use crate::hub::Shared;
use crate::pages::PageError;
use crate::problem::internal;
use crate::store::NameFilter;
use crate::store::columns::{Json as JsonColumn, Named};

/// Changes in the feed.
const ENTRIES: usize = 100;
/// Width of a letter in a badge, in pixels.
const LETTER: usize = 7;

#[derive(Template)]
#[template(path = "feed.xml")]
struct Feed {
    updated: String,
    entries: Vec<Entry>,
}

struct Entry {
    id: String,
    title: String,
    package: String,
    target: String,
    updated: String,
    summary: String,
}

/// The feed of changes of state.
pub(crate) async fn atom(State(shared): State<Shared>, _: Reader) -> Result<Response, PageError> {
    let changes = shared.readers.run(|db| history::recent_changes(db, ENTRIES)).await?;
    let entries: Vec<Entry> = changes
        .into_iter()
        .map(|(test, change)| {
            let name = if test.test.is_empty() { String::new() } else { format!(" {}", test.test) };
            let simulated = if test.simulated { " (simulated)" } else { "" };
            let version = change.run.version.clone().unwrap_or_else(|| "no version".to_owned());
            Entry {
                // The same change has the same id after the tables were made again.
                id: format!(
                    "{}/{}/{}/{}/{}/{}",
                    test.package, test.target, test.run_as, test.test, change.run.job, change.to
                ),
                title: format!("{}{name} on {}{simulated}: {}", test.package, test.target, change.to.words()),
                updated: change.run.at.to_string(),
                summary: format!(
                    "{} after {}: version {version}, kernel {}, worker {}, job {}",
                    change.to.words(),
                    change.from.words(),
                    change.run.kernel,
                    change.run.worker,
                    change.run.job
                ),
                package: test.package,
                target: test.target,
            }
        })
        .collect();
    let updated = entries.first().map_or_else(|| Timestamp::UNIX_EPOCH.to_string(), |entry| entry.updated.clone());
    let text = Feed { updated, entries }.render().map_err(|error| PageError::from(internal(&error)))?;
    Ok(([(header::CONTENT_TYPE, "application/atom+xml; charset=utf-8")], text).into_response())
}

#[derive(Template)]
#[template(path = "badge.svg")]
struct Badge {
    label: String,
    state: String,
    colour: &'static str,
    left: usize,
    right: usize,
    width: usize,
    left_middle: usize,
    right_middle: usize,
}

impl Badge {
    fn new(label: String, state: TestState) -> Self {
        let colour = match state {
            TestState::Ok | TestState::Fixed => "#0e6030",
            TestState::Regression | TestState::NewFailure | TestState::AlwaysFailed => "#a01414",
            TestState::Flaky | TestState::Known | TestState::UnexpectedPass | TestState::Stopped => "#714500",
            TestState::Stale | TestState::Infrastructure | TestState::Untested => "#59626b",
        };
        let state = state.words();
        let width = |text: &str| text.chars().count() * LETTER + 10;
        let (left, right) = (width(&label), width(&state));
        Self {
            left,
            right,
            width: left + right,
            left_middle: left / 2,
            right_middle: left + right / 2,
            label,
            state,
            colour,
        }
    }
}

/// A badge with the state of a package on a target: `rocfft.svg`, `gfx1030.svg`.
pub(crate) async fn badge(
    State(shared): State<Shared>,
    _: Reader,
    Path((package, file)): Path<(String, String)>,
) -> Result<Response, PageError> {
    let target = file.strip_suffix(".svg").unwrap_or(&file).to_owned();
    let filter = HistoryFilter {
        package: Some(NameFilter::Exact(package.clone())),
        target: Some(target.clone()),
        test: Some(String::new()),
        ..HistoryFilter::default()
    };
    let now = shared.config.clock.millis();
    let mut tests = shared.readers.run(move |db| history::tests(db, &filter, now)).await?;
    // A result of a real GPU stands before one of a simulated GPU, the user's before root's.
    tests.sort_by_key(|test| (test.simulated, test.run_as == protocol::RunAs::Root));
    let state = tests.first().map_or(TestState::Untested, |test| test.state);
    let label: String = format!("{package} {target}").chars().take(80).collect();
    let text = Badge::new(label, state).render().map_err(|error| PageError::from(internal(&error)))?;
    let headers = [(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, text).into_response())
}

/// The state of a package in debci's words (`debci-generate-index`, `packages.json`).
#[derive(Debug, Serialize)]
pub(crate) struct DebciStatus {
    run_id: i64,
    package: String,
    version: String,
    date: String,
    trigger: Option<String>,
    status: &'static str,
    previous_status: Option<&'static str>,
    duration_seconds: i64,
    duration_human: String,
    message: String,
    last_pass_version: Option<String>,
    last_pass_date: Option<String>,
}

/// debci's word for a verdict.
fn debci_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Neutral => "neutral",
        Verdict::Fail | Verdict::Timeout => "fail",
        Verdict::GpuFault | Verdict::TestbedFailed => "tmpfail",
    }
}

/// The latest counted result of each package on a target, as debci lists them for an architecture: `amd64+gfx1030`.
/// Results of simulated GPUs are not among them.
pub(crate) async fn packages_json(
    State(shared): State<Shared>,
    _: Reader,
    Path((suite, architecture)): Path<(String, String)>,
) -> Result<Json<Vec<DebciStatus>>, PageError> {
    let target = architecture.split_once('+').map_or("none", |(_, target)| target).to_owned();
    let list = shared.readers.run(move |db| debci_statuses(db, &suite, &target)).await?;
    Ok(Json(list))
}

fn debci_statuses(db: &Connection, suite: &str, target: &str) -> rusqlite::Result<Vec<DebciStatus>> {
    let date = |millis: i64| timestamp(millis).strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    let mut statement = db.prepare_cached(
        "SELECT c.job, c.package, r.version, c.verdict, r.started, r.finished, r.summary, r.result
         FROM coverage c JOIN results r ON r.job = c.job WHERE c.target = ?1 AND c.simulated = 0 ORDER BY c.package",
    )?;
    // `CROSS JOIN` keeps the order of the tables: the index of the runs of a series on a target leads.
    let mut before = db.prepare_cached(
        "SELECT r.version, r.verdict, r.finished
         FROM history_series s CROSS JOIN history_runs h ON h.series = s.id CROSS JOIN results r ON r.job = h.job
         WHERE s.package = ?1 AND s.variant = '' AND s.run_as = 'user' AND h.target = ?2 AND h.simulated = 0
             AND h.job < ?3 ORDER BY h.job DESC LIMIT 200",
    )?;
    let rows = statement.query_map([target], |row| {
        let (Named(verdict), JsonColumn(result)): (Named<Verdict>, JsonColumn<JobResult>) = (row.get(3)?, row.get(7)?);
        let (started, finished): (i64, i64) = (row.get(4)?, row.get(5)?);
        let seconds = finished.saturating_sub(started) / 1000;
        let status = DebciStatus {
            run_id: row.get(0)?,
            package: row.get(1)?,
            version: row.get::<_, Option<String>>(2)?.unwrap_or_else(|| "n/a".to_owned()),
            date: date(finished),
            trigger: None,
            status: debci_word(verdict),
            previous_status: None,
            duration_seconds: seconds,
            duration_human: format!("{}h {}m {}s", seconds / 3600, seconds / 60 % 60, seconds % 60),
            message: row.get(6)?,
            last_pass_version: None,
            last_pass_date: None,
        };
        Ok((status, result, finished))
    })?;
    let mut found = Vec::new();
    for row in rows {
        let (mut status, result, finished) = row?;
        let mut archives = result.runs.iter().flat_map(|run| &run.archives).peekable();
        // A result that does not say which archive it is of counts for every suite.
        if archives.peek().is_some() && !archives.any(|archive| archive.suite == suite || archive.codename == suite) {
            continue;
        }
        if status.status == "pass" {
            (status.last_pass_version, status.last_pass_date) = (Some(status.version.clone()), Some(date(finished)));
        }
        let earlier = before.query_map(rusqlite::params![status.package, target, status.run_id], |row| {
            let Named(verdict) = row.get(1)?;
            Ok((row.get::<_, Option<String>>(0)?, verdict, row.get::<_, i64>(2)?))
        })?;
        for row in earlier {
            let (version, verdict, finished) = row?;
            let word = debci_word(verdict);
            status.previous_status.get_or_insert(word);
            if word == "pass" && status.last_pass_date.is_none() {
                (status.last_pass_version, status.last_pass_date) = (version, Some(date(finished)));
            }
            if status.last_pass_date.is_some() {
                break;
            }
        }
        found.push(status);
    }
    Ok(found)
}
