//! Constants of the ext4 on-disk format, named as in the kernel's documentation ("ext4 Data Structures and
//! Algorithms").

/// The only block size that we write, in bytes.
pub(super) const BLOCK: usize = 4096;
/// [`BLOCK`] as `u64`.
pub(super) const BLOCK_SIZE: u64 = BLOCK as u64;
/// Number of blocks in a group: the number of bits in one block of bitmap.
pub(super) const BLOCKS_PER_GROUP: u64 = 8 * BLOCK_SIZE;
/// Size of an inode in bytes, as we write it.
pub(super) const INODE_SIZE: usize = 256;
/// Number of inodes in a block.
pub(super) const INODES_PER_BLOCK: u32 = (BLOCK / INODE_SIZE) as u32;
/// Size in bytes of the inode fields after the first 128 (`i_extra_isize`).
pub(super) const EXTRA_ISIZE: usize = 32;
/// Size in bytes of a group descriptor with the 64bit feature.
pub(super) const DESCRIPTOR_SIZE: usize = 64;
/// Binary logarithm of the number of groups that keep their bitmaps and inode tables together.
pub(super) const LOG_GROUPS_PER_FLEX: u32 = 4;

/// Offset of the superblock from the start of the file system in bytes.
pub(super) const SUPERBLOCK_OFFSET: usize = 1024;
/// Size of the superblock in bytes.
pub(super) const SUPERBLOCK_SIZE: usize = 1024;
/// Offset of the superblock's checksum in it.
pub(super) const SUPERBLOCK_CHECKSUM: usize = 0x3fc;
/// `s_magic`.
pub(super) const MAGIC: u16 = 0xef53;

/// Inode number of the root directory.
pub(super) const ROOT_INODE: u32 = 2;
/// Inode number of the journal.
pub(super) const JOURNAL_INODE: u32 = 8;
/// First inode that is not reserved; `lost+found` by convention.
pub(super) const FIRST_INODE: u32 = 11;

pub(super) const COMPAT_HAS_JOURNAL: u32 = 0x4;
pub(super) const COMPAT_EXT_ATTR: u32 = 0x8;
pub(super) const COMPAT_DIR_INDEX: u32 = 0x20;

pub(super) const INCOMPAT_FILETYPE: u32 = 0x2;
pub(super) const INCOMPAT_RECOVER: u32 = 0x4;
pub(super) const INCOMPAT_META_BG: u32 = 0x10;
pub(super) const INCOMPAT_EXTENTS: u32 = 0x40;
pub(super) const INCOMPAT_64BIT: u32 = 0x80;
pub(super) const INCOMPAT_MMP: u32 = 0x100;
pub(super) const INCOMPAT_FLEX_BG: u32 = 0x200;
pub(super) const INCOMPAT_EA_INODE: u32 = 0x400;
pub(super) const INCOMPAT_CSUM_SEED: u32 = 0x2000;
pub(super) const INCOMPAT_LARGEDIR: u32 = 0x4000;
pub(super) const INCOMPAT_INLINE_DATA: u32 = 0x8000;

pub(super) const RO_COMPAT_SPARSE_SUPER: u32 = 0x1;
pub(super) const RO_COMPAT_LARGE_FILE: u32 = 0x2;
pub(super) const RO_COMPAT_HUGE_FILE: u32 = 0x8;
pub(super) const RO_COMPAT_DIR_NLINK: u32 = 0x20;
pub(super) const RO_COMPAT_EXTRA_ISIZE: u32 = 0x40;
pub(super) const RO_COMPAT_METADATA_CSUM: u32 = 0x400;

/// `i_flags`: this directory has a hash tree.
pub(super) const INODE_INDEX: u32 = 0x1000;
/// `i_flags`: `i_block` is the root of an extent tree.
pub(super) const INODE_EXTENTS: u32 = 0x8_0000;

pub(super) const S_IFMT: u16 = 0o170_000;
pub(super) const S_IFSOCK: u16 = 0o140_000;
pub(super) const S_IFLNK: u16 = 0o120_000;
pub(super) const S_IFREG: u16 = 0o100_000;
pub(super) const S_IFBLK: u16 = 0o060_000;
pub(super) const S_IFDIR: u16 = 0o040_000;
pub(super) const S_IFCHR: u16 = 0o020_000;
pub(super) const S_IFIFO: u16 = 0o010_000;

/// `eh_magic` of every node of an extent tree.
pub(super) const EXTENT_MAGIC: u16 = 0xf30a;
/// `h_magic` of extended attributes, in an inode as in a block.
pub(super) const XATTR_MAGIC: u32 = 0xea02_0000;
/// Symbolic links with targets shorter than this are stored in the inode.
pub(super) const FAST_SYMLINK: usize = 60;
