//! Directories on disk for the writable layers, each locked by the server that uses it.
//!
//! A killed server leaves its directory unlocked, and the next server removes it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::Error;
use crate::inside::random_name;

const PREFIX: &str = "rocbed-testbed.";

/// The directory for one testbed.
#[derive(Debug)]
pub(crate) struct Upper {
    path: PathBuf,
    _lock: File,
}

impl Upper {
    /// Creates a directory in `parent`.
    pub(crate) fn make(parent: &Path) -> Result<Self, Error> {
        let _creating = lock(parent).map_err(Error::step(format!("opening {}", parent.display())))?;
        let path = parent.join(format!("{PREFIX}{}", random_name()?));
        let step = || format!("making {}", path.display());
        DirBuilder::new().mode(0o700).create(&path).map_err(Error::step(step()))?;
        let lock = lock(&path).map_err(Error::step(step()))?;
        Ok(Self { path, _lock: lock })
    }

    /// Path of the directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the directory with its contents.
    pub(crate) fn remove(self) -> Result<(), Error> {
        fs::remove_dir_all(&self.path).map_err(Error::step(format!("removing {}", self.path.display())))
    }
}

/// Removes the directories of servers that no longer exist.
pub(crate) fn remove_stale(parent: &Path) -> Result<(), Error> {
    let step = || Error::step(format!("removing what was left in {}", parent.display()));
    let _removing = lock(parent).map_err(step())?;
    for entry in fs::read_dir(parent).map_err(step())? {
        let entry = entry.map_err(step())?;
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let directory = File::open(entry.path()).map_err(step())?;
        match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => fs::remove_dir_all(entry.path()).map_err(step())?,
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(step()(error.into())),
        }
    }
    Ok(())
}

fn lock(directory: &Path) -> io::Result<File> {
    let file = File::open(directory)?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_what_nobody_uses() {
        let parent = tempfile::tempdir().unwrap();
        let used = Upper::make(parent.path()).unwrap();
        fs::create_dir_all(parent.path().join("rocbed-testbed.left/upper/etc")).unwrap();
        fs::create_dir(parent.path().join("somebody-elses")).unwrap();
        remove_stale(parent.path()).unwrap();
        let mut names: Vec<_> = fs::read_dir(parent.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [used.path().file_name().unwrap(), "somebody-elses".as_ref()]);
        used.remove().unwrap();
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }
}
