//! Runs test programs, several at a time.

use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::counts::Counts;
use super::processor_time;
use super::program::{Kind, Program};
use super::results::{Ended, Results};
use crate::run::show;

/// How programs are run.
pub(super) struct Runner<'a> {
    /// Only tests with this in their name.
    pub(super) filter: Option<&'a str>,
    /// Also the tests that are too slow for every change.
    pub(super) slow: bool,
    pub(super) results: &'a Results,
}

/// Seconds from which on the duration of an end-to-end test is shown.
const WORTH_TELLING: u64 = 10;

impl Runner<'_> {
    /// Runs all programs, so many at once; end-to-end ones with this rocbed.
    pub(super) fn run(&self, programs: Vec<Program>, at_once: usize, rocbed: Option<&Path>) {
        let queue = Mutex::new(programs.into_iter());
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        thread::scope(|scope| {
            for _ in 0..at_once {
                scope.spawn(|| {
                    while let Some(program) = next() {
                        self.results.add(&program.name, self.run_one(&program, rocbed));
                    }
                });
            }
        });
    }

    /// Runs a program to its end, and then prints its output in one piece.
    fn run_one(&self, program: &Program, rocbed: Option<&Path>) -> Result<Ended> {
        let began = Instant::now();
        let mut command = program.command();
        if program.kind == Kind::EndToEnd {
            eprintln!("{}: started", program.name);
            // One test at a time: they share the image that the first one builds, and the machine's processors.
            command.env("RUST_TEST_THREADS", "1");
            command.args(self.slow.then_some("--include-ignored"));
        }
        if let Some(rocbed) = rocbed {
            command.env("ROCBED_BIN", rocbed);
        }
        command.args(self.filter).stdin(Stdio::null()).stdout(Stdio::piped());
        // In its own process group, so that machines and servers end with a program that hangs. On a terminal Ctrl-C has
        // to reach all processes, so there they stay in this process's group.
        if !std::io::stdin().is_terminal() {
            command.process_group(0);
        }
        let mut child = command.spawn().with_context(|| format!("starting {}", show(&command)))?;
        let stdout = child.stdout.take().context("it has no stdout")?;
        let watchdog = (!std::io::stdin().is_terminal()).then(|| Watchdog::over(child.id()));
        let (mut counts, mut text, mut last) = (Counts::default(), String::new(), began);
        for line in BufReader::new(stdout).lines() {
            let line = line.context("reading what it prints")?;
            counts.add(&line);
            if says_something(&line) {
                text.push_str(&line);
                // Measures where the time goes: the line of a test is printed when the test ends.
                let took = last.elapsed().as_secs();
                if program.kind == Kind::EndToEnd && line.starts_with("test ") && took >= WORTH_TELLING {
                    text.push_str(&format!(" ({took} s)"));
                }
                text.push('\n');
            }
            last = Instant::now();
        }
        let processor = processor_time::at_its_end(&child)
            .map_or_else(String::new, |seconds| format!(", {seconds} s of a processor"));
        let succeeded = child.wait().context("waiting for its end")?.success();
        if watchdog.is_some_and(Watchdog::end) {
            text.push_str(&format!("it did not end in {} s, and was ended\n", PATIENCE.as_secs()));
        }
        if !text.is_empty() {
            let took = began.elapsed().as_secs();
            let mut stdout = std::io::stdout().lock();
            write!(stdout, "\n{}: {took} s{processor}\n{text}", program.name).context("writing to stdout")?;
        }
        Ok(Ended { counts, succeeded })
    }
}

/// Documentation and programs without tests print empty blocks.
fn says_something(line: &str) -> bool {
    !line.is_empty() && line != "running 0 tests" && !line.contains(" 0 passed; 0 failed; 0 ignored")
}

/// Longer than any program takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Kills a program that hangs, with all that it has started, so that the others still run and their results are shown.
struct Watchdog {
    done: Sender<()>,
    thread: JoinHandle<bool>,
}

impl Watchdog {
    fn over(group: u32) -> Self {
        let (done, is_done) = channel();
        let thread = thread::spawn(move || {
            let bites = is_done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
            if bites {
                // It may have just ended.
                let _ = Command::new("kill").args(["-KILL", "--", &format!("-{group}")]).status();
            }
            bites
        });
        Self { done, thread }
    }

    /// Called when the program has ended. Returns whether it had to be killed.
    fn end(self) -> bool {
        drop(self.done);
        self.thread.join().unwrap_or_default()
    }
}
