//! `cargo xtask demo`: compiles the programs, and runs `rocbed demo` with them; it needs only a Rust toolchain.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use crate::build::{self, Profile};
use crate::host;
use crate::run::{run, workspace};

/// Output directory, relative to the workspace.
const DIRECTORY: &str = "results/demo";

/// Compiles, and runs the demo.
pub(crate) fn run_demo() -> Result<()> {
    let began = Instant::now();
    eprintln!(
        "The demo compiles rocbed, which takes three to six minutes on two processors, and then runs `rocbed demo`."
    );
    host::install(&[host::TO_BOOT, host::to_build()])?;
    let programs = build::programs(Profile::Demo)?;
    eprintln!("compiled in {:.0} s\n", began.elapsed().as_secs_f64());
    run(Command::new(&programs.rocbed).current_dir(workspace()).args(["demo", "--output", DIRECTORY]))
}
