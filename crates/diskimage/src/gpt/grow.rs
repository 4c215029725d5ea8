//! Grows the last partition to the end of its disk, safely against a power cut at any point.
//!
//! An image that was written to a larger disk has its backup table where the image ended, which will be inside the
//! grown partition. So both tables have to change. This is safe because the primary table, the only one that Linux
//! reads, is valid at any time: its new entries are written to a place beside the old ones, and the header, a single
//! sector that a disk writes completely or not at all, then points to them. The same procedure moves them back to
//! their standard place.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use super::read::{le32, le64, read_exact_at};
use super::{ALIGNMENT, Copies, GptError, Partition, read};
use crate::SectorSize;

/// Sector number of the primary header, and of the entries after it by the specification.
const PRIMARY: u64 = 1;
const ENTRIES: u64 = 2;

/// The writes that grow a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    /// The partition as it will be. Its size is unchanged if only the tables have to be fixed.
    pub partition: Partition,
    /// Writes in order. Each has to be on the disk before the next one begins.
    pub steps: Vec<Step>,
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Description for errors.
    pub what: &'static str,
    /// Offset from the start of the disk in bytes.
    pub offset: u64,
    /// Data: whole sectors.
    pub bytes: Vec<u8>,
}

impl Growth {
    /// Performs each step and waits until it is on the disk.
    ///
    /// # Errors
    /// If writing fails. The disk still has a valid partition table, the old one or the new one.
    pub fn write(&self, disk: &File) -> Result<(), GptError> {
        for step in &self.steps {
            let written = disk.write_all_at(&step.bytes, step.offset).and_then(|()| disk.sync_data());
            written.map_err(|source| GptError::Grow { what: step.what, source })?;
        }
        Ok(())
    }
}

/// Plans how to grow partition `number` to the end of the disk, rounded down to [`ALIGNMENT`]. `None` if it is there
/// already and both tables are in their places.
///
/// # Errors
/// If the disk has no valid primary table, the partition is not its last one, there is no room for a second copy of
/// the entries before the first partition, or reading fails.
pub fn plan_growth(disk: &mut (impl Read + Seek), number: u32) -> Result<Option<Growth>, GptError> {
    let size = disk.seek(SeekFrom::End(0))?;
    let table = read(disk)?;
    if let Copies::OnlyBackup(primary) = table.copies {
        return Err(GptError::PrimaryDamaged(primary));
    }
    let places = table.partitions.iter();
    let partition = places
        .clone()
        .find(|(other, _)| *other == number)
        .map(|(_, found)| found.clone())
        .ok_or(GptError::NoSuchPartition(number))?;
    if places.clone().any(|(other, found)| *other != number && found.start >= partition.start) {
        return Err(GptError::NotLast(partition.name));
    }
    let first = places.map(|(_, found)| found.start).min().unwrap_or(partition.start);
    let mut primary = Header::read(disk, table.sector_size)?;
    let sector = table.sector_size.bytes();
    let sectors = size / sector;
    let last_usable = sectors.checked_sub(2 + primary.entry_sectors()).ok_or(GptError::NoRoom)?;
    let end = (last_usable + 1) * sector / ALIGNMENT * ALIGNMENT;
    let grown = Partition { size: end.saturating_sub(partition.start).max(partition.size), ..partition.clone() };
    if grown.size == partition.size && primary.entries_at == ENTRIES && primary.other == sectors - 1 {
        return Ok(None);
    }
    primary.set_last(number, (grown.start + grown.size) / sector - 1);
    primary.other = sectors - 1;
    primary.last_usable = last_usable;
    let mut steps = primary.backup_steps();
    steps.extend(primary.primary_steps(first / sector)?);
    steps.extend(protective_mbr(disk, table.sector_size, sectors)?);
    Ok(Some(Growth { partition: grown, steps }))
}

/// A table as raw bytes, so that unknown fields are preserved. Fields: UEFI 2.10, table 5.5.
struct Header {
    sector_size: SectorSize,
    bytes: Vec<u8>,
    length: usize,
    other: u64,
    first_usable: u64,
    last_usable: u64,
    entries_at: u64,
    entry_size: usize,
    entries: Vec<u8>,
}

