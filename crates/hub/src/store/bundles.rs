//! [`Bundles`]: storage of result bundles, by the SHA-256 of their content.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha256::Digest;

use crate::store::directory::sync_directory;

/// The directory of bundles. A file has its final name only after its digest was checked and it is durable on disk.
#[derive(Debug, Clone)]
pub(crate) struct Bundles {
    root: PathBuf,
}

impl Bundles {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Path of the bundle with this digest.
    pub(crate) fn path(&self, sha256: &Digest) -> PathBuf {
        self.root.join(sha256.prefix(2)).join(sha256.to_string())
    }

    /// Length of the bundle with this digest, if it exists.
    pub(crate) fn size(&self, sha256: &Digest) -> io::Result<Option<u64>> {
        match fs::metadata(self.path(sha256)) {
            Ok(about) => Ok(Some(about.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Marks a bundle as new again, because it was announced again to complete a job.
    pub(crate) fn renew(&self, sha256: &Digest) -> io::Result<()> {
        File::options().write(true).open(self.path(sha256))?.set_modified(SystemTime::now())
    }

    /// Removes a bundle if it is older than the given time. Returns whether it was removed.
    pub(crate) fn remove_older(&self, sha256: &Digest, time: SystemTime) -> io::Result<bool> {
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

    /// Removes a bundle, if it exists.
    pub(crate) fn remove(&self, sha256: &Digest) -> io::Result<()> {
        match fs::remove_file(self.path(sha256)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Moves a file in as the bundle with this digest. Returns false, and leaves the file in place, if its digest
    /// differs.
    pub(crate) fn adopt(&self, file: &Path, sha256: &Digest) -> io::Result<bool> {
        if Digest::of_reader(File::open(file)?)?.0 != *sha256 {
            return Ok(false);
        }
        File::open(file)?.sync_all()?;
        let target = self.path(sha256);
        if let Some(directory) = target.parent() {
            if !directory.exists() {
                fs::create_dir_all(directory)?;
                sync_directory(&self.root)?;
            }
            fs::rename(file, &target)?;
            sync_directory(directory)?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_there_under_its_digest_only() -> io::Result<()> {
        let temp = tempfile::tempdir()?;
        let (bundles, draft) = (Bundles::new(temp.path().join("bundles")), temp.path().join("draft"));
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
}
