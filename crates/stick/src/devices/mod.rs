//! The block devices of a machine and their uses, as the kernel shows them.

mod list;
mod sysfs;

use std::path::PathBuf;

use serde::Serialize;

pub use list::{Listing, Machine};

use crate::contents::Contents;

/// The way a disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// USB: sticks, card readers, cases for disks.
    Usb,
    /// A card in a slot of the machine's own.
    Mmc,
    /// NVM Express.
    Nvme,
    /// SATA or IDE.
    Ata,
    /// A virtual machine's virtio disk.
    Virtio,
    /// Firewire, SAS, Fibre Channel and so on.
    Scsi,
    /// Made by the kernel from a file (`losetup`) or a network (`nbd`).
    Virtual,
    /// Made by the kernel from other disks: LVM, RAID, encryption.
    Mapped,
    /// None of these.
    Other,
}

/// A use of a partition or disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Use {
    /// A file system on it is mounted.
    Mounted {
        /// The partition or disk, or a device that is built on it: `sda1`, `dm-0`.
        device: String,
        /// The mount point.
        at: String,
    },
    /// It is used as swap space.
    Swap {
        /// As above.
        device: String,
    },
    /// Another device is built on it.
    Held {
        /// The device or partition.
        device: String,
        /// The other device, by the name that its owner knows: `vg0-root`, `md127`.
        by: String,
        /// The kind of the other device: `LVM`, `encryption`, `RAID`.
        what: &'static str,
    },
}

/// A partition of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Partition {
    /// Name below /dev.
    pub name: String,
    /// `MAJOR:MINOR`.
    pub number: String,
    /// Offset on the disk in bytes.
    pub start: u64,
    /// Size in bytes.
    pub size: u64,
    /// Name of a GPT partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_label: Option<String>,
    /// Its contents; `None` if it is empty, unknown, or cannot be read by this user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contents: Option<Contents>,
}

/// A whole disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Device {
    /// Name below /dev.
    pub name: String,
    /// The path to open it.
    pub path: PathBuf,
    /// `MAJOR:MINOR`.
    pub number: String,
    /// Size in bytes; 0 without a medium.
    pub size: u64,
    /// Logical sector size in bytes.
    pub sector_size: u64,
    /// The vendor's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// The model's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The way it is attached.
    pub transport: Transport,
    /// Whether it is removable: it says so, or is attached by USB.
    pub removable: bool,
    /// Whether the kernel refuses to write to it.
    pub read_only: bool,
    /// The kernel's media counter: another number means another medium (Linux 5.15 and later).
    #[serde(skip)]
    pub sequence: Option<u64>,
    /// The contents of the disk itself, outside of partitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contents: Option<Contents>,
    /// Its partitions.
    pub partitions: Vec<Partition>,
    /// The uses of the disk, its partitions, and of devices that are built on them.
    pub uses: Vec<Use>,
}

impl Device {
    /// Vendor and model: `SanDisk Ultra`.
    pub fn title(&self) -> String {
        let words: Vec<_> = [&self.vendor, &self.model].into_iter().flatten().map(String::as_str).collect();
        if words.is_empty() { format!("{:?} disk", self.transport).to_lowercase() } else { words.join(" ") }
    }

    /// Whether to show it to a user who looks for a stick.
    pub fn is_candidate(&self) -> bool {
        let quiet = ["ram", "zram", "fd", "sr"].iter().any(|kind| self.name.starts_with(kind));
        self.size > 0 && !quiet && self.transport != Transport::Mapped
    }
}

impl Use {
    /// Whether the running system needs it; a mounted stick alone does not count.
    pub fn is_system(&self) -> bool {
        match self {
            Self::Mounted { at, .. } => {
                let at_or_below =
                    |top: &str| at == top || at.strip_prefix(top).is_some_and(|rest| rest.starts_with('/'));
                at == "/" || ["/boot", "/usr", "/var", "/home", "/efi"].into_iter().any(at_or_below)
            }
            Self::Swap { .. } => true,
            Self::Held { .. } => false,
        }
    }
}
