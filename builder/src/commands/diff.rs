//! `rocbed diff`: two images or locks, package by package.

use std::path::Path;

use anyhow::{Result, bail};

use super::{print, print_json};
use crate::cmdline::Diff;
use crate::inspect;
use crate::lock::{self, Lock, Versions};

pub fn run(options: &Diff) -> Result<()> {
    let both_locks = is_lock(&options.old) && is_lock(&options.new);
    let changes = lock::diff(&versions(&options.old, both_locks)?, &versions(&options.new, both_locks)?);
    if options.json {
        return print_json(&changes);
    }
    let lines: String =
        changes.iter().map(|change| format!("{}\n", safetext::printable(&change.to_string()))).collect();
    print(&(lines + &lock::summary(&changes) + "\n"))
}

fn is_lock(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "lock")
}

/// The packages of a lock, or of an image as its root file system's dpkg knows them. Between two locks everything counts,
/// the packages that only the build uses included.
fn versions(path: &Path, both_locks: bool) -> Result<Versions> {
    if is_lock(path) {
        let Some(lock) = Lock::read(path)? else { bail!("{} is no lock: it is missing or empty", path.display()) };
        return Ok(if both_locks { lock::versions(&lock) } else { lock::root_versions(&lock) });
    }
    let packages = inspect::root_packages(path)?;
    Ok(packages.into_iter().map(|(name, version)| (name, (version, None))).collect())
}
