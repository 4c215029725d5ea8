//! FAT32, for the EFI system partition (Microsoft's FAT specification 1.03; UEFI 2.10, section 13.3).
//!
//! Reader and writer are our own. `fatfs` 0.3.6 was tried first: it puts long-name slots before `.` and `..`, which
//! fsck.fat reports as damage; 200 small files took it 2 to 3 s; and as a reader, built with overflow checks, it
//! panicked on 88 of 3,000 images with six changed bytes each, while computing with a boot sector before it had
//! validated it. By its source, it never terminates on a directory whose clusters form a cycle. A writer that knows
//! the whole tree beforehand is also simpler than a general one: each file is one run of clusters, so the table is a
//! function of the sizes, and contents stream straight to their place. `fatfs` stays as an independent reader in the
//! tests, beside fsck.fat and mtools.

mod edit;
mod entry;
mod geometry;
mod name;
mod plan;
mod read;
mod write;

use std::io;

use advice::{Advise, Help};
use fsimage::Timestamp;

use crate::SectorSize;

pub use edit::{EditError, put};
pub use geometry::minimum_size;
pub use name::NameFlaw;
pub use read::{FatEntry, ReadError, Volume, parse};
pub use write::{Written, required_size, write};

/// Options for a new file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FatOptions {
    /// Size of its partition in bytes.
    pub size: u64,
    /// Sector size of its disk.
    pub sector_size: SectorSize,
    /// Volume serial number, which Linux shows as the UUID.
    pub volume_id: u32,
    /// Volume label: at most 11 of the characters allowed in short names, and spaces.
    pub label: Option<String>,
    /// Creation time of everything, in UTC; FAT stores 1980 to 2107 in steps of 2 s, and other times are rounded to
    /// the nearest.
    pub timestamp: Timestamp,
}

/// A tree that cannot become a FAT file system.
#[derive(Debug, thiserror::Error)]
pub enum FatError {
    /// The volume is too small: with fewer clusters, it would be FAT12 or FAT16 by definition.
    #[error("{size} bytes are too small for FAT32 with sectors of {sector_size} bytes")]
    TooSmall {
        /// Given size in bytes.
        size: u64,
        /// Sector size of the disk.
        sector_size: SectorSize,
        /// Minimum size in bytes, a whole number of MiB.
        minimum: u64,
    },
    /// The volume is too large: sectors are counted in 32 bits.
    #[error("{size} bytes are too large for FAT32 with sectors of {sector_size} bytes")]
    TooLarge {
        /// Given size in bytes.
        size: u64,
        /// Sector size of the disk.
        sector_size: SectorSize,
    },
    /// There are not enough clusters.
    #[error("the files do not fit into {size} bytes")]
    NoSpace {
        /// Given size in bytes.
        size: u64,
        /// Sufficient size in bytes, a whole number of MiB.
        minimum: u64,
    },
    /// The partition does not start at a multiple of the sector size.
    #[error("the partition's start, byte {offset}, is not a multiple of the sector size, {sector_size} bytes")]
    Unaligned {
        /// Start of the partition in bytes.
        offset: u64,
        /// Sector size of the disk.
        sector_size: SectorSize,
    },
    /// A name that is not valid in FAT.
    #[error("FAT cannot hold {path:?}: {flaw}")]
    Name {
        /// Path in the tree.
        path: String,
        /// Description of the problem.
        flaw: NameFlaw,
    },
    /// Two names that differ only in case.
    #[error("FAT cannot hold both {first:?} and {second:?}: their names differ in case only")]
    CaseClash {
        /// Path of one in the tree.
        first: String,
        /// Path of the other.
        second: String,
    },
    /// A symbolic link, device, pipe or socket.
    #[error("FAT cannot hold {0:?}: it is neither a file nor a directory")]
    Kind(String),
    /// A file of 4 GiB or more.
    #[error("FAT cannot hold {path:?}: {size} bytes are over its limit of 4 GiB less one byte")]
    FileTooLarge {
        /// Path in the tree.
        path: String,
        /// Size in bytes.
        size: u64,
    },
    /// A directory with more than 65,536 slots.
    #[error("FAT cannot hold that many names in {0:?}: a directory has at most 2 MiB")]
    DirectoryTooLarge(String),
    /// The volume label is not valid.
    #[error("{0:?} is not a volume label")]
    Label(String),
    /// A file has another length than recorded in the tree.
    #[error("{path:?} has changed while it was read: it should have {expected} bytes")]
    Changed {
        /// Path in the tree.
        path: String,
        /// Length in bytes in the tree.
        expected: u64,
    },
    /// Reading a file's content failed.
    #[error("reading the content of {path:?}")]
    Content {
        /// Path in the tree.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// Writing the image failed.
    #[error("writing the FAT file system")]
    Write(#[source] io::Error),
}

impl Advise for FatError {
    fn help(&self) -> Help {
        match self {
            Self::TooSmall { minimum, .. } | Self::NoSpace { minimum, .. } => {
                format!("make the partition at least {minimum} bytes ({} MiB) large", minimum >> 20).into()
            }
            Self::TooLarge { sector_size, .. } => {
                format!("make it smaller than {} TiB", sector_size.bytes() >> 8).into()
            }
            Self::Unaligned { .. } => "begin partitions at multiples of 1 MiB".into(),
            Self::Name { .. } => "give it another name".into(),
            Self::CaseClash { .. } => "leave one out, or give it another name".into(),
            Self::Kind(_) => "put a copy of what it names there".into(),
            Self::FileTooLarge { .. } => "put it into the root file system".into(),
            Self::DirectoryTooLarge(_) => "spread the files over several directories".into(),
            Self::Label(_) => "use 1 to 11 upper-case letters, digits, spaces or any of $%'-_@~`!(){}^#&".into(),
            Self::Changed { .. } => "run the build again".into(),
            Self::Content { .. } | Self::Write(_) => Help::none(),
        }
    }
}
