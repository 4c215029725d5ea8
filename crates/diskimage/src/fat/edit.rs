//! Changes a file in the root directory of a volume in place; everything else stays as it is.
//!
//! The new content gets clusters of its own; then one sector of the directory is written, which switches to the new
//! file; then the old clusters are freed. The disk is synced between these steps, so that after a power cut there is
//! the old file or the new one. At worst, unused clusters remain allocated.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use fsimage::Timestamp;

use super::entry::{self, ATTRIBUTE_ARCHIVE, ATTRIBUTE_DIRECTORY, ATTRIBUTE_LONG, ATTRIBUTE_VOLUME, DosTime, SLOT};
use super::name::{self, NameFlaw, ShortName, ShortNames};
use super::read::{LongName, ReadError, Volume};

/// Size limit of an editable table in bytes: enough for 64 GiB in clusters of 4 KiB.
const MOST_TABLE: u64 = 64 << 20;

const END_OF_CHAIN: u32 = 0x0fff_ffff;
/// The highest four bits of an entry are reserved (specification, "FAT Data Structure").
const ENTRY: u32 = 0x0fff_ffff;

/// A file that cannot be changed. The volume is unchanged, except for allocated but unused clusters.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The volume cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Writing failed.
    #[error("writing the FAT file system: {0}")]
    Io(#[from] io::Error),
    /// The name is not valid in FAT.
    #[error("FAT cannot hold {name:?}: {flaw}")]
    Name {
        /// File name.
        name: String,
        /// Description of the problem.
        flaw: NameFlaw,
    },
    /// There is a directory of that name.
    #[error("{0:?} is a directory")]
    IsDirectory(String),
    /// The volume is full.
    #[error("the FAT file system is full: {needed} bytes are needed, and {free} are free")]
    NoSpace {
        /// Number of bytes needed.
        needed: u64,
        /// Number of bytes free.
        free: u64,
    },
    /// The volume is too large or has features that this writer does not support.
    #[error("the FAT file system cannot be changed: {0}")]
    Unsupported(&'static str),
}

/// Writes a file in the root directory of the volume at byte `offset`: creates it, or replaces the content of an
/// existing one, whose name keeps its case. `disk` must not be mounted.
///
/// # Errors
/// See [`EditError`].
pub fn put(disk: &File, offset: u64, name: &str, bytes: &[u8], now: Timestamp) -> Result<(), EditError> {
    name::check(name.as_bytes()).map_err(|flaw| EditError::Name { name: name.to_owned(), flaw })?;
    let mut edit = Edit::open(disk, offset)?;
    let size =
        u32::try_from(bytes.len()).map_err(|_| EditError::Unsupported("files of 4 GiB and more do not exist"))?;
    let directory = edit.chain(edit.root)?;
    let slots = edit.read(&directory)?;
    let found = find(&slots, name);
    if found.as_ref().is_some_and(|found| found.attributes & ATTRIBUTE_DIRECTORY != 0) {
        return Err(EditError::IsDirectory(name.to_owned()));
    }
    let old = match found.as_ref().map(|found| found.cluster) {
        Some(cluster) if cluster != 0 => edit.chain(cluster)?,
        _ => Vec::new(),
    };
    let clusters = edit.allocate((bytes.len() as u64).div_ceil(edit.cluster))?;
    edit.write(&clusters, bytes)?;
    let first = clusters.first().copied().unwrap_or(0);
    let when = DosTime::new(now);
    let change = match found {
        Some(found) => {
            let mut slot = slots.get(found.index).copied().unwrap_or([0; SLOT]);
            let fresh = entry::short(&found.short, slot[11] | ATTRIBUTE_ARCHIVE, when, first, size);
            slot[11] = fresh[11];
            slot[18..].copy_from_slice(&fresh[18..]); // the time of its making stays
            (found.index, vec![slot])
        }
        None => new_slots(&mut edit, directory.last().copied(), &slots, name, when, first, size)?,
    };
    edit.flush_table()?;
    // An extended directory has one more cluster.
    let directory = edit.chain(edit.root)?;
    edit.write_slots(&directory, change.0, &change.1)?;
    for cluster in old {
        edit.set(cluster, 0);
    }
    edit.flush_table()?;
    edit.write_info()
}

struct Found {
    index: usize,
    attributes: u8,
    cluster: u32,
    short: ShortName,
}

/// Used slots up to the end of the directory, with their long names.
fn names(slots: &[[u8; SLOT]]) -> impl Iterator<Item = (Found, String)> + '_ {
    let mut long = LongName::default();
    let used = slots.iter().enumerate().take_while(|(_, slot)| slot[0] != 0);
    used.filter_map(move |(index, slot)| {
        match (slot[0], slot[11]) {
            (0xe5, _) => long = LongName::default(),
            (_, attributes) if attributes & 0x3f == ATTRIBUTE_LONG => long.add(slot),
            (_, attributes) if attributes & ATTRIBUTE_VOLUME != 0 => {}
            (_, attributes) => {
                let short: ShortName = std::array::from_fn(|at| slot[at]);
                let name = std::mem::take(&mut long).name_for(&short).unwrap_or_else(|| name::display(&short));
                let cluster = u32::from_le_bytes([slot[26], slot[27], slot[20], slot[21]]);
                return Some((Found { index, attributes, cluster, short }, name));
            }
        }
        None
    })
}

