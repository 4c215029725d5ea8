//! Writes the volume: boot sectors, tables, and each node as a run of clusters.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use fsimage::{Content, FileTree};
use progress::{Progress, Task, Unit};

use super::entry::DosTime;
use super::geometry::{Geometry, minimum_size};
use super::plan::{Plan, PlannedKind};
use super::{FatError, FatOptions};
use crate::SectorSize;

const FSINFO_SECTOR: u64 = 1;
const BACKUP_SECTOR: u64 = 6;
const END_OF_CHAIN: u32 = 0x0fff_ffff;
const BUFFER: usize = 1 << 20;

/// Result of writing a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Cluster size in bytes.
    pub cluster_size: u64,
    /// Number of clusters for files and directories.
    pub clusters: u64,
    /// Number of these that are free.
    pub free_clusters: u64,
}

/// Minimum size of a partition that holds a tree, in bytes, a whole number of MiB.
///
/// # Errors
/// If no partition can hold it; see [`FatError`].
pub fn required_size(tree: &FileTree, sector_size: SectorSize) -> Result<u64, FatError> {
    fitting_size(&Plan::new(tree, Some("LABEL"))?, sector_size)
}

fn fitting_size(plan: &Plan, sector_size: SectorSize) -> Result<u64, FatError> {
    let mut size = minimum_size(sector_size);
    loop {
        let geometry = Geometry::choose(size, sector_size)?;
        let missing = plan.clusters(geometry.cluster_bytes()).saturating_sub(geometry.clusters);
        if missing == 0 {
            return Ok(size);
        }
        size = (size + missing * geometry.cluster_bytes()).next_multiple_of(1 << 20);
    }
}

/// Writes a FAT32 volume with all directories and files of `tree` at `offset` of `image`. Free clusters are not
/// written: in a sparse image they stay holes. Everything else is, including zeros, so the previous content does not
/// matter. The image is extended if it is too short. Owners, modes, link identity and extended attributes are lost,
/// since FAT has none; hard links become copies.
///
/// # Errors
/// If FAT cannot hold the tree, or it does not fit, or reading or writing fails; see [`FatError`].
pub fn write(
    tree: &FileTree,
    image: &File,
    offset: u64,
    options: &FatOptions,
    progress: &dyn Progress,
) -> Result<Written, FatError> {
    let FatOptions { size, sector_size, .. } = *options;
    if !offset.is_multiple_of(sector_size.bytes()) {
        return Err(FatError::Unaligned { offset, sector_size });
    }
    let plan = Plan::new(tree, options.label.as_deref())?;
    let geometry = Geometry::choose(size, sector_size)?;
    let used = plan.clusters(geometry.cluster_bytes());
    if used > geometry.clusters {
        return Err(FatError::NoSpace { size, minimum: fitting_size(&plan, sector_size)? });
    }
    let metadata = image.metadata().map_err(FatError::Write)?;
    if metadata.is_file() && metadata.len() < offset.saturating_add(size) {
        image.set_len(offset.saturating_add(size)).map_err(FatError::Write)?;
    }
    let volume = Output {
        image,
        offset,
        task: &*progress.task("writing the EFI system partition", Some(plan.bytes()), Unit::Bytes),
    };
    let places = plan.place(&geometry);
    let when = DosTime::new(options.timestamp);

    volume.zeros(0, geometry.fat_offset(0))?;
    let boot = boot_sector(&geometry, offset, options.volume_id, plan.label());
    let info = info_sector(geometry.clusters - used, 2 + used, geometry.clusters);
    for first in [0, BACKUP_SECTOR] {
        volume.write(&boot, first * geometry.sector)?;
        volume.write(&info, (first + FSINFO_SECTOR) * geometry.sector)?;
    }
    let table = table(&plan, &geometry);
    for number in [0, 1] {
        volume.write(&table, geometry.fat_offset(number))?;
        volume.zeros(geometry.fat_offset(number) + table.len() as u64, geometry.fat_offset(number + 1))?;
    }

    for (index, node) in plan.nodes.iter().enumerate() {
        let at = geometry.cluster_offset(u64::from(places[index].max(2)));
        match &node.kind {
            PlannedKind::Directory { children, .. } => {
                let bytes = plan.directory(index, children, &places, when);
                volume.write(&bytes, at)?;
                volume.task.advance(bytes.len() as u64);
            }
            PlannedKind::File(content) => {
                volume.task.detail(&node.path);
                volume.stream(content, &node.path, at)?;
            }
        }
        volume.zeros(at + node.bytes(), at + node.clusters(geometry.cluster_bytes()) * geometry.cluster_bytes())?;
    }
    Ok(Written {
        cluster_size: geometry.cluster_bytes(),
        clusters: geometry.clusters,
        free_clusters: geometry.clusters - used,
    })
}

