//! `cargo xtask test`: every test there is, and a count at the end.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::build::{self, Profile};
use crate::host;
use crate::run::{cargo, run as execute};

/// The test programs in `tests/`.
const END_TO_END: [&str; 10] = [
    "command_line",
    "bad_input",
    "mirrors",
    "image",
    "boot",
    "appliance",
    "local",
    "interrupted",
    "same_as_dpkg",
    "same_twice",
];

/// What to test.
#[derive(Args)]
pub(crate) struct Options {
    /// Only the tests that need no archive, no QEMU and no image
    #[arg(long, conflicts_with = "end_to_end")]
    quick: bool,
    /// Only the end-to-end tests
    #[arg(long)]
    end_to_end: bool,
    /// Only tests with this in their name
    filter: Option<String>,
}

/// Sums of the `test result:` lines that test programs end with.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Counts {
    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 0 ignored; …`; other lines count nothing.
    fn add(&mut self, line: &str) {
        let Some(results) = line.strip_prefix("test result: ") else { return };
        let words: Vec<&str> = results.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(number) = pair[0].parse::<u64>() else { continue };
            match pair[1] {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let began = Instant::now();
    host::install(&[host::TO_TEST, host::TO_BOOT])?;
    execute(cargo().args(["fmt", "--all", "--check"])).context("help: run `cargo fmt --all`")?;
    let mut counts = Counts::default();
    let mut broken = Vec::new();
    if !options.end_to_end {
        eprintln!("\n== unit and property tests");
        let mut command = cargo();
        command.args(["test", "--no-fail-fast"]);
        if !test(&mut command, options, &mut counts)? {
            broken.push("unit and property tests");
        }
    }
    if !options.quick {
        let programs = build::programs(Profile::DevWithTests)?;
        eprintln!("\n== end-to-end tests");
        let mut command = cargo();
        command.args(["test", "--no-fail-fast", "--workspace"]).env("ROCBED_BIN", &programs.rocbed);
        // The whole workspace, for the same features again; of it the end-to-end tests alone.
        command.args(END_TO_END.iter().flat_map(|name| ["--test", name]));
        // One at a time: they share two cores with QEMU, and each says what it is doing.
        command.env("RUST_TEST_THREADS", "1");
        if !test(&mut command, options, &mut counts)? {
            broken.push("end-to-end tests");
        }
    }
    eprintln!("\nall tests: {:.0} s", began.elapsed().as_secs_f64());
    println!("{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.ignored);
    match broken.as_slice() {
        [] if counts.passed == 0 => bail!("no test ran"),
        [] => Ok(()),
        broken => bail!("{} failed; the lines above say where", broken.join(" and ")),
    }
}

/// Runs one `cargo test`, passing its output on and counting along. Whether it succeeded.
fn test(command: &mut Command, options: &Options, counts: &mut Counts) -> Result<bool> {
    if let Some(filter) = &options.filter {
        command.args(["--", filter]);
    }
    let mut child = command.stdout(Stdio::piped()).spawn().context("starting cargo test")?;
    let stdout = child.stdout.take().context("cargo test has no stdout")?;
    for line in BufReader::new(stdout).lines() {
        let line = line.context("reading what cargo test prints")?;
        counts.add(&line);
        // Doc tests and crates without tests print blocks of nothing; leave the lines that say something.
        if !line.is_empty() && line != "running 0 tests" && !line.contains(" 0 passed; 0 failed; 0 ignored") {
            writeln!(std::io::stdout(), "{line}").context("writing to stdout")?;
        }
    }
    Ok(child.wait().context("waiting for cargo test")?.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_over_test_programs() {
        let mut counts = Counts::default();
        counts.add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s");
        counts.add("test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
        counts.add("test tests::x ... ok");
        assert_eq!(counts, Counts { passed: 5, failed: 1, ignored: 1 });
    }
}
