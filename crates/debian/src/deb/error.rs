//! Errors of reading a `.deb`.

use std::io;

use crate::compression::MEMORY;

/// A `.deb` file that cannot be read. The caller adds the file name.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// Reading failed, or a compressed member is damaged.
    #[error("reading {what}: {source}")]
    Read {
        /// Part that was being read.
        what: String,
        /// The cause.
        source: io::Error,
    },
    /// The file is not an ar(5) archive, or it is damaged.
    #[error("not a .deb: {0}")]
    Container(String),
    /// The `debian-binary` member names a version other than 2.x.
    #[error("format version {0:?} is not 2.x; this needs a newer rocbed")]
    Version(String),
    /// The data archive is larger than a package of its Installed-Size has any use for.
    #[error(
        "it unpacks to more than {0} bytes, the limit for what its Installed-Size says; \
         a package like this fills disks, on purpose or by mistake"
    )]
    TooLarge(u64),
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
    /// Adds the part that was being read.
    pub fn read(what: &str) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Read { what: what.to_owned(), source: explained(source) }
    }

    /// An error of the reader of tar archives.
    pub(super) fn tar(error: tarball::Error) -> Self {
        match error {
            tarball::Error::Read { what, source } => Self::read(what)(source),
            tarball::Error::TooLarge(limit) => Self::TooLarge(limit),
            tarball::Error::Refused(reason) => Self::Tar(reason),
        }
    }
}

/// Adds an explanation to the xz decoder's error, which is only "memory limit", and to that of a reached limit.
pub(super) fn explained(error: io::Error) -> io::Error {
    let memory = |error: &liblzma::stream::Error| *error == liblzma::stream::Error::MemLimit;
    if error.get_ref().and_then(|inner| inner.downcast_ref()).is_some_and(memory) {
        let text = format!("unpacking it takes more than {} MiB of memory, which dpkg-deb never needs", MEMORY >> 20);
        return io::Error::new(io::ErrorKind::OutOfMemory, text);
    }
    match tarball::too_large(&error) {
        Some(limit) => io::Error::new(io::ErrorKind::FileTooLarge, DebError::TooLarge(limit)),
        None => error,
    }
}
