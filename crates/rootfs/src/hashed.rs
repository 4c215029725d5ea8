//! Hashes a package file while it is read, so that exactly the bytes used are checked.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha256::{Digest, DigestReader};

use crate::Error;
use crate::error::Damaged;

/// Reads a file from beginning to end, hashing it.
pub(crate) struct HashedFile {
    file: DigestReader<File>,
}

impl HashedFile {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io("opening", path.as_os_str().as_encoded_bytes()))?;
        Ok(Self { file: DigestReader::new(file) })
    }

    /// Reads up to this offset, discarding the data; must be called first.
    pub(crate) fn skip(&mut self, length: u64) -> io::Result<()> {
        io::copy(&mut self.take(length), &mut io::sink()).map(drop)
    }

    /// Reads the rest, and returns the digest of the whole file.
    pub(crate) fn finish(mut self) -> io::Result<Digest> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(self.file.finish().0)
    }
}

impl Read for HashedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

/// Expected identity of a package file.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    /// Package name.
    pub(crate) name: String,
    /// Path of the file.
    pub(crate) path: PathBuf,
    /// SHA-256 of its content; `None` if the caller vouches for it.
    pub(crate) sha256: Option<Digest>,
}

impl Expected {
    /// Returns the result of using a file, unless its digest is wrong: that is reported instead, as the cause of any
    /// other error. `file` is what was read; if it is `None`, the file is read for the check.
    pub(crate) fn confirm<T>(&self, file: Option<HashedFile>, result: Result<T, Error>) -> Result<T, Error> {
        let Some(expected) = self.sha256 else { return result };
        let name = self.path.as_os_str().as_encoded_bytes();
        let file = match file {
            Some(file) => file,
            None => HashedFile::open(&self.path)?,
        };
        if file.finish().map_err(Error::io("reading", name))? == expected {
            return result;
        }
        Err(Error::Damaged(vec![Damaged { package: self.name.clone(), path: self.path.clone(), sha256: expected }]))
    }
}
