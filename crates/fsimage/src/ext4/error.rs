//! Why a tree does not become an ext4 file system.

use std::io;

/// Why [`write`](super::write) failed. What it has written by then is of no use.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The tree needs more than [`Size::Given`](super::Size::Given) allows.
    #[error("the files need {needed} bytes, the file system has {given}: give it at least {needed} bytes")]
    NoSpace {
        /// Bytes that would be enough.
        needed: u64,
        /// Bytes there are.
        given: u64,
    },
    /// More inodes than the block groups of that size can have.
    #[error("{inodes} files and directories are more than a file system of {bytes} bytes can hold: make it larger")]
    TooManyInodes {
        /// Inodes wanted.
        inodes: u64,
        /// Bytes of the file system.
        bytes: u64,
    },
    /// Larger than ext4 with 4 KiB blocks goes.
    #[error("{path}: {length} bytes are more than an ext4 file can have (16 TiB)")]
    FileTooLarge {
        /// The file.
        path: String,
        /// Its length in bytes.
        length: u64,
    },
    /// A directory whose index would need three levels.
    #[error("{path}: {entries} entries are too many for a directory")]
    DirectoryTooLarge {
        /// The directory.
        path: String,
        /// How many names are in it.
        entries: usize,
    },
    /// Over 65,000 names for one file.
    #[error("{path}: has {links} hard links, ext4 allows 65000")]
    TooManyLinks {
        /// The file's first name.
        path: String,
        /// How many it has.
        links: u32,
    },
    /// Before 1901 or after 2446.
    #[error("{path}: its time, {seconds} s since 1970, is outside of what ext4 can keep (1901 to 2446)")]
    TimeOutOfRange {
        /// The file.
        path: String,
        /// Its time.
        seconds: i64,
    },
    /// Major over 4095 or minor over 1048575.
    #[error("{path}: there is no device number {major}:{minor} on Linux")]
    BadDevice {
        /// The device node.
        path: String,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// Empty, or over 4095 bytes.
    #[error("{path}: a symbolic link of {length} bytes cannot be made, it has to have 1 to 4095")]
    BadSymlink {
        /// The link.
        path: String,
        /// Length of its target.
        length: usize,
    },
    /// Not one of the name spaces ext4 has, or a name over 255 bytes.
    #[error("{path}: ext4 cannot keep an extended attribute named {name:?}")]
    BadXattrName {
        /// The file.
        path: String,
        /// The attribute.
        name: String,
    },
    /// A `system.posix_acl_*` value that is none.
    #[error("{path}: the value of {name} is no POSIX access control list: {reason}")]
    BadAcl {
        /// The file.
        path: String,
        /// The attribute.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// What the inode has no room for has to fit into one block.
    #[error(
        "{path}: its extended attributes do not fit, {name} ({length} bytes) is too much: about 4 KiB is the most a file can have"
    )]
    XattrsTooLarge {
        /// The file.
        path: String,
        /// The attribute that did not fit any more.
        name: String,
        /// Length of its value.
        length: usize,
    },
    /// e2fsck needs that name for a directory.
    #[error("lost+found in the tree is not a directory: remove it")]
    LostAndFound,
    /// Longer than 16 bytes.
    #[error("the label {0:?} is longer than the 16 bytes ext4 has for it")]
    LabelTooLong(String),
    /// Over 2^48 blocks.
    #[error("the files together are larger than an ext4 file system can be")]
    TooLarge,
    /// A host file is not as it was when the tree was made.
    #[error(
        "{path}: {host} has changed while the image was made: it was {expected} bytes long, now {found}; build again"
    )]
    Changed {
        /// Path in the tree.
        path: String,
        /// Path on the host.
        host: String,
        /// Length in the tree.
        expected: u64,
        /// Length found.
        found: u64,
    },
    /// Reading a file's content failed.
    #[error("{path}: reading {host}: {source}")]
    Read {
        /// Path in the tree.
        path: String,
        /// Path on the host.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// Writing the image failed.
    #[error("writing the ext4 file system at byte {offset} of the image: {source}")]
    Write {
        /// Where in the image file.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
}

/// A path as error messages show it: `/` for the root.
pub(super) fn shown(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}
