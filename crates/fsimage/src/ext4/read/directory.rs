//! Reads the names in a directory. Indexes are skipped: their blocks look empty to a linear reader.

use std::io::{Read, Seek};

use super::error::{ReadError, damaged};
use super::extents;
use super::image::{Image, RawInode};
use crate::ext4::checksum::crc;
use crate::ext4::field::{get8, get16, get32};
use crate::ext4::format::INCOMPAT_FILETYPE;

/// Calls `each` with every name and inode of a directory but `.` and `..`, in the order of the blocks.
pub(super) fn for_each<R: Read + Seek>(
    image: &mut Image<R>,
    inode: &RawInode,
    mut each: impl FnMut(&[u8], u32) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let extents = extents::of(image, inode)?;
    let mut left = image.superblock.blocks;
    let seed = image.superblock.has_checksums().then(|| inode.seed(image.superblock.seed));
    let long_names = image.superblock.features[1] & INCOMPAT_FILETYPE == 0;
    for number in extents.iter().flat_map(|extent| extent.physical..extent.physical + extent.length) {
        // A repeated block could otherwise cause an endless loop.
        left = match left.checked_sub(1) {
            Some(left) => left,
            None => return damaged(format!("directory {} is larger than the file system", inode.number)),
        };
        let block = image.block(number)?;
        names(&block, seed, long_names, &mut each).map_err(|error| match error {
            Some(error) => error,
            None => ReadError::Damaged(format!("directory {}, block {number}: bad entry or checksum", inode.number)),
        })?;
    }
    Ok(())
}

/// The names in one block. An error of `None` is about the block itself.
fn names(
    block: &[u8],
    seed: Option<u32>,
    long_names: bool,
    each: &mut impl FnMut(&[u8], u32) -> Result<(), ReadError>,
) -> Result<(), Option<ReadError>> {
    if let (Some(seed), Some((entries, tail))) = (seed, block.split_at_checked(block.len().saturating_sub(12))) {
        let is_tail = get32(tail, 0) == 0 && get32(tail, 4) == 0xde00_000c;
        if is_tail && get32(tail, 8) != crc(seed, entries) {
            return Err(None);
        }
    }
    let mut rest = block;
    while !rest.is_empty() {
        let inode = get32(rest, 0);
        let size = match usize::from(get16(rest, 4)) {
            0 | 0xffff if block.len() == 0x1_0000 => rest.len(), // 64 KiB do not fit into the field
            size => size,
        };
        let length = usize::from(if long_names { get16(rest, 6) } else { u16::from(get8(rest, 6)) });
        let (entry, after) = rest.split_at_checked(size).ok_or(None)?;
        if size < 8 {
            return Err(None);
        }
        if inode != 0 {
            let name = entry.get(8..8 + length).ok_or(None)?;
            if name.is_empty() || name.contains(&0) || name.contains(&b'/') {
                return Err(None);
            }
            if name != b"." && name != b".." {
                each(name, inode).map_err(Some)?;
            }
        }
        rest = after;
    }
    Ok(())
}
