//! Options for making a file system, and the report about it.

/// Size of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// As small as the tree allows, with this many bytes left free.
    ExactFit {
        /// Number of free bytes.
        reserve: u64,
    },
    /// This many bytes, rounded down to whole blocks.
    Given(u64),
}

/// Number of inodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inodes {
    /// With [`Size::ExactFit`] hardly more than the tree needs; with [`Size::Given`] at least one per 16 KiB.
    Auto,
    /// At least one for this many bytes of the file system, and as many as the tree needs.
    PerBytes(u64),
    /// At least this many, and as many as the tree needs.
    AtLeast(u32),
}

/// The journal of the new file system, which is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Journal {
    /// No journal.
    None,
    /// As mke2fs does: 4 MiB to 128 MiB, depending on the size of the file system.
    Auto,
    /// About this many bytes; at least 4 MiB, and never more than [`Journal::Auto`].
    Bytes(u64),
}

/// Action of the kernel when it finds an error in the file system (`s_errors`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnErrors {
    /// Continue.
    Continue,
    /// Remount read-only.
    ReadOnly,
}

/// Options for making a file system. They cover everything that is not in the tree: the same tree with the same
/// options gives the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ext4Options {
    /// Size of the file system.
    pub size: Size,
    /// UUID of the file system.
    pub uuid: [u8; 16],
    /// Seed of the directory indexes' hash; all zero stands for the default.
    pub hash_seed: [u8; 16],
    /// Label, up to 16 bytes.
    pub label: String,
    /// Number of blocks (of 4 KiB) that only root may use.
    pub reserved_blocks: u64,
    /// Time of creation and of the last check, in seconds since 1970. Files have their own times.
    pub timestamp: u64,
    /// Number of inodes.
    pub inodes: Inodes,
    /// The journal. A file system that is only ever mounted read-only needs none.
    pub journal: Journal,
    /// Action of the kernel when it finds an error.
    pub on_errors: OnErrors,
    /// Compute the SHA-256 of the whole file system while it is written. Holes are included, so it takes about half a
    /// second for each GiB of the size, on a separate core.
    pub digest: bool,
}

impl Ext4Options {
    /// As small as possible, with no journal, no label and no digest, with this creation time.
    pub fn new(uuid: [u8; 16], timestamp: u64) -> Self {
        Self {
            size: Size::ExactFit { reserve: 0 },
            uuid,
            hash_seed: uuid,
            label: String::new(),
            reserved_blocks: 0,
            timestamp,
            inodes: Inodes::Auto,
            journal: Journal::None,
            on_errors: OnErrors::Continue,
            digest: false,
        }
    }
}

/// Result of writing a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ext4Report {
    /// Size of the file system in bytes.
    pub size: u64,
    /// Number of used blocks of 4 KiB, including bitmaps and inode tables.
    pub used_blocks: u64,
    /// Number of blocks of 4 KiB.
    pub blocks: u64,
    /// Number of used inodes, including the reserved ones.
    pub used_inodes: u32,
    /// Number of inodes.
    pub inodes: u32,
    /// SHA-256 of the whole file system, if requested by [`Ext4Options::digest`].
    pub sha256: Option<sha256::Digest>,
}
