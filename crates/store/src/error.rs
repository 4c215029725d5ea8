//! Errors of the store.

use std::io;
use std::path::{Path, PathBuf};

use advice::{Advise, Help};
use sha256::Digest;

/// A store operation that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A system call failed.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was being done, as a gerund ("writing").
        action: &'static str,
        /// Path it was done to.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },

    /// The file system, or a quota on it, is full.
    #[error("writing {}: {source}; {needed} more bytes are needed there", path.display())]
    NoSpace {
        /// The file that could not be written.
        path: PathBuf,
        /// Number of bytes still to be written, as far as known.
        needed: u64,
        /// Error of the operating system.
        source: io::Error,
    },

    /// The content does not match its digest.
    #[error("{label}: expected SHA-256 {expected}, got {got}")]
    WrongDigest {
        /// Description of the content.
        label: String,
        /// Expected digest.
        expected: Digest,
        /// Actual digest.
        got: Digest,
    },

    /// The content is longer or shorter than announced.
    #[error("{label}: expected {expected} bytes, got {got}")]
    WrongSize {
        /// Description of the content.
        label: String,
        /// Expected size in bytes.
        expected: u64,
        /// Actual size in bytes; if longer than expected, reading stopped soon after that.
        got: u64,
    },

    /// No complete entry with this digest is stored.
    #[error("{0} is not in the store")]
    NotStored(Digest),

    /// Another process has the store open, so nothing can be removed from it.
    #[error("{}: another process is using the store", .0.display())]
    Busy(PathBuf),

    /// The key of a named value cannot be a file name.
    #[error("{0:?} is not a metadata key: it takes 1 to 200 of a-z, A-Z, 0-9, '.', '_', '-', not beginning with '.'")]
    BadKey(String),

    /// An entry's description cannot be read.
    #[error("reading {}: {source}", path.display())]
    BadDescription {
        /// Path of the description.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },

    /// There is no directory for a cache.
    #[error("no cache directory: neither XDG_CACHE_HOME nor HOME is an absolute path")]
    NoCacheDirectory,
}

impl Advise for StoreError {
    fn help(&self) -> Help {
        match self {
            Self::NoSpace { .. } => [
                "free some space there",
                "remove what the cache no longer needs: rocbed cache prune",
                "or put the cache elsewhere with XDG_CACHE_HOME",
            ]
            .into(),
            Self::Busy(_) => "try again when it has finished".into(),
            Self::NoCacheDirectory => "set one of them".into(),
            _ => Help::none(),
        }
    }
}

impl StoreError {
    /// Makes a closure that adds action and path to an [`io::Error`].
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// As [`Self::io`] for writing, where a full disk is a separate error; `needed` is the number of bytes still to be
    /// written.
    pub(crate) fn writing(path: &Path, needed: u64, source: io::Error) -> Self {
        // FileTooLarge is reported when a resource limit on file size is reached.
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
        if full.contains(&source.kind()) {
            Self::NoSpace { path: path.to_owned(), needed, source }
        } else {
            Self::Io { action: "writing", path: path.to_owned(), source }
        }
    }
}
