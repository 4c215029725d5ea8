//! Runs the end-to-end test programs, several at a time: most of them wait for a virtual machine that uses at most one
//! processor.

use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Options;
use super::counts::Counts;
use crate::run::{cargo, workspace};

/// A built test program.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Program {
    name: String,
    executable: PathBuf,
}

/// Result of a test program.
struct Ended {
    counts: Counts,
    succeeded: bool,
}

/// Builds and runs all programs; returns the names of those that failed.
pub(super) fn run(rocbed: &Path, options: &Options, counts: &mut Counts) -> Result<Vec<String>> {
    let mut programs = build()?;
    if programs.is_empty() {
        bail!("cargo built no end-to-end test");
    }
    // The longest ones first, so that no long program runs alone at the end.
    programs.sort_by_key(|program| (place(&program.name), program.name.clone()));
    // One more than processors, as each program waits for something a quarter of its time.
    let at_once = (thread::available_parallelism().map_or(1, usize::from) + 1).min(MOST_AT_ONCE);
    eprintln!("{} programs, {at_once} at a time; each shows what it printed when it ends", programs.len());
    show_space();
    let queue = Mutex::new(programs.into_iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let done = Mutex::new((counts, Vec::new(), None));
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(program) = next() {
                    let ended = run_one(&program, rocbed, options);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    match ended {
                        Ok(ended) => {
                            *done.0 += ended.counts;
                            if !ended.succeeded {
                                done.1.push(program.name);
                            }
                        }
                        Err(error) => done.2 = Some(error.context(program.name)),
                    }
                }
            });
        }
    });
    show_space();
    match done.into_inner().unwrap_or_else(PoisonError::into_inner) {
        (_, _, Some(error)) => Err(error),
        (_, failed, None) => Ok(failed),
    }
}

/// Most virtual machines at once; with more, each would be too slow for the tests' time limits.
const MOST_AT_ONCE: usize = 4;

/// Seconds from which on a test's duration is shown.
const WORTH_TELLING: u64 = 10;

/// Programs that take minutes, longest first.
const LONG: [&str; 13] = [
    "appliance",
    "worker",
    "netboot",
    "debci",
    "packages",
    "stick",
    "interrupted",
    "flash",
    "docs",
    "same_twice",
    "boot",
    "local",
    "simulate",
];

/// Position of a program in the order of starts.
fn place(program: &str) -> usize {
    LONG.iter().position(|name| *name == program).unwrap_or(LONG.len())
}

/// Shows the free space where the tests build images: a full disk makes tests fail that have nothing to do with it.
fn show_space() {
    let target = workspace().join("target");
    match Command::new("df").args(["--output=avail", "-BM"]).arg(&target).output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            eprintln!("free space in {}: {}", target.display(), text.lines().nth(1).unwrap_or("unknown").trim());
        }
        Err(error) => eprintln!("free space in {}: unknown: {error}", target.display()),
    }
}

/// Builds them with cargo, with the same features as the unit tests.
fn build() -> Result<Vec<Program>> {
    let mut command = cargo();
    command.args(["test", "--no-run", "--workspace", "--tests", "--message-format=json-render-diagnostics"]);
    let output = command.stderr(Stdio::inherit()).output().context("starting cargo test --no-run")?;
    if !output.status.success() {
        bail!("building the tests failed: {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(end_to_end).collect())
}

/// Parses a message of cargo; returns the program if it is a test program below `tests/`.
fn end_to_end(message: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(message).ok()?;
    let target = message.get("target")?;
    let is_test = target.get("kind")?.as_array()?.iter().any(|kind| kind == "test");
    let source = Path::new(target.get("src_path")?.as_str()?);
    if !is_test || source.parent()? != workspace().join("tests") {
        return None;
    }
    let executable = message.get("executable")?.as_str()?.into();
    Some(Program { name: target.get("name")?.as_str()?.to_owned(), executable })
}

/// Runs a program to its end, and then prints its output in one piece.
fn run_one(program: &Program, rocbed: &Path, options: &Options) -> Result<Ended> {
    let began = Instant::now();
    eprintln!("{}: started", program.name);
    let mut command = Command::new(&program.executable);
    // One test at a time: they share the image that the first one builds, and the machine's processors.
    command.current_dir(workspace().join("tests")).env("ROCBED_BIN", rocbed).env("RUST_TEST_THREADS", "1");
    command
        .args(&options.filter)
        .args(options.slow.then_some("--include-ignored"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    // In its own process group, so that machines and servers end with a program that hangs. On a terminal Ctrl-C has to
    // reach all processes, so there they stay in this process's group.
    if !std::io::stdin().is_terminal() {
        command.process_group(0);
    }
    let mut child = command.spawn().with_context(|| format!("starting {}", program.executable.display()))?;
    let stdout = child.stdout.take().context("it has no stdout")?;
    let watchdog = (!std::io::stdin().is_terminal()).then(|| Watchdog::over(child.id()));
    let (mut counts, mut text, mut last) = (Counts::default(), String::new(), began);
    for line in BufReader::new(stdout).lines() {
        let line = line.context("reading what it prints")?;
        counts.add(&line);
        if !line.is_empty() {
            text.push_str(&line);
            // Measures where the time goes: the line of a test is printed when the test ends.
            let took = last.elapsed().as_secs();
            if line.starts_with("test ") && took >= WORTH_TELLING {
                text.push_str(&format!(" ({took} s)"));
            }
            text.push('\n');
        }
        last = Instant::now();
    }
    let succeeded = child.wait().context("waiting for its end")?.success();
    if watchdog.is_some_and(Watchdog::end) {
        text.push_str(&format!("it did not end in {} s, and was ended\n", PATIENCE.as_secs()));
    }
    let seconds = began.elapsed().as_secs();
    let mut stdout = std::io::stdout().lock();
    write!(stdout, "\n{}: {seconds} s\n{text}", program.name).context("writing to stdout")?;
    Ok(Ended { counts, succeeded })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_programs_are_first() {
        let mut names = ["image", "stick", "appliance", "archive"];
        names.sort_by_key(|name| (place(name), *name));
        assert_eq!(names, ["appliance", "stick", "archive", "image"]);
    }

    #[test]
    fn finds_the_end_to_end_programs_in_what_cargo_says() {
        let message = |kind: &str, directory: &str| {
            let source = workspace().join(directory).join("boot.rs");
            serde_json::json!({
                "reason": "compiler-artifact",
                "target": { "kind": [kind], "name": "boot", "src_path": source },
                "executable": "/target/debug/deps/boot-1",
            })
            .to_string()
        };
        let program = Program { name: "boot".into(), executable: "/target/debug/deps/boot-1".into() };
        assert_eq!(end_to_end(&message("test", "tests")), Some(program));
        assert_eq!(end_to_end(&message("test", "crates/vm/tests")), None);
        assert_eq!(end_to_end(&message("lib", "tests")), None);
        assert_eq!(end_to_end("warning: text"), None);
    }
}
