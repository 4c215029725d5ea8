//! ext4 in user space: [`write`](write()) makes a file system from a tree, [`format()`] an empty one on a device,
//! [`Reader`] reads one.
//!
//! The format is the kernel's ("ext4 Data Structures and Algorithms" in its documentation). The written file systems
//! have extents, 64-bit block numbers, `flex_bg`, hashed directories, checksums on all metadata, nanosecond times and,
//! if requested, a journal. Every byte depends only on the tree and the options.

mod acl;
mod checksum;
mod directory;
mod error;
mod extents;
mod field;
mod fill;
mod format;
mod geometry;
mod hash;
mod holes;
mod inode;
mod inventory;
mod journal;
mod layout;
mod options;
mod pieces;
mod plan;
mod read;
mod stream;
mod superblock;
mod write;
mod xattrs;

pub use error::WriteError;
pub use fill::format;
pub use options::{Ext4Options, Ext4Report, Inodes, Journal, OnErrors, Size};
pub use read::{EntryKind, Ext4Entry, FileReader, Limits, ReadError, Reader, Superblock, read};
pub use write::{write, write_watched};
