//! Reports on partitioned disks.

use std::fs::File;

use anyhow::{Context as _, Result};
use diskimage::gpt::types;
use diskimage::{BootEntry, BootEntryError, fat, gpt, uki};
use serde::Serialize;

use super::input;
use super::program::{self, ProgramReport};
use super::root::{self, RootReport};
use crate::image::signed::BOOT_PROGRAM;

/// Report on a disk.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DiskReport {
    /// Disk GUID.
    pub guid: String,
    /// Logical sector size in bytes.
    pub sector_size: u64,
    /// Length of the disk in bytes.
    pub size: u64,
    /// Its partitions, in order.
    pub partitions: Vec<PartitionReport>,
}

/// Report on a partition.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PartitionReport {
    /// Partition number, from 1.
    pub number: u32,
    /// Name (PARTLABEL).
    pub name: String,
    /// UUID (PARTUUID).
    pub guid: String,
    /// Type GUID.
    pub type_guid: String,
    /// Offset of the first byte.
    pub start: u64,
    /// Length in bytes.
    pub size: u64,
    /// For an EFI system partition: its files, with their lengths in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<(String, u64)>>,
    /// For an EFI system partition: what boots from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<BootReport>,
    /// For a root partition: its file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<RootReport>,
}

pub(super) fn read(mut file: File, files: bool) -> Result<DiskReport> {
    let table = gpt::read(&mut file).context("reading the partition table")?;
    let mut partitions = Vec::new();
    for (number, partition) in table.partitions {
        let mut report = PartitionReport {
            number,
            name: partition.name.clone(),
            guid: partition.unique_guid.to_string(),
            type_guid: partition.type_guid.to_string(),
            start: partition.start,
            size: partition.size,
            files: None,
            boot: None,
            root: None,
        };
        if partition.type_guid == types::ESP {
            let again = file.try_clone()?;
            let (files, boot) = esp(again, partition.start).context("reading the EFI system partition")?;
            (report.files, report.boot) = (Some(files), Some(boot));
        } else if partition.type_guid == types::ROOT_X86_64 {
            report.root =
                Some(root::read(file.try_clone()?, partition.start, files).context("reading the root partition")?);
        }
        partitions.push(report);
    }
    let size = input::length(&file)?;
    let guid = table.disk_guid.to_string();
    Ok(DiskReport { guid, sector_size: table.sector_size.bytes(), size, partitions })
}

/// Report on an EFI system partition alone, such as a stick's first partition.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct EspReport {
    /// Its files, with their lengths in bytes.
    pub files: Vec<(String, u64)>,
    /// What boots from it.
    pub boot: BootReport,
}

/// Report on what boots from an EFI system partition.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BootReport {
    /// Paths of EFI programs that carry a signature; the kernel is one. Whether it is good is not checked.
    pub signed: Vec<String>,
    /// Boot loader entries that name a kernel and an initramfs. Those that start an EFI program are left out.
    pub entries: Vec<EntryReport>,
    /// The unified kernel image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unified: Option<UnifiedReport>,
}

/// Report on a boot loader entry.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct EntryReport {
    /// Path of the entry.
    pub path: String,
    /// Name for menus.
    pub title: String,
    /// Version for menus.
    pub version: String,
    /// Path of the kernel.
    pub kernel: String,
    /// Path of the initramfs.
    pub initrd: String,
    /// Kernel command line.
    pub cmdline: String,
}

/// Report on a unified kernel image on an EFI system partition.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct UnifiedReport {
    /// Path of the image.
    pub path: String,
    /// The image.
    #[serde(flatten)]
    pub program: ProgramReport,
}

pub(super) fn read_esp(file: File) -> Result<EspReport> {
    let (files, boot) = esp(file, 0)?;
    Ok(EspReport { files, boot })
}

fn esp(file: File, offset: u64) -> Result<(Vec<(String, u64)>, BootReport)> {
    let mut volume = fat::Volume::open(file, offset)?;
    let entries = volume.list()?;
    let files = entries.iter().filter(|entry| !entry.is_directory).map(|entry| (entry.path.clone(), entry.size));
    let files: Vec<_> = files.collect();
    let mut boot = BootReport::default();
    for (path, size) in &files {
        let lower = path.to_ascii_lowercase();
        if lower.starts_with("loader/entries/") && lower.ends_with(".conf") && *size <= BootEntry::MAX_SIZE as u64 {
            let entry = match BootEntry::parse(&volume.read(path)?) {
                // It has `efi` or `uki` instead of `linux`.
                Err(BootEntryError::NoKernel) => continue,
                entry => entry.with_context(|| format!("reading {path}"))?,
            };
            let BootEntry { title, version, kernel, initrd, cmdline } = entry;
            boot.entries.push(EntryReport { path: path.clone(), title, version, kernel, initrd, cmdline });
        }
    }
    let is_kernel = |path: &str| boot.entries.iter().any(|entry| entry.kernel.eq_ignore_ascii_case(path));
    let programs: Vec<&String> = files
        .iter()
        .map(|(path, _)| path)
        .filter(|path| path.to_ascii_lowercase().ends_with(".efi") || is_kernel(path))
        .collect();
    for path in programs {
        let bytes = volume.read(path)?;
        // Others' programs may be for 32-bit firmware, or none at all: they are listed as files.
        if uki::is_signed(&bytes).unwrap_or(false) {
            boot.signed.push(path.clone());
        }
        if boot.unified.is_none() && matches!(uki::section(&bytes, ".linux"), Ok(Some(_))) {
            let program = program::parse(&bytes).with_context(|| format!("reading {path}"))?;
            boot.unified = Some(UnifiedReport { path: path.clone(), program });
        }
    }
    Ok((files, boot))
}

/// Whether the firmware finds a signed program on the disk.
pub fn starts_with_secure_boot(disk: &mut File) -> Result<bool> {
    let table = gpt::read(disk).context("reading the partition table")?;
    let Some((_, esp)) = table.partitions.iter().find(|(_, partition)| partition.type_guid == types::ESP) else {
        return Ok(false);
    };
    let mut volume = fat::Volume::open(disk, esp.start).context("reading the EFI system partition")?;
    match volume.read(BOOT_PROGRAM) {
        Ok(program) => uki::is_signed(&program).with_context(|| format!("reading {BOOT_PROGRAM}")),
        Err(fat::ReadError::NotFound(_)) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("reading {BOOT_PROGRAM}")),
    }
}
