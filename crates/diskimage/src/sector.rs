//! [`SectorSize`]: the addressing unit of a disk.

use std::fmt;

/// Logical sector size of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum SectorSize {
    /// 512 bytes: USB sticks, virtual disks, nearly every SATA disk.
    #[default]
    Bytes512,
    /// 4096 bytes: disks that are sold as "4Kn" or formatted so.
    Bytes4096,
}

impl SectorSize {
    /// Both sizes, the common one first.
    pub const ALL: [Self; 2] = [Self::Bytes512, Self::Bytes4096];

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Bytes512 => 512,
            Self::Bytes4096 => 4096,
        }
    }

    /// The size of sectors with this many bytes; `None` if it is not supported.
    pub fn of_bytes(bytes: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|size| size.bytes() == bytes)
    }
}

impl fmt::Display for SectorSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().fmt(f)
    }
}
