//! Why an image cannot be read.

use std::io;

/// Why reading an ext4 image failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The image's file said no, or ends too early.
    #[error("reading {length} bytes at byte {offset} of the image: {source}")]
    Io {
        /// Where in the file.
        offset: u64,
        /// How much.
        length: u64,
        /// What the system said.
        source: io::Error,
    },
    /// There is no ext4 superblock.
    #[error("there is no ext4 file system at byte {0}")]
    NotExt4(u64),
    /// It has a feature that we cannot read.
    #[error("the file system has features that cannot be read here: {0}")]
    Unsupported(String),
    /// It contradicts itself.
    #[error("the file system is damaged: {0}; e2fsck may tell more")]
    Damaged(String),
    /// It has more than the limits allow.
    #[error("the file system is larger than allowed: {0}")]
    OverLimit(String),
    /// No such path.
    #[error("{0} is not in the file system")]
    NotFound(String),
    /// Only regular files have content.
    #[error("{0} is not a regular file")]
    NotAFile(String),
}

/// [`ReadError::Damaged`], in short.
pub(super) fn damaged<T>(what: impl Into<String>) -> Result<T, ReadError> {
    Err(ReadError::Damaged(what.into()))
}
