//! The output directory of a build: its files' names, its lock, and which directories are refused.

use std::fs;
use std::path::{Path, PathBuf};

use advice::{Advice, WithHelp as _};
use anyhow::{Context as _, Result, ensure};
use store::{Lock as FileLock, Wait};

use super::publish;
use crate::recipe::Recipe;
use crate::report::Reporter;

/// Names of an image's files. A build replaces files of these names.
pub const IMAGE_FILES: [&str; 10] = [
    "disk.img",
    "disk.img.zst",
    "disk.img.bmap",
    "root.img",
    "uki.efi",
    "vmlinuz",
    "initrd.img",
    "netboot.img",
    "cmdline",
    "manifest.json",
];

/// Refuses a directory that has files of these names but was not written by a build: they would be replaced.
fn refuse_others(directory: &Path) -> Result<()> {
    let has = |name: &str| directory.join(name).symlink_metadata().is_ok();
    if has(LOCK) || has(publish::SUMS) {
        return Ok(());
    }
    let found: Vec<&str> = IMAGE_FILES.into_iter().filter(|name| has(name)).collect();
    ensure!(
        found.is_empty(),
        Advice::new(
            format!(
                "{} holds no image of rocbed's, and a build would replace what is there: {}",
                directory.display(),
                found.join(", ")
            ),
            "give a directory of its own with --output, or move these files away"
        )
    );
    Ok(())
}

/// Lock file of an image directory. Its presence also marks a directory as an image directory.
pub(super) const LOCK: &str = ".lock";

/// Takes the lock on an output directory: one build at a time.
pub(super) fn guard(directory: &Path, recipe: &Recipe, wait: Wait, reporter: &Reporter) -> Result<FileLock> {
    refuse_others(directory)?;
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    let lock = FileLock::acquire(&directory.join(LOCK), &format!("building {}", recipe.name), wait, reporter);
    lock.context("another build into this directory is running")
        .help("--wait waits for its end, --output names another directory")
}

/// The default output directory.
pub fn default_output(recipe: &Recipe) -> PathBuf {
    Path::new("images").join(&recipe.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_image_directories_are_built_into() -> Result<()> {
        let directory = tempfile::tempdir()?;
        refuse_others(&directory.path().join("new"))?;
        fs::write(directory.path().join("notes"), "")?;
        refuse_others(directory.path())?;
        fs::write(directory.path().join("vmlinuz"), "somebody's kernel")?;
        let refused = refuse_others(directory.path()).map_err(|error| crate::error::report(&error).to_string());
        assert!(
            refused.is_err_and(|text| text.contains("replace what is there: vmlinuz\n") && text.contains("--output"))
        );
        // The remains of an interrupted build, and the files it had finished.
        for ours in [LOCK, publish::SUMS] {
            fs::write(directory.path().join(ours), "")?;
            refuse_others(directory.path())?;
            fs::remove_file(directory.path().join(ours))?;
        }
        Ok(())
    }
}
