//! What can be wrong with a `.deb`.

use std::io;

/// Why a `.deb` file cannot be read. The caller adds which file it was.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// Reading failed, or a compressed member is damaged.
    #[error("reading {what}: {source}")]
    Read {
        /// What was being read.
        what: String,
        /// The failure.
        source: io::Error,
    },
    /// Not an ar(5) archive, or one that is damaged.
    #[error("not a .deb: {0}")]
    Container(String),
    /// The `debian-binary` member names a version other than 2.x.
    #[error("format version {0:?} is not 2.x; this needs a newer rocbed")]
    Version(String),
    /// A member compressed with something that is not supported.
    #[error(
        "member {0:?} is compressed with a method that is not supported (supported: none, gz, xz, lzma, zst); repack it with dpkg-deb -Zxz"
    )]
    Compression(String),
    /// The tar archive in a member breaks its format, or uses what a .deb may not.
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
