//! Makes an empty file system on a device, regardless of its previous content.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use progress::{Progress, Unit};

use super::error::WriteError;
use super::format::{BLOCK, BLOCK_SIZE};
use super::options::{Ext4Options, Ext4Report, Size};
use super::plan::{Plan, lost_found};
use super::stream;
use crate::tree::{FileTree, Metadata, Timestamp};

/// Bytes that are written at once.
const CHUNK: u64 = 1024 * 1024;

/// The sector (of the smallest sector size) with the superblock's magic number; its checksum is in the next sector.
const MAGIC: Range<usize> = 1024..1536;

/// Makes an empty file system over the whole of a device or file; [`Ext4Options::size`] and [`Ext4Options::digest`] are
/// ignored. Everything that the kernel may read is written, including zeros, so the device may have any content; the
/// rest is left unchanged.
///
/// The sector with the superblock's magic number is written last, after everything else is on the device, including
/// the superblock's other sector: if a file system is found, it is complete, whenever the power was cut between two
/// sectors.
///
/// # Errors
/// If the device is too small, or reading its size or writing fails. See [`WriteError`].
pub fn format(device: &File, options: &Ext4Options, progress: &dyn Progress) -> Result<Ext4Report, WriteError> {
    let at_start = |source| WriteError::Write { offset: 0, source };
    let size = (&*device).seek(SeekFrom::End(0)).map_err(at_start)?;
    make(&mut &*device, size, options, progress)
}

/// Destination of writes.
trait Sink {
    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Waits until everything written so far is durable.
    fn sync(&mut self) -> io::Result<()>;
}

