//! Writes a tree as an ext4 file system.

use std::fs::File;

use progress::{Progress, Unit};
use sha256::Hasher;

use super::error::WriteError;
use super::options::{Ext4Options, Ext4Report};
use super::plan::{Plan, lost_found};
use super::stream::Target;
use crate::tree::FileTree;

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
    write_watched(tree, image, offset, options, progress, &|_, _| {}).map(|(report, _)| report)
}

/// Like [`write`], for a file in which something about the file system stands behind it. `each` gets all bytes of the file
/// system in pieces of whole blocks, each with its offset, from several threads and in any order. If
/// [`Ext4Options::digest`] is set, returns the hasher that has hashed them, for what follows.
///
/// # Errors
/// As [`write`].
pub fn write_watched(
    tree: &FileTree,
    image: &File,
    offset: u64,
    options: &Ext4Options,
    progress: &dyn Progress,
    each: &(dyn Fn(u64, &[u8]) + Sync),
) -> Result<(Ext4Report, Option<Hasher>), WriteError> {
    let lost_found = lost_found(options);
    let plan = Plan::new(tree, &lost_found, options)?;
    let size = plan.layout.size;
    lengthen(image, offset + size).map_err(|source| WriteError::Write { offset, source })?;
    let task = progress.task("writing the ext4 file system", Some(size), Unit::Bytes);
    let target = Target { image, offset, size, task: task.as_ref(), each };
    let hasher = target.write(&plan.image.pieces, options.digest)?;
    Ok((plan.report(hasher.clone().map(Hasher::finish)), hasher))
}

/// Extends a regular file to at least that length; a device is left as it is.
fn lengthen(image: &File, length: u64) -> std::io::Result<()> {
    let metadata = image.metadata()?;
    if metadata.is_file() && metadata.len() < length { image.set_len(length) } else { Ok(()) }
}
