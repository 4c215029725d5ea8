//! [`Error`]: an image that could not be written.

use std::io;

/// An image that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file has changed since the tree was made.
    #[error("{path}: it has changed while the layer was made, it is no longer {length} bytes long")]
    Changed {
        /// Path in the tree.
        path: String,
        /// Length in bytes in the tree.
        length: u64,
    },
    /// In a layer this name says that a file of the layers below is removed.
    #[error("{0}: names that begin with .wh. are reserved for removed files in a layer")]
    Whiteout(String),
    /// Reading a file's content failed.
    #[error("{path}: reading its content: {source}")]
    Read {
        /// Path in the tree.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// A time is not one of the years 1970 to 9999.
    #[error("{0} seconds since 1970 is not a time that an image can have")]
    Time(i64),
    /// Writing failed.
    #[error("writing {what}: {source}")]
    Write {
        /// What was written.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err` where something is written.
    pub(crate) fn writing(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Write { what, source }
    }
}
