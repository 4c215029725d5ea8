//! Parses the superblock of an image ("ext4 Data Structures: Super Block").

use super::error::{ReadError, damaged};
use crate::ext4::checksum::{crc, file_system_seed};
use crate::ext4::field::{get_split, get16, get32};
#[allow(clippy::wildcard_imports)] // all the features
use crate::ext4::format::*;

/// Contents of a superblock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// UUID of the file system.
    pub uuid: [u8; 16],
    /// Label, without trailing zeros.
    pub label: Vec<u8>,
    /// Block size in bytes.
    pub block_size: u32,
    /// Number of blocks.
    pub blocks: u64,
    /// Number of free blocks.
    pub free_blocks: u64,
    /// Number of blocks that only root may use.
    pub reserved_blocks: u64,
    /// Number of inodes.
    pub inodes: u32,
    /// Number of free inodes.
    pub free_inodes: u32,
    /// `s_feature_compat`, `s_feature_incompat` and `s_feature_ro_compat`; see [`Superblock::feature_names`].
    pub features: [u32; 3],
    pub(super) first_data_block: u64,
    pub(super) blocks_per_group: u64,
    pub(super) inodes_per_group: u32,
    pub(super) inode_size: u16,
    pub(super) descriptor_size: u16,
    pub(super) seed: u32,
}

/// Supported features that change how the parts we read are stored.
const READABLE: u32 = INCOMPAT_FILETYPE
    | INCOMPAT_RECOVER
    | INCOMPAT_EXTENTS
    | INCOMPAT_64BIT
    | INCOMPAT_MMP
    | INCOMPAT_FLEX_BG
    | INCOMPAT_CSUM_SEED
    | INCOMPAT_LARGEDIR;

const NAMES: [(usize, u32, &str); 30] = [
    (0, 0x1, "dir_prealloc"),
    (0, COMPAT_HAS_JOURNAL, "has_journal"),
    (0, COMPAT_EXT_ATTR, "ext_attr"),
    (0, 0x10, "resize_inode"),
    (0, COMPAT_DIR_INDEX, "dir_index"),
    (0, 0x200, "sparse_super2"),
    (0, 0x400, "fast_commit"),
    (0, 0x800, "stable_inodes"),
    (0, 0x1000, "orphan_file"),
    (1, INCOMPAT_FILETYPE, "filetype"),
    (1, INCOMPAT_RECOVER, "needs_recovery"),
    (1, INCOMPAT_META_BG, "meta_bg"),
    (1, INCOMPAT_EXTENTS, "extent"),
    (1, INCOMPAT_64BIT, "64bit"),
    (1, INCOMPAT_MMP, "mmp"),
    (1, INCOMPAT_FLEX_BG, "flex_bg"),
    (1, INCOMPAT_EA_INODE, "ea_inode"),
    (1, INCOMPAT_CSUM_SEED, "metadata_csum_seed"),
    (1, INCOMPAT_LARGEDIR, "large_dir"),
    (1, INCOMPAT_INLINE_DATA, "inline_data"),
    (1, 0x10000, "encrypt"),
    (1, 0x20000, "casefold"),
    (2, RO_COMPAT_SPARSE_SUPER, "sparse_super"),
    (2, RO_COMPAT_LARGE_FILE, "large_file"),
    (2, RO_COMPAT_HUGE_FILE, "huge_file"),
    (2, 0x10, "uninit_bg"),
    (2, RO_COMPAT_DIR_NLINK, "dir_nlink"),
    (2, RO_COMPAT_EXTRA_ISIZE, "extra_isize"),
    (2, 0x100, "quota"),
    (2, RO_COMPAT_METADATA_CSUM, "metadata_csum"),
];

