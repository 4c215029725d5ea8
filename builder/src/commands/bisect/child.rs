//! Another `rocbed` as a child process, which ends when the search is told to stop.

use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::tester::Stop;
use crate::context::Context;

/// Interval for checking whether it has ended.
const POLL: Duration = Duration::from_millis(50);

/// What a child process has left.
pub(super) struct Output {
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    /// Empty if it went to the terminal.
    pub(super) stderr: String,
}

impl Output {
    /// Its last error in one line: what failed, the causes, and the help; without an error, the last line on stderr.
    pub(super) fn error(&self) -> String {
        last_error(&self.stderr)
    }

    /// Why a `rocbed boot` has no result: its last error, else its first warning, as it warns of a machine that did not do its
    /// work before it shows the end of its console; else the last line on stderr.
    pub(super) fn reason_of_machine(&self) -> String {
        let has_error = self.stderr.lines().any(|line| line.starts_with(ERROR));
        first_warning(&self.stderr).filter(|_| !has_error).unwrap_or_else(|| self.error())
    }
}

/// How `rocbed` begins an error on stderr. Causes and help follow in indented lines of their own, as does what machines say.
const ERROR: &str = "error: ";
const WARNING: &str = "warning: ";

fn last_error(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    match lines.iter().rposition(|line| line.starts_with(ERROR)) {
        Some(start) => in_one_line(lines.get(start..).unwrap_or_default()).trim_start_matches(ERROR).to_owned(),
        None => lines.last().copied().unwrap_or_default().trim().to_owned(),
    }
}

/// The first warning in one line, with what belongs to it.
fn first_warning(stderr: &str) -> Option<String> {
    let mut lines = stderr.lines().filter(|line| !line.trim().is_empty());
    let first = lines.find_map(|line| line.strip_prefix(WARNING))?;
    let more = lines.take_while(|line| !line.starts_with(WARNING));
    Some(in_one_line(&std::iter::once(first).chain(more).collect::<Vec<_>>()))
}

fn in_one_line(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join("; ")
}

/// Runs `rocbed` with these words and this process's cache. `None` if the search was told to stop.
pub(super) fn run(context: &Context, words: &[String], stop: &Stop) -> Result<Option<Output>> {
    let what = || format!("starting `rocbed {}`", words.first().map(String::as_str).unwrap_or_default());
    let mut command = Command::new(std::env::current_exe().context("finding this program")?);
    command.args(["--quiet", "--cache"]).arg(context.cache_directory()?).args(words);
    // In a group of its own, so that Ctrl-C does not reach it besides the signal from here: two of them end it at once,
    // and its directories stay behind.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
    command.stderr(if context.reporter.is_verbose() { Stdio::inherit() } else { Stdio::piped() });
    let mut child = command.spawn().with_context(what)?;
    // Both pipes are read at once, as a full one would stop it.
    let stdout = read(child.stdout.take());
    let stderr = read(child.stderr.take());
    let mut is_told = false;
    let status = loop {
        if let Some(status) = child.try_wait().with_context(what)? {
            break status;
        }
        if stop.is_asked() && !is_told {
            terminate(&mut child);
            is_told = true;
        }
        thread::sleep(POLL);
    };
    let text = |thread: thread::JoinHandle<String>| thread.join().unwrap_or_default();
    let output = Output { status, stdout: text(stdout), stderr: text(stderr) };
    Ok(if stop.is_asked() { None } else { Some(output) })
}

/// Reads a pipe to its end in a thread.
fn read(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is shown.
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Asks the run to end, as Ctrl-C on a terminal does.
fn terminate(child: &mut Child) {
    if matches!(child.try_wait(), Ok(None)) {
        // It fails only if it has ended just now.
        let _ = kill_process(Pid::from_child(child), Signal::TERM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_causes_and_help() {
        let stderr =
            "warning: old\nerror: one\nbooting\nerror: building x\n  caused by: no room\n  help: free some\n\n";
        assert_eq!(last_error(stderr), "building x; caused by: no room; help: free some");
        assert_eq!(last_error("killed\n"), "killed");
        assert_eq!(last_error(""), "");
    }

    #[test]
    fn a_machine_without_a_result_is_told_by_what_rocbed_says_of_it() {
        let ended =
            |stderr: &str| Output { status: ExitStatus::default(), stdout: String::new(), stderr: stderr.to_owned() };
        let console = "warning: the end of its console:\n  error: no such device: root\nall is in z\n";
        let machine = format!("warning: QEMU ended with exit code 1\nno space on device\n  help: x\n{console}");
        assert_eq!(ended(&machine).reason_of_machine(), "QEMU ended with exit code 1; no space on device; help: x");
        assert_eq!(ended("warning: a\nerror: b\n  help: c\n").reason_of_machine(), "b; help: c");
        assert_eq!(ended("killed\n").reason_of_machine(), "killed");
    }
}
