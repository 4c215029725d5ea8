//! A log, a part at a time: however long it is, a page of it is made at once.

use askama::Template;
use axum::extract::{Path, Query, State};
use serde::Deserialize;

use crate::http::Reader;
use crate::http::answer::io_problem;
use crate::http::jobs::find;
use crate::hub::Shared;
use crate::pages::{Converter, Page, PageError, render};

/// How much of a log is on one page, in bytes.
const PAGE: u64 = 256 << 10;

#[derive(Template)]
#[template(path = "log.html")]
struct LogPage {
    here: &'static str,
    id: String,
    attempt: u32,
    length: u64,
    from: u64,
    end: u64,
    before: u64,
    live: bool,
    html: String,
}

/// Which part.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Which {
    pub(crate) attempt: Option<u32>,
    pub(crate) from: Option<u64>,
}

/// A part of a log: from and to which byte, and as HTML.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) from: u64,
    pub(crate) end: u64,
    pub(crate) length: u64,
    pub(crate) html: String,
}

pub(crate) async fn page(
    State(shared): State<Shared>,
    _: Reader,
    Path(id): Path<String>,
    Query(which): Query<Which>,
) -> Page {
    let (number, last, job) = find(&shared, &id).await?;
    let attempt = which.attempt.unwrap_or(last);
    let part = part(&shared, number, attempt, which.from, PAGE).await?;
    render(&LogPage {
        here: "jobs",
        id,
        attempt,
        live: !job.state.is_over() && attempt == last && part.end == part.length,
        length: part.length,
        from: part.from,
        end: part.end,
        before: part.from.saturating_sub(PAGE),
        html: part.html,
    })
}

/// Reads a part of about `most` bytes, from `from` on or, without it, at the end. It begins and ends with a line, if
/// lines are not longer than the part.
pub(crate) async fn part(
    shared: &Shared,
    number: i64,
    attempt: u32,
    from: Option<u64>,
    most: u64,
) -> Result<Part, PageError> {
    let logs = shared.logs.clone();
    let task = tokio::task::spawn_blocking(move || -> std::io::Result<Part> {
        let length = logs.length(number, attempt)?;
        let wanted = from.unwrap_or(length.saturating_sub(most)).min(length);
        let bytes = logs.read(number, attempt, wanted, most as usize)?;
        // In the middle of a line: begin after it.
        let skipped = if wanted == 0 { 0 } else { skip(&bytes, &logs.read(number, attempt, wanted - 1, 1)?) };
        let last = bytes.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
        let at_end = wanted.saturating_add(bytes.len() as u64) >= length;
        let stop = if at_end { bytes.len() } else { last.filter(|last| *last > skipped).unwrap_or(bytes.len()) };
        let html = Converter::default().html(bytes.get(skipped..stop).unwrap_or_default());
        Ok(Part { from: wanted + skipped as u64, end: wanted + stop as u64, length, html })
    });
    Ok(task.await?.map_err(|error| io_problem(&error))?)
}

/// How many bytes at the beginning are the rest of a line.
fn skip(bytes: &[u8], before: &[u8]) -> usize {
    if before == b"\n" {
        return 0;
    }
    bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}
