//! Tables for people: aligned columns, with colours and a width limit on a terminal only.

use std::io::IsTerminal;
use std::os::fd::AsFd;

use clap::builder::styling::{AnsiColor, Style};
use protocol::api::{Health, JobState};
use protocol::{TestOutcome, Verdict};
use safetext::printable;

/// Minimum width in characters on a narrow terminal: of the last column, and of the others.
const NARROWEST: (usize, usize) = (16, 8);

/// Capabilities of the output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Screen {
    /// Whether to use colours.
    pub colour: bool,
    /// Width in columns at which lines are cut.
    pub width: Option<usize>,
}

impl Screen {
    /// Properties of stdout: a terminal has colours, unless `NO_COLOR` is set to anything (no-color.org) or it is a
    /// dumb one.
    pub fn of_stdout() -> Self {
        Self::of(&std::io::stdout())
    }

    /// Properties of stderr, likewise.
    pub fn of_stderr() -> Self {
        Self::of(&std::io::stderr())
    }

    fn of(stream: &(impl IsTerminal + AsFd)) -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        if !stream.is_terminal() {
            return Self::default();
        }
        let dumb = set("TERM").is_none_or(|term| term == "dumb");
        let width = rustix::termios::tcgetwinsize(stream).ok().map(|size| usize::from(size.ws_col));
        Self { colour: set("NO_COLOR").is_none() && !dumb, width: width.filter(|width| *width > 0) }
    }

    /// Paints a text in a colour.
    pub fn paint(self, style: Style, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Colour of a verdict.
pub fn of_verdict(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Pass => AnsiColor::Green.on_default(),
        Verdict::Neutral => AnsiColor::Yellow.on_default(),
        Verdict::Fail => AnsiColor::Red.on_default(),
        Verdict::Timeout | Verdict::GpuFault => AnsiColor::Red.on_default().bold(),
        Verdict::TestbedFailed => AnsiColor::Magenta.on_default(),
    }
}

/// Colour of a test's outcome.
pub fn of_outcome(outcome: TestOutcome) -> Style {
    match outcome {
        TestOutcome::Pass => AnsiColor::Green.on_default(),
        TestOutcome::Skip | TestOutcome::Flaky => AnsiColor::Yellow.on_default(),
        TestOutcome::Fail => AnsiColor::Red.on_default(),
        TestOutcome::Unfinished => AnsiColor::Magenta.on_default(),
    }
}

/// Colour of a job's state.
pub fn of_state(state: JobState) -> Style {
    match state {
        JobState::Queued => Style::new(),
        JobState::Running => AnsiColor::Cyan.on_default(),
        JobState::Finished => AnsiColor::Green.on_default(),
        JobState::Cancelled => AnsiColor::Yellow.on_default(),
        JobState::GivenUp => AnsiColor::Magenta.on_default(),
    }
}

/// Colour of a worker's health.
pub fn of_health(health: Health) -> Style {
    match health {
        Health::Ready => AnsiColor::Green.on_default(),
        Health::Qualifying | Health::Rebooting => AnsiColor::Yellow.on_default(),
        Health::Unfit => AnsiColor::Red.on_default(),
        Health::Off => Style::new().dimmed(),
    }
}

/// One field of a table.
#[derive(Debug, Clone, Default)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A cell in a colour.
    pub fn coloured(text: impl Into<String>, style: Style) -> Self {
        Self { text: printable(&text.into()), style }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::coloured(text, Style::new())
    }
}

