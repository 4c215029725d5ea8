//! The block devices of a machine, and what they are used for, as the kernel shows them.

mod list;
mod sysfs;

use std::path::PathBuf;

use serde::Serialize;

pub use list::{Listing, Machine};

use crate::contents::Contents;

/// How a disk is attached.
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
    /// A virtual machine's.
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

/// What a partition or disk is used for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Use {
    /// A file system on it is mounted.
    Mounted {
        /// The partition or disk, or what is made of it: `sda1`, `dm-0`.
        device: String,
        /// Where.
        at: String,
    },
    /// It is swapped to.
    Swap {
        /// As above.
        device: String,
    },
    /// Another device is made of it.
    Held {
        /// As above.
        device: String,
        /// The other device, by the name that its owner knows: `vg0-root`, `md127`.
        by: String,
        /// What that is: `LVM`, `encryption`, `RAID`.
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
    /// Bytes from the start of the disk.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// Name of a GPT partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_label: Option<String>,
    /// What is on it; nothing where it is empty, unknown, or not to be read by this user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contents: Option<Contents>,
}

/// A whole disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Device {
    /// Name below /dev.
    pub name: String,
    /// Where to open it.
    pub path: PathBuf,
    /// `MAJOR:MINOR`.
    pub number: String,
    /// Bytes; 0 where there is no medium.
    pub size: u64,
    /// Bytes in a logical sector.
    pub sector_size: u64,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// What it calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// How it is attached.
    pub transport: Transport,
    /// Whether it is meant to be taken out: it says so, or is attached by USB.
    pub removable: bool,
    /// Whether the kernel refuses to write to it.
    pub read_only: bool,
    /// Counts media: another number is another medium (Linux 5.15 and later).
    #[serde(skip)]
    pub sequence: Option<u64>,
    /// What is on the disk itself, outside of partitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contents: Option<Contents>,
    /// Its partitions.
    pub partitions: Vec<Partition>,
    /// What it, its partitions, and what is made of them are used for.
    pub uses: Vec<Use>,
}

impl Device {
    /// Who made it and what it is: `SanDisk Ultra`.
    pub fn title(&self) -> String {
        let words: Vec<_> = [&self.vendor, &self.model].into_iter().flatten().map(String::as_str).collect();
        if words.is_empty() { format!("{:?} disk", self.transport).to_lowercase() } else { words.join(" ") }
    }

    /// Whether somebody who looks for a stick wants to see it.
    pub fn is_candidate(&self) -> bool {
        let quiet = ["ram", "zram", "fd", "sr"].iter().any(|kind| self.name.starts_with(kind));
        self.size > 0 && !quiet && self.transport != Transport::Mapped
    }
}

impl Use {
    /// Whether the running system needs it: not just any mounted stick.
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
