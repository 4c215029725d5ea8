//! [`Content`]: what an object has to contain.

use std::fs::File;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha256::Digest;

use crate::error::S3Error;

/// Size and digest of an object's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// Length in bytes.
    pub size: u64,
    /// SHA-256.
    pub sha256: Digest,
}

impl Content {
    /// A content of this length and digest.
    pub fn new(size: u64, sha256: Digest) -> Self {
        Self { size, sha256 }
    }

    /// Reads a file to its end.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn of_file(path: &Path) -> Result<Self, S3Error> {
        let read = File::open(path).and_then(Digest::of_reader);
        let (sha256, size) = read.map_err(|error| S3Error::File { path: path.to_owned(), error })?;
        Ok(Self { size, sha256 })
    }
}

/// A digest as headers and documents have it.
pub(crate) fn base64(digest: &Digest) -> String {
    BASE64_STANDARD.encode(digest.as_bytes())
}

/// Reads what [`base64`] writes.
pub(crate) fn from_base64(text: &str) -> Option<Digest> {
    let bytes: [u8; 32] = BASE64_STANDARD.decode(text).ok()?.try_into().ok()?;
    Some(bytes.into())
}
