//! Files and directories that a test removes when it ends, so that a whole run needs a few GiB of disk.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// A path below [`scratch`](crate::scratch) that is removed with everything below it when this is dropped. Builds use
/// it, as they are too large to be kept until the run ends: 700 MiB for a smoke image.
#[derive(Debug)]
pub struct Temporary(PathBuf);

impl Temporary {
    /// Takes a path, and removes what an earlier run left there. Nothing is created.
    pub fn new(name: impl AsRef<Path>) -> Self {
        let temporary = Self(crate::scratch().join(name));
        temporary.remove();
        temporary
    }

    /// The same, as an empty directory.
    pub fn directory(name: impl AsRef<Path>) -> Self {
        let temporary = Self::new(name);
        fs::create_dir_all(&temporary).unwrap_or_else(|error| panic!("making {}: {error}", temporary.display()));
        temporary
    }

    fn remove(&self) {
        let removed = if self.0.is_dir() { fs::remove_dir_all(&self.0) } else { fs::remove_file(&self.0) };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                eprintln!("removing {}: {error}", self.0.display());
            }
            _ => {}
        }
    }
}

impl Deref for Temporary {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for Temporary {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<std::ffi::OsStr> for Temporary {
    fn as_ref(&self) -> &std::ffi::OsStr {
        self.0.as_os_str()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        self.remove();
    }
}
