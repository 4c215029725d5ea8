//! Log output for CI systems: stages as foldable sections, warnings and errors as annotations, the time on each line.
//!
//! Everything goes to stderr, as always for messages. GitLab has one log for both outputs; GitHub's runner passes both
//! to the same command parser (its `ScriptHandler` and `OutputManager`), so commands work there too.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::Write;
use std::time::Duration;

/// Syntax of a CI system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `section_start:` and `section_end:` (GitLab's documentation of job logs).
    GitLab,
    /// Workflow commands: `::group::`, `::warning::` (GitHub's documentation of workflow commands).
    GitHub,
    /// Any other system: plain lines with times.
    Plain,
}

impl Style {
    /// The style of the CI system that the environment names, if any.
    pub fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let set = |name| variable(name).is_some_and(|value| !value.is_empty() && value != "false");
        if set("GITHUB_ACTIONS") {
            Some(Self::GitHub)
        } else if set("GITLAB_CI") {
            Some(Self::GitLab)
        } else {
            None
        }
    }
}

/// Time of a message.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moment {
    /// Time since the start of the program.
    pub(super) elapsed: Duration,
    /// Seconds since 1970.
    pub(super) unix: u64,
}

/// A log in a CI system's style.
pub(super) struct Log<W> {
    style: Style,
    out: W,
    /// Name of the open section, needed to close it.
    section: Option<&'static str>,
    /// Whether the last byte passed on was not the end of a line.
    mid_line: bool,
    /// Token that makes GitHub process commands again, while processing is stopped.
    deaf: Option<String>,
    /// Warnings that may be hidden in a folded section.
    warnings: Vec<String>,
}

impl<W: Write> Log<W> {
    pub(super) fn new(style: Style, out: W) -> Self {
        Self { style, out, section: None, mid_line: false, deaf: None, warnings: Vec::new() }
    }

    /// Writes lines. Each has the time before it, so that none begins with a command for GitHub.
    pub(super) fn say(&mut self, at: Moment, text: &str) {
        let lines: String = text.lines().map(|line| format!("{}{}\n", stamp(at), self.tame(line))).collect();
        self.write(&lines);
    }

    /// Opens a section, closing the one that was open.
    pub(super) fn begin(&mut self, at: Moment, name: &'static str, title: &str) {
        self.end(at);
        self.section = Some(name);
        let text = match self.style {
            Style::GitLab => {
                let unix = at.unix;
                format!("\x1b[0Ksection_start:{unix}:{name}[collapsed=true]\r\x1b[0K{}{title}\n", stamp(at))
            }
            Style::GitHub => format!("::group::{}{}\n", stamp(at), escaped(title)),
            Style::Plain => format!("{}{title}\n", stamp(at)),
        };
        self.write(&text);
    }

    /// Closes the section, if one is open.
    pub(super) fn end(&mut self, at: Moment) {
        let Some(name) = self.section.take() else { return };
        match self.style {
            Style::GitLab => self.write(&format!("\x1b[0Ksection_end:{}:{name}\r\x1b[0K\n", at.unix)),
            Style::GitHub => self.write("::endgroup::\n"),
            Style::Plain => {}
        }
    }

    pub(super) fn warn(&mut self, at: Moment, message: &str) {
        match self.style {
            Style::GitHub => self.write(&format!("::warning title=rocbed::{}\n", escaped(message))),
            Style::GitLab if self.section.is_some() => {
                self.say(at, &format!("warning: {message}"));
                self.warnings.push(message.to_owned());
            }
            Style::GitLab | Style::Plain => self.say(at, &format!("warning: {message}")),
        }
    }

    /// Writes the error that ended the command.
    pub(super) fn error(&mut self, at: Moment, text: &str) {
        self.unfold(at);
        match self.style {
            Style::GitHub => self.write(&format!("::error title=rocbed::{}\n", escaped(text))),
            Style::GitLab | Style::Plain => self.say(at, &format!("error: {text}")),
        }
    }

    /// Writes the summary of the command.
    pub(super) fn summary(&mut self, at: Moment, text: &str) {
        self.unfold(at);
        match self.style {
            Style::GitHub => self.write(&format!("::notice title=rocbed::{}\n", escaped(text))),
            Style::GitLab | Style::Plain => self.say(at, text),
        }
    }

    /// Closes the section, and repeats the warnings given in folded ones.
    fn unfold(&mut self, at: Moment) {
        self.end(at);
        for warning in std::mem::take(&mut self.warnings) {
            self.say(at, &format!("warning: {warning}"));
        }
    }

    /// Ends the log.
    pub(super) fn close(&mut self, at: Moment) {
        self.unfold(at);
        self.write("");
    }

    /// Passes on bytes of another program's log. GitHub ignores commands in them.
    pub(super) fn pass_on(&mut self, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        if self.style == Style::GitHub && self.deaf.is_none() {
            let word = format!("rocbed-{:016x}{:016x}", random(), random());
            self.write(&format!("::stop-commands::{word}\n"));
            self.deaf = Some(word);
        }
        self.mid_line = *last != b'\n';
        // Errors are ignored: the reader of the log may be gone. The same below.
        let _ = self.out.write_all(bytes);
    }

    fn write(&mut self, text: &str) {
        if std::mem::take(&mut self.mid_line) {
            let _ = self.out.write_all(b"\n");
        }
        if let Some(word) = self.deaf.take() {
            let _ = writeln!(self.out, "::{word}::");
        }
        let _ = self.out.write_all(text.as_bytes());
    }

