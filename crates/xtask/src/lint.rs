//! `cargo xtask lint`: the checks that a change must pass before review.

use advice::WithHelp as _;
use anyhow::Result;
use clap::Args;

use crate::compile::compile;
use crate::run::{cargo, run as execute};

/// What to look at.
#[derive(Args)]
pub(crate) struct LintOptions {
    /// Only these packages; without any, the whole workspace
    #[arg(short, long, value_name = "NAME")]
    package: Vec<String>,
}

/// Checks the format, then all lints, with warnings as errors. For the whole workspace also the fuzz targets, which are
/// a separate workspace and could otherwise break unnoticed.
pub(crate) fn run(options: &LintOptions) -> Result<()> {
    let packages: Vec<&str> = options.package.iter().flat_map(|name| ["--package", name]).collect();
    let chosen = |everything: &'static str| if packages.is_empty() { vec![everything] } else { packages.clone() };
    let mut format = cargo();
    format.args(["fmt", "--check"]).args(chosen("--all"));
    execute(&mut format).help("run `cargo fmt`")?;
    let mut clippy = cargo();
    clippy.args(["clippy", "--all-targets"]).args(chosen("--workspace"));
    compile(clippy.args(["--", "--deny", "warnings"])).help("the lines above say what to change")?;
    if packages.is_empty() { fuzz_targets() } else { Ok(()) }
}

/// Checks the parts of `fuzz/` that any compiler can build: all except the few lines that pass the targets to
/// libFuzzer.
fn fuzz_targets() -> Result<()> {
    const MANIFEST: [&str; 2] = ["--manifest-path", "fuzz/Cargo.toml"];
    execute(cargo().args(["fmt", "--check"]).args(MANIFEST)).help("run `cargo fmt --manifest-path fuzz/Cargo.toml`")?;
    let mut clippy = cargo();
    clippy.args(["clippy", "--no-default-features", "--all-targets"]).args(MANIFEST);
    compile(clippy.args(["--", "--no-deps", "--deny", "warnings"]))
        .help("the fuzz targets use what has changed; docs/fuzzing.md says what they are")
}
