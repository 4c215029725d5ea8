//! Progress output during long work: bars on a terminal, plain lines elsewhere, a CI system's own style in [`ci`],
//! nothing with `--quiet`.
//!
//! Everything goes to stderr; stdout is for data.

pub mod ci;

use std::borrow::Cow;
use std::io::{self, IsTerminal, Stderr, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use advice::Report;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use progress::{Progress, Task, Unit};
use safetext::{Filter, for_terminal};

use crate::table::{self, Cell, Screen};

/// Amount of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Only warnings and errors.
    Quiet,
    /// One line per stage, and bars on a terminal.
    Normal,
    /// Details as well.
    Verbose,
}

/// Progress output for people.
pub struct Reporter {
    verbosity: Verbosity,
    bars: Option<MultiProgress>,
    /// Filter for other programs' logs if stderr is a terminal, which would obey their control sequences.
    filter: Option<Mutex<Filter>>,
    log: Option<Arc<CiLog>>,
}

impl Reporter {
    /// Uses the style of a CI system if given; else bars if stderr is a terminal, else lines.
    pub fn new(verbosity: Verbosity, style: Option<ci::Style>) -> Self {
        let terminal = style.is_none() && io::stderr().is_terminal() && verbosity > Verbosity::Quiet;
        Self {
            verbosity,
            bars: terminal.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr())),
            filter: io::stderr().is_terminal().then(Mutex::default),
            log: style.map(|style| Arc::new(CiLog::new(style))),
        }
    }

    /// Begins the next stage of the work. Only logs of CI systems have stages; `name` identifies it there.
    pub fn stage(&self, name: &'static str, title: &str) {
        if let (Some(log), true) = (&self.log, self.verbosity >= Verbosity::Normal) {
            log.with(|log, now| log.begin(now, name, title));
        }
    }

    /// Prints the final line about what was made.
    pub fn summary(&self, line: &str) {
        match &self.log {
            _ if self.verbosity == Verbosity::Quiet => {}
            Some(log) => log.with(|log, now| log.summary(now, &for_terminal(line))),
            None => self.print(line),
        }
    }

    /// Whether the log is in a CI system's style.
    pub fn is_ci(&self) -> bool {
        self.log.is_some()
    }

    /// Prints the error that ends the command.
    pub fn error(&self, report: &Report) {
        match &self.log {
            Some(log) => log.with(|log, now| log.error(now, &for_terminal(&report.to_string()))),
            None => self.print(&format!("error: {report}")),
        }
    }

    /// Prints a warning with causes or help: of an error after which the command goes on.
    pub fn warn_of(&self, report: &Report) {
        self.warn(&report.to_string());
    }

    /// Prints a line about finished work.
    pub fn say(&self, line: &str) {
        if self.verbosity >= Verbosity::Normal {
            self.print(line);
        }
    }

    /// Prints a line of pieces in colours about finished work; on a terminal it is cut at the edge.
    pub fn say_pieces(&self, pieces: &[Cell]) {
        if self.verbosity < Verbosity::Normal {
            return;
        }
        if let Some(log) = &self.log {
            return log.with(|log, now| log.say(now, &table::line(pieces, Screen::default())));
        }
        let line = table::line(pieces, Screen::of_stderr());
        let write = || {
            // Errors are ignored, as for other lines. The pieces are printable already.
            let _ = writeln!(io::stderr().lock(), "{line}");
        };
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    /// Prints a line if details are wanted.
    pub fn detail(&self, line: &str) {
        if self.verbosity >= Verbosity::Verbose {
            self.print(line);
        }
    }

    /// Whether details are wanted.
    pub fn is_verbose(&self) -> bool {
        self.verbosity >= Verbosity::Verbose
    }

    /// Passes on bytes of a log; on a terminal only text and colours.
    pub fn pass_on(&self, bytes: &[u8]) {
        if self.verbosity >= Verbosity::Normal {
            let shown = match &self.filter {
                Some(filter) => Cow::Owned(filter.lock().unwrap_or_else(PoisonError::into_inner).pass(bytes)),
                None => Cow::Borrowed(bytes),
            };
            if let Some(log) = &self.log {
                return log.with(|log, _| log.pass_on(&shown));
            }
            let write = || {
                // Errors are ignored, as for lines: the reader may be gone.
                let _ = io::stderr().lock().write_all(&shown);
            };
            match &self.bars {
                Some(bars) => bars.suspend(write),
                None => write(),
            }
        }
    }

    fn print(&self, line: &str) {
        match &self.bars {
            Some(bars) => bars.suspend(|| eprint_line(line)),
            None => print_line(self.log.as_deref(), line),
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        if let Some(log) = &self.log {
            log.with(ci::Log::close);
        }
    }
}

/// A log in a CI system's style that several threads write.
struct CiLog {
    began: Instant,
    log: Mutex<ci::Log<Stderr>>,
}

impl CiLog {
    fn new(style: ci::Style) -> Self {
        Self { began: Instant::now(), log: Mutex::new(ci::Log::new(style, io::stderr())) }
    }

    fn with(&self, tell: impl FnOnce(&mut ci::Log<Stderr>, ci::Moment)) {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        tell(&mut log, ci::Moment { elapsed: self.began.elapsed(), unix });
    }
}

fn print_line(log: Option<&CiLog>, line: &str) {
    match log {
        Some(log) => log.with(|log, now| log.say(now, &for_terminal(line))),
        None => eprint_line(line),
    }
}

/// Writes a line to stderr, ignoring errors: a closed or full stderr must not make the command fail.
fn eprint_line(line: &str) {
    // Quoted text may come from a mirror, an image or a hub.
    let _ = writeln!(io::stderr().lock(), "{}", for_terminal(line));
}

impl Progress for Reporter {
    fn task(&self, name: &str, total: Option<u64>, unit: Unit) -> Box<dyn Task> {
        if self.verbosity == Verbosity::Quiet {
            return Box::new(progress::Silent);
        }
        let Some(bars) = &self.bars else {
            return Box::new(Line {
                log: self.log.clone(),
                name: name.to_owned(),
                total,
                unit,
                done: AtomicU64::new(0),
                began: Instant::now(),
                next: AtomicU64::new(LINE_EVERY.as_millis() as u64),
            });
        };
        let bar = bars.add(total.map_or_else(ProgressBar::new_spinner, ProgressBar::new));
        bar.set_style(style(total.is_some(), unit));
        bar.set_prefix(for_terminal(name));
        bar.enable_steady_tick(Duration::from_millis(120));
        Box::new(Bar(bar))
    }

    fn warn(&self, message: &str) {
        match &self.log {
            Some(log) => log.with(|log, now| log.warn(now, &for_terminal(message))),
            None => self.print(&format!("warning: {message}")),
        }
    }
}

fn style(bounded: bool, unit: Unit) -> ProgressStyle {
    let template = match (bounded, unit) {
        (true, Unit::Bytes) => {
            "{prefix:<28} {bar:30} {binary_bytes:>11}/{binary_total_bytes:<11} {binary_bytes_per_sec:>12} {eta:>4} left  {msg}"
        }
        (true, Unit::Items) => "{prefix:<28} {bar:30} {pos:>11}/{len:<11} {msg}",
        (false, Unit::Bytes) => "{prefix:<28} {spinner} {binary_bytes} {msg}",
        (false, Unit::Items) => "{prefix:<28} {spinner} {msg}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

struct Bar(ProgressBar);

impl Task for Bar {
    fn advance(&self, amount: u64) {
        self.0.inc(amount);
    }

    fn detail(&self, what: &str) {
        self.0.set_message(for_terminal(what));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Interval of progress lines of a task.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A task in a log: a line when it ends, and one every ten seconds until then.
struct Line {
    log: Option<Arc<CiLog>>,
    name: String,
    total: Option<u64>,
    unit: Unit,
    done: AtomicU64,
    began: Instant,
    /// Milliseconds after `began` at which the next line is due.
    next: AtomicU64,
}

impl Line {
    fn amount(&self, value: u64) -> String {
        match self.unit {
            Unit::Bytes => indicatif::BinaryBytes(value).to_string(),
            Unit::Items => value.to_string(),
        }
    }
}

impl Task for Line {
    fn advance(&self, amount: u64) {
        let done = self.done.fetch_add(amount, Ordering::Relaxed) + amount;
        let elapsed = self.began.elapsed().as_millis() as u64;
        let due = self.next.load(Ordering::Relaxed);
        let mine = elapsed >= due
            && self
                .next
                .compare_exchange(due, elapsed + LINE_EVERY.as_millis() as u64, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if mine {
            let of = self.total.map(|total| format!(" of {}", self.amount(total))).unwrap_or_default();
            print_line(self.log.as_deref(), &format!("{}: {}{of}", self.name, self.amount(done)));
        }
    }

    fn detail(&self, _what: &str) {}
}

impl Drop for Line {
    fn drop(&mut self) {
        let done = self.done.load(Ordering::Relaxed);
        let seconds = self.began.elapsed().as_secs_f64();
        let amount = if done > 0 { format!("{}, ", self.amount(done)) } else { String::new() };
        print_line(self.log.as_deref(), &format!("{}: {amount}{seconds:.1} s", self.name));
    }
}
