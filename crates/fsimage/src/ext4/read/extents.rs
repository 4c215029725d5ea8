//! Finds an inode's content: by its extent tree, or by the block lists of ext2 and ext3.

use std::io::{Read, Seek};

use super::error::{ReadError, damaged};
use super::image::{Image, RawInode};
use crate::ext4::checksum::crc;
use crate::ext4::extents::Extent;
use crate::ext4::field::{get16, get32};
use crate::ext4::format::{EXTENT_MAGIC, INODE_EXTENTS};

/// The kernel's own limit for the depth of a tree.
const MOST_LEVELS: u16 = 5;
/// Limit on the number of extents of a file, which bounds the memory for them.
const MOST_EXTENTS: usize = 1 << 20;

/// The extents of an inode, in the order of the file, without holes and unwritten extents.
pub(super) fn of<R: Read + Seek>(image: &mut Image<R>, inode: &RawInode) -> Result<Vec<Extent>, ReadError> {
    let mut walk = Walk { image, inode, extents: Vec::new(), next: 0, nodes: 0 };
    if inode.flags() & INODE_EXTENTS != 0 {
        let root = inode.block().to_vec();
        let depth = get16(&root, 6);
        if depth > MOST_LEVELS {
            return damaged(format!("the extent tree of inode {} is too deep", inode.number));
        }
        walk.node(&root, depth)?;
    } else {
        walk.block_list()?;
    }
    Ok(walk.extents)
}

struct Walk<'i, R> {
    image: &'i mut Image<R>,
    inode: &'i RawInode,
    extents: Vec<Extent>,
    /// The next expected block of the file; all before were seen.
    next: u64,
    /// Number of blocks of the tree that were read.
    nodes: u64,
}

impl<R: Read + Seek> Walk<'_, R> {
    fn damaged<T>(&self, what: &str) -> Result<T, ReadError> {
        damaged(format!("inode {}: {what}", self.inode.number))
    }

    fn node(&mut self, node: &[u8], depth: u16) -> Result<(), ReadError> {
        let entries = usize::from(get16(node, 2));
        if get16(node, 0) != EXTENT_MAGIC || get16(node, 6) != depth || 12 + 12 * entries > node.len() {
            return self.damaged("a node of the extent tree is none");
        }
        for entry in node.get(12..12 + 12 * entries).unwrap_or_default().chunks_exact(12) {
            if depth == 0 {
                self.leaf(entry)?;
                continue;
            }
            let block = u64::from(get32(entry, 4)) | u64::from(get16(entry, 8)) << 32;
            self.count_node()?;
            let child = self.image.block(block)?;
            let tail = 12 + 12 * usize::from(get16(&child, 4));
            if self.image.superblock.has_checksums() {
                let seed = self.inode.seed(self.image.superblock.seed);
                if child.get(..tail).map(|bytes| crc(seed, bytes)) != Some(get32(&child, tail)) {
                    return self.damaged("the checksum of a node of the extent tree is wrong");
                }
            }
            self.node(&child, depth - 1)?;
        }
        Ok(())
    }

    fn leaf(&mut self, entry: &[u8]) -> Result<(), ReadError> {
        let (logical, length) = (u64::from(get32(entry, 0)), u64::from(get16(entry, 4)));
        let physical = u64::from(get32(entry, 8)) | u64::from(get16(entry, 6)) << 32;
        let unwritten = length > 32768;
        let length = if unwritten { length - 32768 } else { length };
        if length == 0 || logical < self.next {
            return self.damaged("its extents are not in order");
        }
        self.next = logical + length;
        if unwritten { Ok(()) } else { self.push(Extent { logical, physical, length }) }
    }

    fn push(&mut self, extent: Extent) -> Result<(), ReadError> {
        let superblock = &self.image.superblock;
        if extent.physical < superblock.first_data_block
            || extent.physical.saturating_add(extent.length) > superblock.blocks
        {
            return self.damaged("an extent goes beyond the end");
        }
        if self.extents.len() >= MOST_EXTENTS {
            return self.damaged("it has too many extents");
        }
        match self.extents.last_mut() {
            Some(last)
                if last.logical + last.length == extent.logical && last.physical + last.length == extent.physical =>
            {
                last.length += extent.length;
            }
            _ => self.extents.push(extent),
        }
        Ok(())
    }

    /// A tree cannot have more nodes than the file system has blocks.
    fn count_node(&mut self) -> Result<(), ReadError> {
        self.nodes += 1;
        if self.nodes > self.image.superblock.blocks { self.damaged("its block tree has a loop") } else { Ok(()) }
    }

    /// Reads a block list: twelve blocks, then lists of blocks one, two and three levels deep.
    fn block_list(&mut self) -> Result<(), ReadError> {
        let blocks = self.inode.size().div_ceil(self.image.block_size());
        let list = self.inode.block().to_vec();
        for (at, word) in list.chunks_exact(4).enumerate() {
            let levels = at.saturating_sub(11) as u32;
            self.indirect(u64::from(get32(word, 0)), levels, blocks)?;
        }
        Ok(())
    }

    fn indirect(&mut self, block: u64, levels: u32, end: u64) -> Result<(), ReadError> {
        if self.next >= end {
            return Ok(());
        }
        let per_block = self.image.block_size() / 4;
        if block == 0 {
            self.next = self.next.saturating_add(per_block.saturating_pow(levels));
            return Ok(());
        }
        if levels == 0 {
            let extent = Extent { logical: self.next, physical: block, length: 1 };
            self.next += 1;
            return self.push(extent);
        }
        self.count_node()?;
        let list = self.image.block(block)?;
        list.chunks_exact(4).try_for_each(|word| self.indirect(u64::from(get32(word, 0)), levels - 1, end))
    }
}
