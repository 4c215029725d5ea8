//! What a caller decides about a file system, and what comes back.

/// How large the file system becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// As small as the tree allows, with this many bytes left free.
    ExactFit {
        /// Free bytes.
        reserve: u64,
    },
    /// This many bytes, rounded down to whole blocks.
    Given(u64),
}

/// How many inodes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inodes {
    /// With [`Size::ExactFit`] hardly more than the tree needs; with [`Size::Given`] one per 16 KiB as well.
    Auto,
    /// At least one for this many bytes of the file system, and as many as the tree needs.
    PerBytes(u64),
    /// At least this many, and as many as the tree needs.
    AtLeast(u32),
}

/// The journal that a file system begins with, which is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Journal {
    /// None.
    None,
    /// As mke2fs has it: 4 MiB to 128 MiB, by the size of the file system.
    Auto,
    /// About this many bytes; at least 4 MiB, and never more than [`Journal::Auto`].
    Bytes(u64),
}

/// What the kernel does with a file system that it has found an error in (`s_errors`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnErrors {
    /// Goes on.
    Continue,
    /// Writes nothing more to it.
    ReadOnly,
}

/// How to make a file system. Everything that is not in the tree is here: the same tree with the same options is the
/// same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How large it becomes.
    pub size: Size,
    /// Its UUID.
    pub uuid: [u8; 16],
    /// What directory indexes are hashed with; all zero stands for the default.
    pub hash_seed: [u8; 16],
    /// Its name, up to 16 bytes.
    pub label: String,
    /// Blocks (of 4 KiB) only root may use.
    pub reserved_blocks: u64,
    /// When it was made and last checked, in seconds since 1970. Files have their own times.
    pub timestamp: u64,
    /// How many inodes.
    pub inodes: Inodes,
    /// Whether there is a journal, and how large. What is only ever mounted read-only needs none.
    pub journal: Journal,
    /// What the kernel does when it finds an error.
    pub on_errors: OnErrors,
    /// Compute the SHA-256 of the whole file system while it is written. Holes are part of it, so that it takes about
    /// half a second for each GiB of its size, on a core of its own.
    pub digest: bool,
}

impl Options {
    /// As small as can be, with no journal, no label, no digest, made at this time.
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

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Bytes of the file system.
    pub size: u64,
    /// Blocks of 4 KiB that are in use, bitmaps and inode tables among them.
    pub used_blocks: u64,
    /// Blocks of 4 KiB there are.
    pub blocks: u64,
    /// Inodes that are in use, the reserved ones among them.
    pub used_inodes: u32,
    /// Inodes there are.
    pub inodes: u32,
    /// SHA-256 of the whole file system, if [`Options::digest`] asked for it.
    pub sha256: Option<[u8; 32]>,
}
