//! Reads untrusted partition tables.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use super::{Attributes, GptError, NAME_UNITS, Partition};
use crate::{Guid, SectorSize};

/// Maximum size of the entries in bytes: 512 KiB, 32 times the usual size.
const MAX_ENTRY_BYTES: u64 = 512 << 10;

/// Validity of the two tables on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copies {
    /// Both are valid and have the same content.
    Both,
    /// Both are valid but differ; the primary counts.
    Different,
    /// Only the primary is valid; with the backup's flaw. Usual if an image was written to a larger disk or truncated.
    OnlyPrimary(&'static str),
    /// Only the backup is valid; with the primary's flaw. Firmware may or may not boot this.
    OnlyBackup(&'static str),
}

/// A partition table as read from a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Sector size in which the table counts.
    pub sector_size: SectorSize,
    /// GUID of the disk.
    pub disk_guid: Guid,
    /// Used entries with their number (from 1), in the order of the table.
    pub partitions: Vec<(u32, Partition)>,
    /// Validity of the two tables.
    pub copies: Copies,
}

/// Reads the partition table of a disk or image, trying both sector sizes.
///
/// Headers and entries are used only if their checksums are right, and partitions only if they are inside the disk's
/// usable range.
///
/// # Errors
/// [`GptError::NotFound`], [`GptError::Damaged`], or an error of reading.
pub fn read(disk: &mut (impl Read + Seek)) -> Result<Table, GptError> {
    let size = disk.seek(SeekFrom::End(0))?;
    let mut damaged = None;
    for sector_size in SectorSize::ALL {
        let sectors = size / sector_size.bytes();
        let primary = read_at(disk, sectors, sector_size, 1);
        // An image that was written to a larger disk has its backup where the primary says.
        let backup_at = primary.as_ref().map_or(sectors.saturating_sub(1), |found| found.other_lba);
        let backup = read_at(disk, sectors, sector_size, backup_at);
        let (found, copies) = match (primary, backup) {
            (Err(Flaw::Io(error)), _) | (_, Err(Flaw::Io(error))) => return Err(error.into()),
            (Err(Flaw::Missing), Err(Flaw::Missing)) => continue,
            (Ok(primary), Ok(backup)) if primary.says_the_same(&backup) => (primary, Copies::Both),
            (Ok(primary), Ok(_)) => (primary, Copies::Different),
            (Ok(primary), Err(flaw)) => (primary, Copies::OnlyPrimary(flaw.text())),
            (Err(flaw), Ok(backup)) => (backup, Copies::OnlyBackup(flaw.text())),
            (Err(primary), Err(backup)) => {
                damaged.get_or_insert(GptError::Damaged { primary: primary.text(), backup: backup.text() });
                continue;
            }
        };
        return Ok(Table { sector_size, disk_guid: found.disk_guid, partitions: found.partitions, copies });
    }
    Err(damaged.unwrap_or(GptError::NotFound))
}

/// [`read`] for a disk in memory.
///
/// # Errors
/// As [`read`].
pub fn parse(disk: &[u8]) -> Result<Table, GptError> {
    read(&mut Cursor::new(disk))
}

pub(super) enum Flaw {
    Io(io::Error),
    Missing,
    Bad(&'static str),
}

impl Flaw {
    fn text(&self) -> &'static str {
        match self {
            Self::Io(_) => "sectors cannot be read",
            Self::Missing => "signature is missing",
            Self::Bad(what) => what,
        }
    }
}

struct OneTable {
    other_lba: u64,
    disk_guid: Guid,
    partitions: Vec<(u32, Partition)>,
}

impl OneTable {
    fn says_the_same(&self, other: &Self) -> bool {
        self.disk_guid == other.disk_guid && self.partitions == other.partitions
    }
}