/// A table with a heading.
#[derive(Debug)]
pub struct Table {
    heading: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table with these columns.
    pub fn new(heading: &[&'static str]) -> Self {
        Self { heading: heading.to_vec(), rows: Vec::new() }
    }

    /// Narrows columns, as far as allowed, until they fit.
    fn fit(&self, columns: &mut [(usize, usize)], width: usize) {
        let is_coloured =
            |column: usize| self.rows.iter().any(|row| row.get(column).is_some_and(|cell| cell.style != Style::new()));
        let last = columns.len().saturating_sub(1);
        let fixed: Vec<bool> = columns.iter().map(|(column, _)| is_coloured(*column)).collect();
        let wide =
            |columns: &[(usize, usize)]| columns.iter().map(|(_, width)| width + 2).sum::<usize>().saturating_sub(2);
        while wide(columns) > width {
            let may = |number: usize, width: usize| {
                let least = if number == last { NARROWEST.0 } else { NARROWEST.1 };
                width > least && !fixed.get(number).is_some_and(|fixed| *fixed)
            };
            let able = columns.iter().enumerate().filter(|(number, (_, width))| may(*number, *width));
            let widest = able.max_by_key(|(number, (_, width))| (*number == last, *width)).map(|(number, _)| number);
            let Some((_, width)) = widest.and_then(|number| columns.get_mut(number)) else { return };
            *width -= 1;
        }
    }

    /// Adds a row, with a cell for each column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Formats the table. An empty column is left out. If the lines are wider than the screen, the last column is
    /// narrowed, then the widest of the others, but never one with colours: a verdict is one whole word.
    pub fn text(&self, screen: Screen) -> String {
        let width = |text: &str| text.chars().count();
        let cell = |row: &[Cell], column: usize| row.get(column).map_or(0, |cell| width(&cell.text));
        let widest = |column: usize| self.rows.iter().map(|row| cell(row, column)).max().unwrap_or(0);
        let mut columns: Vec<(usize, usize)> = self
            .heading
            .iter()
            .enumerate()
            .map(|(column, name)| (column, widest(column), width(name)))
            .filter(|(_, widest, _)| *widest > 0)
            .map(|(column, widest, name)| (column, widest.max(name)))
            .collect();
        self.fit(&mut columns, screen.width.unwrap_or(usize::MAX));
        let heading = self.heading.iter().map(|name| Cell::coloured(*name, Style::new().bold())).collect();
        let mut text = String::new();
        for row in std::iter::once(&heading).chain(&self.rows) {
            let mut left = screen.width.unwrap_or(usize::MAX);
            let mut line = String::new();
            for (number, (column, widest)) in columns.iter().enumerate() {
                let empty = Cell::default();
                let cell = row.get(*column).unwrap_or(&empty);
                let last = number + 1 == columns.len();
                let shown = if last { cut(&cell.text, left) } else { cut_middle(&cell.text, left.min(*widest)) };
                let used = width(&shown);
                line.push_str(&screen.paint(cell.style, &shown));
                if !last {
                    line.extend(std::iter::repeat_n(' ', widest.saturating_sub(used) + 2));
                }
                left = left.saturating_sub(widest + 2);
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain((width > 0).then_some('…')).collect()
}

/// Cuts out the middle of a text: both ends help to tell names apart.
fn cut_middle(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let Some(kept) = width.checked_sub(1) else { return String::new() };
    let (front, back) = (kept - kept / 2, kept / 2);
    text.chars().take(front).chain(['…']).chain(text.chars().skip(length - back)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["JOB", "VERDICT", "NOTHING", "WHY"]);
        let verdict = |verdict: Verdict| Cell::coloured(verdict.name(), of_verdict(verdict));
        table.row(["rocrand".into(), verdict(Verdict::Fail), "".into(), "1 of 12\nfailed".into()]);
        table.row(["é".into(), verdict(Verdict::TestbedFailed), "".into(), "no \x1b[2Jdisk".into()]);
        table
    }

    #[test]
    fn columns_line_up_and_empty_ones_are_left_out() {
        let text = "JOB      VERDICT         WHY\n\
                    rocrand  fail            1 of 12 failed\n\
                    é        testbed-failed  no \\u{1b}[2Jdisk\n";
        assert_eq!(table().text(Screen::default()), text);
    }

    #[test]
    fn a_terminal_has_colours_and_an_edge() {
        let text = table().text(Screen { colour: true, width: Some(30) });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "rocrand  \u{1b}[31mfail\u{1b}[0m            1 of…");
    }

    #[test]
    fn every_column_is_there_on_a_narrow_terminal() {
        let mut table = Table::new(&["JOB", "VERDICT", "VERSION", "WORKER", "WHAT"]);
        let verdict = Cell::coloured("testbed-failed", of_verdict(Verdict::TestbedFailed));
        table.row([
            "composable-kernel@gfx11-generic-12".into(),
            verdict,
            "6.4.3-1~exp1".into(),
            "poweredge-r7525-2".into(),
            "the testbed could not be set up: no room".into(),
        ]);
        let text = table.text(Screen { colour: false, width: Some(80) });
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let line = text.lines().nth(1).unwrap_or_default();
        let words: Vec<&str> = line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect();
        assert_eq!(words[..4], ["composa…eric-12", "testbed-failed", "6.4.3-1~exp1", "powered…r7525-2"], "{text}");
        assert!(words[4].starts_with("the testbed") && words[4].ends_with('…'), "{text}");
        let wide = table.text(Screen::default());
        assert!(wide.contains("composable-kernel@gfx11-generic-12") && wide.contains("no room"), "{wide}");
        // Too narrow for all: the text is cut at the edge.
        let text = table.text(Screen { colour: false, width: Some(20) });
        assert!(text.lines().all(|line| line.chars().count() <= 20), "{text}");
    }
}
