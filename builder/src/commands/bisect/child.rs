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
    /// Its last error in one line: what failed, the causes, and the help. Without an error, its first warning, as `rocbed boot`
    /// warns of a machine that did not do its work before it shows the end of its console; else the last line on stderr.
    pub(super) fn error(&self) -> String {
        last_error(&self.stderr)
    }
}

/// How `rocbed` begins an error on stderr. Causes and help follow in lines of their own.
const ERROR: &str = "error: ";
const WARNING: &str = "warning: ";

fn last_error(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if let Some(start) = lines.iter().rposition(|line| line.starts_with(ERROR)) {
        let error = lines.get(start..).unwrap_or_default().join("; ");
        return error.trim_start_matches(ERROR).to_owned();
    }
    let warning = lines.iter().find_map(|line| line.strip_prefix(WARNING));
    warning.or(lines.last().copied()).unwrap_or_default().to_owned()
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
        let machine = "warning: the kernel panicked\n  help: x\nwarning: the end of its console:\n  y\nall is in z\n";
        assert_eq!(last_error(machine), "the kernel panicked");
        assert_eq!(last_error(""), "");
    }
}
