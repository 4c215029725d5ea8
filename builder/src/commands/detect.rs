//! `rocbed detect`: lists the GPUs of a machine.

use advice::{Advice, AtPath as _};
use anyhow::{Result, bail};
use gpu::{Sources, Sysfs, read_log_file};

use super::{print, print_json};
use crate::cmdline::Detect;

/// Shows the GPUs of this machine, or of a copy of another machine's files.
pub fn run(options: &Detect) -> Result<()> {
    let log = options.kernel_log.as_deref().map(|file| read_log_file(file).at_path("reading", file));
    let log = log.transpose()?;
    let sources = match (&options.sysfs, log) {
        (None, None) => Sources::of_this_machine(),
        (None, Some(kernel_log)) => Sources { kernel_log, notes: Vec::new(), ..Sources::of_this_machine() },
        (Some(sysfs), log) => {
            if !sysfs.is_dir() {
                bail!(Advice::new(
                    format!("{} is not a directory", sysfs.display()),
                    "name a copy of a machine's /sys"
                ));
            }
            Sources::copy(Sysfs::new(sysfs), log.unwrap_or_default())
        }
    };
    let inventory = gpu::detect(&sources);
    if options.json { print_json(&inventory) } else { print(&inventory.to_string()) }
}
