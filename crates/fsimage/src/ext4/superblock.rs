//! The superblock and the group descriptors ("ext4 Data Structures: Super Block, Block Group Descriptors").

use super::checksum::{crc, file_system_seed};
use super::field::{put_split, put16, put32};
#[allow(clippy::wildcard_imports)] // all the features
use super::format::*;
use super::geometry::{Geometry, GroupPlace};
use super::options::{Ext4Options, OnErrors};

/// `s_flags`: names are hashed as unsigned characters.
const UNSIGNED_HASH: u32 = 2;
/// `s_default_mount_opts`: extended attributes and access control lists.
const MOUNT_OPTIONS: u32 = 0xc;

/// Counts for the superblock, from the layout.
pub(super) struct Totals {
    pub(super) free_blocks: u64,
    pub(super) free_inodes: u32,
    /// `i_block` and size of the journal's inode, if there is one.
    pub(super) journal: Option<([u8; 60], u64)>,
}

/// The superblock of group 0; see [`for_group`] for the copies.
pub(super) fn encode(options: &Ext4Options, geometry: &Geometry, totals: &Totals) -> Vec<u8> {
    let mut block = vec![0; SUPERBLOCK_SIZE];
    put32(&mut block, 0, geometry.inodes() as u32);
    put_split(&mut block, 4, 336, geometry.blocks);
    put_split(&mut block, 8, 340, options.reserved_blocks.min(totals.free_blocks));
    put_split(&mut block, 12, 344, totals.free_blocks);
    put32(&mut block, 16, totals.free_inodes);
    put32(&mut block, 24, 2); // blocks of 1024 << 2 bytes
    put32(&mut block, 28, 2);
    put32(&mut block, 32, BLOCKS_PER_GROUP as u32);
    put32(&mut block, 36, BLOCKS_PER_GROUP as u32);
    put32(&mut block, 40, geometry.inodes_per_group);
    for (low, high) in [(48, 0x274), (64, 0x277), (264, 0x276)] {
        put32(&mut block, low, options.timestamp as u32); // written, checked, made
        block[high] = (options.timestamp >> 32) as u8;
    }
    put16(&mut block, 54, u16::MAX); // no check after so many mounts
    put16(&mut block, 56, MAGIC);
    put16(&mut block, 58, 1); // clean
    let on_errors = match options.on_errors {
        OnErrors::Continue => 1,
        OnErrors::ReadOnly => 2,
    };
    put16(&mut block, 60, on_errors);
    put32(&mut block, 76, 1); // with variable inode size and features
    put32(&mut block, 84, FIRST_INODE);
    put16(&mut block, 88, INODE_SIZE as u16);
    put32(&mut block, 92, compat(totals.journal.is_some()));
    put32(&mut block, 96, INCOMPAT_FILETYPE | INCOMPAT_EXTENTS | INCOMPAT_64BIT | INCOMPAT_FLEX_BG);
    put32(&mut block, 100, RO_COMPAT);
    block[104..120].copy_from_slice(&options.uuid);
    block[120..120 + options.label.len()].copy_from_slice(options.label.as_bytes());
    block[236..252].copy_from_slice(&options.hash_seed);
    block[252] = 1; // half MD4
    put16(&mut block, 254, DESCRIPTOR_SIZE as u16);
    put32(&mut block, 256, MOUNT_OPTIONS);
    if let Some((root, size)) = &totals.journal {
        put32(&mut block, 224, JOURNAL_INODE);
        block[253] = 1; // a copy of the journal's inode follows
        block[268..328].copy_from_slice(root);
        put_split(&mut block, 332, 328, *size);
    }
    put16(&mut block, 348, EXTRA_ISIZE as u16);
    put16(&mut block, 350, EXTRA_ISIZE as u16);
    put32(&mut block, 352, UNSIGNED_HASH);
    block[372] = LOG_GROUPS_PER_FLEX as u8;
    block[373] = 1; // checksums are crc32c
    for_group(&mut block, 0);
    block
}

const RO_COMPAT: u32 = RO_COMPAT_SPARSE_SUPER
    | RO_COMPAT_LARGE_FILE
    | RO_COMPAT_HUGE_FILE
    | RO_COMPAT_DIR_NLINK
    | RO_COMPAT_EXTRA_ISIZE
    | RO_COMPAT_METADATA_CSUM;

fn compat(journal: bool) -> u32 {
    COMPAT_EXT_ATTR | COMPAT_DIR_INDEX | if journal { COMPAT_HAS_JOURNAL } else { 0 }
}

/// Turns the superblock into that of another group, and sets its checksum.
pub(super) fn for_group(block: &mut [u8], group: u64) {
    put16(block, 90, group as u16);
    let checksum = crc(u32::MAX, &block[..SUPERBLOCK_CHECKSUM]);
    put32(block, SUPERBLOCK_CHECKSUM, checksum);
}

/// A group's entry of the descriptor table.
pub(super) struct Descriptor {
    pub(super) place: GroupPlace,
    pub(super) free_blocks: u32,
    pub(super) free_inodes: u32,
    pub(super) directories: u32,
    /// Number of never used inodes at the end of the table.
    pub(super) unused_inodes: u32,
    /// Checksum of the block bitmap; `None` if the bitmap is not written, because only copies of superblock and
    /// descriptors are in use.
    pub(super) block_bitmap: Option<u32>,
    /// Checksum of the inode bitmap; `None` if the bitmap is not written, because no inode is in use.
    pub(super) inode_bitmap: Option<u32>,
}

impl Descriptor {
    /// Encodes the descriptor with its checksum.
    pub(super) fn encode(&self, group: u32, uuid: &[u8; 16]) -> [u8; DESCRIPTOR_SIZE] {
        const INODE_UNINIT: u16 = 1;
        const BLOCK_UNINIT: u16 = 2;
        const INODE_ZEROED: u16 = 4;
        let mut bytes = [0; DESCRIPTOR_SIZE];
        put_split(&mut bytes, 0, 32, self.place.block_bitmap);
        put_split(&mut bytes, 4, 36, self.place.inode_bitmap);
        put_split(&mut bytes, 8, 40, self.place.inode_table);
        let block_bitmap = self.block_bitmap.unwrap_or(0);
        let inode_bitmap = self.inode_bitmap.unwrap_or(0);
        for (low, high, value) in [
            (12, 44, self.free_blocks),
            (14, 46, self.free_inodes),
            (16, 48, self.directories),
            (24, 56, block_bitmap),
            (26, 58, inode_bitmap),
            (28, 50, self.unused_inodes),
        ] {
            put16(&mut bytes, low, value as u16);
            put16(&mut bytes, high, (value >> 16) as u16);
        }
        let flags = INODE_ZEROED
            | if self.inode_bitmap.is_none() { INODE_UNINIT } else { 0 }
            | if self.block_bitmap.is_none() { BLOCK_UNINIT } else { 0 };
        put16(&mut bytes, 18, flags);
        let checksum = crc(crc(file_system_seed(uuid), &group.to_le_bytes()), &bytes);
        put16(&mut bytes, 30, checksum as u16);
        bytes
    }
}