fn find(slots: &[[u8; SLOT]], name: &str) -> Option<Found> {
    let wanted = name::fold(name);
    names(slots).find(|(_, name)| name::fold(name) == wanted).map(|(found, _)| found)
}

/// Slots for a new name, and the index of the first: in a large enough gap, or at the directory's end.
fn new_slots(
    edit: &mut Edit<'_>,
    last: Option<u32>,
    slots: &[[u8; SLOT]],
    name: &str,
    when: DosTime,
    cluster: u32,
    size: u32,
) -> Result<(usize, Vec<[u8; SLOT]>), EditError> {
    let taken: Vec<String> = names(slots).map(|(found, _)| name::display(&found.short)).collect();
    let short = ShortNames::new(taken.iter().map(String::as_str)).take(name);
    let mut new = if name::display(&short) == name { Vec::new() } else { entry::long(name, &short) };
    new.push(entry::short(&short, ATTRIBUTE_ARCHIVE, when, cluster, size));
    let end = slots.iter().position(|slot| slot[0] == 0).unwrap_or(slots.len());
    let free = |slot: &[u8; SLOT]| slot[0] == 0xe5 || slot[0] == 0;
    let mut run = 0;
    for (index, slot) in slots.iter().enumerate() {
        run = if free(slot) || index >= end { run + 1 } else { 0 };
        if run == new.len() {
            return Ok((index + 1 - run, new));
        }
    }
    // The free slots at the end continue in a new cluster.
    let extension = edit.allocate(1)?;
    edit.write(&extension, &[])?;
    if let (Some(last), Some(next)) = (last, extension.first()) {
        edit.set(last, *next);
    }
    Ok((slots.len() - run, new))
}

struct Edit<'a> {
    disk: &'a File,
    offset: u64,
    sector: u64,
    cluster: u64,
    table_start: u64,
    table_bytes: u64,
    tables: u64,
    data_start: u64,
    root: u32,
    info: u64,
    /// The whole allocation table.
    table: Vec<u32>,
    /// Modified sectors of the table.
    dirty: std::collections::BTreeSet<u64>,
}

impl<'a> Edit<'a> {
    fn open(disk: &'a File, offset: u64) -> Result<Self, EditError> {
        // This checks all values that are used in computations here.
        let volume = Volume::open(disk, offset)?;
        let mut boot = [0; 512];
        disk.read_exact_at(&mut boot, offset)?;
        let le16 = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        if boot[40] & 0x80 != 0 {
            return Err(EditError::Unsupported("its two tables are not kept the same"));
        }
        let entries = volume.clusters + 2;
        if entries * 4 > MOST_TABLE {
            return Err(EditError::Unsupported("it is implausibly large for an EFI system partition"));
        }
        let mut bytes = vec![0; (entries * 4) as usize];
        disk.read_exact_at(&mut bytes, offset + volume.table_start)?;
        Ok(Self {
            disk,
            offset,
            sector: le16(11),
            cluster: volume.cluster_bytes,
            table_start: volume.table_start,
            table_bytes: u64::from(u32::from_le_bytes([boot[36], boot[37], boot[38], boot[39]])) * le16(11),
            tables: boot[16].into(),
            data_start: volume.data_start,
            root: volume.root,
            info: le16(48),
            table: bytes.as_chunks::<4>().0.iter().map(|entry| u32::from_le_bytes(*entry)).collect(),
            dirty: std::collections::BTreeSet::new(),
        })
    }

