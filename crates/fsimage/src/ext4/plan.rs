//! [`Plan`]: what a tree is as a file system, before anything of it is written.

use sha256::Digest;

use super::error::WriteError;
use super::inventory;
use super::layout::{Draft, Layout};
use super::options::{Ext4Options, Ext4Report};
use super::pieces::{self, Image};
use crate::tree::{FileTree, Metadata, Node, NodeKind, Timestamp};

/// Longest label, in bytes.
const LONGEST_LABEL: usize = 16;

/// A file system to write.
pub(super) struct Plan<'t> {
    pub(super) layout: Layout,
    pub(super) image: Image<'t>,
}

impl<'t> Plan<'t> {
    /// Plans the file system of a tree, with this [`lost_found`] if the tree does not have it.
    pub(super) fn new(tree: &'t FileTree, lost_found: &'t Node, options: &Ext4Options) -> Result<Self, WriteError> {
        if options.label.len() > LONGEST_LABEL {
            return Err(WriteError::LabelTooLong(options.label.clone()));
        }
        let items = inventory::take(tree, lost_found)?;
        let drafts = items.into_iter().map(|item| Draft::new(item, options)).collect::<Result<Vec<_>, _>>()?;
        let layout = Layout::new(&drafts, options)?;
        let image = pieces::make(drafts, &layout, options)?;
        Ok(Self { layout, image })
    }

    /// What there is once it is written, with the image's digest if that was computed.
    pub(super) fn report(&self, sha256: Option<Digest>) -> Ext4Report {
        let geometry = &self.layout.geometry;
        Ext4Report {
            size: self.layout.size,
            used_blocks: geometry.blocks - self.image.free_blocks,
            blocks: geometry.blocks,
            used_inodes: self.image.used_inodes,
            inodes: geometry.inodes() as u32,
            sha256,
        }
    }
}

/// An empty `lost+found`.
pub(super) fn lost_found(options: &Ext4Options) -> Node {
    let time = Timestamp::from_seconds(options.timestamp.cast_signed());
    Node { kind: NodeKind::Directory, metadata: Metadata::root(0o700, time) }
}
