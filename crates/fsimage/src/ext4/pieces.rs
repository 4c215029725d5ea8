//! Converts a layout to the list of everything to write, in the order of the image.

use super::checksum::{self, crc};
use super::error::{WriteError, shown};
use super::extents;
use super::format::{
    BLOCK, BLOCK_SIZE, BLOCKS_PER_GROUP, FAST_SYMLINK, INODE_EXTENTS, INODE_INDEX, INODE_SIZE, JOURNAL_INODE, S_IFREG,
    SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE,
};
use super::inode::{Inode, encode_device, mode_of};
use super::layout::{Draft, InodePlacement, Layout};
use super::options::Ext4Options;
use super::superblock::{self, Descriptor, Totals};
use super::{journal, xattrs};
use crate::tree::{Content, Metadata, NodeKind, Timestamp};

/// Origin of a piece's bytes.
pub(super) enum Source<'t> {
    /// Metadata made by this crate.
    Metadata(Vec<u8>),
    /// A part of a file.
    Content {
        path: &'t [u8],
        content: &'t Content,
        /// Offset in the file in bytes.
        at: u64,
    },
}

/// Bytes to write from the beginning of a block on.
pub(super) struct Piece<'t> {
    pub(super) block: u64,
    /// Length in bytes.
    pub(super) length: u64,
    pub(super) source: Source<'t>,
}

impl Piece<'_> {
    fn metadata(block: u64, bytes: Vec<u8>) -> Self {
        Self { block, length: bytes.len() as u64, source: Source::Metadata(bytes) }
    }
}

/// Everything to write, and the counts.
pub(super) struct Image<'t> {
    /// Sorted by their blocks, not overlapping.
    pub(super) pieces: Vec<Piece<'t>>,
    pub(super) free_blocks: u64,
    /// Number of used inodes, which are numbered from 1 up.
    pub(super) used_inodes: u32,
}

/// Makes the pieces of a layout.
pub(super) fn make<'t>(
    drafts: Vec<Draft<'t>>,
    layout: &Layout,
    options: &Ext4Options,
) -> Result<Image<'t>, WriteError> {
    let mut maker = Maker::new(layout, options);
    let used_inodes = drafts.last().map_or(0, |draft| draft.item.number);
    for (draft, place) in drafts.into_iter().zip(&layout.places) {
        maker.add(draft, place)?;
    }
    let journal = layout.journal.as_ref().map(|place| maker.add_journal(place)).transpose()?;
    let free_blocks = maker.add_groups(used_inodes, journal);
    let mut pieces = maker.pieces;
    pieces.sort_unstable_by_key(|piece| piece.block);
    Ok(Image { pieces, free_blocks, used_inodes })
}

struct Maker<'t, 'l> {
    layout: &'l Layout,
    options: &'l Ext4Options,
    seed: u32,
    pieces: Vec<Piece<'t>>,
    /// The used parts of the inode tables.
    tables: Vec<Vec<u8>>,
    /// Number of directories in each group.
    directories: Vec<u32>,
}

impl<'t, 'l> Maker<'t, 'l> {
    fn new(layout: &'l Layout, options: &'l Ext4Options) -> Self {
        let groups = layout.geometry.groups.len();
        let seed = checksum::file_system_seed(&options.uuid);
        Self {
            layout,
            options,
            seed,
            pieces: Vec::new(),
            tables: vec![Vec::new(); groups],
            directories: vec![0; groups],
        }
    }

