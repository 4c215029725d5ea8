//! Copying and hashing files without reading or writing their holes.
//!
//! Disk images may be mostly holes. The kernel tells where data is (lseek(2), `SEEK_DATA` and `SEEK_HOLE`), so the
//! work is proportional to the data. On file systems without this, the whole file counts as data, which is slower but
//! still right.
//!
//! In an image of this crate, a hole is space whose content does not matter: nothing is written there, neither into
//! the image nor to the stick that it is flashed to. Zeros that matter, such as free entries of a table, are written
//! like all other data.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use progress::Task;
use rustix::fs::{SeekFrom, copy_file_range, seek};
use rustix::io::Errno;
use sha256::Digest;

const BUFFER: usize = 1 << 20;

/// Block size in bytes for the search for zeros.
pub(crate) const BLOCK: usize = 4096;

/// The ranges of a file that are not holes, ascending, neither touching nor overlapping.
///
/// # Errors
/// Errors of lseek(2).
pub fn data_ranges(file: &File) -> io::Result<Vec<Range<u64>>> {
    let length = file.metadata()?.len();
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < length {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break, // only a hole up to the end
            Err(Errno::INVAL) => return Ok(std::iter::once(0..length).collect()),
            Err(error) => return Err(error.into()),
        };
        let end = seek(file, SeekFrom::Hole(start))?.min(length);
        if end <= start {
            break; // the file was cut short meanwhile
        }
        ranges.push(start..end);
        at = end;
    }
    Ok(ranges)
}

/// The blocks of a file that are not all zero, as ranges of bytes, ascending and not touching. The whole file is read:
/// the result does not depend on holes in the file. The task advances by each byte that was read.
///
/// # Errors
/// If reading fails.
pub fn nonzero_ranges(file: &File, task: &dyn Task) -> io::Result<Vec<Range<u64>>> {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    let length = file.metadata()?.len();
    let mut ranges: Vec<Range<u64>> = Vec::new();
    let mut buffer = vec![0; BUFFER];
    let mut at = 0;
    while at < length {
        let part = usize::try_from(length - at).map_or(BUFFER, |left| left.min(BUFFER));
        let bytes = buffer.get_mut(..part).unwrap_or_default();
        file.read_exact_at(bytes, at)?;
        for (start, block) in (at..).step_by(BLOCK).zip(bytes.chunks(BLOCK)) {
            if ZEROS.starts_with(block) {
                continue;
            }
            let end = start + block.len() as u64;
            match ranges.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => ranges.push(start..end),
            }
        }
        at += part as u64;
        task.advance(part as u64);
    }
    Ok(ranges)
}

/// Copies all of `source` into `target` at `offset`, leaving holes out. The target has to be a hole there already. The
/// kernel copies (`copy_file_range(2)`), sharing blocks if the file system can. Returns the number of bytes copied,
/// without holes.
///
/// # Errors
/// Errors of the system calls; `UnexpectedEof` if the source shrinks meanwhile.
pub fn copy(source: &File, target: &File, offset: u64) -> io::Result<u64> {
    let mut copied = 0;
    for range in data_ranges(source)? {
        copy_range(source, range.clone(), target, offset + range.start)?;
        copied += range.end - range.start;
    }
    Ok(copied)
}

