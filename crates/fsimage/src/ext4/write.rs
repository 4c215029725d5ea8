//! Writes a tree as an ext4 file system.

use std::fs::File;

use progress::{Progress, Unit};

use super::error::WriteError;
use super::inventory;
use super::layout::{Draft, Layout};
use super::options::{Ext4Options, Ext4Report};
use super::pieces;
use super::stream::Target;
use crate::tree::{FileTree, Metadata, Node, NodeKind, Timestamp};

/// Writes a tree as an ext4 file system into `image` at byte `offset`.
///
/// Blocks of zeros are not written, so that place in the file has to be a hole or zero. A file that is too short is
/// extended; nothing before or behind the file system changes. `lost+found` is added if the tree does not have it.
/// Memory use does not depend on the size of the files.
///
/// # Errors
/// If the tree has something that ext4 cannot store, does not fit, or reading or writing fails. See [`WriteError`].
pub fn write(
    tree: &FileTree,
    image: &File,
    offset: u64,
    options: &Ext4Options,
    progress: &dyn Progress,
) -> Result<Ext4Report, WriteError> {
    if options.label.len() > 16 {
        return Err(WriteError::LabelTooLong(options.label.clone()));
    }
    let time = Timestamp::from_seconds(options.timestamp.cast_signed());
    let lost_found = Node { kind: NodeKind::Directory, metadata: Metadata::root(0o700, time) };
    let items = inventory::take(tree, &lost_found)?;
    let drafts = items.into_iter().map(|item| Draft::new(item, options)).collect::<Result<Vec<_>, _>>()?;
    let layout = Layout::new(&drafts, options)?;
    let made = pieces::make(drafts, &layout, options)?;

    lengthen(image, offset + layout.size).map_err(|source| WriteError::Write { offset, source })?;
    let task = progress.task("writing the ext4 file system", Some(layout.size), Unit::Bytes);
    let target = Target { image, offset, size: layout.size, task: task.as_ref() };
    let sha256 = target.write(&made.pieces, options.digest)?;
    Ok(Ext4Report {
        size: layout.size,
        used_blocks: layout.geometry.blocks - made.free_blocks,
        blocks: layout.geometry.blocks,
        used_inodes: made.used_inodes,
        inodes: layout.geometry.inodes() as u32,
        sha256,
    })
}

/// Extends a regular file to at least that length; a device is left as it is.
fn lengthen(image: &File, length: u64) -> std::io::Result<()> {
    let metadata = image.metadata()?;
    if metadata.is_file() && metadata.len() < length { image.set_len(length) } else { Ok(()) }
}
