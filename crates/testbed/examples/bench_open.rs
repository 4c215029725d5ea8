//! Measures the duration of `open` and `close`, and that of autopkgtest-virt-unshare for the same root directory.
//!
//! `cargo run --release -p testbed --example bench_open -- SERVER ROOT [TARBALL]`: SERVER is autopkgtest-virt-rocbed;
//! TARBALL is ROOT as a tar archive, for autopkgtest-virt-unshare, which has to be installed then.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, root, rest @ ..] = arguments.as_slice() else {
        return Err("usage: bench_open SERVER ROOT [TARBALL]".into());
    };
    let ours = measure("autopkgtest-virt-rocbed", Command::new(server).args(["--root", root]), 200)?;
    if let [tarball] = rest {
        let mut unshare = Command::new("autopkgtest-virt-unshare");
        let theirs = measure("autopkgtest-virt-unshare", unshare.args(["--tarball", tarball]), 3)?;
        println!("open is {:.0} times as fast", theirs.as_secs_f64() / ours.as_secs_f64());
    }
    Ok(())
}

struct Server {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Server {
    fn ask(&mut self, request: &str) -> Result<Duration, Failure> {
        let start = Instant::now();
        writeln!(self.input, "{request}")?;
        self.expect_ok(request)?;
        Ok(start.elapsed())
    }

    fn expect_ok(&mut self, request: &str) -> Result<(), Failure> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line.starts_with("ok") { Ok(()) } else { Err(format!("{request}: {line}").into()) }
    }
}

/// Opens and closes testbeds; prints the medians and maxima, and returns the median of open.
///
/// Each testbed has its own server, whose start is not measured: autopkgtest-virt-unshare of Debian 12 cannot open
/// twice.
fn measure(name: &str, command: &mut Command, times: usize) -> Result<Duration, Failure> {
    let (mut opens, mut closes) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("no pipes".into());
        };
        let mut server = Server { process, input, output: BufReader::new(output) };
        server.expect_ok("start")?;
        opens.push(server.ask("open")?);
        closes.push(server.ask("close")?);
        writeln!(server.input, "quit")?;
        server.process.wait()?;
    }
    opens.sort_unstable();
    closes.sort_unstable();
    let (open, close) = (middle(&opens), middle(&closes));
    let slowest = opens.last().copied().unwrap_or_default();
    println!("{name}: {times} times: open {open:.2?} (slowest {slowest:.2?}), close {close:.2?}");
    Ok(open)
}

fn middle(times: &[Duration]) -> Duration {
    times.get(times.len() / 2).copied().unwrap_or_default()
}