fn read_at(disk: &mut (impl Read + Seek), sectors: u64, sector_size: SectorSize, lba: u64) -> Result<OneTable, Flaw> {
    if lba == 0 || lba >= sectors {
        return Err(Flaw::Missing);
    }
    let mut header = [0; 512];
    read_exact_at(disk, &mut header, lba * sector_size.bytes())?;
    if &header[..8] != b"EFI PART" {
        return Err(Flaw::Missing);
    }
    // Field offsets: UEFI 2.10, table 5.5.
    let length = le32(&header, 12) as usize;
    if !(92..=512).contains(&length) {
        return Err(Flaw::Bad("header has an impossible length"));
    }
    let expected = le32(&header, 16);
    header[16..20].fill(0);
    if crc32fast::hash(&header[..length]) != expected {
        return Err(Flaw::Bad("header checksum is wrong"));
    }
    if le64(&header, 24) != lba {
        return Err(Flaw::Bad("header belongs to another place"));
    }
    let usable = le64(&header, 40)..=le64(&header, 48);
    let (entry_count, entry_size) = (le32(&header, 80), le32(&header, 84));
    if entry_size < 128 || !entry_size.is_power_of_two() {
        return Err(Flaw::Bad("entries have an impossible length"));
    }
    let bytes = u64::from(entry_count) * u64::from(entry_size);
    if bytes > MAX_ENTRY_BYTES {
        return Err(Flaw::Bad("entries are implausibly many"));
    }
    let start =
        le64(&header, 72).checked_mul(sector_size.bytes()).ok_or(Flaw::Bad("entries are outside of the disk"))?;
    let mut entries = vec![0; bytes as usize];
    read_exact_at(disk, &mut entries, start)?;
    if crc32fast::hash(&entries) != le32(&header, 88) {
        return Err(Flaw::Bad("checksum of the entries is wrong"));
    }
    let mut partitions = Vec::new();
    for (number, entry) in (1..).zip(entries.chunks_exact(entry_size as usize)) {
        let type_guid = guid(entry, 0);
        if type_guid.is_nil() {
            continue;
        }
        let (first, last) = (le64(entry, 32), le64(entry, 40));
        if first > last || !usable.contains(&first) || !usable.contains(&last) || last >= sectors {
            return Err(Flaw::Bad("partitions reach outside of the disk's usable range"));
        }
        // In range of the disk, whose size in bytes fits.
        let (start, size) = (first * sector_size.bytes(), (last - first + 1) * sector_size.bytes());
        let (unique_guid, attributes) = (guid(entry, 16), Attributes(le64(entry, 48)));
        partitions.push((number, Partition { type_guid, unique_guid, name: name(entry), start, size, attributes }));
    }
    Ok(OneTable { other_lba: le64(&header, 32), disk_guid: guid(&header, 56), partitions })
}

pub(super) fn read_exact_at(disk: &mut (impl Read + Seek), bytes: &mut [u8], offset: u64) -> Result<(), Flaw> {
    disk.seek(SeekFrom::Start(offset)).and_then(|_| disk.read_exact(bytes)).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput => {
            Flaw::Bad("table reaches over the end of the disk")
        }
        _ => Flaw::Io(error),
    })
}

/// `bytes` has at least 92 bytes, and `at` is a constant below that.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|index| bytes[at + index])
}

pub(super) fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

pub(super) fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

fn guid(bytes: &[u8], at: usize) -> Guid {
    Guid::from_efi_bytes(array(bytes, at))
}

