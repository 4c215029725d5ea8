//! Options of `rocbed detect` and `rocbed faults`.

use std::path::PathBuf;

use clap::Args;

/// `rocbed detect`
#[derive(Debug, Args)]
pub struct Detect {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// A copy of a machine's /sys instead of this machine
    #[arg(long, value_name = "DIR")]
    pub sysfs: Option<PathBuf>,
    /// The kernel's log of that machine, as dmesg or journalctl -k print it
    #[arg(long, value_name = "FILE")]
    pub kernel_log: Option<PathBuf>,
}

/// `rocbed faults`
#[derive(Debug, Args)]
pub struct Faults {
    /// A file, or `-` for standard input [default: the running kernel's log]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Print JSON: an array, empty where nothing is wrong
    #[arg(long)]
    pub json: bool,
}
