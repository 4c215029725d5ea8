//! File trees and reproducible file system images made from them in user space: ext4 and cpio.
//!
//! [`scan()`] reads a directory of the host into a [`FileTree`], [`ext4::write`] and [`cpio::write`] make images from
//! it, [`ext4::Reader`] and [`cpio::read`] read them back; [`dump()`] lists a tree, and [`compare()`] lists the
//! differences between two of them.

mod compare;
pub mod cpio;
mod digest;
mod dump;
pub mod ext4;
mod scan;
pub mod tree;

pub use compare::{Difference, compare};
pub use digest::digest_of;
pub use dump::{content_digest, dump};
pub use scan::{ScanError, scan};
pub use tree::{Content, FileTree, Metadata, Node, NodeId, NodeKind, Timestamp, TreeError};
