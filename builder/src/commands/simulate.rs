//! `rocbed simulate`: runs a command with simulated GPUs, on this machine or in a recipe's root directory.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::test;
use crate::cmdline::Simulate;
use crate::context::Context;
use crate::recipe;

/// Exit status for failures of this program, as distinct from the command's; as that of env(1).
const FAILED: u8 = 125;

/// Runs the command; returns only if that fails.
pub fn run(context: &Context, options: &Simulate, quiet: bool) -> u8 {
    let Err(error) = execute(context, options, quiet);
    context.reporter.error(&crate::error::report(&error));
    FAILED
}

/// Executes this program as `rocbed virt simulate`, which has one thread and no files open.
fn execute(context: &Context, options: &Simulate, quiet: bool) -> Result<std::convert::Infallible> {
    let root = options.root.as_ref().map(|root| directory(context, root, options)).transpose()?;
    let program = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new(program);
    command.args(["virt", "simulate"]).arg(&options.gpus);
    if let Some(root) = root {
        command.arg("--root").arg(root);
    }
    if options.skip_kernels {
        command.arg("--skip-kernels");
    }
    if options.run_kernels {
        command.arg("--run-kernels");
    }
    if quiet {
        command.arg("--quiet");
    }
    Err(command.arg("--").args(&options.command).exec()).context("running this program again")
}

/// The root directory that is meant: a directory that is one, or a recipe's.
fn directory(context: &Context, root: &str, options: &Simulate) -> Result<PathBuf> {
    let path = PathBuf::from(root);
    if path.join("etc").is_dir() {
        return Ok(path);
    }
    // Before any thread starts: for an unprivileged caller this process is run again as root of a user namespace.
    rootfs::sandbox::become_root()?;
    let (built, _) = test::built(context, &recipe::load(root)?, &options.source)?;
    Ok(built.path)
}
