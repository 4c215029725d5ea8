//! Reads untrusted FAT32 volumes.

use std::collections::HashSet;
use std::io::{self, Cursor, Read, Seek, SeekFrom};

use super::entry::{self, ATTRIBUTE_DIRECTORY, ATTRIBUTE_LONG, ATTRIBUTE_VOLUME, LAST_LONG, SLOT};
use super::name::{self, ShortName};

/// Maximum number of names that are listed in a volume.
const MAX_ENTRIES: usize = 1 << 20;
/// Maximum size of a directory in bytes (specification, "Directory structure").
const MAX_DIRECTORY: u64 = 65_536 * SLOT as u64;
/// Bytes of a table that are read at once.
const TABLE_WINDOW: u64 = 4096;

/// A volume that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Reading the disk failed.
    #[error("reading the FAT file system")]
    Io(#[from] io::Error),
    /// It is another file system, FAT12 or FAT16, or the boot sector is damaged.
    #[error("this is not a FAT32 file system: {0}")]
    NotFat32(&'static str),
    /// A table or directory is damaged.
    #[error("the FAT file system is damaged at {path:?}: {flaw}")]
    Damaged {
        /// Path in the volume.
        path: String,
        /// Description of the damage.
        flaw: &'static str,
    },
    /// The path does not exist.
    #[error("{0:?} is not in the file system")]
    NotFound(String),
    /// The path is a directory, which has no content.
    #[error("{0:?} is a directory")]
    IsDirectory(String),
}

/// A file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FatEntry {
    /// Path relative to the root, `EFI/BOOT/BOOTX64.EFI`.
    pub path: String,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Size in bytes; 0 for directories.
    pub size: u64,
    cluster: u32,
}

/// A FAT32 volume open for reading.
#[derive(Debug)]
pub struct Volume<R> {
    disk: R,
    offset: u64,
    pub(super) cluster_bytes: u64,
    pub(super) table_start: u64,
    pub(super) data_start: u64,
    pub(super) clusters: u64,
    pub(super) root: u32,
    serial: u32,
    window: Option<(u64, Vec<u8>)>,
}

impl<R: Read + Seek> Volume<R> {
    /// Opens the volume that starts at byte `offset` of a disk or image.
    ///
    /// # Errors
    /// If reading fails or this is not a FAT32 volume.
    pub fn open(mut disk: R, offset: u64) -> Result<Self, ReadError> {
        let end = disk.seek(SeekFrom::End(0))?;
        let available = end.checked_sub(offset).ok_or(ReadError::NotFat32("it would start after the disk's end"))?;
        if available < 512 {
            return Err(ReadError::NotFat32("it is too short"));
        }
        let mut boot = [0; 512];
        disk.seek(SeekFrom::Start(offset))?;
        disk.read_exact(&mut boot)?;
        let flaw = |what| Err(ReadError::NotFat32(what));
        if boot[510..] != [0x55, 0xaa] {
            return flaw("the boot sector's signature is missing");
        }
        let le16 = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        let le32 = |at: usize| u32::from_le_bytes([boot[at], boot[at + 1], boot[at + 2], boot[at + 3]]);
        let (sector, per_cluster, reserved, fats) = (le16(11), u64::from(boot[13]), le16(14), u64::from(boot[16]));
        if !matches!(sector, 512 | 1024 | 2048 | 4096) {
            return flaw("its sector size is impossible");
        }
        if !per_cluster.is_power_of_two() || reserved == 0 || !matches!(fats, 1 | 2) {
            return flaw("the boot sector's numbers are impossible");
        }
        if le16(22) != 0 || le16(17) != 0 || le16(19) != 0 {
            return flaw("it is FAT12 or FAT16");
        }
        // Each fits in 32 bits, so nothing here overflows 64.
        let (total, per_fat, root) = (u64::from(le32(32)), u64::from(le32(36)), le32(44));
        let before_data = reserved + fats * per_fat;
        let Some(data) = total.checked_sub(before_data) else { return flaw("its tables are larger than itself") };
        if total * sector > available {
            return flaw("it is larger than its disk");
        }
        let clusters = data / per_cluster;
        if !(65_525..0x0fff_fff5).contains(&clusters) || (clusters + 2) * 4 > per_fat * sector {
            return flaw("its number of clusters is not one of FAT32");
        }
        Ok(Self {
            disk,
            offset,
            cluster_bytes: per_cluster * sector,
            table_start: reserved * sector,
            data_start: before_data * sector,
            clusters,
            root,
            serial: le32(67),
            window: None,
        })
    }

