//! `cargo xtask test`: runs all tests, and prints their number.

mod counts;
mod order;
mod processor_time;
mod program;
mod results;
mod running;

use std::thread;
use std::time::Instant;

use advice::WithHelp as _;
use anyhow::{Result, bail};
use clap::Args;

use self::program::Kind;
use self::results::Results;
use self::running::Runner;
use crate::build::{self, Profile};
use crate::compile::compile;
use crate::host;
use crate::run::{cargo, run as execute};

/// What to test.
#[derive(Args)]
pub(crate) struct TestOptions {
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

pub(crate) fn run(options: &TestOptions) -> Result<()> {
    let began = Instant::now();
    execute(cargo().args(["fmt", "--all", "--check"])).help("run `cargo fmt --all`")?;
    prepare()?;
    let (mut end_to_end, mut units): (Vec<_>, Vec<_>) =
        program::list()?.into_iter().partition(|program| program.kind == Kind::EndToEnd);
    units.push(program::documentation());
    order::sort(&mut end_to_end);
    order::sort(&mut units);
    let results = Results::default();
    let runner = Runner { filter: options.filter.as_deref(), slow: options.slow, results: &results };
    // Most unit tests wait for something, so the processors are free for the end-to-end tests.
    thread::scope(|scope| {
        if !options.end_to_end {
            eprintln!("\n== unit and property tests: {} programs, {UNITS_AT_ONCE} at a time", units.len());
            scope.spawn(|| runner.run(units, UNITS_AT_ONCE, None));
        }
        if options.quick {
            return Ok(());
        }
        let programs = build::programs(Profile::DevWithTests)?;
        let at_once = machines_at_once();
        eprintln!("\n== end-to-end tests: {} programs, {at_once} at a time", end_to_end.len());
        show_space();
        runner.run(end_to_end, at_once, Some(&programs.rocbed));
        show_space();
        anyhow::Ok(())
    })?;
    let (counts, failed) = results.into_parts()?;
    eprintln!("\nall tests: {:.0} s", began.elapsed().as_secs_f64());
    println!("{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.ignored);
    match failed.as_slice() {
        [] if counts.passed == 0 => bail!("no test ran"),
        [] => Ok(()),
        failed => bail!("{} failed; the lines above say where", failed.join(", ")),
    }
}

/// Compiles the tests and installs what they need of the host: both at once, as apt-get waits for network and disk, while
/// cargo keeps the processors busy. First one and then the other where sudo may ask for a password, which cargo's lines
/// would hide.
fn prepare() -> Result<()> {
    let install = || host::install(&[host::TO_TEST, host::TO_BOOT]);
    let compile = || {
        eprintln!("\n== compiling the tests");
        compile(cargo().args(["test", "--no-run", "--workspace"]))
    };
    if !host::is_root() {
        install()?;
        return compile();
    }
    thread::scope(|scope| {
        let installing = scope.spawn(install);
        let compiled = compile();
        let installed = installing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        compiled.and(installed)
    })
}

/// Programs with unit tests that run at once. Each runs several of its tests at once.
const UNITS_AT_ONCE: usize = 2;

/// Most end-to-end programs at once; with more, each virtual machine would be too slow for the tests' time limits.
const MOST_AT_ONCE: usize = 4;

/// End-to-end programs that run at once: two more than processors, as each waits for something a third of its time.
fn machines_at_once() -> usize {
    (thread::available_parallelism().map_or(1, usize::from) + 2).min(MOST_AT_ONCE)
}

/// Shows the free space where the tests build images: a full disk makes tests fail that have nothing to do with it.
fn show_space() {
    let target = crate::run::target_directory();
    match std::process::Command::new("df").args(["--output=avail", "-BM"]).arg(&target).output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            eprintln!("free space in {}: {}", target.display(), text.lines().nth(1).unwrap_or("unknown").trim());
        }
        Err(error) => eprintln!("free space in {}: unknown: {error}", target.display()),
    }
}
