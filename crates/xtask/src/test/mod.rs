//! `cargo xtask test`: runs all tests, and prints their number.

mod counts;
mod programs;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::thread::{self, ScopedJoinHandle};
use std::time::Instant;

use advice::WithHelp as _;
use anyhow::{Context, Result, bail};
use clap::Args;

use self::counts::Counts;
use crate::build::{self, Profile};
use crate::compile::compile;
use crate::host;
use crate::run::{cargo, run as execute};

/// What to test.
#[derive(Args)]
pub(crate) struct Options {
    /// Only the tests that need no archive, no QEMU and no image
    #[arg(long, conflicts_with = "end_to_end")]
    quick: bool,
    /// Only the end-to-end tests
    #[arg(long)]
    end_to_end: bool,
    /// Also the tests that are too slow for every change
    #[arg(long)]
    slow: bool,
    /// Only tests with this in their name
    filter: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let began = Instant::now();
    host::install(&[host::TO_TEST, host::TO_BOOT])?;
    execute(cargo().args(["fmt", "--all", "--check"])).help("run `cargo fmt --all`")?;
    let mut counts = Counts::default();
    let mut broken = Vec::new();
    if !options.end_to_end {
        eprintln!("\n== unit and property tests");
        compile(cargo().args(["test", "--no-run"]))?;
        // Most of these tests wait for something, so processors are free to compile what the end-to-end tests need.
        let passed = thread::scope(|scope| {
            let init = (!options.quick).then(|| scope.spawn(|| build::init(Profile::DevWithTests)));
            let passed = test(cargo().args(["test", "--no-fail-fast"]), options, &mut counts)?;
            match init.map(ScopedJoinHandle::join) {
                Some(Ok(Err(error))) => Err(error),
                Some(Err(panic)) => std::panic::resume_unwind(panic),
                Some(Ok(Ok(_))) | None => Ok(passed),
            }
        })?;
        if !passed {
            broken.push("unit and property tests".to_owned());
        }
    }
    if !options.quick {
        let programs = build::programs(Profile::DevWithTests)?;
        eprintln!("\n== end-to-end tests");
        broken.extend(programs::run(&programs.rocbed, options, &mut counts)?);
    }
    eprintln!("\nall tests: {:.0} s", began.elapsed().as_secs_f64());
    println!("{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.ignored);
    match broken.as_slice() {
        [] if counts.passed == 0 => bail!("no test ran"),
        [] => Ok(()),
        broken => bail!("{} failed; the lines above say where", broken.join(", ")),
    }
}

/// Runs one `cargo test`, passes its output on, and counts the tests. Returns whether it succeeded.
fn test(command: &mut Command, options: &Options, counts: &mut Counts) -> Result<bool> {
    if let Some(filter) = &options.filter {
        command.args(["--", filter]);
    }
    let mut child = command.stdout(Stdio::piped()).spawn().context("starting cargo test")?;
    let stdout = child.stdout.take().context("cargo test has no stdout")?;
    for line in BufReader::new(stdout).lines() {
        let line = line.context("reading what cargo test prints")?;
        counts.add(&line);
        // Doc tests and crates without tests print empty blocks; only lines with information are kept.
        if !line.is_empty() && line != "running 0 tests" && !line.contains(" 0 passed; 0 failed; 0 ignored") {
            writeln!(std::io::stdout(), "{line}").context("writing to stdout")?;
        }
    }
    Ok(child.wait().context("waiting for cargo test")?.success())
}
