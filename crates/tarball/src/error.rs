//! [`Error`]: why an archive is refused or cannot be read.

use std::io;

use crate::too_large;

/// An archive that cannot be read, or is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading failed.
    #[error("reading {what}: {source}")]
    Read {
        /// Part that was being read.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// It has more bytes than [`Rules::bytes`](crate::Rules::bytes).
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    /// It is malformed, or contains what the rules do not allow.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// Adds the part that was being read; a reached limit is an error of its own.
    pub(crate) fn read(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| too_large(&source).map_or(Self::Read { what, source }, Self::TooLarge)
    }

    pub(crate) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused(reason.into())
    }
}
