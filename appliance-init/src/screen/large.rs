//! The screen of a display with room: the machine's state in letters that are readable from two metres, the job's
//! progress, all about GPUs and network, and the hub's address for a telephone's camera.

use std::time::Duration;

use protocol::Span;

use super::blocks::{self, Code};
use super::canvas::{BOLD, Canvas, DIM, GREEN, PLAIN, RED, Style, WHITE, YELLOW};
use super::wrap::wrap;
use super::{Line, describe, facts, problems, results};
use crate::state::State;

/// Columns and rows from which on this is used: a display of 1024 x 768 has 128 and 48, one of 1920 x 1080 with large
/// letters 120 and 33.
const ROOM: (usize, usize) = (100, 30);

/// Letters of the longest headline.
const HEADLINE: usize = 7;

/// Whether a display of so many columns and rows has the room.
pub(super) fn has_room(width: usize, height: usize) -> bool {
    width >= ROOM.0 && height >= ROOM.1
}

/// What the machine does, in a word of at most [`HEADLINE`] letters.
fn headline(state: &State) -> (&'static str, Style) {
    let is_bad = |of: &str| state.conditions.get(of).filter(|(_, bad)| *bad).map(|(text, _)| text.as_str());
    if state.ending {
        return ("ENDING", YELLOW);
    }
    // A job list, a machine that is paused at the hub, a debci server.
    let no_jobs = is_bad("jobs").or_else(|| is_bad("debci"));
    match (is_bad("health"), state.jobs.first(), is_bad("hub"), &state.gpus) {
        (_, Some(_), _, _) => ("RUNNING", GREEN),
        (Some(text), ..) if text.starts_with("unfit") => ("UNFIT", RED),
        (Some(_), ..) => ("WAITING", YELLOW),
        (None, None, Some(_), _) => ("NO HUB", RED),
        (None, None, None, _) if no_jobs.is_some() => ("NO JOBS", RED),
        (None, None, None, _) if state.conditions.contains_key("hours") => ("RESTING", YELLOW),
        (None, None, None, None) => ("BOOTING", YELLOW),
        (None, None, None, Some(_)) => ("READY", GREEN),
    }
}

/// Draws the state. `now` is the time since the kernel's start.
pub(super) fn draw(state: &State, now: Duration, width: usize, height: usize) -> Canvas {
    let mut canvas = Canvas::new(width, height);
    let (column, right) = (1, width.saturating_sub(1));
    let scale = (right / blocks::text_size(HEADLINE, 1).0).min(height / 20).max(1);
    let (headline_columns, headline_rows) = blocks::text_size(HEADLINE, scale);
    let (word, style) = headline(state);
    blocks::text(&mut canvas, (column, 1), word, scale, style);
    let mut row = headline_rows + 2;
    // The code is beside the headline if there is room, and below it otherwise.
    let mut left = right;
    if let Some((hub, code)) = state.hub.as_deref().and_then(|hub| Some((hub, Code::new(hub)?))) {
        let (columns, rows) = code.size();
        let top = if column + headline_columns + columns < right { 1 } else { row };
        if top + rows < height {
            left = right.saturating_sub(columns + 1);
            code.draw(&mut canvas, (left + 1, top));
            let from = right.saturating_sub(hub.chars().count().max(columns));
            canvas.put(from.max(1), top + rows, hub, WHITE);
        }
    }
    let put = |canvas: &mut Canvas, row: usize, text: &str, style: Style| {
        let text: String = text.chars().take(left.saturating_sub(column)).collect();
        canvas.put(column, row, &text, style);
    };
    match state.jobs.as_slice() {
        [] => {
            put(&mut canvas, row, &state.phase, BOLD);
            row += 2;
        }
        [job] => {
            let letters = left.saturating_sub(column) / blocks::text_size(1, 1).0;
            let name: String = job.name.chars().take(letters).collect();
            blocks::text(&mut canvas, (column, row), &name, 1, BOLD);
            row += blocks::text_size(1, 1).1 + 1;
            put(&mut canvas, row, &describe(job, 1), BOLD);
            let took = now.saturating_sub(job.began);
            let (bar, text) = progress(took, job.expected, left.saturating_sub(column + 1));
            put(&mut canvas, row + 1, &bar, GREEN);
            put(&mut canvas, row + 2, &text, PLAIN);
            row += 4;
        }
        several => {
            // Two lines each, in at most half of what is left.
            let shown = (height.saturating_sub(row) / 4).max(1);
            for job in several.iter().take(shown) {
                put(&mut canvas, row, &describe(job, several.len()), BOLD);
                let (_, text) = progress(now.saturating_sub(job.began), job.expected, 0);
                put(&mut canvas, row + 1, &format!("  {text}"), PLAIN);
                row += 2;
            }
            if let Some(more) = several.len().checked_sub(shown).filter(|more| *more > 0) {
                put(&mut canvas, row, &format!("and {more} more"), PLAIN);
                row += 1;
            }
            row += 1;
        }
    }
    if !state.name.is_empty() {
        put(&mut canvas, row, &format!("Machine   {}", state.name), BOLD);
        row += 1;
    }
    let long = facts(state).into_iter().chain(problems(state));
    for Line { text, style } in long.flat_map(|line| wrap(line, left.saturating_sub(column))) {
        put(&mut canvas, row, &text, style);
        row += 1;
    }
    row += 1;
    for Line { text, style } in results(state, height.saturating_sub(row + 2)) {
        put(&mut canvas, row, &text, style);
        row += 1;
    }
    canvas.put(column, height.saturating_sub(1), &state.machine, DIM);
    canvas
}

/// A bar of how much of the expected time has passed, and the same in words. Without an expectation there is no bar.
fn progress(took: Duration, expected: Option<Duration>, width: usize) -> (String, String) {
    let minutes = |time: Duration| match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => Span::seconds(seconds / 60 * 60).to_string(),
    };
    let Some(expected) = expected.filter(|time| !time.is_zero()) else {
        return (String::new(), format!("for {}; nothing is known of how long it takes", minutes(took)));
    };
    let part = (took.as_secs_f64() / expected.as_secs_f64()).min(1.0);
    // The width of a display: nothing is lost.
    let filled = (part * width as f64) as usize;
    let bar = "█".repeat(filled) + &"░".repeat(width.saturating_sub(filled));
    let text = if took > expected {
        format!("for {}, longer than the {} that it usually takes", minutes(took), minutes(expected))
    } else {
        format!("for {} of the {} that it usually takes", minutes(took), minutes(expected))
    };
    (bar, text)
}

#[cfg(test)]
mod tests;