    /// Volume serial number.
    pub fn volume_id(&self) -> u32 {
        self.serial
    }

    /// All files and directories of the volume, parents before their children, otherwise in the order of the
    /// directories.
    ///
    /// # Errors
    /// If reading fails or a directory is damaged.
    pub fn list(&mut self) -> Result<Vec<FatEntry>, ReadError> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        let mut waiting = vec![(String::new(), self.root)];
        while let Some((path, cluster)) = waiting.pop() {
            for entry in self.directory(&path, cluster, &mut seen)? {
                if entry.is_directory {
                    waiting.push((entry.path.clone(), entry.cluster));
                }
                if found.len() == MAX_ENTRIES {
                    return Err(damaged(&entry.path, "there are implausibly many names"));
                }
                found.push(entry);
            }
        }
        Ok(found)
    }

    /// Reads the file at a path; case is ignored, as in FAT.
    ///
    /// # Errors
    /// If the file does not exist, reading fails or the volume is damaged.
    pub fn read(&mut self, path: &str) -> Result<Vec<u8>, ReadError> {
        let mut found = None;
        let mut cluster = self.root;
        let mut above = String::new();
        let mut seen = HashSet::new();
        for name in path.split('/') {
            if found.as_ref().is_some_and(|entry: &FatEntry| !entry.is_directory) {
                return Err(ReadError::NotFound(path.to_owned()));
            }
            let wanted = name::fold(&join(&above, name));
            let entry =
                self.directory(&above, cluster, &mut seen)?.into_iter().find(|entry| name::fold(&entry.path) == wanted);
            let entry = entry.ok_or_else(|| ReadError::NotFound(path.to_owned()))?;
            cluster = entry.cluster;
            above.clone_from(&entry.path);
            found = Some(entry);
        }
        match found {
            Some(entry) if !entry.is_directory => self.file(&entry),
            _ => Err(ReadError::IsDirectory(path.to_owned())),
        }
    }

    fn file(&mut self, entry: &FatEntry) -> Result<Vec<u8>, ReadError> {
        if entry.size > self.clusters * self.cluster_bytes {
            return Err(damaged(&entry.path, "the file is larger than the file system"));
        }
        let mut bytes = Vec::new();
        let mut cluster = entry.cluster;
        while (bytes.len() as u64) < entry.size {
            self.read_cluster(cluster, &mut bytes, &entry.path)?;
            cluster = self.next(cluster, &entry.path)?.unwrap_or(0);
        }
        bytes.truncate(entry.size as usize);
        Ok(bytes)
    }

    /// `seen` has the clusters of all directories so far: a cluster must not occur twice.
    fn directory(&mut self, path: &str, first: u32, seen: &mut HashSet<u32>) -> Result<Vec<FatEntry>, ReadError> {
        let mut bytes = Vec::new();
        let mut next = Some(first);
        while let Some(cluster) = next {
            if !seen.insert(cluster) {
                return Err(damaged(path, "the directory's clusters form a circle, or belong to another one too"));
            }
            self.read_cluster(cluster, &mut bytes, path)?;
            if bytes.len() as u64 > MAX_DIRECTORY + self.cluster_bytes {
                return Err(damaged(path, "the directory is too large"));
            }
            next = self.next(cluster, path)?;
        }
        let mut entries = Vec::new();
        let mut long = LongName::default();
        for slot in bytes.as_chunks::<SLOT>().0 {
            match (slot[0], slot[11]) {
                (0, _) => break,
                (0xe5, _) => long = LongName::default(), // deleted
                (_, attributes) if attributes & 0x3f == ATTRIBUTE_LONG => long.add(slot),
                (b'.', _) => {} // itself and its parent: real short names have no dot
                (_, attributes) if attributes & ATTRIBUTE_VOLUME != 0 => {}
                (_, attributes) => {
                    let long = std::mem::take(&mut long);
                    entries.push(new_entry(path, slot, attributes & ATTRIBUTE_DIRECTORY != 0, &long)?);
                }
            }
        }
        Ok(entries)
    }

    fn read_cluster(&mut self, cluster: u32, bytes: &mut Vec<u8>, path: &str) -> Result<(), ReadError> {
        self.check(cluster, path)?;
        let at = self.offset + self.data_start + (u64::from(cluster) - 2) * self.cluster_bytes;
        self.disk.seek(SeekFrom::Start(at))?;
        let length = bytes.len();
        bytes.resize(length + self.cluster_bytes as usize, 0);
        self.disk.read_exact(&mut bytes[length..])?;
        Ok(())
    }

    fn check(&self, cluster: u32, path: &str) -> Result<(), ReadError> {
        if (2..self.clusters + 2).contains(&u64::from(cluster)) {
            return Ok(());
        }
        Err(damaged(path, "it refers to a cluster that is not there"))
    }

    /// The cluster after one that was [checked](Self::check).
    fn next(&mut self, cluster: u32, path: &str) -> Result<Option<u32>, ReadError> {
        let at = u64::from(cluster) * 4;
        let (start, within) = (at - at % TABLE_WINDOW, (at % TABLE_WINDOW) as usize);
        if self.window.as_ref().is_none_or(|(window, _)| *window != start) {
            self.disk.seek(SeekFrom::Start(self.offset + self.table_start + start))?;
            let mut bytes = Vec::new();
            (&mut self.disk).take(TABLE_WINDOW).read_to_end(&mut bytes)?;
            self.window = Some((start, bytes));
        }
        let window = self.window.as_ref().map_or(&[][..], |(_, bytes)| bytes);
        let Some(entry) = window.get(within..).and_then(|rest| rest.first_chunk::<4>()) else {
            return Err(damaged(path, "the table is cut short"));
        };
        match u32::from_le_bytes(*entry) & 0x0fff_ffff {
            0 | 1 | 0x0fff_fff7 => Err(damaged(path, "its chain of clusters leads to a free or bad one")),
            0x0fff_fff8.. => Ok(None),
            next => Ok(Some(next)),
        }
    }
}

