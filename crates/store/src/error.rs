//! What can go wrong in a store.

use std::io;
use std::path::{Path, PathBuf};

use crate::Digest;

/// A store operation that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system refused something.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried, a gerund ("writing").
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },

    /// The file system, or the quota on it, is full.
    #[error(
        "writing {}: {source}; {needed} more bytes are needed there. Free some space, remove what the cache no longer \
         needs, or put the cache elsewhere with XDG_CACHE_HOME", path.display()
    )]
    NoSpace {
        /// The file that could not be written.
        path: PathBuf,
        /// How many bytes were still to be written, as far as known.
        needed: u64,
        /// What the operating system said.
        source: io::Error,
    },

    /// The content is not what its digest says.
    #[error("{label}: expected SHA-256 {expected}, got {got}")]
    WrongDigest {
        /// What it was supposed to be.
        label: String,
        /// The digest it should have.
        expected: Digest,
        /// The digest it has.
        got: Digest,
    },

    /// The content is longer or shorter than announced.
    #[error("{label}: expected {expected} bytes, got {got}")]
    WrongSize {
        /// What it was supposed to be.
        label: String,
        /// How many bytes it should have.
        expected: u64,
        /// How many it has; where it is longer than expected, reading stopped soon after.
        got: u64,
    },

    /// No complete entry with this digest is stored.
    #[error("{0} is not in the store")]
    NotStored(Digest),

    /// Another process has the store open, so that nothing can be removed from it.
    #[error("{}: another process is using the store; try again when it has finished", .0.display())]
    Busy(PathBuf),

    /// A metadata key that cannot be a file name.
    #[error("{0:?} is not a metadata key: it takes 1 to 200 of a-z, A-Z, 0-9, '.', '_', '-', not beginning with '.'")]
    BadKey(String),

    /// An entry's description cannot be read.
    #[error("reading {}: {source}", path.display())]
    BadDescription {
        /// The description.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },

    /// There is no place for a cache.
    #[error("no cache directory: neither XDG_CACHE_HOME nor HOME is an absolute path; set one of them")]
    NoCacheDirectory,
}

impl StoreError {
    /// Turns an [`io::Error`] into one that says what was done to which path.
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// As [`Self::io`] for writing, where a full disk is told apart; `needed` is what was still to be written.
    pub(crate) fn writing(path: &Path, needed: u64, source: io::Error) -> Self {
        // FileTooLarge is what a resource limit on file size gives.
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
        if full.contains(&source.kind()) {
            Self::NoSpace { path: path.to_owned(), needed, source }
        } else {
            Self::Io { action: "writing", path: path.to_owned(), source }
        }
    }

    /// Whether this is a full disk.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }
}
