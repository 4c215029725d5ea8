//! `rocbed diff`: two images or locks, package by package.

use std::path::Path;

use anyhow::{Result, bail};

use super::{print, print_json};
use crate::cmdline::Diff;
use crate::inspect;
use crate::lock::{self, Lock, Versions};

pub fn run(options: &Diff) -> Result<()> {
    let changes = lock::diff(&versions(&options.old)?, &versions(&options.new)?);
    if options.json {
        return print_json(&changes);
    }
    let lines: String = changes.iter().map(|change| format!("{change}\n")).collect();
    print(&(lines + &lock::summary(&changes) + "\n"))
}

/// The packages of a lock, or of an image as its root file system's dpkg knows them.
fn versions(path: &Path) -> Result<Versions> {
    if path.extension().is_some_and(|end| end == "lock") {
        let Some(lock) = Lock::read(path)? else { bail!("{} is no lock: it is missing or empty", path.display()) };
        return Ok(lock::versions(&lock));
    }
    let packages = inspect::root_packages(path)?;
    Ok(packages.into_iter().map(|(name, version)| (name, (version, None))).collect())
}