/// [`Volume::list`] for a volume in memory.
///
/// # Errors
/// As [`Volume::open`] and [`Volume::list`].
pub fn parse(volume: &[u8]) -> Result<Vec<FatEntry>, ReadError> {
    Volume::open(Cursor::new(volume), 0)?.list()
}

fn new_entry(directory: &str, slot: &[u8; SLOT], is_directory: bool, long: &LongName) -> Result<FatEntry, ReadError> {
    let short: ShortName = std::array::from_fn(|index| slot[index]);
    let path = join(directory, &long.name_for(&short).unwrap_or_else(|| name::display(&short)));
    if path.len() > directory.len() + 1024 || name::check(path.rsplit('/').next().unwrap_or("").as_bytes()).is_err() {
        return Err(damaged(directory, "it has a name that FAT does not allow"));
    }
    let cluster = u32::from_le_bytes([slot[26], slot[27], slot[20], slot[21]]);
    let size = u32::from_le_bytes([slot[28], slot[29], slot[30], slot[31]]);
    Ok(FatEntry { path, is_directory, size: if is_directory { 0 } else { size.into() }, cluster })
}

/// Collects the slots of a long name.
#[derive(Default)]
pub(super) struct LongName {
    /// In the order of the directory: the end of the name first.
    parts: Vec<Vec<u16>>,
    expected: u8,
    checksum: u8,
}

impl LongName {
    pub(super) fn add(&mut self, slot: &[u8; SLOT]) {
        let number = slot[0] & !LAST_LONG;
        if slot[0] & LAST_LONG != 0 {
            *self = Self { parts: Vec::new(), expected: number, checksum: slot[13] };
        }
        if number == 0 || number > 20 || number != self.expected || slot[13] != self.checksum {
            *self = Self::default(); // left over from a file that another system deleted
            return;
        }
        self.expected -= 1;
        self.parts.push(entry::units(slot).take_while(|unit| *unit != 0).collect());
    }

    pub(super) fn name_for(&self, short: &ShortName) -> Option<String> {
        let whole = !self.parts.is_empty() && self.expected == 0 && self.checksum == entry::checksum(short);
        let units: Vec<u16> = self.parts.iter().rev().flatten().copied().collect();
        whole.then(|| String::from_utf16(&units).ok()).flatten()
    }
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

fn damaged(path: &str, flaw: &'static str) -> ReadError {
    ReadError::Damaged { path: path.to_owned(), flaw }
}