impl Sink for &File {
    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

fn make(
    sink: &mut impl Sink,
    size: u64,
    options: &Ext4Options,
    progress: &dyn Progress,
) -> Result<Ext4Report, WriteError> {
    let options = Ext4Options { size: Size::Given(size), digest: false, ..options.clone() };
    let time = Timestamp::from_seconds(options.timestamp.cast_signed());
    let (tree, lost_found) = (FileTree::new(Metadata::root(0o755, time)), lost_found(&options));
    let plan = Plan::new(&tree, &lost_found, &options)?;
    let ranges = needed(&plan);
    let total: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    let task = progress.task("making the ext4 file system", Some(total), Unit::Bytes);
    let mut buffer = vec![0; CHUNK as usize];
    for range in &ranges {
        for start in (range.start..range.end).step_by(CHUNK as usize) {
            // The first block, with the superblock, is written last; until then it is empty.
            let part = &mut buffer[..(range.end - start).min(CHUNK) as usize];
            stream::fill(&plan.image.pieces, start, part)?;
            if start == 0 {
                part[..BLOCK].fill(0);
            }
            sink.write(part, start).map_err(|source| WriteError::Write { offset: start, source })?;
            task.advance(part.len() as u64);
        }
        if range.start == 0 {
            // An old superblock must not be found before the new file system around it is complete.
            sink.sync().map_err(|source| WriteError::Write { offset: 0, source })?;
        }
    }
    let first = &mut buffer[..BLOCK];
    stream::fill(&plan.image.pieces, 0, first)?;
    let magic = first[MAGIC].to_vec();
    first[MAGIC].fill(0);
    let written = sink.sync().and_then(|()| sink.write(first, 0)).and_then(|()| sink.sync());
    let written = written.and_then(|()| {
        // The whole block again: only the sector with the magic number differs.
        first[MAGIC].copy_from_slice(&magic);
        sink.write(first, 0).and_then(|()| sink.sync())
    });
    written.map_err(|source| WriteError::Write { offset: 0, source })?;
    Ok(plan.report(None))
}

/// Ranges that have to be written: all fixed parts, the journal, the directories.
fn needed(plan: &Plan<'_>) -> Vec<Range<u64>> {
    let Plan { layout, image } = plan;
    let pieces = image.pieces.iter().map(|piece| piece.block..piece.block + piece.length.div_ceil(BLOCK_SIZE));
    let mut ranges: Vec<_> = layout.geometry.fixed.iter().chain(&layout.taken).cloned().chain(pieces).collect();
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined.into_iter().map(|range| range.start * BLOCK_SIZE..range.end * BLOCK_SIZE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ext4::{Journal, Limits, Reader};
    use progress::Silent;

    /// Simulates a device with old content that loses power after some number of writes.
    struct Device {
        bytes: Vec<u8>,
        writes: usize,
        cut_after: usize,
        /// Bit mask of the first 8 sectors that are still written in the write during which the power is lost.
        torn: u8,
        syncs: Vec<usize>,
    }

    impl Sink for Device {
        fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
            if self.writes == self.cut_after {
                for sector in (0..8).filter(|sector| self.torn >> sector & 1 == 1) {
                    let part = sector * 512..(sector + 1) * 512;
                    self.bytes[offset as usize..][part.clone()].copy_from_slice(&bytes[part]);
                }
                return Err(io::Error::from_raw_os_error(5));
            }
            self.writes += 1;
            self.bytes[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            self.syncs.push(self.writes);
            Ok(())
        }
    }

    const SIZE: u64 = 20 << 20;

    fn options() -> Ext4Options {
        Ext4Options {
            journal: Journal::Auto,
            label: "data".into(),
            ..Ext4Options::new(*b"fsimage test 002", 1_700_000_000)
        }
    }

    fn cut_after(writes: usize, bytes: Vec<u8>) -> Device {
        torn(writes, 0, bytes)
    }

    fn torn(writes: usize, torn: u8, bytes: Vec<u8>) -> Device {
        let mut device = Device { bytes, writes: 0, cut_after: writes, torn, syncs: Vec::new() };
        let _ = make(&mut device, SIZE, &options(), &Silent);
        device
    }

    #[test]
    fn only_the_last_write_makes_it_a_file_system() {
        let whole = cut_after(usize::MAX, vec![0xaa; SIZE as usize]);
        assert!(whole.writes > 5);
        assert_eq!(whole.syncs[1..], [whole.writes - 2, whole.writes - 1, whole.writes]);
        let opens = |bytes: &[u8]| Reader::open(io::Cursor::new(bytes), 0).is_ok();
        assert!(opens(&whole.bytes));
        for writes in 1..whole.writes {
            // Over garbage, and over an earlier file system of the same kind.
            for before in [vec![0xaa; SIZE as usize], whole.bytes.clone()] {
                assert!(!opens(&cut_after(writes, before).bytes), "{writes}");
            }
        }
    }

    #[test]
    fn a_first_block_of_which_some_sectors_are_written_is_the_whole_file_system_or_none() {
        let whole = cut_after(usize::MAX, vec![0; SIZE as usize]);
        let mut seen = [0; 2];
        for last in [1, 2] {
            for sectors in [0, 0b100, 0b1000, 0b1100, 0b11_0000, 0b1111_0111, 0b1111_1011, 0xff] {
                let left = torn(whole.writes - last, sectors, vec![0; SIZE as usize]).bytes;
                let has_magic = left[1024 + 56..1024 + 58] == 0xef53_u16.to_le_bytes();
                assert!(!has_magic || left == whole.bytes, "{last}, {sectors:08b}");
                seen[usize::from(has_magic)] += 1;
            }
        }
        assert_eq!(seen, [12, 4]);
    }

    #[test]
    fn what_was_there_before_does_not_show() {
        let device = cut_after(usize::MAX, vec![0xaa; SIZE as usize]);
        let mut reader = Reader::open(io::Cursor::new(device.bytes), 0).unwrap();
        let tree = reader.tree(Limits::default()).unwrap();
        let paths: Vec<_> = tree.iter().map(|(path, _)| String::from_utf8_lossy(path).into_owned()).collect();
        assert_eq!(paths, ["", "lost+found"]);
    }
}
