//! FAT32, for the EFI system partition (Microsoft's FAT specification 1.03; UEFI 2.10, section 13.3).
//!
//! Both directions are our own. `fatfs` 0.3.6 was tried first: it puts long-name slots before `.` and `..`, which
//! fsck.fat calls damage; 200 small files took it 2 to 3 s; and as a reader, built with overflow checks, it panicked
//! on 88 of 3,000 images with six changed bytes each, while computing with a boot sector before it had validated it.
//! By its source, nothing stops it in a directory whose clusters run in a circle. A writer that knows the whole tree
//! beforehand is also simpler than a general one: each file is one run of clusters, so the table is a function of the
//! sizes, and contents stream straight to their place. `fatfs` stays as an independent reader in the tests, beside
//! fsck.fat and mtools.

mod edit;
mod entry;
mod geometry;
mod name;
mod plan;
mod read;
mod write;

use std::io;

use fsimage::Timestamp;

use crate::SectorSize;

pub use edit::{EditError, put};
pub use name::NameFlaw;
pub use read::{Entry, ReadError, Volume, parse};
pub use write::{Written, required_size, write};

/// What a file system is to be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Bytes of its partition.
    pub size: u64,
    /// Sector size of its disk.
    pub sector_size: SectorSize,
    /// Volume serial number; Linux shows it as the UUID.
    pub volume_id: u32,
    /// Volume label: at most 11 of the characters that short names may have, and spaces.
    pub label: Option<String>,
    /// When everything was made, in UTC; FAT keeps 1980 to 2107 in steps of 2 s, and other times become the nearest.
    pub timestamp: Timestamp,
}

/// Why a tree cannot become a FAT file system.
#[derive(Debug, thiserror::Error)]
pub enum FatError {
    /// With fewer clusters, it would by definition be FAT12 or FAT16.
    #[error("{size} bytes are too small for FAT32 with sectors of {sector_size} bytes: the partition needs at least {minimum} bytes ({} MiB)", minimum >> 20)]
    TooSmall {
        /// Bytes that were given.
        size: u64,
        /// Sector size of the disk.
        sector_size: SectorSize,
        /// Bytes that would do, a whole number of MiB.
        minimum: u64,
    },
    /// Sectors are counted in 32 bits.
    #[error("{size} bytes are too large for FAT32 with sectors of {sector_size} bytes")]
    TooLarge {
        /// Bytes that were given.
        size: u64,
        /// Sector size of the disk.
        sector_size: SectorSize,
    },
    /// Not enough clusters.
    #[error("the files do not fit into {size} bytes: the partition needs at least {minimum} bytes ({} MiB)", minimum >> 20)]
    NoSpace {
        /// Bytes that were given.
        size: u64,
        /// Bytes that would do, a whole number of MiB.
        minimum: u64,
    },
    /// The partition does not start at a sector.
    #[error("the partition's start, byte {offset}, is no multiple of the sector size, {sector_size} bytes")]
    Unaligned {
        /// Where it starts.
        offset: u64,
        /// Sector size of the disk.
        sector_size: SectorSize,
    },
    /// A name that FAT does not hold.
    #[error("FAT cannot hold {path:?}: {flaw}")]
    Name {
        /// The path in the tree.
        path: String,
        /// What is wrong.
        flaw: NameFlaw,
    },
    /// FAT ignores case.
    #[error("FAT cannot hold both {first:?} and {second:?}: their names differ in case only")]
    CaseClash {
        /// One path in the tree.
        first: String,
        /// The other.
        second: String,
    },
    /// A symbolic link, device, pipe or socket.
    #[error("FAT cannot hold {0:?}: it is neither a file nor a directory")]
    Kind(String),
    /// 4 GiB or more.
    #[error("FAT cannot hold {path:?}: {size} bytes are over its limit of 4 GiB less one byte")]
    FileTooLarge {
        /// The path in the tree.
        path: String,
        /// Its size in bytes.
        size: u64,
    },
    /// Over 65,536 directory slots.
    #[error("FAT cannot hold that many names in {0:?}: a directory has at most 2 MiB")]
    DirectoryTooLarge(String),
    /// Bad volume label.
    #[error(
        "{0:?} is no volume label: it has to be 1 to 11 upper-case letters, digits, spaces or any of $%'-_@~`!(){{}}^#&"
    )]
    Label(String),
    /// A file has another length than the tree says.
    #[error("{path:?} has changed: it should have {expected} bytes; run the build again")]
    Changed {
        /// The path in the tree.
        path: String,
        /// Bytes that the tree says.
        expected: u64,
    },
    /// Reading a file's content failed.
    #[error("reading the content of {path:?}")]
    Content {
        /// The path in the tree.
        path: String,
        /// What failed.
        source: io::Error,
    },
    /// Writing the image failed.
    #[error("writing the FAT file system")]
    Write(#[source] io::Error),
}