    fn add(&mut self, draft: Draft<'t>, place: &InodePlacement) -> Result<(), WriteError> {
        let Draft { item, xattrs, directory, .. } = draft;
        let node = item.node;
        let seed = checksum::inode_seed(self.seed, item.number, 0);
        let (block, mut blocks) = self.extent_tree(place, seed);
        let mut inode = Inode {
            mode: mode_of(&node.kind) | node.metadata.mode & 0o7777,
            metadata: &node.metadata,
            size: 0,
            links: item.links,
            blocks: 0,
            flags: INODE_EXTENTS,
            block,
            xattr_block: place.xattr_block,
            xattrs: &xattrs.in_inode,
        };
        match &node.kind {
            NodeKind::Directory => {
                let group = self.group_of(item.number);
                self.directories[group] += 1;
                if let Some(made) = directory {
                    inode.size = made.bytes.len() as u64;
                    inode.flags |= if made.indexed { INODE_INDEX } else { 0 };
                    self.add_content(place, &made.bytes);
                }
            }
            NodeKind::File(content) => {
                inode.size = content.len();
                self.pieces.extend(place.extents.iter().map(|extent| {
                    let at = extent.logical * BLOCK_SIZE;
                    let length = (extent.length * BLOCK_SIZE).min(content.len() - at);
                    Piece { block: extent.physical, length, source: Source::Content { path: item.path, content, at } }
                }));
            }
            NodeKind::Symlink(target) => {
                inode.size = target.len() as u64;
                if target.len() < FAST_SYMLINK {
                    inode.flags = 0;
                    inode.block = [0; 60];
                    inode.block[..target.len()].copy_from_slice(target);
                } else {
                    self.add_content(place, target);
                }
            }
            NodeKind::CharDevice { major, minor } | NodeKind::BlockDevice { major, minor } => {
                inode.flags = 0;
                inode.block = encode_device(*major, *minor).ok_or_else(|| WriteError::BadDevice {
                    path: shown(item.path),
                    major: *major,
                    minor: *minor,
                })?;
            }
            NodeKind::Fifo | NodeKind::Socket => {
                inode.flags = 0;
                inode.block = [0; 60];
            }
        }
        if let Some(mut bytes) = xattrs.block {
            xattrs::seal_block(&mut bytes, place.xattr_block, self.seed);
            self.pieces.push(Piece::metadata(place.xattr_block, bytes));
            blocks += 1;
        }
        inode.blocks = blocks;
        let bytes = inode.encode(item.path, seed)?;
        self.put_inode(item.number, &bytes);
        Ok(())
    }

    /// Adds the journal's inode and first block. Returns its data for the superblock.
    fn add_journal(&mut self, place: &InodePlacement) -> Result<([u8; 60], u64), WriteError> {
        let seed = checksum::inode_seed(self.seed, JOURNAL_INODE, 0);
        let (block, blocks) = self.extent_tree(place, seed);
        let length: u64 = place.extents.iter().map(|extent| extent.length).sum();
        let metadata = Metadata::root(0o600, Timestamp::from_seconds(self.options.timestamp.cast_signed()));
        let inode = Inode {
            mode: S_IFREG | metadata.mode,
            metadata: &metadata,
            size: length * BLOCK_SIZE,
            links: 1,
            blocks,
            flags: INODE_EXTENTS,
            block,
            xattr_block: 0,
            xattrs: &[],
        };
        let bytes = inode.encode(b"the journal", seed)?;
        self.put_inode(JOURNAL_INODE, &bytes);
        self.add_content(place, &journal::superblock(length));
        Ok((block, inode.size))
    }

    /// `i_block` of content at this place, and its number of blocks including the extent tree.
    fn extent_tree(&mut self, place: &InodePlacement, seed: u32) -> ([u8; 60], u64) {
        let content: u64 = place.extents.iter().map(|extent| extent.length).sum();
        let extents = extents::split(&place.extents);
        let tree = extents::encode(&extents, place.tree_blocks.iter().cloned().flatten(), seed);
        let blocks = content + tree.nodes.len() as u64;
        self.pieces.extend(tree.nodes.into_iter().map(|(block, bytes)| Piece::metadata(block, bytes)));
        (tree.root, blocks)
    }

    /// Adds content made by this crate, which may be shorter than its place.
    fn add_content(&mut self, place: &InodePlacement, bytes: &[u8]) {
        let mut rest = bytes;
        for extent in &place.extents {
            let (here, after) = rest.split_at(rest.len().min((extent.length * BLOCK_SIZE) as usize));
            self.pieces.push(Piece::metadata(extent.physical, here.to_vec()));
            rest = after;
        }
    }

    fn group_of(&self, inode: u32) -> usize {
        ((inode - 1) / self.layout.geometry.inodes_per_group) as usize
    }

    fn put_inode(&mut self, number: u32, bytes: &[u8; INODE_SIZE]) {
        let group = self.group_of(number);
        let at = ((number - 1) % self.layout.geometry.inodes_per_group) as usize * INODE_SIZE;
        let table = &mut self.tables[group];
        if table.len() < at + INODE_SIZE {
            table.resize(at + INODE_SIZE, 0);
        }
        table[at..at + INODE_SIZE].copy_from_slice(bytes);
    }

