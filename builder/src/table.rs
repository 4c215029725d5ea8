//! Tables for people: aligned columns, with colours and a width limit on a terminal only.
//!
//! Widths are those on a terminal (Unicode Standard Annex 11): a Chinese character takes two columns, a combining one none.

use std::io::IsTerminal;
use std::os::fd::AsFd;

use clap::builder::styling::{AnsiColor, Style};
use protocol::api::{Health, JobState, TestState};
use protocol::{TestOutcome, Verdict};
use safetext::printable;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Width down to which columns are narrowed before one is left out: of the last column, and of the others.
const COMFORTABLE: (usize, usize) = (24, 14);
/// Width down to which columns are narrowed when no more can be left out.
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

/// Style of what is important.
pub fn bold() -> Style {
    Style::new().bold()
}

/// Style of what is only to be seen when looked for.
pub fn dimmed() -> Style {
    Style::new().dimmed()
}

/// Style of what needs somebody.
pub fn warning() -> Style {
    AnsiColor::Yellow.on_default().bold()
}

/// Colour of the state of a test.
pub fn of_test_state(state: TestState) -> Style {
    match state {
        TestState::Regression | TestState::NewFailure => AnsiColor::Red.on_default().bold(),
        TestState::AlwaysFailed => AnsiColor::Red.on_default(),
        TestState::Flaky | TestState::UnexpectedPass | TestState::Stopped => AnsiColor::Yellow.on_default().bold(),
        TestState::Known => AnsiColor::Yellow.on_default(),
        TestState::Fixed | TestState::Ok => AnsiColor::Green.on_default(),
        TestState::Stale | TestState::Untested => Style::new().dimmed(),
        TestState::Infrastructure => AnsiColor::Magenta.on_default(),
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
        Health::OutsideHours | Health::Off => Style::new().dimmed(),
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
    /// Columns that may be left out, the first one first.
    expendable: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table with these columns.
    pub fn new(heading: &[&'static str]) -> Self {
        Self { heading: heading.to_vec(), expendable: Vec::new(), rows: Vec::new() }
    }

    /// Names columns that are left out on a narrow terminal, the least important first.
    #[must_use]
    pub fn expendable(mut self, columns: &[&'static str]) -> Self {
        self.expendable = columns.to_vec();
        self
    }

    /// Whether a column has a colour in a row: its words are not cut.
    fn is_coloured(&self, column: usize) -> bool {
        self.rows.iter().any(|row| row.get(column).is_some_and(|cell| cell.style != Style::new()))
    }

    /// Leaves columns out until the others fit without being narrowed too much.
    fn drop_columns(&self, columns: &mut Vec<(usize, usize)>, width: usize) {
        for name in &self.expendable {
            let last = columns.len().saturating_sub(1);
            let least = columns.iter().enumerate().map(|(number, (column, width))| {
                let comfortable = if number == last { COMFORTABLE.0 } else { COMFORTABLE.1 };
                if self.is_coloured(*column) { *width } else { comfortable.min(*width) }
            });
            let needed = least.map(|width| width + 2).sum::<usize>().saturating_sub(2);
            if needed <= width {
                return;
            }
            columns.retain(|(column, _)| self.heading.get(*column) != Some(name));
        }
    }

    /// Narrows columns, as far as allowed, until they fit.
    fn fit(&self, columns: &mut [(usize, usize)], width: usize) {
        let last = columns.len().saturating_sub(1);
        let fixed: Vec<bool> = columns.iter().map(|(column, _)| self.is_coloured(*column)).collect();
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

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Formats the table. Without rows it is no text. An empty column is left out. If the lines are wider than the screen, expendable columns are left
    /// out, then the last column is narrowed, then the widest of the others, but never one with colours: a verdict is one
    /// whole word. Without a width everything is there, in full.
    pub fn text(&self, screen: Screen) -> String {
        if self.is_empty() {
            return String::new();
        }
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
        let limit = screen.width.unwrap_or(usize::MAX);
        self.drop_columns(&mut columns, limit);
        self.fit(&mut columns, limit);
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

/// A line of differently coloured pieces, cut at the edge of the screen.
pub fn line(pieces: &[Cell], screen: Screen) -> String {
    let mut left = screen.width.unwrap_or(usize::MAX);
    let mut line = String::new();
    for piece in pieces {
        let shown = cut(&piece.text, left);
        left = left.saturating_sub(width(&shown));
        line.push_str(&screen.paint(piece.style, &shown));
    }
    line
}

/// Columns that a text takes on a terminal.
fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// Characters from the front that take at most so many columns.
fn taken(chars: impl Iterator<Item = char>, columns: usize) -> Vec<char> {
    let mut used = 0;
    let fits = |char: &char| {
        used += UnicodeWidthChar::width(*char).unwrap_or(0);
        used <= columns
    };
    chars.take_while(fits).collect()
}

/// Cuts the end of a text off.
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(kept) = columns.checked_sub(1) else { return String::new() };
    taken(text.chars(), kept).into_iter().chain(['…']).collect()
}

/// Cuts out the middle of a text: both ends help to tell names apart.
fn cut_middle(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(kept) = columns.checked_sub(1) else { return String::new() };
    let (front, back) = (kept - kept / 2, kept / 2);
    let end = taken(text.chars().rev(), back);
    taken(text.chars(), front).into_iter().chain(['…']).chain(end.into_iter().rev()).collect()
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
    fn a_list_without_entries_is_no_line() {
        assert_eq!(Table::new(&["JOB", "WHY"]).text(Screen::default()), "");
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

    fn results() -> Table {
        let mut table = Table::new(&["JOB", "VERDICT", "VERSION", "GPU", "WORKER", "AGE", "WHAT"])
            .expendable(&["VERSION", "AGE", "GPU", "WORKER"]);
        let verdict = Cell::coloured("testbed-failed", of_verdict(Verdict::TestbedFailed));
        table.row([
            "composable-kernel@gfx11-generic-12".into(),
            verdict,
            "6.4.3-1~exp1".into(),
            "gfx1030 (simulated)".into(),
            "poweredge-r7525-2".into(),
            "12m".into(),
            "the testbed could not be set up: no room".into(),
        ]);
        table
    }

    #[test]
    fn the_least_important_columns_go_first_on_a_narrow_terminal() {
        let heading = |width: Option<usize>| {
            let text = results().text(Screen { colour: false, width });
            let longest = text.lines().map(super::width).max().unwrap_or_default();
            assert!(longest <= width.unwrap_or(usize::MAX), "{text}");
            let words: Vec<String> =
                text.lines().next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
            words.join(" ")
        };
        assert_eq!(heading(None), "JOB VERDICT VERSION GPU WORKER AGE WHAT");
        assert_eq!(heading(Some(200)), heading(None));
        assert_eq!(heading(Some(100)), "JOB VERDICT GPU WORKER AGE WHAT");
        assert_eq!(heading(Some(80)), "JOB VERDICT WORKER WHAT");
        assert_eq!(heading(Some(60)), "JOB VERDICT WHAT");
        assert_eq!(heading(Some(30)), "JOB VERDICT WHAT");
    }

    #[test]
    fn wide_characters_take_two_columns_and_combining_ones_none() {
        let mut table = Table::new(&["JOB", "WHAT"]);
        table.row(["日本語".into(), "x".into()]);
        table.row(["e\u{301}te".into(), "x".into()]);
        assert_eq!(table.text(Screen::default()), "JOB     WHAT\n日本語  x\ne\u{301}te     x\n");
        assert_eq!(
            (cut("日本語", 5), cut("日本語", 4), cut("日本語", 0)),
            ("日本…".into(), "日…".into(), String::new())
        );
        assert_eq!(cut_middle("日本語日本語", 8), "日本…語");
    }

    #[test]
    fn a_line_is_coloured_piece_by_piece_and_cut_at_the_edge() {
        let pieces = [
            Cell::from("rocrand: "),
            Cell::coloured("running", of_state(JobState::Running)),
            Cell::from(" on \u{1b}[2J"),
        ];
        assert_eq!(line(&pieces, Screen::default()), "rocrand: running on \\u{1b}[2J");
        let narrow = Screen { colour: true, width: Some(20) };
        assert_eq!(line(&pieces, narrow), "rocrand: \u{1b}[36mrunning\u{1b}[0m on…");
    }
}
