//! A log of a machine's writes to its disk, and the states of that disk after power cuts.
//!
//! QEMU's `blklogwrites` uses the format of the kernel's dm-log-writes
//! (`Documentation/admin-guide/device-mapper/log-writes.rst`, `drivers/md/dm-log-writes.c`): a sector with a
//! superblock; then for each write and each flush a sector with its position, length and flags, followed by the data.
//! All numbers are little-endian.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::Random;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const SECTOR: u64 = 512;

/// All earlier writes are durable from now on.
const FLUSH: u64 = 1;
/// This write is durable when it ends.
const FORCED: u64 = 2;
/// The content of these sectors is no longer needed.
const DISCARD: u64 = 4;

/// A write or a flush.
struct Entry {
    /// Offset on the disk, in bytes.
    to: u64,
    /// Offset in the log, in bytes.
    from: u64,
    length: u64,
    flags: u64,
}

/// Log of the writes to a machine's disk.
pub struct WriteLog {
    file: File,
    entries: Vec<Entry>,
}

/// Result of a power cut for the writes that were not flushed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Number of complete writes.
    pub kept: usize,
    /// Number of partial writes, of which some sectors are written.
    pub torn: usize,
    /// Number of lost writes.
    pub lost: usize,
}

impl WriteLog {
    /// Reads a complete log.
    pub fn read(path: &Path) -> Self {
        let file = File::open(path).expect("the log of writes");
        let length = file.metadata().expect("its length").len();
        let mut head = [0; SECTOR as usize];
        file.read_exact_at(&mut head, 0).expect("the log's superblock");
        let number = |head: &[u8], index: usize| {
            u64::from_le_bytes(head[index * 8..index * 8 + 8].try_into().expect("eight bytes"))
        };
        assert_eq!((number(&head, 0), number(&head, 1), number(&head, 3) as u32), (MAGIC, 1, SECTOR as u32));
        let (mut entries, mut at, counted) = (Vec::new(), SECTOR, number(&head, 2) as usize);
        while at < length {
            file.read_exact_at(&mut head, at).expect("an entry of the log");
            let (from, flags) = (at + SECTOR, number(&head, 2));
            assert_eq!(flags & DISCARD, 0, "an appliance discards nothing");
            let entry = Entry { to: number(&head, 0) * SECTOR, from, length: number(&head, 1) * SECTOR, flags };
            at = from + entry.length;
            entries.push(entry);
        }
        assert!(at == length && entries.len() >= counted, "{} entries of {counted}, {at} of {length}", entries.len());
        Self { file, entries }
    }

    /// Number of entries.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Number of flushes.
    pub fn flushes(&self) -> usize {
        self.entries.iter().filter(|entry| entry.flags & FLUSH != 0).count()
    }

    /// Number of entries when the log had this length.
    pub fn count_at(&self, length: u64) -> usize {
        self.entries.iter().take_while(|entry| entry.from + entry.length <= length).count()
    }

    /// Writes to `disk`, which has its initial content, the state after a power cut that follows this many entries: all
    /// writes up to the last flush before, and some of those after it, in any order, completely or in part. The range
    /// `whole` changes completely or not at all.
    pub fn replay(&self, count: usize, whole: &Range<u64>, random: &mut Random, disk: &File) -> Cut {
        let entries = &self.entries[..count];
        let flushed = entries.iter().rposition(|entry| entry.flags & FLUSH != 0).map_or(0, |last| last + 1);
        let (safe, cached) = entries.split_at(flushed);
        for entry in safe {
            self.write(entry, disk, |_| true);
        }
        let (mut cached, mut cut) = (cached.iter().collect::<Vec<_>>(), Cut::default());
        random.shuffle(&mut cached);
        // The fates of cached writes are related more often than independent chance would make them.
        let inclination = random.below(4);
        for entry in cached {
            let fate = if entry.flags & FORCED != 0 { 0 } else { [0, 2, random.below(3), 1][inclination as usize] };
            let counted = match fate {
                0 => {
                    self.write(entry, disk, |_| true);
                    &mut cut.kept
                }
                1 => {
                    let of_whole = random.below(2) == 0;
                    self.write(entry, disk, |at| if whole.contains(&at) { of_whole } else { random.below(2) == 0 });
                    &mut cut.torn
                }
                _ => &mut cut.lost,
            };
            *counted += 1;
        }
        cut
    }

    /// Writes the selected sectors of an entry.
    fn write(&self, entry: &Entry, disk: &File, mut is_there: impl FnMut(u64) -> bool) {
        let mut bytes = vec![0; entry.length as usize];
        self.file.read_exact_at(&mut bytes, entry.from).expect("what was written");
        let places: Vec<bool> = (0..entry.length / SECTOR).map(|sector| is_there(entry.to + sector * SECTOR)).collect();
        let mut at = 0;
        for run in places.chunk_by(|one, other| one == other) {
            let part = &bytes[at..at + run.len() * SECTOR as usize];
            if run[0] {
                disk.write_all_at(part, entry.to + at as u64).expect("writing to the disk");
            }
            at += part.len();
        }
    }
}
