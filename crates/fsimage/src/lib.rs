//! File trees and the file systems made from them, in user space: ext4 and cpio, the same bytes every time.
//!
//! [`scan()`] takes a directory of the host into a [`FileTree`], [`ext4::write`] and [`cpio::write`] make images of
//! one, [`ext4::Reader`] and [`cpio::read`] read them back; [`dump()`] and [`compare()`] show what is in a tree and
//! what two of them differ in.

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
