//! Writes a protective MBR and both partition tables.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, SeekFrom};

use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::partition_types::{OperatingSystem, Type};

use super::{GptError, LayoutError, MAX_PARTITIONS, NAME_UNITS, Partition};
use crate::{Guid, SectorSize};

/// Writes the protective MBR, the primary table after it and the backup table at the end of `disk`, an image of its
/// final length or a device. Entry numbers follow the order of `partitions`.
///
/// A stick is usually larger than the image that was flashed to it: writing the [table](super::Table) that was read
/// from it again moves the backup to its end.
///
/// # Errors
/// If a partition does not fit there or its name is not valid, or writing fails; see [`GptError`].
pub fn write(disk: &File, disk_guid: Guid, sector_size: SectorSize, partitions: &[Partition]) -> Result<(), GptError> {
    let disk_size = (&*disk).seek(SeekFrom::End(0))?; // a device's metadata has no length
    check(disk_size, sector_size, partitions)?;
    let block_size = match sector_size {
        SectorSize::Bytes512 => LogicalBlockSize::Lb512,
        SectorSize::Bytes4096 => LogicalBlockSize::Lb4096,
    };
    let entries: BTreeMap<_, _> = (1..).zip(partitions.iter().map(|part| entry(part, sector_size))).collect();

    // Sizes too large for the MBR are stored as its largest number (UEFI 2.10, section 5.2.3).
    let sectors_after_mbr = u32::try_from(disk_size / sector_size.bytes() - 1).unwrap_or(u32::MAX);
    ProtectiveMBR::with_lb_size(sectors_after_mbr).overwrite_lba0(&mut &*disk).map_err(refused)?;
    let mut table = gpt::GptConfig::new()
        .writable(true)
        .logical_block_size(block_size)
        .create_from_device(disk, Some(disk_guid.into()))
        .map_err(refused)?;
    table.update_partitions(entries).map_err(refused)?;
    table.write().map_err(refused)?;
    Ok(())
}

fn refused(error: impl std::fmt::Display) -> GptError {
    GptError::Write(error.to_string())
}

fn entry(partition: &Partition, sector_size: SectorSize) -> gpt::partition::Partition {
    gpt::partition::Partition {
        part_type_guid: Type { guid: partition.type_guid.into(), os: OperatingSystem::None },
        part_guid: partition.unique_guid.into(),
        first_lba: partition.start / sector_size.bytes(),
        last_lba: (partition.start + partition.size) / sector_size.bytes() - 1,
        flags: partition.attributes.0,
        name: partition.name.clone(),
    }
}

/// Checks the partitions: the `gpt` crate does not.
fn check(disk_size: u64, sector_size: SectorSize, partitions: &[Partition]) -> Result<(), GptError> {
    let sector = sector_size.bytes();
    if !disk_size.is_multiple_of(sector) {
        return Err(GptError::DiskSize { disk_size, sector_size });
    }
    if partitions.len() > MAX_PARTITIONS {
        return Err(LayoutError::TooMany(partitions.len()).into());
    }
    let (head, tail) = table_bytes(sector_size);
    let usable = head..disk_size.saturating_sub(tail);
    for (index, part) in partitions.iter().enumerate() {
        let Partition { name, start, size, .. } = part;
        let (start, size) = (*start, *size);
        if !start.is_multiple_of(sector) || !size.is_multiple_of(sector) {
            return Err(GptError::Unaligned { name: name.clone(), start, size, sector_size });
        }
        if size == 0 {
            return Err(LayoutError::Empty(name.clone()).into());
        }
        if name.encode_utf16().count() > NAME_UNITS {
            return Err(LayoutError::NameTooLong(name.clone()).into());
        }
        let overlap = || GptError::Overlap { name: name.clone(), start, size, disk_size };
        let end = start.checked_add(size).filter(|end| *end <= usable.end).ok_or_else(overlap)?;
        for other in &partitions[..index] {
            if other.unique_guid == part.unique_guid {
                return Err(LayoutError::DuplicateGuid(part.unique_guid).into());
            }
            if start < other.start + other.size && other.start < end {
                return Err(overlap());
            }
        }
        if start < usable.start {
            return Err(overlap());
        }
    }
    Ok(())
}

/// Size in bytes of the partition tables at the start and at the end of a disk, including the protective MBR.
fn table_bytes(sector_size: SectorSize) -> (u64, u64) {
    let entries = (MAX_PARTITIONS * 128) as u64;
    (2 * sector_size.bytes() + entries, sector_size.bytes() + entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpt::{Attributes, types};
    use std::os::unix::fs::FileExt;

    fn part(number: u8, start: u64, size: u64) -> Partition {
        Partition {
            type_guid: types::LINUX_GENERIC,
            unique_guid: Guid::from_bytes([number; 16]),
            name: format!("part{number}"),
            start,
            size,
            attributes: Attributes::default(),
        }
    }

    #[test]
    fn refuses_partitions_without_a_place() {
        let disk = tempfile::tempfile().unwrap();
        disk.set_len(10 << 20).unwrap();
        let write =
            |partitions: &[Partition]| write(&disk, Guid::from_bytes([9; 16]), SectorSize::Bytes512, partitions);
        let mib = 1 << 20;
        assert!(matches!(write(&[part(1, mib + 1, mib)]), Err(GptError::Unaligned { .. })));
        assert!(matches!(write(&[part(1, mib, 10 * mib)]), Err(GptError::Overlap { .. })));
        assert!(matches!(write(&[part(1, 512, mib)]), Err(GptError::Overlap { .. })));
        assert!(matches!(write(&[part(1, mib, 2 * mib), part(2, 2 * mib, mib)]), Err(GptError::Overlap { .. })));
        assert!(matches!(write(&[part(1, mib, u64::MAX - 511)]), Err(GptError::Overlap { .. })));
        assert!(matches!(write(&[part(1, mib, 0)]), Err(GptError::Layout(LayoutError::Empty(_)))));
        write(&[part(1, mib, mib), part(2, 2 * mib, 7 * mib)]).unwrap();
    }

    #[test]
    fn writing_again_moves_the_backup_to_the_end_of_a_larger_disk() {
        let disk = tempfile::tempfile().unwrap();
        disk.set_len(10 << 20).unwrap();
        let partitions = [part(1, 1 << 20, 1 << 20)];
        write(&disk, Guid::from_bytes([9; 16]), SectorSize::Bytes512, &partitions).unwrap();
        disk.set_len(20 << 20).unwrap();
        let table = crate::gpt::read(&mut &disk).unwrap();
        let read: Vec<_> = table.partitions.into_iter().map(|(_, partition)| partition).collect();
        write(&disk, table.disk_guid, table.sector_size, &read).unwrap();
        let mut last = [0; 512];
        disk.read_exact_at(&mut last, (20 << 20) - 512).unwrap();
        assert!(last.starts_with(b"EFI PART"));
        assert_eq!(read, partitions);
    }
}
