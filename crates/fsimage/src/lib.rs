//! File trees and the file systems made from them, in user space: ext4 and cpio, the same bytes every time.

pub mod tree;

pub use tree::{Content, FileTree, Metadata, Node, NodeId, NodeKind, Timestamp, TreeError};