    fn get(&self, cluster: u32) -> Option<u32> {
        self.table.get(cluster as usize).filter(|_| cluster >= 2).map(|entry| entry & ENTRY)
    }

    fn set(&mut self, cluster: u32, next: u32) {
        if let Some(entry) = self.table.get_mut(cluster as usize) {
            *entry = *entry & !ENTRY | next & ENTRY;
            self.dirty.insert(u64::from(cluster) * 4 / self.sector);
        }
    }

    /// The chain of clusters of a file or directory.
    fn chain(&self, first: u32) -> Result<Vec<u32>, EditError> {
        let broken = || ReadError::Damaged { path: String::new(), flaw: "a chain of clusters is broken" };
        let mut clusters = vec![first];
        let mut at = first;
        loop {
            match self.get(at).ok_or_else(broken)? {
                0 | 1 | 0x0fff_fff7 => return Err(broken().into()),
                0x0fff_fff8.. => return Ok(clusters),
                next if clusters.len() >= self.table.len() || self.get(next).is_none() => return Err(broken().into()),
                next => {
                    clusters.push(next);
                    at = next;
                }
            }
        }
    }

    fn place(&self, cluster: u32) -> u64 {
        self.offset + self.data_start + u64::from(cluster).saturating_sub(2) * self.cluster
    }

    fn read(&self, clusters: &[u32]) -> Result<Vec<[u8; SLOT]>, EditError> {
        let mut slots = Vec::new();
        let mut bytes = vec![0; self.cluster as usize];
        for cluster in clusters {
            self.disk.read_exact_at(&mut bytes, self.place(*cluster))?;
            slots.extend_from_slice(bytes.as_chunks::<SLOT>().0);
        }
        Ok(slots)
    }

    /// Finds free clusters and links them to a chain.
    fn allocate(&mut self, count: u64) -> Result<Vec<u32>, EditError> {
        let free = (2_u32..).zip(self.table.iter().skip(2)).filter(|(_, entry)| **entry & ENTRY == 0);
        let clusters: Vec<_> = free.map(|(cluster, _)| cluster).take(count as usize).collect();
        if (clusters.len() as u64) < count {
            let free = clusters.len() as u64 * self.cluster;
            return Err(EditError::NoSpace { needed: count * self.cluster, free });
        }
        for (index, cluster) in clusters.iter().enumerate() {
            self.set(*cluster, clusters.get(index + 1).copied().unwrap_or(END_OF_CHAIN));
        }
        Ok(clusters)
    }

    /// Fills whole clusters with the bytes, padded with zeros.
    fn write(&self, clusters: &[u32], mut bytes: &[u8]) -> Result<(), EditError> {
        for cluster in clusters {
            let (part, rest) = bytes.split_at(bytes.len().min(self.cluster as usize));
            let mut whole = part.to_vec();
            whole.resize(self.cluster as usize, 0);
            self.disk.write_all_at(&whole, self.place(*cluster))?;
            bytes = rest;
        }
        Ok(())
    }

    /// Writes the modified sectors to both tables, and syncs.
    fn flush_table(&mut self) -> Result<(), EditError> {
        let per_sector = (self.sector / 4) as usize;
        for number in 0..self.tables {
            for sector in &self.dirty {
                let entries = self.table.iter().skip(*sector as usize * per_sector).take(per_sector);
                let bytes: Vec<u8> = entries.flat_map(|entry| entry.to_le_bytes()).collect();
                let at = self.offset + self.table_start + number * self.table_bytes + sector * self.sector;
                self.disk.write_all_at(&bytes, at)?;
            }
        }
        self.dirty.clear();
        Ok(self.disk.sync_data()?)
    }

    /// Writes slots of a directory. The last one, which makes the file visible, is written last, with its whole
    /// sector.
    fn write_slots(&self, directory: &[u32], first: usize, slots: &[[u8; SLOT]]) -> Result<(), EditError> {
        let per_cluster = self.cluster as usize / SLOT;
        let per_sector = self.sector as usize / SLOT;
        let lost = || EditError::Unsupported("its top directory has changed meanwhile");
        let mut at = 0;
        while at < slots.len() {
            let index = first + at;
            let count = (per_sector - index % per_sector).min(slots.len() - at);
            let cluster = directory.get(index / per_cluster).ok_or_else(lost)?;
            let place = self.place(*cluster) + (index % per_cluster * SLOT) as u64;
            self.disk.write_all_at(slots.get(at..at + count).unwrap_or_default().as_flattened(), place)?;
            self.disk.sync_data()?;
            at += count;
        }
        Ok(())
    }