fn copy_range(source: &File, range: Range<u64>, target: &File, offset: u64) -> io::Result<()> {
    let (mut from, mut to) = (range.start, offset);
    while from < range.end {
        let left = usize::try_from(range.end - from).unwrap_or(usize::MAX).min(1 << 30);
        match copy_file_range(source, Some(&mut from), target, Some(&mut to), left) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file shrank while being copied")),
            Ok(_) | Err(Errno::INTR) => {}
            // Across file systems, old kernels, special files: copy by hand.
            Err(Errno::XDEV | Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP | Errno::PERM) => {
                return copy_by_hand(source, from..range.end, target, to);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn copy_by_hand(source: &File, range: Range<u64>, target: &File, mut to: u64) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut from = range.start;
    while from < range.end {
        let part = usize::try_from(range.end - from).map_or(BUFFER, |left| left.min(BUFFER));
        source.read_exact_at(&mut buffer[..part], from)?;
        target.write_all_at(&buffer[..part], to)?;
        from += part as u64;
        to += part as u64;
    }
    Ok(())
}

/// SHA-256 of a whole file. Holes are hashed as zeros, without being read.
///
/// # Errors
/// If reading fails.
pub fn sha256(file: &File) -> io::Result<Digest> {
    Digest::of_reader(SparseReader::new(file)?).map(|(digest, _)| digest)
}

/// Reads a file from start to end; zeros of holes are produced without reading the file.
pub struct SparseReader<'a> {
    file: &'a File,
    ranges: std::iter::Peekable<std::vec::IntoIter<Range<u64>>>,
    at: u64,
    length: u64,
}

impl<'a> SparseReader<'a> {
    /// Finds the holes now; data written into them later is not seen.
    ///
    /// # Errors
    /// Errors of lseek(2).
    pub fn new(file: &'a File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file, ranges: data_ranges(file)?.into_iter().peekable(), at: 0, length })
    }
}

impl Read for SparseReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.ranges.next_if(|range| range.end <= self.at).is_some() {}
        let (end, data) = match self.ranges.peek() {
            Some(range) if range.start <= self.at => (range.end, true),
            Some(range) => (range.start, false),
            None => (self.length, false),
        };
        let left = usize::try_from(end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let part = left.min(buffer.len());
        let buffer = &mut buffer[..part];
        if data {
            self.file.read_exact_at(buffer, self.at)?;
        } else {
            buffer.fill(0);
        }
        self.at += part as u64;
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::MetadataExt;

    fn sparse(length: u64, pieces: &[(u64, Vec<u8>)]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(length).unwrap();
        for (offset, bytes) in pieces {
            file.write_all_at(bytes, *offset).unwrap();
        }
        file
    }

    fn contents(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn finds_data_between_holes() {
        let file = sparse(10 << 20, &[(1 << 20, vec![1; 4096]), (9 << 20, vec![2; 8192])]);
        assert_eq!(data_ranges(&file).unwrap(), [1 << 20..(1 << 20) + 4096, 9 << 20..(9 << 20) + 8192]);
        assert!(data_ranges(&sparse(1 << 20, &[])).unwrap().is_empty());
        assert!(data_ranges(&sparse(0, &[])).unwrap().is_empty());
    }

    #[test]
    fn blocks_with_something_in_them_are_found_by_reading() {
        let file = sparse((3 << 20) + 7, &[(4095, vec![1, 1]), (1 << 20, vec![0; 9000]), ((3 << 20) + 6, vec![2])]);
        let task = progress::Progress::task(&progress::Silent, "reading", None, progress::Unit::Bytes);
        assert_eq!(nonzero_ranges(&file, &*task).unwrap(), [0..8192, 3 << 20..(3 << 20) + 7]);
        assert!(nonzero_ranges(&sparse(0, &[]), &*task).unwrap().is_empty());
    }

    #[test]
    fn copying_keeps_holes() {
        let source = sparse(8 << 20, &[(4 << 20, vec![1; 4096])]);
        let target = sparse(20 << 20, &[]);
        assert_eq!(copy(&source, &target, 10 << 20).unwrap(), 4096);
        let ranges = data_ranges(&target).unwrap();
        assert!(ranges.len() == 1 && ranges[0] == (14 << 20..(14 << 20) + 4096), "{ranges:?}");
        assert!(target.metadata().unwrap().blocks() * 512 < 64 << 10);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn copies_hash_and_read_like_the_whole_file(
            length in 0_u64..300_000,
            pieces in prop::collection::vec((0_u64..280_000, prop::collection::vec(0_u8..2, 1..9000)), 0..5),
            offset in 0_u64..9000,
        ) {
            let source = sparse(length, &pieces);
            let bytes = contents(&source);
            prop_assert_eq!(sha256(&source).unwrap(), Digest::of(&bytes));

            let target = sparse(0, &[]);
            copy(&source, &target, offset).unwrap();
            target.set_len(offset + bytes.len() as u64).unwrap();
            prop_assert_eq!(&contents(&target)[offset as usize..], &bytes[..]);
        }
    }
}