/// The part of the image that the volume is written to.
struct Output<'a> {
    image: &'a File,
    offset: u64,
    task: &'a dyn Task,
}

impl Output<'_> {
    fn write(&self, bytes: &[u8], at: u64) -> Result<(), FatError> {
        self.image.write_all_at(bytes, self.offset + at).map_err(FatError::Write)
    }

    fn zeros(&self, mut at: u64, end: u64) -> Result<(), FatError> {
        let zeros = vec![0; BUFFER.min((end - at) as usize)];
        while at < end {
            let part = zeros.len().min((end - at) as usize);
            self.write(&zeros[..part], at)?;
            at += part as u64;
        }
        Ok(())
    }

    fn stream(&self, content: &Content, path: &str, at: u64) -> Result<(), FatError> {
        if let Content::Bytes(bytes) = content {
            self.task.advance(bytes.len() as u64);
            return self.write(bytes, at);
        }
        let failed = |source: io::Error| FatError::Content { path: path.to_owned(), source };
        let changed = || FatError::Changed { path: path.to_owned(), expected: content.len() };
        let mut reader = content.open().map_err(failed)?;
        let mut buffer = vec![0; BUFFER.min(content.len() as usize)];
        let mut done = 0;
        while done < content.len() {
            let part = buffer.len().min((content.len() - done) as usize);
            reader.read_exact(&mut buffer[..part]).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => changed(),
                _ => failed(error),
            })?;
            self.write(&buffer[..part], at + done)?;
            self.task.advance(part as u64);
            done += part as u64;
        }
        if reader.take(1).read_to_end(&mut Vec::new()).map_err(failed)? != 0 {
            return Err(changed());
        }
        Ok(())
    }
}

/// Boot sector with the BIOS parameter block (specification, "Boot Sector and BPB").
fn boot_sector(geometry: &Geometry, offset: u64, volume_id: u32, label: &[u8; 11]) -> Vec<u8> {
    let mut boot = Bytes(vec![0; geometry.sector as usize]);
    let hidden = u32::try_from(offset / geometry.sector).unwrap_or(0);
    boot.set(0, &[0xeb, 0x58, 0x90]); // jump over the parameters, as everybody expects, to no code
    boot.set(3, b"MSWIN4.1"); // the name that the specification recommends, for drivers that look
    boot.set(11, &(geometry.sector as u16).to_le_bytes());
    boot.set(13, &[geometry.per_cluster as u8]);
    boot.set(14, &(geometry.reserved as u16).to_le_bytes());
    boot.set(16, &[2]); // tables
    boot.set(21, &[0xf8]); // fixed disk
    boot.set(24, &63_u16.to_le_bytes()); // sectors per track, heads: nobody reads them, some check them
    boot.set(26, &255_u16.to_le_bytes());
    boot.set(28, &hidden.to_le_bytes());
    boot.set(32, &(geometry.total as u32).to_le_bytes());
    boot.set(36, &(geometry.per_fat as u32).to_le_bytes());
    boot.set(44, &2_u32.to_le_bytes()); // the root directory's cluster
    boot.set(48, &(FSINFO_SECTOR as u16).to_le_bytes());
    boot.set(50, &(BACKUP_SECTOR as u16).to_le_bytes());
    boot.set(64, &[0x80, 0, 0x29]); // drive number, clean, "three fields follow"
    boot.set(67, &volume_id.to_le_bytes());
    boot.set(71, label);
    boot.set(82, b"FAT32   ");
    boot.set(510, &[0x55, 0xaa]);
    boot.0
}

/// `FSInfo` (specification, "FAT32 `FSInfo` Sector Structure").
fn info_sector(free: u64, next: u64, clusters: u64) -> Vec<u8> {
    let next = if next < clusters + 2 { next as u32 } else { u32::MAX };
    let mut info = Bytes(vec![0; 512]);
    info.set(0, b"RRaA");
    info.set(484, b"rrAa");
    info.set(488, &(free as u32).to_le_bytes());
    info.set(492, &next.to_le_bytes());
    info.set(508, &[0, 0, 0x55, 0xaa]);
    info.0
}

/// The table up to its last used entry; all others are zero, that is, free.
fn table(plan: &Plan, geometry: &Geometry) -> Vec<u8> {
    let mut table = Vec::new();
    let mut add = |entry: u32| table.extend_from_slice(&entry.to_le_bytes());
    add(0x0fff_fff8); // media type
    add(END_OF_CHAIN); // cleanly unmounted, no errors
    let mut next: u32 = 2;
    for node in &plan.nodes {
        for left in (0..node.clusters(geometry.cluster_bytes())).rev() {
            next += 1;
            add(if left == 0 { END_OF_CHAIN } else { next });
        }
    }
    table
}

struct Bytes(Vec<u8>);

impl Bytes {
    fn set(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }
}
