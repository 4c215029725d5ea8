//! Files stored under the SHA-256 of their content.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha256::{Digest, DigestReader};

use crate::description::{Description, description_path};
use crate::temp::{TempFile, create_dir, make_read_only};
use crate::{Store, StoreError};

impl Store {
    /// Whether the content with this digest is stored completely. Its size is compared with `size`, if the caller
    /// knows it, and with the one recorded on insertion: a file that a crash cut short is removed and counts as
    /// missing.
    ///
    /// Insertion does not wait for the disk, which would take longer than most downloads. Instead a file that was
    /// inserted before the machine's last boot is read and compared with its digest once.
    ///
    /// # Errors
    /// If the file cannot be examined or, if it is broken, cannot be removed.
    pub fn has(&self, digest: &Digest, size: Option<u64>) -> Result<bool, StoreError> {
        let path = self.path(digest);
        let found = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(StoreError::io("examining", &path)(e)),
        };
        let description = match Description::read(&description_path(&path)) {
            Ok(description) => description,
            // A description cut short by the same crash says nothing about the file.
            Err(StoreError::BadDescription { .. }) => None,
            Err(e) => return Err(e),
        };
        let recorded = description.as_ref().map_or(found, |d| d.size);
        let good = size.unwrap_or(found) == found
            && recorded == found
            && match &description {
                Some(Description { unsynced_since_boot: None, .. }) => true,
                Some(Description { unsynced_since_boot: Some(boot), .. }) if **boot == *self.boot => true,
                _ => self.survived(digest, &path, description.as_ref().map_or("", |d| &d.label))?,
            };
        if !good {
            remove_file(&path)?;
        }
        Ok(good)
    }

    /// Whether a file from an earlier boot has the content it should have; if so, that is recorded.
    fn survived(&self, digest: &Digest, path: &Path, label: &str) -> Result<bool, StoreError> {
        let file = File::open(path).map_err(StoreError::io("opening", path))?;
        let (got, size) = Digest::of_reader(file).map_err(StoreError::io("reading", path))?;
        if got != *digest {
            return Ok(false);
        }
        let description = Description { size, label: label.to_owned(), unsynced_since_boot: None, content: None };
        description.write(self, &description_path(path))?;
        Ok(true)
    }

    /// The path of the content with this digest, if it is stored completely (see [`Self::has`]). Counts as a use.
    ///
    /// # Errors
    /// As [`Self::has`].
    pub fn get(&self, digest: &Digest, size: Option<u64>) -> Result<Option<PathBuf>, StoreError> {
        if !self.has(digest, size)? {
            return Ok(None);
        }
        let path = self.path(digest);
        stamp(&path)?;
        Ok(Some(path))
    }

    /// Opens the content with this digest for reading. Counts as a use.
    ///
    /// # Errors
    /// [`StoreError::NotStored`], or if it cannot be opened.
    pub fn read(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.get(digest, None)?.ok_or(StoreError::NotStored(*digest))?;
        File::open(&path).map_err(StoreError::io("opening", &path))
    }

    /// Stores the content of `reader` and returns its digest. `label` describes it in [listings](Self::list). If
    /// `digest` or `size` (in bytes) is given, the content must match; at most one byte over `size` is read.
    ///
    /// The content becomes visible only when it is complete and correct. See [`Self::has`] for power cuts.
    ///
    /// # Errors
    /// [`StoreError::WrongDigest`] and [`StoreError::WrongSize`], [`StoreError::NoSpace`], or errors of the reader and
    /// the file system. Nothing is stored then.
    pub fn insert(
        &self,
        reader: impl Read,
        digest: Option<&Digest>,
        size: Option<u64>,
        label: &str,
    ) -> Result<Digest, StoreError> {
        let mut temp = TempFile::new(&self.temp_dir())?;
        let mut source = DigestReader::new(reader.take(size.map_or(u64::MAX, |size| size.saturating_add(1))));
        let mut buffer = vec![0; 128 * 1024];
        let mut written = 0_u64;
        loop {
            let count = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(StoreError::io("reading what is to become", self.root.join(label))(e)),
            };
            temp.file
                .write_all(buffer.get(..count).unwrap_or_default())
                .map_err(|e| StoreError::writing(temp.path(), size.unwrap_or(0).saturating_sub(written), e))?;
            written = written.saturating_add(count as u64);
        }
        let (got, length) = source.finish();
        check(label, digest.unwrap_or(&got), size.unwrap_or(length), &got, length)?;
        let target = self.prepare(&got, length, label)?;
        make_read_only(&temp.file).map_err(StoreError::io("protecting", temp.path()))?;
        temp.persist(&target)?;
        Ok(got)
    }

    /// Stores the file at `path`, whose content was already checked, under its digest.
    pub(crate) fn adopt(
        &self,
        path: &Path,
        file: &File,
        digest: &Digest,
        size: u64,
        label: &str,
    ) -> Result<PathBuf, StoreError> {
        let target = self.prepare(digest, size, label)?;
        make_read_only(file).map_err(StoreError::io("protecting", path))?;
        fs::rename(path, &target).map_err(StoreError::io("renaming a finished file to", &target))?;
        Ok(target)
    }

    /// Writes the description of content that is about to be stored, and returns the path for the content.
    fn prepare(&self, digest: &Digest, size: u64, label: &str) -> Result<PathBuf, StoreError> {
        let target = self.path(digest);
        if let Some(shard) = target.parent() {
            create_dir(shard)?;
        }
        Description::new(self, size, label).write(self, &description_path(&target))?;
        Ok(target)
    }
}

/// Compares the expected size and digest with the actual ones.
pub(crate) fn check(label: &str, expected: &Digest, size: u64, got: &Digest, length: u64) -> Result<(), StoreError> {
    if length != size {
        return Err(StoreError::WrongSize { label: label.to_owned(), expected: size, got: length });
    }
    if got != expected {
        return Err(StoreError::WrongDigest { label: label.to_owned(), expected: *expected, got: *got });
    }
    Ok(())
}

/// Sets the last use of `path` to now.
pub(crate) fn stamp(path: &Path) -> Result<(), StoreError> {
    let now = SystemTime::now();
    let result = File::open(path).and_then(|file| file.set_modified(now));
    match result {
        // A store of another user that is readable but not writable can still be used.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other.map_err(StoreError::io("noting the use of", path)),
    }
}

/// Removes a file that may not exist any more.
pub(crate) fn remove_file(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::io("removing", path)(e)),
        _ => Ok(()),
    }
}
