//! Errors of reading a `.deb`.

use std::io;

/// A `.deb` file that cannot be read. The caller adds the file name.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// Reading failed, or a compressed member is damaged.
    #[error("reading {what}: {source}")]
    Read {
        /// Part that was being read.
        what: String,
        /// Cause.
        source: io::Error,
    },
    /// The file is not an ar(5) archive, or it is damaged.
    #[error("not a .deb: {0}")]
    Container(String),
    /// The `debian-binary` member names a version other than 2.x.
    #[error("format version {0:?} is not 2.x; this needs a newer rocbed")]
    Version(String),
    /// A member uses an unsupported compression.
    #[error(
        "member {0:?} is compressed with a method that is not supported (supported: none, gz, xz, lzma, zst); repack it with dpkg-deb -Zxz"
    )]
    Compression(String),
    /// The tar archive in a member is malformed, or uses features that a .deb must not have.
    #[error("tar archive: {0}")]
    Tar(String),
    /// The `control` file is missing or malformed.
    #[error("control file: {0}")]
    Control(String),
}

impl DebError {
    pub(crate) fn read(what: &str) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Read { what: what.to_owned(), source }
    }
}
