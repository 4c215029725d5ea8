//! File systems, partition tables and EFI programs.

use std::io::Cursor;

use appliance::superblock::Superblock;
use diskimage::BootEntry;
use diskimage::fat::Volume;
use diskimage::gpt::{Copies, MAX_PARTITIONS};
use diskimage::uki::{NewSection, append_sections, bzimage_version, is_signed, section, sections};
use fsimage::ext4::{Limits, Reader};

use crate::expand_sparse;

/// An ext4 file system of up to 1 MiB as a sparse disk: all of the tree, and each file by its path.
pub fn ext4(data: &[u8]) {
    let Some(image) = expand_sparse(data, 1 << 20) else { return };
    let limits = Limits { entries: 200, memory: 1 << 20 };
    let whole = fsimage::ext4::read(&image, limits);
    let Ok(mut reader) = Reader::open(Cursor::new(image), 0) else { return };
    let _names = reader.superblock().feature_names();
    let Ok(entries) = reader.entries(limits) else {
        assert!(whole.is_err());
        return;
    };
    assert!(entries.len() <= limits.entries);
    for entry in entries.iter().take(20) {
        let by_entry = reader.open_entry(entry).is_ok();
        assert_eq!(reader.open_file(&entry.path).is_ok(), by_entry, "{entry:?}");
    }
}

/// A FAT32 volume of up to 40 MiB as a sparse disk: the list of files, and the contents of the small ones.
pub fn fat(data: &[u8]) {
    let Some(image) = expand_sparse(data, 40 << 20) else { return };
    let Ok(mut volume) = Volume::open(Cursor::new(&image), 0) else { return };
    let Ok(entries) = volume.list() else { return };
    for entry in entries.iter().filter(|entry| !entry.is_directory && entry.size < 1 << 16).take(20) {
        assert!(!entry.path.is_empty());
        if let Ok(content) = volume.read(&entry.path) {
            // Of two files with one name the first is found.
            let same = entries.iter().filter(|other| other.path.eq_ignore_ascii_case(&entry.path)).count();
            assert!(same > 1 || content.len() as u64 == entry.size, "{entry:?}");
        }
    }
}

/// A disk of up to 4 MiB with a GUID partition table, as a sparse disk: as it is and with its checksums put right.
/// Partitions have to be inside of the disk.
pub fn gpt(data: &[u8]) {
    let Some(mut disk) = expand_sparse(data, 4 << 20) else { return };
    let _as_it_is = diskimage::gpt::parse(&disk);
    for sector in [512, 4096] {
        // The backup first: where sectors are taken for larger ones, the primary is what counts.
        for lba in [(disk.len() / sector).saturating_sub(1), 1] {
            mend_table(&mut disk, lba * sector, sector);
        }
    }
    let Ok(table) = diskimage::gpt::parse(&disk) else { return };
    assert!(matches!(table.copies, Copies::Both | Copies::Different | Copies::OnlyPrimary(_) | Copies::OnlyBackup(_)));
    for (number, partition) in &table.partitions {
        assert!(*number >= 1);
        let end = partition.start.checked_add(partition.size).expect("ends below 16 EiB");
        assert!(partition.size > 0 && end <= disk.len() as u64, "{partition:?}");
    }
    assert!(table.partitions.len() <= MAX_PARTITIONS * 128);
}

/// Puts right the two checksums of the header at that byte (UEFI 2.10, table 5.5), if there is one.
fn mend_table(disk: &mut [u8], at: usize, sector: usize) {
    let number = |disk: &[u8], at: usize| -> Option<usize> {
        Some(u32::from_le_bytes(*disk.get(at..)?.first_chunk()?) as usize)
    };
    let mut mend = || -> Option<()> {
        if disk.get(at..at + 8)? != b"EFI PART" {
            return None;
        }
        let entries = number(disk, at + 72)?.checked_mul(sector)?;
        let bytes = number(disk, at + 80)?.checked_mul(number(disk, at + 84)?)?;
        if let Some(entries) = disk.get(entries..entries.checked_add(bytes)?) {
            let sum = crc32fast::hash(entries);
            disk.get_mut(at + 88..at + 92)?.copy_from_slice(&sum.to_le_bytes());
        }
        let length = number(disk, at + 12)?;
        disk.get_mut(at + 16..at + 20)?.fill(0);
        let sum = crc32fast::hash(disk.get(at..at.checked_add(length)?)?);
        disk.get_mut(at + 16..at + 20)?.copy_from_slice(&sum.to_le_bytes());
        Some(())
    };
    // No header, or one so wrong that it has no checksums: nothing to put right.
    mend().unwrap_or_default();
}

/// An EFI program. Appended sections are found again, with their content, and the old ones are still there.
pub fn uki(data: &[u8]) {
    let _version = bzimage_version(data);
    let _signed_or_error = is_signed(data);
    let before = sections(data);
    if let Ok(before) = &before {
        for info in before {
            let _content_or_error = section(data, &info.name);
        }
    }
    let content = b"quiet";
    let mut image = Vec::new();
    if append_sections(data, &[NewSection::data(".cmdline", content.to_vec())], &mut image).is_err() {
        return;
    }
    let after = sections(&image).expect("our own program");
    assert!(after.iter().any(|info| info.name == ".cmdline"), "{after:?}");
    assert_eq!(section(&image, ".cmdline").expect("our own section"), Some(content.as_slice()));
    if let Ok(before) = before {
        assert_eq!(after.len(), before.len() + 1);
    }
}

/// A boot loader entry. What is written of it reads back.
pub fn boot_entry(data: &[u8]) {
    let Ok(entry) = BootEntry::parse(data) else { return };
    if let Ok(text) = entry.to_text() {
        assert_eq!(BootEntry::parse(text.as_bytes()), Ok(entry));
    }
}

/// The start of a block device, for PID 1.
pub fn superblock(data: &[u8]) {
    if let Some(found) = Superblock::parse(data) {
        assert!(found.uuid.is_none_or(|uuid| uuid.len() == 36));
        assert!(found.label.is_none_or(|label| !label.is_empty()));
    }
}
