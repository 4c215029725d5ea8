//! `cargo xtask demo`: from nothing but a Rust toolchain to a booted appliance.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use crate::build::{self, Profile};
use crate::host;
use crate::run::{run as execute, workspace};

fn run_stage(title: &str, command: &mut Command) -> Result<()> {
    eprintln!("\n== {title}");
    execute(command.current_dir(workspace()))
}

/// Builds the smoke image with everything it needs, boots it with a pretended GPU and a job, and once more as a USB stick
/// under UEFI.
pub(crate) fn run() -> Result<()> {
    let began = Instant::now();
    host::install(&[host::TO_BOOT, host::to_build()])?;
    let programs = build::programs(Profile::Dev)?;
    let rocbed = || Command::new(&programs.rocbed);
    run_stage("rocbed plan smoke", rocbed().args(["plan", "smoke"]))?;
    run_stage("rocbed build smoke", rocbed().args(["build", "smoke"]))?;
    run_stage("rocbed inspect images/smoke", rocbed().args(["inspect", "images/smoke"]))?;
    let jobs = ["boot", "images/smoke", "--gpu", "gfx1030", "--jobs", "examples/jobs.toml"];
    run_stage(&format!("rocbed {}", jobs.join(" ")), rocbed().args(jobs))?;
    let uefi = ["boot", "images/smoke", "--firmware", "uefi", "--disk", "usb"];
    run_stage("rocbed boot images/smoke --firmware uefi --disk usb", rocbed().args(uefi))?;
    eprintln!(
        "\nThe demo took {:.0} s. The image is in images/smoke (images/README.md says what each file is), the job's results \
         in results/.",
        began.elapsed().as_secs_f64()
    );
    Ok(())
}
