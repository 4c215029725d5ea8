//! The temporary directory of a run, in the cache: beside the root directory, so that the layer is on a file system
//! with the same features.
//!
//! It is removed at the end of the run. If this program is killed, the process beside autopkgtest removes it; if that
//! is killed too, the next run does, because the directory is not locked any more.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::fs::FlockOperation;
use tempfile::TempDir;

const PREFIX: &str = "rocbed-test.";

/// Temporary directory of a run.
pub(super) struct Scratch {
    directory: TempDir,
    _lock: File,
}

impl Scratch {
    /// Path of the directory.
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Makes a directory, and removes those of runs that have ended.
pub(super) fn make(cache: &Path) -> Result<Scratch> {
    // One process at a time: a directory that was just made has no lock yet.
    let parent =
        lock(cache, FlockOperation::LockExclusive).with_context(|| format!("locking the cache {}", cache.display()))?;
    for entry in fs::read_dir(cache).with_context(|| format!("reading the cache {}", cache.display()))?.flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with(PREFIX)
            && let Ok(_unused) = lock(&path, FlockOperation::NonBlockingLockExclusive)
        {
            // A failure is harmless: the next run tries again.
            let _ = fs::remove_dir_all(&path);
        }
    }
    let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(cache);
    let directory = directory.context("making a temporary directory in the cache")?;
    let lock = lock(directory.path(), FlockOperation::LockExclusive).context("locking a temporary directory")?;
    drop(parent);
    Ok(Scratch { directory, _lock: lock })
}

fn lock(directory: &Path, operation: FlockOperation) -> std::io::Result<File> {
    let file = File::open(directory)?;
    rustix::fs::flock(&file, operation)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_killed_runs_have_left_is_removed() {
        let cache = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(cache.path().join("rocbed-test.left/tmp/deep")).expect("what a killed run has left");
        fs::create_dir(cache.path().join("trees")).expect("something else");
        let used = make(cache.path()).expect("a run's directory");
        let other = make(cache.path()).expect("another run's");
        let mut names: Vec<_> =
            fs::read_dir(cache.path()).expect("the cache").map(|entry| entry.expect("an entry").path()).collect();
        names.sort();
        let mut expected = vec![used.path().to_owned(), other.path().to_owned(), cache.path().join("trees")];
        expected.sort();
        assert_eq!(names, expected);
        drop((used, other));
        assert_eq!(fs::read_dir(cache.path()).expect("the cache").count(), 1);
    }
}