    /// Updates the number of free clusters in the information sector (specification, "FAT32 `FSInfo` Sector
    /// Structure").
    fn write_info(&self) -> Result<(), EditError> {
        if self.info == 0 || self.info * self.sector >= self.table_start {
            return Ok(());
        }
        let at = self.offset + self.info * self.sector;
        let mut info = [0; 512];
        self.disk.read_exact_at(&mut info, at)?;
        if !info.starts_with(b"RRaA") {
            return Ok(());
        }
        let free = self.table.iter().skip(2).filter(|entry| **entry & ENTRY == 0).count() as u32;
        info[488..492].copy_from_slice(&free.to_le_bytes());
        self.disk.write_all_at(&info, at)?;
        Ok(self.disk.sync_data()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SectorSize;
    use crate::fat::{FatOptions, write};
    use fsimage::{FileTree, Metadata};
    use proptest::prelude::*;

    const OFFSET: u64 = 1 << 20;

    fn volume(sector_size: SectorSize) -> File {
        let disk = tempfile::tempfile().unwrap();
        let size = if sector_size == SectorSize::Bytes512 { 34 << 20 } else { 260 << 20 };
        let tree = FileTree::new(Metadata::root(0o755, Timestamp::from_seconds(0)));
        let options = FatOptions {
            size,
            sector_size,
            volume_id: 7,
            label: Some("ROCBED".into()),
            timestamp: Timestamp::from_seconds(0),
        };
        write(&tree, &disk, OFFSET, &options, &progress::Silent).unwrap();
        disk
    }

    fn read(disk: &File, name: &str) -> Vec<u8> {
        Volume::open(disk, OFFSET).unwrap().read(name).unwrap()
    }

    #[test]
    fn a_file_is_made_and_replaced_in_either_sector_size() {
        let now = Timestamp::from_seconds(1_800_000_000);
        for sector_size in SectorSize::ALL {
            let disk = volume(sector_size);
            put(&disk, OFFSET, "rocbed.toml", b"hub = 1\n", now).unwrap();
            put(&disk, OFFSET, "jobs.toml", &vec![b'x'; 20_000], now).unwrap();
            put(&disk, OFFSET, "ROCBED.TOML", b"", now).unwrap();
            put(&disk, OFFSET, "rocbed.toml", b"hub = 2\n", now).unwrap();
            assert_eq!(read(&disk, "rocbed.toml"), b"hub = 2\n");
            assert_eq!(read(&disk, "jobs.toml"), vec![b'x'; 20_000]);
            let names: Vec<_> =
                Volume::open(&disk, OFFSET).unwrap().list().unwrap().into_iter().map(|entry| entry.path).collect();
            assert_eq!(names, ["rocbed.toml", "jobs.toml"]);
        }
    }

    #[test]
    fn a_full_volume_is_told_and_stays_as_it_was() {
        let disk = volume(SectorSize::Bytes512);
        let now = Timestamp::from_seconds(0);
        put(&disk, OFFSET, "a", b"old", now).unwrap();
        assert!(matches!(put(&disk, OFFSET, "a", &vec![1; 40 << 20], now), Err(EditError::NoSpace { .. })));
        assert_eq!(read(&disk, "a"), b"old");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4))]

        #[test]
        fn many_files_are_all_kept(files in prop::collection::vec(("[a-z ]{1,30}[a-z]", 0_usize..3000), 1..60)) {
            let disk = volume(SectorSize::Bytes512);
            let mut expected = std::collections::BTreeMap::new();
            for (name, length) in files {
                let bytes = vec![length as u8; length];
                put(&disk, OFFSET, &name, &bytes, Timestamp::from_seconds(0)).unwrap();
                expected.insert(name, bytes);
            }
            for (name, bytes) in &expected {
                prop_assert_eq!(&read(&disk, name), bytes);
            }
            prop_assert_eq!(Volume::open(&disk, OFFSET).unwrap().list().unwrap().len(), expected.len());
        }
    }
}
