//! Measures the duration of `open` and `close`: one testbed at a time, and eight at once; and what 1,000 of one server leave
//! behind. With a tar archive of the root directory, that of autopkgtest-virt-unshare too.
//!
//! `cargo run --release -p testbed --example bench_open -- SERVER ROOT [--tarball FILE] [OPTION]...`: SERVER is
//! autopkgtest-virt-rocbed, and options are its own: `--network none --cgroup DIR --memory 1G`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How many testbeds are opened one by one, at once, and by one server.
const TIMES: usize = 200;
const AT_ONCE: usize = 8;
const IN_A_ROW: usize = 1000;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, root, rest @ ..] = arguments.as_slice() else {
        return Err("usage: bench_open SERVER ROOT [--tarball FILE] [OPTION]...".into());
    };
    let (tarball, options) = match rest {
        [option, tarball, options @ ..] if option == "--tarball" => (Some(tarball), options),
        options => (None, options),
    };
    let words = [&["--root".to_owned(), root.clone()], options].concat();
    let ours = measure(server, &words, TIMES)?;
    at_once(server, &words)?;
    in_a_row(server, &words)?;
    if let Some(tarball) = tarball {
        let theirs = measure("autopkgtest-virt-unshare", &["--tarball".into(), tarball.clone()], 3)?;
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
    fn start(program: &str, words: &[String]) -> Result<Self, Failure> {
        let mut process = Command::new(program).args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("no pipes".into());
        };
        let mut server = Self { process, input, output: BufReader::new(output) };
        server.expect_ok("start")?;
        Ok(server)
    }

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

    fn quit(mut self) -> Result<(), Failure> {
        writeln!(self.input, "quit")?;
        self.process.wait()?;
        Ok(())
    }

    /// Open files, mounts and children of the server.
    fn holds(&self) -> Result<[usize; 3], Failure> {
        let of = |what: &str| format!("/proc/{}/{what}", self.process.id());
        let mounts = std::fs::read_to_string(of("mountinfo"))?.lines().count();
        let children = std::fs::read_to_string(of(&format!("task/{}/children", self.process.id())))?;
        Ok([std::fs::read_dir(of("fd"))?.count(), mounts, children.split_whitespace().count()])
    }
}

/// Opens and closes testbeds; prints the medians and maxima, and returns the median of open.
///
/// Each testbed has its own server, whose start is not measured: autopkgtest-virt-unshare of Debian 12 cannot open
/// twice.
fn measure(program: &str, words: &[String], times: usize) -> Result<Duration, Failure> {
    let (mut opens, mut closes) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let mut server = Server::start(program, words)?;
        opens.push(server.ask("open")?);
        closes.push(server.ask("close")?);
        server.quit()?;
    }
    let (open, slowest) = middle_and_last(&mut opens);
    let (close, _) = middle_and_last(&mut closes);
    println!("{program}: {times} times: open {open:.2?} (slowest {slowest:.2?}), close {close:.2?}");
    Ok(open)
}

/// Has several servers open at the same time, some times.
fn at_once(program: &str, words: &[String]) -> Result<(), Failure> {
    let mut opens = Vec::new();
    for _ in 0..TIMES / AT_ONCE {
        let mut servers: Vec<Server> = (0..AT_ONCE).map(|_| Server::start(program, words)).collect::<Result<_, _>>()?;
        let took: Vec<Duration> = std::thread::scope(|scope| {
            let threads: Vec<_> = servers.iter_mut().map(|server| scope.spawn(|| server.ask("open"))).collect();
            threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread ended")?).collect::<Result<_, _>>()
        })?;
        opens.extend(took);
        for mut server in servers {
            server.ask("close")?;
            server.quit()?;
        }
    }
    let (open, slowest) = middle_and_last(&mut opens);
    println!("{AT_ONCE} at once: open {open:.2?} (slowest {slowest:.2?})");
    Ok(())
}

/// Has one server open and close many times, and looks at what that leaves.
fn in_a_row(program: &str, words: &[String]) -> Result<(), Failure> {
    let mut server = Server::start(program, words)?;
    let before = server.holds()?;
    for _ in 0..IN_A_ROW {
        server.ask("open")?;
        server.ask("close")?;
    }
    let after = server.holds()?;
    println!("{IN_A_ROW} in a row: open files, mounts and processes: {before:?} before, {after:?} after");
    server.quit()
}

fn middle_and_last(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort_unstable();
    (times.get(times.len() / 2).copied().unwrap_or_default(), times.last().copied().unwrap_or_default())
}