fn name(entry: &[u8]) -> String {
    let units = entry[56..].as_chunks::<2>().0.iter().take(NAME_UNITS).map(|unit| u16::from_le_bytes(*unit));
    let units: Vec<_> = units.take_while(|unit| *unit != 0).collect();
    String::from_utf16_lossy(&units)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpt::{types, write};
    use proptest::prelude::*;
    use std::os::unix::fs::FileExt;

    const MIB: u64 = 1 << 20;

    fn disk(sector_size: SectorSize) -> (Vec<u8>, Vec<Partition>) {
        let part = |number: u8, type_guid, start, attributes| Partition {
            type_guid,
            unique_guid: Guid::from_bytes([number; 16]),
            name: format!("Größe {number}"),
            start,
            size: MIB,
            attributes,
        };
        let partitions = vec![
            part(1, types::ESP, MIB, Attributes::NO_AUTO),
            part(2, types::ROOT_X86_64, 2 * MIB, Attributes::READ_ONLY.with(Attributes::NO_AUTO)),
        ];
        let file = tempfile::tempfile().unwrap();
        file.set_len(4 * MIB).unwrap();
        write(&file, Guid::from_bytes([9; 16]), sector_size, &partitions).unwrap();
        let mut bytes = vec![0; 4 * MIB as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        (bytes, partitions)
    }

    #[test]
    fn reads_what_was_written_in_either_sector_size() {
        for sector_size in SectorSize::ALL {
            let (bytes, partitions) = disk(sector_size);
            let table = parse(&bytes).unwrap();
            assert_eq!(table.sector_size, sector_size);
            assert_eq!(table.disk_guid, Guid::from_bytes([9; 16]));
            assert_eq!(table.copies, Copies::Both);
            assert_eq!(table.partitions, (1..).zip(partitions).collect::<Vec<_>>());
        }
    }

    #[test]
    fn either_table_is_enough() {
        for sector_size in SectorSize::ALL {
            let (bytes, _) = disk(sector_size);
            let sector = sector_size.bytes() as usize;
            let whole = parse(&bytes).unwrap().partitions;
            let mut no_primary = bytes.clone();
            no_primary[sector..2 * sector].fill(0);
            let table = parse(&no_primary).unwrap();
            assert_eq!((table.copies, &table.partitions), (Copies::OnlyBackup("signature is missing"), &whole));

            let mut bad_entries = bytes.clone();
            bad_entries[2 * sector + 60] ^= 1;
            let table = parse(&bad_entries).unwrap();
            assert_eq!(
                (table.copies, &table.partitions),
                (Copies::OnlyBackup("checksum of the entries is wrong"), &whole)
            );

            let mut no_backup = bytes.clone();
            let end = no_backup.len();
            no_backup[end - sector..].fill(0);
            let table = parse(&no_backup).unwrap();
            assert_eq!((table.copies, &table.partitions), (Copies::OnlyPrimary("signature is missing"), &whole));

            no_backup[sector + 60] ^= 1;
            assert!(matches!(parse(&no_backup), Err(GptError::Damaged { primary: "header checksum is wrong", .. })));
        }
        assert!(matches!(parse(&vec![0; 40_000]), Err(GptError::NotFound)));
        assert!(matches!(parse(&[]), Err(GptError::NotFound)));
    }

    #[test]
    fn an_image_on_a_larger_disk_still_has_both_tables() {
        let (mut bytes, _) = disk(SectorSize::Bytes512);
        bytes.resize(9 * MIB as usize, 0);
        assert_eq!(parse(&bytes).unwrap().copies, Copies::Both);
    }

    proptest! {
        #[test]
        fn hostile_tables_never_panic(
            at in prop::collection::vec((0_usize..20_000, any::<u8>()), 0..8),
            count: u32, size: u32, start: u64, length: u32,
        ) {
            let (mut bytes, _) = disk(SectorSize::Bytes512);
            for (at, value) in at {
                bytes[at] = value;
            }
            bytes[512 + 12..][..4].copy_from_slice(&(92 + length % 500).to_le_bytes());
            bytes[512 + 72..][..8].copy_from_slice(&start.to_le_bytes());
            bytes[512 + 80..][..4].copy_from_slice(&count.to_le_bytes());
            bytes[512 + 84..][..4].copy_from_slice(&size.to_le_bytes());
            bytes[512 + 16..][..4].fill(0);
            let end = 92 + (length % 500) as usize;
            let checksum = crc32fast::hash(&bytes[512..512 + end.min(512)]);
            bytes[512 + 16..][..4].copy_from_slice(&checksum.to_le_bytes());
            match parse(&bytes) {
                Ok(table) => for (_, part) in table.partitions {
                    prop_assert!(part.start + part.size <= bytes.len() as u64);
                },
                Err(GptError::Damaged { .. } | GptError::NotFound) => {}
                Err(error) => prop_assert!(false, "{}", error),
            }
        }
    }
}