impl Superblock {
    /// Parses the 1024 bytes of a superblock at byte `at` of the image.
    pub(super) fn parse(bytes: &[u8], at: u64) -> Result<Self, ReadError> {
        if get16(bytes, 56) != MAGIC {
            return Err(ReadError::NotExt4(at));
        }
        let features = [get32(bytes, 92), get32(bytes, 96), get32(bytes, 100)];
        let [_, incompat, ro_compat] = features;
        if ro_compat & RO_COMPAT_METADATA_CSUM != 0
            && get32(bytes, SUPERBLOCK_CHECKSUM) != crc(u32::MAX, bytes.get(..SUPERBLOCK_CHECKSUM).unwrap_or_default())
        {
            return damaged("the checksum of the superblock is wrong");
        }
        let wide = incompat & INCOMPAT_64BIT != 0;
        let split = |low, high| if wide { get_split(bytes, low, high) } else { u64::from(get32(bytes, low)) };
        let mut uuid = [0; 16];
        uuid.iter_mut().zip(bytes.iter().skip(104)).for_each(|(to, from)| *to = *from);
        let label = bytes.iter().skip(120).take(16).take_while(|byte| **byte != 0).copied().collect();
        let log_block_size = get32(bytes, 24);
        let dynamic = get32(bytes, 76) > 0; // revision 0 has inodes of 128 bytes and no features
        let superblock = Self {
            uuid,
            label,
            block_size: if log_block_size <= 6 { 1024 << log_block_size } else { 0 },
            blocks: split(4, 336),
            free_blocks: split(12, 344),
            reserved_blocks: split(8, 340),
            inodes: get32(bytes, 0),
            free_inodes: get32(bytes, 16),
            features,
            first_data_block: u64::from(get32(bytes, 20)),
            blocks_per_group: u64::from(get32(bytes, 32)),
            inodes_per_group: get32(bytes, 40),
            inode_size: if dynamic { get16(bytes, 88) } else { 128 },
            descriptor_size: if wide { get16(bytes, 254) } else { 32 },
            seed: if incompat & INCOMPAT_CSUM_SEED != 0 { get32(bytes, 0x270) } else { file_system_seed(&uuid) },
        };
        superblock.check()?;
        Ok(superblock)
    }

    fn check(&self) -> Result<(), ReadError> {
        let unknown = self.features[1] & !READABLE;
        if unknown != 0 {
            let names = NAMES.iter().filter(|(set, bit, _)| *set == 1 && unknown & bit != 0).map(|(_, _, name)| *name);
            let known = NAMES.iter().filter(|(set, _, _)| *set == 1).fold(0, |bits, (_, bit, _)| bits | bit);
            let mut text: Vec<_> = names.map(str::to_owned).collect();
            if unknown & !known != 0 {
                text.push(format!("incompat 0x{:x}", unknown & !known));
            }
            return Err(ReadError::Unsupported(text.join(", ")));
        }
        let power = |value: u16, least: u16| value >= least && value.is_power_of_two();
        let bits = 8 * u64::from(self.block_size);
        let right = self.block_size > 0
            && u32::from(self.inode_size) <= self.block_size
            && power(self.inode_size, 128)
            && power(self.descriptor_size, 32)
            && u32::from(self.descriptor_size) <= self.block_size
            && (1..=bits).contains(&self.blocks_per_group)
            && (1..=bits).contains(&u64::from(self.inodes_per_group))
            && self.first_data_block <= 1
            && self.blocks > self.first_data_block
            && self.blocks <= 1 << 48
            && u64::from(self.inodes) <= self.groups().saturating_mul(u64::from(self.inodes_per_group));
        if right { Ok(()) } else { damaged("the superblock has sizes that cannot be") }
    }

    /// Number of block groups.
    pub(super) fn groups(&self) -> u64 {
        (self.blocks - self.first_data_block).div_ceil(self.blocks_per_group)
    }

    pub(super) fn has_checksums(&self) -> bool {
        self.features[2] & RO_COMPAT_METADATA_CSUM != 0
    }

    /// Size of the file system in bytes.
    pub fn size(&self) -> u64 {
        self.blocks.saturating_mul(u64::from(self.block_size))
    }

    /// Free space in bytes.
    pub fn free(&self) -> u64 {
        self.free_blocks.saturating_mul(u64::from(self.block_size))
    }

    /// Names of the features as in mke2fs(8); those without a name are left out.
    pub fn feature_names(&self) -> Vec<&'static str> {
        let has = |(set, bit, _): &&(usize, u32, &str)| self.features.get(*set).is_some_and(|bits| bits & bit != 0);
        NAMES.iter().filter(has).map(|(_, _, name)| *name).collect()
    }

    /// Whether the journal has changes that are not in the file system yet; what is read may be outdated then.
    pub fn needs_recovery(&self) -> bool {
        self.features[1] & INCOMPAT_RECOVER != 0
    }
}