    /// A line without the sequences that GitHub processes anywhere in a line.
    fn tame(&self, line: &str) -> String {
        if self.style == Style::GitHub { line.replace("##[", "## [") } else { line.to_owned() }
    }
}

/// `[  3.2 s] `
fn stamp(at: Moment) -> String {
    format!("[{:5.1} s] ", at.elapsed.as_secs_f64())
}

/// Escapes the message of a workflow command: one line, in which `%` begins an encoded character.
fn escaped(message: &str) -> String {
    message.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A number that the author of a passed-on log cannot guess: std's hashers are seeded by the system.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Moment = Moment { elapsed: Duration::from_millis(40), unix: 1_700_000_000 };
    const LATER: Moment = Moment { elapsed: Duration::from_millis(12_340), unix: 1_700_000_012 };

    fn written(style: Style, tell: impl FnOnce(&mut Log<Vec<u8>>)) -> String {
        let mut log = Log::new(style, Vec::new());
        tell(&mut log);
        String::from_utf8(log.out).unwrap()
    }

    /// Two stages, a warning in one, two lines at once, and the end.
    fn build(log: &mut Log<Vec<u8>>) {
        log.begin(FIRST, "fetch", "fetching packages");
        log.warn(FIRST, "the mirror is 50% full\nand slow");
        log.begin(LATER, "write", "writing root.img");
        log.say(LATER, "one\n::error::two");
        log.summary(LATER, "built images/smoke");
    }

    #[test]
    fn gitlab_gets_sections_and_warnings_once_more_outside_of_them() {
        let expected = "\x1b[0Ksection_start:1700000000:fetch[collapsed=true]\r\x1b[0K[  0.0 s] fetching packages\n\
            [  0.0 s] warning: the mirror is 50% full\n\
            [  0.0 s] and slow\n\
            \x1b[0Ksection_end:1700000012:fetch\r\x1b[0K\n\
            \x1b[0Ksection_start:1700000012:write[collapsed=true]\r\x1b[0K[ 12.3 s] writing root.img\n\
            [ 12.3 s] one\n\
            [ 12.3 s] ::error::two\n\
            \x1b[0Ksection_end:1700000012:write\r\x1b[0K\n\
            [ 12.3 s] warning: the mirror is 50% full\n\
            [ 12.3 s] and slow\n\
            [ 12.3 s] built images/smoke\n";
        assert_eq!(written(Style::GitLab, build), expected);
    }

    #[test]
    fn github_gets_groups_and_annotations() {
        let expected = "::group::[  0.0 s] fetching packages\n\
            ::warning title=rocbed::the mirror is 50%25 full%0Aand slow\n\
            ::endgroup::\n\
            ::group::[ 12.3 s] writing root.img\n\
            [ 12.3 s] one\n\
            [ 12.3 s] ::error::two\n\
            ::endgroup::\n\
            ::notice title=rocbed::built images/smoke\n";
        assert_eq!(written(Style::GitHub, build), expected);
    }

    #[test]
    fn others_get_lines() {
        let expected = "[  0.0 s] fetching packages\n\
            [  0.0 s] warning: the mirror is 50% full\n\
            [  0.0 s] and slow\n\
            [ 12.3 s] writing root.img\n\
            [ 12.3 s] one\n\
            [ 12.3 s] ::error::two\n\
            [ 12.3 s] built images/smoke\n";
        assert_eq!(written(Style::Plain, build), expected);
    }

    #[test]
    fn an_error_comes_after_the_end_of_its_section() {
        let fail = |log: &mut Log<Vec<u8>>| {
            log.begin(FIRST, "fetch", "fetching");
            log.error(LATER, "no route\r\n  help: 100% sure?");
        };
        let expected = "::group::[  0.0 s] fetching\n::endgroup::\n\
            ::error title=rocbed::no route%0D%0A  help: 100%25 sure?\n";
        assert_eq!(written(Style::GitHub, fail), expected);
        assert!(
            written(Style::GitLab, fail)
                .ends_with("\x1b[0K\n[ 12.3 s] error: no route\n[ 12.3 s]   help: 100% sure?\n")
        );
    }

    #[test]
    fn github_obeys_nothing_in_logs_of_tests() {
        let text = written(Style::GitHub, |log| {
            log.pass_on(b"::error::of a te");
            log.pass_on(b"st");
            log.say(FIRST, "ours ##[error]no");
            log.pass_on(b"more");
            log.close(FIRST);
        });
        let (stop, rest) = text.split_once('\n').unwrap();
        let word = stop.strip_prefix("::stop-commands::").unwrap();
        assert_eq!(word.len(), "rocbed-".len() + 32);
        let ours = format!("::error::of a test\n::{word}::\n[  0.0 s] ours ## [error]no\n::stop-commands::");
        let (other, rest) = rest.strip_prefix(&ours).unwrap().split_once('\n').unwrap();
        assert_eq!(rest, format!("more\n::{other}::\n"));
        assert_ne!(word, other);
    }

    #[test]
    fn the_environment_tells_who_runs_this() {
        let only = |key: &'static str, value: &'static str| move |name: &str| (name == key).then(|| value.to_owned());
        assert_eq!(Style::of_environment(only("GITLAB_CI", "true")), Some(Style::GitLab));
        assert_eq!(Style::of_environment(only("GITHUB_ACTIONS", "true")), Some(Style::GitHub));
        assert_eq!(Style::of_environment(only("GITHUB_ACTIONS", "false")), None);
        assert_eq!(Style::of_environment(only("CI", "true")), None);
    }
}
