//! `rocbed faults`: finds known GPU faults in a kernel log.

use advice::{AtPath as _, WithHelp as _};
use anyhow::{Context as _, Result};
use gpu::messages::Findings;

use super::{print, print_json};
use crate::cmdline::Faults;

/// Prints the faults that a log shows.
pub fn run(options: &Faults) -> Result<()> {
    let findings = match &options.file {
        Some(file) => Findings::of_file(file).at_path("reading", file)?,
        None => Findings::of_this_machine()
            .context("reading the kernel's log")
            .help("run this as root, set kernel.dmesg_restrict=0, or name a file")?,
    };
    if options.json { print_json(&findings) } else { print(&findings.to_string()) }
}
