//! Reports on partitioned disks.

use std::fs::File;

use anyhow::{Context as _, Result};
use diskimage::gpt::types;
use diskimage::{fat, gpt};
use serde::Serialize;

use super::input;
use super::program::{self, ProgramReport};
use super::root::{self, RootReport};

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
    /// For an EFI system partition: the program that firmware boots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boots: Option<ProgramReport>,
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
            boots: None,
            root: None,
        };
        if partition.type_guid == types::ESP {
            let again = file.try_clone()?;
            (report.files, report.boots) = esp(again, partition.start).context("reading the EFI system partition")?;
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
    /// Program that firmware boots from it.
    pub boots: Option<ProgramReport>,
}

pub(super) fn read_esp(file: File) -> Result<EspReport> {
    let (files, boots) = esp(file, 0)?;
    Ok(EspReport { files: files.unwrap_or_default(), boots })
}

type Esp = (Option<Vec<(String, u64)>>, Option<ProgramReport>);

fn esp(file: File, offset: u64) -> Result<Esp> {
    let mut volume = fat::Volume::open(file, offset)?;
    let entries = volume.list()?;
    let files = entries.iter().filter(|entry| !entry.is_directory).map(|entry| (entry.path.clone(), entry.size));
    let files: Vec<_> = files.collect();
    let boots = files.iter().find(|(path, _)| path.eq_ignore_ascii_case("EFI/BOOT/BOOTX64.EFI"));
    let boots = boots.map(|(path, _)| program::parse(&volume.read(path)?)).transpose()?;
    Ok((Some(files), boots))
}
