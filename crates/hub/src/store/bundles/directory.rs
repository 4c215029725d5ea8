//! [`Directory`]: bundles in a directory of this machine.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use durable::sync_directory;
use sha256::Digest;

use crate::store::bundles::{BundleStore, OpenError};

/// A directory of bundles. A file has its final name only after its digest was checked and it is durable on disk.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    root: PathBuf,
}

impl Directory {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Path of the bundle with this digest.
    pub(super) fn path(&self, sha256: &Digest) -> PathBuf {
        self.root.join(sha256.prefix(2)).join(sha256.to_string())
    }

    /// Moves a file in, of the same file system, whose digest was checked and which is durable.
    pub(super) fn take(&self, file: &Path, sha256: &Digest) -> io::Result<()> {
        let target = self.path(sha256);
        if let Some(directory) = target.parent() {
            if !directory.exists() {
                fs::create_dir_all(directory)?;
                sync_directory(&self.root)?;
            }
            fs::rename(file, &target)?;
            sync_directory(directory)?;
        }
        Ok(())
    }

    /// All bundles, with their lengths and the times at which they were last used.
    pub(crate) fn all(&self) -> io::Result<Vec<(Digest, u64, SystemTime)>> {
        let mut found = Vec::new();
        for directory in fs::read_dir(&self.root)? {
            let directory = directory?;
            if !directory.file_type()?.is_dir() {
                continue;
            }
            for entry in fs::read_dir(directory.path())? {
                let entry = entry?;
                // One that was removed in the meantime is gone.
                let Ok(about) = entry.metadata() else { continue };
                if let Ok(digest) = entry.file_name().to_string_lossy().parse() {
                    found.push((digest, about.len(), about.modified()?));
                }
            }
        }
        Ok(found)
    }
}

impl BundleStore for Directory {
    fn size(&self, sha256: &Digest) -> io::Result<Option<u64>> {
        match fs::metadata(self.path(sha256)) {
            Ok(about) => Ok(Some(about.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn renew(&self, sha256: &Digest) -> io::Result<()> {
        File::options().write(true).open(self.path(sha256))?.set_modified(SystemTime::now())
    }

    fn remove_older(&self, sha256: &Digest, time: SystemTime) -> io::Result<bool> {
        let path = self.path(sha256);
        let old = match fs::metadata(&path) {
            Ok(about) => about.modified()? < time,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if old {
            fs::remove_file(&path)?;
        }
        Ok(old)
    }

    fn remove(&self, sha256: &Digest) -> io::Result<()> {
        match fs::remove_file(self.path(sha256)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn adopt(&self, file: &Path, sha256: &Digest) -> io::Result<bool> {
        if Digest::of_reader(File::open(file)?)?.0 != *sha256 {
            return Ok(false);
        }
        File::open(file)?.sync_all()?;
        self.take(file, sha256).map(|()| true)
    }

    fn open(&self, sha256: &Digest) -> Result<File, OpenError> {
        match File::open(self.path(sha256)) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(OpenError::Missing),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_there_under_its_digest_only() -> io::Result<()> {
        let temp = tempfile::tempdir()?;
        let (bundles, draft) = (Directory::new(temp.path().join("bundles")), temp.path().join("draft"));
        fs::create_dir(temp.path().join("bundles"))?;
        fs::write(&draft, b"abc")?;
        let right = Digest::of(b"abc");
        assert!(!bundles.adopt(&draft, &Digest::of(b"abcd"))?);
        assert_eq!(bundles.size(&right)?, None);
        assert!(bundles.adopt(&draft, &right)?);
        assert_eq!(bundles.size(&right)?, Some(3));
        assert!(!draft.exists());
        Ok(())
    }

    #[test]
    fn a_bundle_that_cannot_be_read_now_is_not_a_missing_one() -> io::Result<()> {
        let temp = tempfile::tempdir()?;
        let bundles = Directory::new(temp.path().to_owned());
        let digest = Digest::of(b"abc");
        assert!(bundles.open(&digest).is_err_and(|error| !error.is_passing()));
        let path = bundles.path(&digest);
        fs::create_dir_all(path.parent().ok_or(io::ErrorKind::NotFound)?)?;
        std::os::unix::fs::symlink(&path, &path)?;
        assert!(bundles.open(&digest).is_err_and(|error| error.is_passing()), "links in a circle");
        Ok(())
    }
}
