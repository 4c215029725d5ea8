//! Directory blocks: a plain list while it fits into one block, else a hash tree ("ext4 Data Structures: Directory
//! Entries").

use super::checksum::crc;
use super::field::{put16, put32};
use super::format::BLOCK;
use super::hash::{NameHash, half_md4};

/// Bytes of a block available for entries; the checksum takes the rest.
const ROOM: usize = BLOCK - TAIL;
/// Size of `struct ext4_dir_entry_tail`.
const TAIL: usize = 12;
/// Maximum number of children of a hash tree's root, and of a node below it.
const ROOT_LIMIT: usize = 507;
const NODE_LIMIT: usize = 510;

/// File types in directory entries.
pub(super) mod file_type {
    pub(in super::super) const FILE: u8 = 1;
    pub(in super::super) const DIRECTORY: u8 = 2;
    pub(in super::super) const CHAR_DEVICE: u8 = 3;
    pub(in super::super) const BLOCK_DEVICE: u8 = 4;
    pub(in super::super) const FIFO: u8 = 5;
    pub(in super::super) const SOCKET: u8 = 6;
    pub(in super::super) const SYMLINK: u8 = 7;
}

/// One name in a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct DirectoryEntry<'a> {
    pub(super) name: &'a [u8],
    pub(super) inode: u32,
    pub(super) file_type: u8,
}

impl DirectoryEntry<'_> {
    fn size(&self) -> usize {
        (8 + self.name.len()).next_multiple_of(4)
    }
}

/// The blocks of a directory.
pub(super) struct DirectoryBlocks {
    /// All blocks, concatenated, each with its checksum.
    pub(super) bytes: Vec<u8>,
    /// Whether they form a hash tree.
    pub(super) indexed: bool,
}

/// Encodes the blocks of directory `inode` in `parent`. `None` if there are too many entries for two levels of index.
pub(super) fn encode(
    inode: u32,
    parent: u32,
    entries: &[DirectoryEntry<'_>],
    checksum_seed: u32,
    hash_seed: &[u8; 16],
) -> Option<DirectoryBlocks> {
    let dots = [(&b"."[..], inode), (b"..", parent)].map(|(name, inode)| DirectoryEntry {
        name,
        inode,
        file_type: file_type::DIRECTORY,
    });
    let size: usize = dots.iter().chain(entries).map(DirectoryEntry::size).sum();
    if size <= ROOM {
        let bytes = leaf(dots.iter().chain(entries), checksum_seed);
        return Some(DirectoryBlocks { bytes, indexed: false });
    }
    let mut hashed: Vec<_> = entries.iter().map(|entry| (half_md4(entry.name, hash_seed), entry)).collect();
    hashed.sort_unstable_by_key(|(hash, entry)| (*hash, entry.name));
    let leaves = leaves(&hashed);
    // The root is block 0, followed by the nodes, if any, and the leaves.
    let nodes = if leaves.len() <= ROOT_LIMIT { 0 } else { leaves.len().div_ceil(NODE_LIMIT) };
    if nodes > ROOT_LIMIT {
        return None;
    }
    let children: Vec<_> = leaves.iter().enumerate().map(|(at, (hash, _))| (*hash, (1 + nodes + at) as u32)).collect();
    let mut bytes = Vec::with_capacity((1 + nodes + leaves.len()) * BLOCK);
    if nodes == 0 {
        bytes.extend(root(inode, parent, 0, &children, checksum_seed));
    } else {
        let parts = || children.chunks(NODE_LIMIT);
        let top: Vec<_> = parts().enumerate().map(|(at, part)| (part[0].0, 1 + at as u32)).collect();
        bytes.extend(root(inode, parent, 1, &top, checksum_seed));
        parts().for_each(|part| bytes.extend(node(part, checksum_seed)));
    }
    for (_, part) in &leaves {
        bytes.extend(leaf(part.iter().map(|(_, entry)| *entry), checksum_seed));
    }
    Some(DirectoryBlocks { bytes, indexed: true })
}

type Hashed<'e> = (NameHash, &'e DirectoryEntry<'e>);

/// Splits sorted entries into blocks. Each has the lowest hash in it, whose last bit is set if the block before ends
/// with the same hash.
fn leaves<'h, 'e>(hashed: &'h [Hashed<'e>]) -> Vec<(u32, &'h [Hashed<'e>])> {
    let mut leaves = Vec::new();
    let (mut start, mut size) = (0, 0);
    for (at, (_, entry)) in hashed.iter().enumerate() {
        if size + entry.size() > ROOM {
            leaves.push(&hashed[start..at]);
            (start, size) = (at, 0);
        }
        size += entry.size();
    }
    leaves.push(&hashed[start..]);
    let mut last = None;
    leaves
        .into_iter()
        .map(|leaf| {
            let first = leaf[0].0.major;
            let continued = u32::from(last == Some(first));
            last = leaf.last().map(|(hash, _)| hash.major);
            (first | continued, leaf)
        })
        .collect()
}

/// Encodes a block of entries; the last entry extends to the checksum.
fn leaf<'e>(entries: impl Iterator<Item = &'e DirectoryEntry<'e>>, seed: u32) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    let (mut at, mut last) = (0, 0);
    for entry in entries {
        put_entry(&mut block, at, entry, entry.size());
        last = at;
        at += entry.size();
    }
    put16(&mut block, last + 4, (ROOM - last) as u16);
    put16(&mut block, ROOM + 4, TAIL as u16);
    block[ROOM + 7] = 0xde; // marks the checksum, which looks like an entry without a name
    let checksum = crc(seed, &block[..ROOM]);
    put32(&mut block, ROOM + 8, checksum);
    block
}

fn put_entry(block: &mut [u8], at: usize, entry: &DirectoryEntry<'_>, size: usize) {
    put32(block, at, entry.inode);
    put16(block, at + 4, size as u16);
    block[at + 6] = entry.name.len() as u8;
    block[at + 7] = entry.file_type;
    block[at + 8..at + 8 + entry.name.len()].copy_from_slice(entry.name);
}

/// Encodes `struct dx_root`: to readers without index support it is a block with only `.` and `..`.
fn root(inode: u32, parent: u32, levels: u8, children: &[(u32, u32)], seed: u32) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    let directory = file_type::DIRECTORY;
    put_entry(&mut block, 0, &DirectoryEntry { name: b".", inode, file_type: directory }, 12);
    put_entry(&mut block, 12, &DirectoryEntry { name: b"..", inode: parent, file_type: directory }, BLOCK - 12);
    block[28] = 1; // half MD4
    block[29] = 8; // bytes of this header
    block[30] = levels;
    put_children(&mut block, 32, ROOT_LIMIT, children, seed);
    block
}

/// Encodes `struct dx_node`: to readers without index support it is a block with one unused entry.
fn node(children: &[(u32, u32)], seed: u32) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    put16(&mut block, 4, BLOCK as u16);
    put_children(&mut block, 8, NODE_LIMIT, children, seed);
    block
}

/// Writes the children of an index block: the first one's hash is replaced by the count and the limit of children.
fn put_children(block: &mut [u8], at: usize, limit: usize, children: &[(u32, u32)], seed: u32) {
    for (index, (hash, child)) in children.iter().enumerate() {
        put32(block, at + 8 * index, *hash);
        put32(block, at + 8 * index + 4, *child);
    }
    put16(block, at, limit as u16);
    put16(block, at + 2, children.len() as u16);
    // The checksum covers the used part, then its own eight bytes as zeros.
    let checksum = crc(crc(seed, &block[..at + 8 * children.len()]), &[0; 8]);
    put32(block, at + 8 * limit + 4, checksum);
}
