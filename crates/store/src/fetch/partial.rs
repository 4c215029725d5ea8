//! Partial downloads: files that grow while they are downloaded, and are kept between runs.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use sha256::{Digest, Hasher};

use crate::temp::is_at;
use crate::{Store, StoreError};

/// Polling interval while another process downloads the file.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A partly downloaded file, locked against other processes.
pub(crate) struct Partial {
    file: File,
    path: PathBuf,
    hash: Hasher,
    length: u64,
}

impl Partial {
    /// Opens the partial download of `digest`, waiting while another process downloads it. `None` if that process
    /// finished it.
    pub(crate) fn open(store: &Store, digest: &Digest, size: Option<u64>) -> Result<Option<Self>, StoreError> {
        let path = store.partial_path(digest);
        loop {
            if store.has(digest, size)? {
                return Ok(None);
            }
            let mut options = File::options();
            let opened = options.create(true).truncate(false).read(true).write(true).open(&path);
            let file = opened.map_err(StoreError::io("opening", &path))?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {
                    std::thread::sleep(LOOK_AGAIN);
                    continue;
                }
                Err(e) => return Err(StoreError::io("locking", &path)(e.into())),
            }
            // The previous owner of the lock may have finished, and moved this file to its final name.
            if !is_at(&file, &path).map_err(StoreError::io("examining", &path))? {
                continue;
            }
            let mut partial = Self { file, path, hash: Hasher::new(), length: 0 };
            partial.read_back()?;
            if size.is_some_and(|size| partial.length > size) {
                partial.reset()?;
            }
            return Ok(Some(partial));
        }
    }

    /// Hashes the bytes left by an earlier run.
    fn read_back(&mut self) -> Result<(), StoreError> {
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let count = self.file.read(&mut buffer).map_err(StoreError::io("reading", &self.path))?;
            if count == 0 {
                return Ok(());
            }
            self.hash.update(buffer.get(..count).unwrap_or_default());
            self.length += count as u64;
        }
    }

    /// Number of bytes so far.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Digest of the bytes so far.
    pub(crate) fn digest(&self) -> Digest {
        self.hash.clone().finish()
    }

    /// Discards the bytes so far.
    pub(crate) fn reset(&mut self) -> Result<(), StoreError> {
        self.file.set_len(0).map_err(StoreError::io("truncating", &self.path))?;
        self.file.seek(SeekFrom::Start(0)).map_err(StoreError::io("rewinding", &self.path))?;
        self.hash = Hasher::new();
        self.length = 0;
        Ok(())
    }

    /// Appends `bytes`; `remaining` is the number of bytes still to come, these included, for the message of a full
    /// disk.
    pub(crate) fn append(&mut self, bytes: &[u8], remaining: u64) -> Result<(), StoreError> {
        self.file.write_all(bytes).map_err(|e| StoreError::writing(&self.path, remaining, e))?;
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Moves the file into the store. The caller has compared its digest.
    pub(crate) fn finish(&self, store: &Store, digest: &Digest, label: &str) -> Result<PathBuf, StoreError> {
        store.adopt(&self.path, &self.file, digest, self.length, label)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // An empty file is useless, and harms nothing if it stays. It is ours as long as it is locked.
        if self.length == 0 && is_at(&self.file, &self.path).unwrap_or(false) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
