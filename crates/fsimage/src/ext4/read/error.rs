//! Errors of reading an image.

use std::io;

/// An ext4 image that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Reading the image's file failed, or it ends too early.
    #[error("reading {length} bytes at byte {offset} of the image: {source}")]
    Io {
        /// Offset in the file in bytes.
        offset: u64,
        /// Number of bytes.
        length: u64,
        /// The cause.
        source: io::Error,
    },
    /// There is no ext4 superblock.
    #[error("there is no ext4 file system at byte {0}")]
    NotExt4(u64),
    /// The file system has a feature that is not supported.
    #[error("the file system has features that cannot be read here: {0}")]
    Unsupported(String),
    /// The file system is inconsistent.
    #[error("the file system is damaged: {0}; e2fsck may tell more")]
    Damaged(String),
    /// The file system exceeds the limits.
    #[error("the file system is larger than allowed: {0}")]
    OverLimit(String),
    /// The path does not exist.
    #[error("{0} is not in the file system")]
    NotFound(String),
    /// The path is not a regular file, so it has no content.
    #[error("{0} is not a regular file")]
    NotAFile(String),
}

/// Shorthand for [`ReadError::Damaged`].
pub(super) fn damaged<T>(what: impl Into<String>) -> Result<T, ReadError> {
    Err(ReadError::Damaged(what.into()))
}