    /// Adds inode tables, bitmaps, descriptors and superblocks. Returns the number of free blocks.
    fn add_groups(&mut self, used_inodes: u32, journal: Option<([u8; 60], u64)>) -> u64 {
        let geometry = &self.layout.geometry;
        let per_group = geometry.inodes_per_group;
        let used_blocks = self.layout.geometry.fixed.iter().chain(&self.layout.taken);
        let mut bitmaps = BlockBitmaps::new(geometry.groups.len());
        used_blocks.for_each(|range| bitmaps.mark(range.clone()));
        let (mut descriptors, mut free_blocks) = (Vec::new(), 0);
        for (group, place) in geometry.groups.iter().enumerate() {
            let range = geometry.group_blocks(group);
            let used = bitmaps.used[group];
            let free = range.end - range.start - used;
            free_blocks += free;
            let copy = &geometry.copies[group];
            let last = group + 1 == geometry.groups.len();
            let block_bitmap = (last || used > copy.end - copy.start).then(|| {
                let mut bitmap = bitmaps.take(group);
                set_bits(&mut bitmap, (range.end - range.start) as usize, BLOCK * 8);
                let checksum = crc(self.seed, &bitmap);
                self.pieces.push(Piece::metadata(place.block_bitmap, bitmap));
                checksum
            });
            let used_here = used_inodes.saturating_sub(group as u32 * per_group).min(per_group);
            let inode_bitmap = (used_here > 0).then(|| {
                let mut bitmap = vec![0; BLOCK];
                set_bits(&mut bitmap, 0, used_here as usize);
                set_bits(&mut bitmap, per_group as usize, BLOCK * 8);
                let checksum = crc(self.seed, &bitmap[..per_group as usize / 8]);
                self.pieces.push(Piece::metadata(place.inode_bitmap, bitmap));
                checksum
            });
            let table = std::mem::take(&mut self.tables[group]);
            if !table.is_empty() {
                self.pieces.push(Piece::metadata(place.inode_table, table));
            }
            let descriptor = Descriptor {
                place: *place,
                free_blocks: free as u32,
                free_inodes: per_group - used_here,
                directories: self.directories[group],
                unused_inodes: per_group - used_here,
                block_bitmap,
                inode_bitmap,
            };
            descriptors.extend(descriptor.encode(group as u32, &self.options.uuid));
        }
        let free_inodes = geometry.inodes() as u32 - used_inodes;
        self.add_superblocks(&Totals { free_blocks, free_inodes, journal }, &descriptors);
        free_blocks
    }

    fn add_superblocks(&mut self, totals: &Totals, descriptors: &[u8]) {
        let geometry = &self.layout.geometry;
        let mut superblock = superblock::encode(self.options, geometry, totals);
        for (group, copy) in geometry.copies.iter().enumerate().filter(|(_, copy)| !copy.is_empty()) {
            superblock::for_group(&mut superblock, group as u64);
            // The first 1024 bytes of the image are reserved for boot loaders.
            let offset = if group == 0 { SUPERBLOCK_OFFSET } else { 0 };
            let mut block = vec![0; BLOCK];
            block[offset..offset + SUPERBLOCK_SIZE].copy_from_slice(&superblock);
            self.pieces.push(Piece::metadata(copy.start, block));
            self.pieces.push(Piece::metadata(copy.start + 1, descriptors.to_vec()));
        }
    }
}

/// The block bitmaps of groups with used blocks.
struct BlockBitmaps {
    bitmaps: Vec<Vec<u8>>,
    /// Number of set bits in each.
    used: Vec<u64>,
}

impl BlockBitmaps {
    fn new(groups: usize) -> Self {
        Self { bitmaps: vec![Vec::new(); groups], used: vec![0; groups] }
    }

    fn mark(&mut self, range: std::ops::Range<u64>) {
        let mut at = range.start;
        while at < range.end {
            let group = at / BLOCKS_PER_GROUP;
            let end = range.end.min((group + 1) * BLOCKS_PER_GROUP);
            let start = group * BLOCKS_PER_GROUP;
            let bitmap = &mut self.bitmaps[group as usize];
            bitmap.resize(BLOCK, 0);
            set_bits(bitmap, (at - start) as usize, (end - start) as usize);
            self.used[group as usize] += end - at;
            at = end;
        }
    }

    fn take(&mut self, group: usize) -> Vec<u8> {
        let mut bitmap = std::mem::take(&mut self.bitmaps[group]);
        bitmap.resize(BLOCK, 0);
        bitmap
    }
}

/// Sets the bits `from..to`.
fn set_bits(bitmap: &mut [u8], from: usize, to: usize) {
    let mut bit = from;
    while bit < to {
        if bit.is_multiple_of(8) && to - bit >= 8 {
            let (first, last) = (bit / 8, to / 8);
            bitmap[first..last].fill(0xff);
            bit = last * 8;
        } else {
            bitmap[bit / 8] |= 1 << (bit % 8);
            bit += 1;
        }
    }
}
