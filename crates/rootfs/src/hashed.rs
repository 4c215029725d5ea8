//! A package's file, hashed as it is read: what is used of it is what was checked.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::Error;
use crate::error::Damaged;

/// Reads a file from its beginning to its end.
pub(crate) struct HashedFile {
    file: File,
    hash: Sha256,
}

impl HashedFile {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io("opening", path.as_os_str().as_encoded_bytes()))?;
        Ok(Self { file, hash: Sha256::new() })
    }

    /// Reads up to here without a use for it; this comes first.
    pub(crate) fn skip(&mut self, length: u64) -> io::Result<()> {
        io::copy(&mut self.take(length), &mut io::sink()).map(drop)
    }

    /// Reads what is left, and returns the digest of it all.
    pub(crate) fn finish(mut self) -> io::Result<[u8; 32]> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(self.hash.finalize().into())
    }
}

impl Read for HashedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

/// What a package's file has to be.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    /// The package's name.
    pub(crate) name: String,
    /// The file.
    pub(crate) path: PathBuf,
    /// The SHA-256 of its content; `None` if the caller answers for it.
    pub(crate) sha256: Option<[u8; 32]>,
}

impl Expected {
    /// What came of using a file, unless it was not the right one: then that is the reason for whatever else is wrong.
    /// `file` is what was read; where it is `None`, the file is read to see.
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
