//! [`Entry`]: a file, directory or link in an archive, and [`EntryKind`], which of them it is.

use std::collections::BTreeMap;

/// Type of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file; its content follows.
    File,
    /// A directory.
    Directory,
    /// A symbolic link with this target: not empty, without NUL bytes.
    Symlink(Vec<u8>),
    /// A hard link to an earlier entry, with that entry's cleaned path.
    HardLink(Vec<u8>),
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

impl EntryKind {
    /// The target of a link.
    pub fn target(&self) -> Option<&[u8]> {
        match self {
            Self::Symlink(target) | Self::HardLink(target) => Some(target),
            _ => None,
        }
    }
}

/// A point in time: seconds since 1970 (negative before) and nanoseconds (0..1e9) after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Time {
    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down.
    pub seconds: i64,
    /// Nanoseconds after `seconds`, less than 1,000,000,000.
    pub nanoseconds: u32,
}

/// An entry of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative, without `.`, `..` and empty parts; empty for the archive's top directory.
    pub path: Vec<u8>,
    /// Type of the entry.
    pub kind: EntryKind,
    /// Permission bits, `0o7777` at most.
    pub mode: u16,
    /// Owner's user id: names are ignored, as Debian's static ids are the same everywhere.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Modification time.
    pub mtime: Time,
    /// Length of the content in bytes; 0 for everything but files.
    pub size: u64,
    /// Extended attributes (PAX `SCHILY.xattr.*`).
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}
