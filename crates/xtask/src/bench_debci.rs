//! `cargo xtask bench-debci`: compares a hub that serves debci's queue with debci's own worker.

use anyhow::Result;
use clap::Args;

use crate::build::{self, Profile};
use crate::host;
use crate::run::{cargo, run as execute};

/// How much to measure.
#[derive(Args)]
pub(crate) struct BenchDebciOptions {
    /// Jobs that are in the queue at once
    #[arg(long, default_value_t = 1000)]
    jobs: u32,
    /// Simulated workers of the hub
    #[arg(long, default_value_t = 200)]
    workers: u32,
    /// Jobs that are put into the queue one at a time
    #[arg(long, default_value_t = 50)]
    singles: u32,
    /// Jobs of debci's own worker
    #[arg(long, default_value_t = 30)]
    own: u32,
    /// Measure the dev profile, which is built faster and runs slower than the release
    #[arg(long)]
    dev: bool,
}

/// Runs the comparison and prints a table on stdout. Needs root: debci runs in namespaces.
pub(crate) fn run(options: &BenchDebciOptions) -> Result<()> {
    host::install(&[host::TO_TEST])?;
    let programs = build::programs(if options.dev { Profile::DevToMeasure } else { Profile::Release })?;
    let mut bench = cargo();
    bench.args(["run", "--quiet", "--package", "rocbed-tests", "--example", "bench_debci", "--"]);
    bench.args([options.jobs, options.workers, options.singles, options.own].map(|number| number.to_string()));
    execute(bench.env("ROCBED_BIN", programs.rocbed))
}