impl Header {
    /// Reads the primary table, which [`read`] has found to be valid.
    fn read(disk: &mut (impl Read + Seek), sector_size: SectorSize) -> Result<Self, GptError> {
        let sector = sector_size.bytes();
        let mut bytes = vec![0; sector as usize];
        let damaged = |_| GptError::PrimaryDamaged("sectors cannot be read");
        read_exact_at(disk, &mut bytes, PRIMARY * sector).map_err(damaged)?;
        let (count, entry_size, entries_at) = (le32(&bytes, 80), le32(&bytes, 84), le64(&bytes, 72));
        let mut entries = vec![0; count as usize * entry_size as usize];
        read_exact_at(disk, &mut entries, entries_at.saturating_mul(sector)).map_err(damaged)?;
        Ok(Self {
            sector_size,
            length: le32(&bytes, 12) as usize,
            other: le64(&bytes, 32),
            first_usable: le64(&bytes, 40),
            last_usable: le64(&bytes, 48),
            entries_at,
            entry_size: entry_size as usize,
            entries,
            bytes,
        })
    }

    fn entry_sectors(&self) -> u64 {
        (self.entries.len() as u64).div_ceil(self.sector_size.bytes())
    }

    /// Sets the last sector of a partition (UEFI 2.10, table 5.6).
    fn set_last(&mut self, number: u32, last: u64) {
        let at = (number as usize).saturating_sub(1) * self.entry_size + 40;
        if let Some(field) = self.entries.get_mut(at..at + 8) {
            field.copy_from_slice(&last.to_le_bytes());
        }
    }

    fn backup_steps(&self) -> Vec<Step> {
        let entries_at = self.last_usable + 1;
        vec![
            self.step("the backup table's entries", entries_at, self.padded_entries()),
            self.step(
                "the backup table's header",
                self.other,
                self.seal(self.other, PRIMARY, entries_at, self.first_usable),
            ),
        ]
    }

    /// Moves the entries to a free place; if that is not their standard place, then back there.
    fn primary_steps(&self, first_partition: u64) -> Result<Vec<Step>, GptError> {
        let usual_is_free = self.entries_at >= ENTRIES + self.entry_sectors();
        let mut places = vec![ENTRIES];
        if !usual_is_free {
            places.insert(0, self.entries_at.saturating_add(self.entry_sectors()));
        }
        let mut steps = Vec::new();
        for at in places {
            let end = at.saturating_add(self.entry_sectors());
            if end > first_partition {
                return Err(GptError::NoRoom);
            }
            let first_usable = match (at, usual_is_free) {
                (ENTRIES, true) => end, // what an interrupted growth has moved is moved back
                (ENTRIES, false) => self.first_usable,
                _ => self.first_usable.max(end),
            };
            steps.push(self.step("the table's entries", at, self.padded_entries()));
            steps.push(self.step("the table's header", PRIMARY, self.seal(PRIMARY, self.other, at, first_usable)));
        }
        Ok(steps)
    }

    fn step(&self, what: &'static str, sector: u64, bytes: Vec<u8>) -> Step {
        Step { what, offset: sector * self.sector_size.bytes(), bytes }
    }

    fn padded_entries(&self) -> Vec<u8> {
        let mut bytes = self.entries.clone();
        bytes.resize((self.entry_sectors() * self.sector_size.bytes()) as usize, 0);
        bytes
    }

    /// Encodes a header's sector with its checksums.
    fn seal(&self, here: u64, other: u64, entries_at: u64, first_usable: u64) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(16, &[0; 4]);
        for (at, value) in [(24, here), (32, other), (40, first_usable), (48, self.last_usable), (72, entries_at)] {
            put(at, &value.to_le_bytes());
        }
        put(88, &crc32fast::hash(&self.entries).to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..self.length]);
        bytes[16..20].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }
}

/// The protective MBR, which covers the disk for tools without GPT support (UEFI 2.10, section 5.2.3), if its length
/// has changed.
fn protective_mbr(
    disk: &mut (impl Read + Seek),
    sector_size: SectorSize,
    sectors: u64,
) -> Result<Option<Step>, GptError> {
    let mut bytes = vec![0; sector_size.bytes() as usize];
    read_exact_at(disk, &mut bytes, 0).map_err(|_| GptError::PrimaryDamaged("its first sector cannot be read"))?;
    let length = u32::try_from(sectors - 1).unwrap_or(u32::MAX).to_le_bytes();
    let ours = bytes[450] == 0xee && bytes[510..512] == [0x55, 0xaa];
    if !ours || bytes[458..462] == length {
        return Ok(None);
    }
    bytes[458..462].copy_from_slice(&length);
    Ok(Some(Step { what: "the protective MBR", offset: 0, bytes }))
}
