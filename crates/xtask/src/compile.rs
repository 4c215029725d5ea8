//! Shows cargo's progress while it compiles: cargo's own progress bar on a terminal, otherwise a line now and then.

use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::run::{run, show};

/// Interval between lines, short enough that the program does not seem to hang.
const EVERY: Duration = Duration::from_secs(10);

/// Runs cargo to its end. A non-zero exit status is an error that shows the command.
pub(crate) fn compile(cargo: &mut Command) -> Result<()> {
    if std::io::stderr().is_terminal() {
        return run(cargo);
    }
    let shown = show(cargo);
    let mut child = cargo.stderr(Stdio::piped()).spawn().with_context(|| format!("starting {shown}"))?;
    let stderr = child.stderr.take().context("cargo has no stderr")?;
    let told = tell(stderr, &mut std::io::stderr(), EVERY);
    let status = child.wait().with_context(|| format!("waiting for {shown}"))?;
    told.with_context(|| format!("passing on what {shown} says"))?;
    if !status.success() {
        bail!("{shown} failed: {status}");
    }
    Ok(())
}

/// Passes on cargo's output. Its lines for each crate become one line in `every`, which is also printed while cargo
/// prints nothing, as the last crate of a build may take minutes.
fn tell(from: impl Read + Send, to: &mut impl Write, every: Duration) -> std::io::Result<()> {
    let (sender, lines) = channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            // Ends when the output is closed.
            let _all = BufReader::new(from).split(b'\n').map_while(Result::ok).all(|line| sender.send(line).is_ok());
        });
        digest(&lines, to, every)
    })
}

fn digest(lines: &Receiver<Vec<u8>>, to: &mut impl Write, every: Duration) -> std::io::Result<()> {
    let (began, mut last) = (Instant::now(), Instant::now());
    let (mut count, mut current) = (0_usize, None);
    loop {
        match lines.recv_timeout(every.saturating_sub(last.elapsed())) {
            Ok(line) => {
                if let Some(unit) = unit(&line) {
                    count += 1;
                    current = Some(unit);
                } else {
                    to.write_all(&line)?;
                    to.write_all(b"\n")?;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        if last.elapsed() >= every {
            last = Instant::now();
            if let Some(unit) = &current {
                writeln!(to, "   Compiling {unit} (crate {count}, {} s)", began.elapsed().as_secs())?;
            }
        }
    }
}

/// The crate in a line that cargo prints at its start: `   Compiling serde v1.0.228`.
fn unit(line: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(line).ok()?;
    let status = line.strip_prefix("  ")?.trim_start();
    let rest = ["Compiling ", "Checking ", "Downloaded "].into_iter().find_map(|verb| status.strip_prefix(verb))?;
    // The path of a workspace crate is not interesting.
    Some(rest.split(" (").next().unwrap_or(rest).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output for these lines if all arrive at once.
    fn told(lines: &[&str], every: Duration) -> String {
        let (sender, receiver) = channel();
        for line in lines {
            sender.send(line.as_bytes().to_vec()).unwrap();
        }
        drop(sender);
        let mut to = Vec::new();
        digest(&receiver, &mut to, every).unwrap();
        String::from_utf8(to).unwrap()
    }

    #[test]
    fn crates_are_counted() {
        let lines = ["   Compiling libc v0.2.1", "   Compiling hub v0.1.0 (/src/crates/hub)"];
        let expected = "   Compiling libc v0.2.1 (crate 1, 0 s)\n   Compiling hub v0.1.0 (crate 2, 0 s)\n";
        assert_eq!(told(&lines, Duration::ZERO), expected);
        assert_eq!(told(&lines, EVERY), "", "not a line for each");
    }

    #[test]
    fn all_else_is_passed_on() {
        let text = "   Compiling libc v0.2.1\nwarning: unused `x`\n  --> src/a.rs\n    Finished `dev` profile\n";
        let mut to = Vec::new();
        tell(text.as_bytes(), &mut to, EVERY).unwrap();
        assert_eq!(to, text.split_once('\n').unwrap().1.as_bytes());
    }

    #[test]
    fn a_crate_that_takes_long_is_told_again() {
        let (sender, lines) = channel();
        sender.send(b"   Compiling rocbed v0.1.0 (/src/builder)".to_vec()).unwrap();
        let mut to = EndsAfterThree { lines: 0, sender: Some(sender) };
        digest(&lines, &mut to, Duration::from_millis(1)).unwrap();
        assert_eq!(to.lines, 3);
    }

    /// An output that closes after three lines.
    struct EndsAfterThree {
        lines: usize,
        sender: Option<std::sync::mpsc::Sender<Vec<u8>>>,
    }

    impl Write for EndsAfterThree {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.lines += usize::from(bytes.ends_with(b"\n"));
            if self.lines == 3 {
                self.sender = None;
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
