//! Errors of writing an ext4 file system.

use std::io;

use advice::{Advise, Help};

/// Error of [`write`](super::write). The partial output is unusable.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The tree needs more than [`Size::Given`](super::Size::Given) allows.
    #[error("the files need {needed} bytes, the file system has {given}")]
    NoSpace {
        /// Sufficient size in bytes.
        needed: u64,
        /// Given size in bytes.
        given: u64,
    },
    /// The tree needs more inodes than the block groups of that size can have.
    #[error("{inodes} files and directories are more than a file system of {bytes} bytes can hold")]
    TooManyInodes {
        /// Required number of inodes.
        inodes: u64,
        /// Size of the file system in bytes.
        bytes: u64,
    },
    /// A file is larger than ext4 supports with 4 KiB blocks.
    #[error("{path}: {length} bytes are more than an ext4 file can have (16 TiB)")]
    FileTooLarge {
        /// Path of the file.
        path: String,
        /// Length in bytes.
        length: u64,
    },
    /// A directory would need an index of three levels.
    #[error("{path}: {entries} entries are too many for a directory")]
    DirectoryTooLarge {
        /// Path of the directory.
        path: String,
        /// Number of names in it.
        entries: usize,
    },
    /// A file has more than 65,000 names.
    #[error("{path}: has {links} hard links, ext4 allows 65000")]
    TooManyLinks {
        /// First path of the file.
        path: String,
        /// Number of its names.
        links: u32,
    },
    /// A time is before 1901 or after 2446.
    #[error("{path}: its time, {seconds} s since 1970, is outside of what ext4 can keep (1901 to 2446)")]
    TimeOutOfRange {
        /// Path of the file.
        path: String,
        /// Time in seconds since 1970.
        seconds: i64,
    },
    /// A device has a major number over 4095 or a minor number over 1048575.
    #[error("{path}: there is no device number {major}:{minor} on Linux")]
    BadDevice {
        /// Path of the device node.
        path: String,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// The target of a symbolic link is empty, or over 4095 bytes long.
    #[error("{path}: a symbolic link of {length} bytes cannot be made, it has to have 1 to 4095")]
    BadSymlink {
        /// Path of the link.
        path: String,
        /// Length of its target in bytes.
        length: usize,
    },
    /// The name of an extended attribute is in a namespace that ext4 does not support, or over 255 bytes long.
    #[error("{path}: ext4 cannot keep an extended attribute named {name:?}")]
    BadXattrName {
        /// Path of the file.
        path: String,
        /// Name of the attribute.
        name: String,
    },
    /// The value of a `system.posix_acl_*` attribute is not a valid access control list.
    #[error("{path}: the value of {name} is not a POSIX access control list: {reason}")]
    BadAcl {
        /// Path of the file.
        path: String,
        /// Name of the attribute.
        name: String,
        /// Description of the problem.
        reason: &'static str,
    },
    /// Extended attributes that do not fit into the inode have to fit into one block.
    #[error(
        "{path}: its extended attributes do not fit, {name} ({length} bytes) is too much: about 4 KiB is the most a file can have"
    )]
    XattrsTooLarge {
        /// Path of the file.
        path: String,
        /// Name of the attribute that does not fit.
        name: String,
        /// Length of its value in bytes.
        length: usize,
    },
    /// `lost+found` is not a directory, as e2fsck requires.
    #[error("lost+found in the tree is not a directory")]
    LostAndFound,
    /// The label is longer than 16 bytes.
    #[error("the label {0:?} is longer than the 16 bytes ext4 has for it")]
    LabelTooLong(String),
    /// The file system would have more than 2^48 blocks.
    #[error("the files together are larger than an ext4 file system can be")]
    TooLarge,
    /// A file on the host has changed since the tree was made.
    #[error("{path}: {host} has changed while the image was made: it was {expected} bytes long, now {found}")]
    Changed {
        /// Path in the tree.
        path: String,
        /// Path on the host.
        host: String,
        /// Length in bytes in the tree.
        expected: u64,
        /// Actual length in bytes.
        found: u64,
    },
    /// Reading a file's content failed.
    #[error("{path}: reading {host}: {source}")]
    Read {
        /// Path in the tree.
        path: String,
        /// Path on the host.
        host: String,
        /// The cause.
        source: io::Error,
    },
    /// Writing the image failed.
    #[error("writing the ext4 file system at byte {offset} of the image: {source}")]
    Write {
        /// Offset in the image file in bytes.
        offset: u64,
        /// The cause.
        source: io::Error,
    },
}

impl Advise for WriteError {
    fn help(&self) -> Help {
        match self {
            Self::NoSpace { needed, .. } => format!("give the file system at least {needed} bytes").into(),
            Self::TooManyInodes { .. } => "give the file system more bytes".into(),
            Self::LostAndFound => "leave it out: the file system gets one of its own".into(),
            Self::Changed { .. } => "build again".into(),
            _ => Help::none(),
        }
    }
}

/// A path as shown in error messages: `/` for the root.
pub(super) fn shown(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}
