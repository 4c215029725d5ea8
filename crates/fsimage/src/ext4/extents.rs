//! Extent trees: the mapping from a file's blocks to blocks of the image ("ext4 Data Structures: The Extent Tree").

use super::checksum::crc;
use super::field::{put16, put32};
use super::format::{BLOCK, EXTENT_MAGIC};

/// Maximum number of blocks of an extent; more would mean "allocated but not written".
const MAX_LENGTH: u64 = 32768;
/// Maximum number of entries in the root, which is in the inode.
const IN_INODE: usize = 4;
/// Maximum number of entries in a block: 12 bytes of header, 12 for each entry, 4 of checksum.
const IN_BLOCK: usize = (BLOCK - 12 - 4) / 12;

/// A contiguous range of a file's blocks in the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Number of the first block in the file.
    pub(super) logical: u64,
    /// Number of the first block in the image.
    pub(super) physical: u64,
    /// Number of blocks, in total at most 2^32.
    pub(super) length: u64,
}

/// Splits extents that are longer than the format allows.
pub(super) fn split(extents: &[Extent]) -> Vec<Extent> {
    let mut pieces = Vec::with_capacity(extents.len());
    for extent in extents {
        let mut done = 0;
        while done < extent.length {
            let length = (extent.length - done).min(MAX_LENGTH);
            pieces.push(Extent { logical: extent.logical + done, physical: extent.physical + done, length });
            done += length;
        }
    }
    pieces
}

/// Number of blocks of the tree for this many extents (after [`split`]), without the root in the inode.
pub(super) fn tree_blocks(extents: usize) -> u64 {
    let (mut entries, mut blocks) = (extents, 0);
    while entries > IN_INODE {
        entries = entries.div_ceil(IN_BLOCK);
        blocks += entries as u64;
    }
    blocks
}

/// An encoded tree.
pub(super) struct ExtentTree {
    /// `i_block`.
    pub(super) root: [u8; 60],
    /// The other nodes, each with its block number.
    pub(super) nodes: Vec<(u64, Vec<u8>)>,
}

/// Encodes the tree of extents (after [`split`]). `blocks` are for its nodes, as many as [`tree_blocks`] returns.
pub(super) fn encode(extents: &[Extent], mut blocks: impl Iterator<Item = u64>, seed: u32) -> ExtentTree {
    let mut nodes = Vec::new();
    let mut entries: Vec<(u64, [u8; 12])> = extents.iter().map(|extent| (extent.logical, leaf_entry(extent))).collect();
    let mut depth = 0;
    while entries.len() > IN_INODE {
        let mut above = Vec::with_capacity(entries.len().div_ceil(IN_BLOCK));
        for (part, block) in entries.chunks(IN_BLOCK).zip(&mut blocks) {
            let mut node = vec![0; BLOCK];
            fill(&mut node, part, IN_BLOCK, depth);
            let checksum = crc(seed, &node[..BLOCK - 4]);
            put32(&mut node, BLOCK - 4, checksum);
            nodes.push((block, node));
            above.push((part[0].0, index_entry(part[0].0, block)));
        }
        entries = above;
        depth += 1;
    }
    let mut root = [0; 60];
    fill(&mut root, &entries, IN_INODE, depth);
    ExtentTree { root, nodes }
}

/// Writes `struct ext4_extent_header` and the entries after it.
fn fill(node: &mut [u8], entries: &[(u64, [u8; 12])], room: usize, depth: u16) {
    put16(node, 0, EXTENT_MAGIC);
    put16(node, 2, entries.len() as u16);
    put16(node, 4, room as u16);
    put16(node, 6, depth);
    for (place, (_, entry)) in node[12..].chunks_exact_mut(12).zip(entries) {
        place.copy_from_slice(entry);
    }
}

/// `struct ext4_extent`.
fn leaf_entry(extent: &Extent) -> [u8; 12] {
    let mut entry = [0; 12];
    put32(&mut entry, 0, extent.logical as u32);
    put16(&mut entry, 4, extent.length as u16);
    put16(&mut entry, 6, (extent.physical >> 32) as u16);
    put32(&mut entry, 8, extent.physical as u32);
    entry
}

/// `struct ext4_extent_idx`.
fn index_entry(logical: u64, block: u64) -> [u8; 12] {
    let mut entry = [0; 12];
    put32(&mut entry, 0, logical as u32);
    put32(&mut entry, 4, block as u32);
    put16(&mut entry, 8, (block >> 32) as u16);
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_extents_are_cut_at_32768_blocks() {
        let pieces = split(&[Extent { logical: 5, physical: 100, length: 70_000 }]);
        assert_eq!(pieces.iter().map(|piece| piece.length).collect::<Vec<_>>(), [32768, 32768, 4464]);
        assert_eq!(pieces[2].logical, 5 + 65536);
        assert_eq!(pieces[2].physical, 100 + 65536);
    }

    #[test]
    fn a_tree_grows_a_level_when_its_root_is_full() {
        assert_eq!(tree_blocks(4), 0);
        assert_eq!(tree_blocks(5), 1);
        assert_eq!(tree_blocks(4 * 340), 4);
        assert_eq!(tree_blocks(4 * 340 + 1), 5 + 1);
    }
}
