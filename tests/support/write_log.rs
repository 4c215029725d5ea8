//! What a machine wrote to its disk, in order, and that disk as it would be had the power gone at some point of it.
//!
//! QEMU's `blklogwrites` writes the log that the kernel's dm-log-writes does (Documentation/admin-guide/device-mapper/
//! log-writes.rst, `drivers/md/dm-log-writes.c`): a sector with a superblock, then a sector for each write and each flush
//! with its place, length and flags, and after it what was written. All numbers are little-endian.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::Random;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const SECTOR: u64 = 512;

/// All that was written before is kept from now on.
const FLUSH: u64 = 1;
/// This write is kept as soon as it has ended.
const FORCED: u64 = 2;
/// What was in these sectors is not needed any more.
const DISCARD: u64 = 4;

/// A write or a flush.
struct Entry {
    /// Bytes from the start of the disk.
    to: u64,
    /// Bytes from the start of the log.
    from: u64,
    length: u64,
    flags: u64,
}

/// The log of a machine's disk.
pub struct WriteLog {
    file: File,
    entries: Vec<Entry>,
}

/// What a power cut left of the writes that no flush had followed yet.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Writes that are there.
    pub kept: usize,
    /// Writes of which some sectors are there.
    pub torn: usize,
    /// Writes that are not there.
    pub lost: usize,
}

impl WriteLog {
    /// Reads a log to its end.
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

    /// How many entries there are.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// How many of them are flushes.
    pub fn flushes(&self) -> usize {
        self.entries.iter().filter(|entry| entry.flags & FLUSH != 0).count()
    }

    /// How many entries there were when the log had this length.
    pub fn count_at(&self, length: u64) -> usize {
        self.entries.iter().take_while(|entry| entry.from + entry.length <= length).count()
    }

    /// Writes to `disk`, which is as it was at first, what is on it if the power goes after so many entries: all writes up
    /// to the last flush before, and some of those after it, in any order, whole or in part. What is in `whole` changes
    /// all at once or not at all.
    pub fn replay(&self, count: usize, whole: &Range<u64>, random: &mut Random, disk: &File) -> Cut {
        let entries = &self.entries[..count];
        let flushed = entries.iter().rposition(|entry| entry.flags & FLUSH != 0).map_or(0, |last| last + 1);
        let (safe, cached) = entries.split_at(flushed);
        for entry in safe {
            self.write(entry, disk, |_| true);
        }
        let (mut cached, mut cut) = (cached.iter().collect::<Vec<_>>(), Cut::default());
        random.shuffle(&mut cached);
        // What a disk does with its cache is one thing for all of it more often than chance would have it.
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

    /// Writes those sectors of an entry that are to be there.
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
