//! GUID partition tables (UEFI 2.10, chapter 5).
//!
//! The `gpt` crate writes them: given partitions and a disk GUID, its tables are right for both sector sizes (sgdisk
//! finds no problem) and the same every time. It does not read them here: it panics if a table's entries are not 128
//! bytes long, does not fall back to the backup if only the primary's entries are damaged, and has to be told the
//! sector size. [`read()`] handles all three, and so checks the writer independently.

mod grow;
mod read;
#[cfg(feature = "build")]
mod write;

use std::io;

pub use grow::{Growth, Step, plan_growth};
pub use read::{Copies, Table, parse, read};
#[cfg(feature = "build")]
pub use write::write;

use advice::{Advise, Help};

use crate::{Guid, SectorSize};

/// Number of entries in the tables we write: the minimum of the specification.
pub const MAX_PARTITIONS: usize = 128;

/// Alignment in bytes of the start and end of partitions, and of the end of disks: 1 MiB fits the erase blocks and
/// stripes of nearly all storage, and is what other partitioning tools use.
pub const ALIGNMENT: u64 = 1 << 20;

/// Maximum length of a partition's name in UTF-16 code units.
pub const NAME_UNITS: usize = 36;

/// A partition with its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Type; see [`types`].
    pub type_guid: Guid,
    /// Globally unique identifier (`PARTUUID`).
    pub unique_guid: Guid,
    /// Name (`PARTLABEL`), at most [`NAME_UNITS`] UTF-16 code units.
    pub name: String,
    /// Offset from the start of the disk in bytes.
    pub start: u64,
    /// Length in bytes.
    pub size: u64,
    /// Attribute flags.
    pub attributes: Attributes,
}

/// A partition's 64 attribute bits (UEFI 2.10, table 5.8; the meaning of bits 48 and up depends on the type).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Attributes(pub u64);

impl Attributes {
    /// Bit 60 of the Discoverable Partitions Specification: to be mounted read-only.
    pub const READ_ONLY: Self = Self(1 << 60);
    /// Bit 63, "noauto" of the Discoverable Partitions Specification: not to be mounted by automatic discovery, for
    /// example by the installed system of a machine that the stick is plugged into.
    pub const NO_AUTO: Self = Self(1 << 63);

    /// The union of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Partition types of the UAPI Discoverable Partitions Specification.
pub mod types {
    use crate::Guid;

    /// EFI system partition: the FAT file system from which the firmware boots.
    pub const ESP: Guid = Guid::from_u128(0xc12a_7328_f81f_11d2_ba4b_00a0_c93e_c93b);
    /// Root file system for x86-64.
    pub const ROOT_X86_64: Guid = Guid::from_u128(0x4f68_bce3_e8cd_4db1_96e7_fbca_f984_b709);
    /// Any other Linux file system. Used for the data of an appliance: the specification's `/var` is mounted only if
    /// its GUID is a hash of the machine id, which a stick that boots on any machine does not have, and any system
    /// that discovers its `/srv` and `/home` mounts them; partitions of this type are not mounted automatically.
    pub const LINUX_GENERIC: Guid = Guid::from_u128(0x0fc6_3daf_8483_4772_8e79_3d69_d847_7de4);
}

/// Partitions that cannot be laid out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// There are more partitions than the table holds.
    #[error("{0} partitions are too many: a GPT has room for {MAX_PARTITIONS}")]
    TooMany(usize),
    /// A partition has size zero.
    #[error("partition {0:?} has a size of zero bytes")]
    Empty(String),
    /// A name is too long for its field.
    #[error("partition name {0:?} is too long: GPT has room for {NAME_UNITS} UTF-16 code units")]
    NameTooLong(String),
    /// Two partitions have the same GUID.
    #[error("two partitions have the unique GUID {0}")]
    DuplicateGuid(Guid),
    /// The sizes add up to more than 2^63 bytes.
    #[error("the partitions together are larger than any disk")]
    TooLarge,
}

/// A partition table that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum GptError {
    /// Reading or writing the disk failed.
    #[error("accessing the partition table")]
    Io(#[from] io::Error),
    /// The `gpt` crate failed to write the table.
    #[error("writing the partition table: {0}")]
    Write(String),
    /// A partition is not aligned to the sector size.
    #[error(
        "partition {name:?} (at {start}, {size} bytes) does not start and end at multiples of the sector size, {sector_size} bytes"
    )]
    Unaligned {
        /// Partition name.
        name: String,
        /// Offset of the first byte.
        start: u64,
        /// Size in bytes.
        size: u64,
        /// Sector size of the disk.
        sector_size: SectorSize,
    },
    /// A partition overlaps the tables or another one, or exceeds the disk.
    #[error(
        "partition {name:?} (at {start}, {size} bytes) overlaps another one or the partition tables of a disk of {disk_size} bytes"
    )]
    Overlap {
        /// Partition name.
        name: String,
        /// Offset of the first byte.
        start: u64,
        /// Size in bytes.
        size: u64,
        /// Size of the disk in bytes.
        disk_size: u64,
    },
    /// The disk's size is not a multiple of the sector size.
    #[error("a disk of {disk_size} bytes is not a multiple of the sector size, {sector_size} bytes")]
    DiskSize {
        /// Size of the disk in bytes.
        disk_size: u64,
        /// Sector size of the disk.
        sector_size: SectorSize,
    },
    /// More than [`MAX_PARTITIONS`], a name over [`NAME_UNITS`], or two equal GUIDs.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The partition to grow does not exist.
    #[error("there is no partition {0}")]
    NoSuchPartition(u32),
    /// The partition to grow is not the last one.
    #[error("partition {0:?} cannot grow: another one lies behind it")]
    NotLast(String),
    /// There is no room on the disk for a second copy of the entries.
    #[error("there is no room for a second copy of the partition table before the first partition")]
    NoRoom,
    /// The disk of the partition to grow has only a valid backup table.
    #[error("the primary partition table is damaged ({0})")]
    PrimaryDamaged(&'static str),
    /// A step of growing failed.
    #[error("writing {what}")]
    Grow {
        /// Description of the step.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// There is no table, for any sector size, at the start or at the end.
    #[error("there is no GUID partition table")]
    NotFound,
    /// There are tables, but both are damaged.
    #[error("both partition tables are damaged: the primary's {primary}, the backup's {backup}")]
    Damaged {
        /// Damage of the primary table.
        primary: &'static str,
        /// Damage of the backup table.
        backup: &'static str,
    },
}

impl Advise for GptError {
    fn help(&self) -> Help {
        match self {
            Self::Unaligned { sector_size, .. } => {
                format!("begin and end partitions at multiples of {sector_size} bytes").into()
            }
            Self::Overlap { .. } => "give the partitions room one after the other, or take a larger disk".into(),
            Self::DiskSize { .. } => "make it a multiple of 1 MiB".into(),
            Self::NotLast(_) => "remove the partition behind it, or move it away".into(),
            Self::NoRoom => "leave the first MiB of a disk to its partition table".into(),
            Self::PrimaryDamaged(_) => "`sgdisk -e` on the disk repairs it from the backup".into(),
            Self::NotFound => "is it the whole disk, and not a partition of it?".into(),
            Self::Damaged { .. } => "write the image again".into(),
            Self::Layout(_) | Self::Io(_) | Self::Write(_) | Self::NoSuchPartition(_) | Self::Grow { .. } => {
                Help::none()
            }
        }
    }
}
