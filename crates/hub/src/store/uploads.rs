//! [`Uploads`]: storage of incomplete uploads. The length of the file is the progress of the upload.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The directory of uploads.
#[derive(Debug, Clone)]
pub(crate) struct Uploads {
    root: PathBuf,
    busy: Arc<Mutex<HashSet<String>>>,
}

/// Reason why bytes are refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// Another request is writing to the upload.
    #[error("another request is writing there")]
    Busy,
    /// The bytes do not start at the end of the file, which has this many bytes.
    #[error("{0} bytes are there")]
    Offset(u64),
    /// The bytes exceed the announced size, which is this.
    #[error("{0} bytes were announced")]
    TooMany(u64),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Uploads {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, busy: Arc::default() }
    }

    /// Path of an upload's file. The hub has chosen the id.
    pub(crate) fn path(&self, id: &str) -> PathBuf {
        self.root.join(id)
    }

    /// Number of bytes received so far.
    pub(crate) fn offset(&self, id: &str) -> io::Result<u64> {
        match fs::metadata(self.path(id)) {
            Ok(about) => Ok(about.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Opens an upload of `size` bytes to continue at `offset`. It stays reserved until the returned value is dropped.
    pub(crate) fn open(&self, id: &str, offset: u64, size: u64) -> Result<UploadFile, UploadError> {
        if !self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned()) {
            return Err(UploadError::Busy);
        }
        // From here on, dropping `turn` releases the upload.
        let turn = Turn { id: id.to_owned(), busy: self.busy.clone() };
        let file = OpenOptions::new().create(true).append(true).open(self.path(id))?;
        let there = file.metadata()?.len();
        if there != offset {
            return Err(UploadError::Offset(there));
        }
        Ok(UploadFile { file, offset, size, _turn: turn })
    }

    /// Ids of uploads whose file was not written to since the given time.
    pub(crate) fn older_than(&self, time: std::time::SystemTime) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.metadata()?.modified()? < time {
                found.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(found)
    }
}

#[derive(Debug)]
struct Turn {
    id: String,
    busy: Arc<Mutex<HashSet<String>>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// An upload that is open for writing.
#[derive(Debug)]
pub(crate) struct UploadFile {
    file: File,
    offset: u64,
    size: u64,
    _turn: Turn,
}

impl UploadFile {
    pub(crate) fn is_full(&self) -> bool {
        self.offset == self.size
    }

    /// Appends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        let after = self.offset.saturating_add(bytes.len() as u64);
        if after > self.size {
            return Err(UploadError::TooMany(self.size));
        }
        if let Err(error) = self.file.write_all(bytes) {
            // A full disk may have stored a part. It is what belongs there: if it stays, the client is told to go on after
            // it, as the offset is read from the file.
            let _ = self.file.set_len(self.offset);
            return Err(error.into());
        }
        self.offset = after;
        Ok(())
    }

    /// Discards the received bytes: the upload starts again.
    pub(crate) fn discard(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.offset = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_goes_on_where_it_was() -> Result<(), UploadError> {
        let temp = tempfile::tempdir()?;
        let uploads = Uploads::new(temp.path().to_owned());
        let mut file = uploads.open("u", 0, 6)?;
        file.write(b"abc")?;
        assert!(matches!(uploads.open("u", 3, 6), Err(UploadError::Busy)));
        drop(file);
        assert!(matches!(uploads.open("u", 0, 6), Err(UploadError::Offset(3))));
        let mut file = uploads.open("u", 3, 6)?;
        assert!(matches!(file.write(b"defg"), Err(UploadError::TooMany(6))));
        file.write(b"def")?;
        assert!(file.is_full());
        drop(file);
        assert_eq!(fs::read(uploads.path("u"))?, b"abcdef");
        Ok(())
    }
}
