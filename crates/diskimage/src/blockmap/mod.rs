//! Block maps: the blocks of an image that have to be written to a disk, with their checksums.
//!
//! The format is that of bmap-tools, version 2.0, which `bmaptool copy` reads: XML with the image's and a block's
//! size, and ranges of block numbers, each with its SHA-256. Its only specification is the tool's own comments.

mod verify;
mod xml;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use progress::{Progress, Unit};
use sha256::{Digest, Hasher};

use crate::gpt::{self, GptError, types};
use crate::sparse::{self, BLOCK};

pub use verify::{Mismatch, Verifier};
pub use xml::ParseError;

/// Block size in bytes of the maps we write.
const BLOCK_SIZE: u64 = BLOCK as u64;

/// Number of bytes at the start and the end of an image, and at the start of each partition, that are always mapped:
/// signatures from earlier use of the disk (superblocks, RAID and partition tables' copies) have to be overwritten.
const EDGE: u64 = 1 << 20;

/// Mapped blocks of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockMap {
    /// Size of the whole image in bytes.
    pub image_size: u64,
    /// Size of a block in bytes; the image's last block may be shorter.
    pub block_size: u64,
    /// Ranges to write: ascending, not overlapping, inside the image.
    pub ranges: Vec<MappedRange>,
}

/// A range of blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedRange {
    /// Number of the first block.
    pub first: u64,
    /// Number of the last block.
    pub last: u64,
    /// SHA-256 of all bytes in these blocks; may be missing in maps of other tools.
    pub sha256: Option<Digest>,
}

impl BlockMap {
    /// Maps an image: all that is not zero, and the zeros that matter. Those are in every partition but one for
    /// generic data (of the type for Linux file systems), in the first MiB of that too, and in the image's first and
    /// last MiB. An image without a partition table is mapped completely.
    ///
    /// The holes of the file do not matter: a copy of it may have lost them, and some file systems make holes of
    /// written zeros.
    ///
    /// # Errors
    /// If reading fails.
    pub fn of(image: &File, progress: &dyn Progress) -> io::Result<Self> {
        let image_size = image.metadata()?.len();
        let task = progress.task("looking for zeros in the disk image", Some(image_size), Unit::Bytes);
        let data = sparse::nonzero_ranges(image, &*task)?;
        drop(task);
        let edges = [0..EDGE.min(image_size), image_size.saturating_sub(EDGE)..image_size];
        let matters = zeros_that_matter(image, image_size)?;
        let blocks = merge(data.into_iter().chain(matters).chain(edges).filter(|range| !range.is_empty()).collect());
        let mut map = Self { image_size, block_size: BLOCK_SIZE, ranges: Vec::with_capacity(blocks.len()) };
        let bytes = blocks.iter().map(|range| (range.end - range.start) * BLOCK_SIZE).sum();
        let task = progress.task("mapping the disk image", Some(bytes), Unit::Bytes);
        let mut buffer = vec![0; 1 << 20];
        for blocks in blocks {
            let mut range = MappedRange { first: blocks.start, last: blocks.end - 1, sha256: None };
            let bytes = map.bytes(&range);
            let mut hash = Hasher::new();
            let mut at = bytes.start;
            while at < bytes.end {
                let part = buffer.len().min((bytes.end - at) as usize);
                image.read_exact_at(&mut buffer[..part], at)?;
                hash.update(&buffer[..part]);
                task.advance(part as u64);
                at += part as u64;
            }
            range.sha256 = Some(hash.finish());
            map.ranges.push(range);
        }
        Ok(map)
    }

    /// The range of the image's bytes that `range` covers.
    pub fn bytes(&self, range: &MappedRange) -> Range<u64> {
        let end = range.last.saturating_add(1).saturating_mul(self.block_size).min(self.image_size);
        range.first.saturating_mul(self.block_size).min(end)..end
    }

    /// Number of mapped blocks.
    pub(crate) fn mapped_blocks(&self) -> u64 {
        self.ranges.iter().map(|range| range.last - range.first + 1).sum()
    }

    /// The map in the format of `bmaptool`.
    pub fn to_xml(&self) -> String {
        xml::write(self)
    }

    /// Parses an untrusted map: its checksum and each range have to be right.
    ///
    /// # Errors
    /// See [`ParseError`].
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        xml::parse(text)
    }
}

/// Ranges of the image in which zeros are content.
fn zeros_that_matter(image: &File, image_size: u64) -> io::Result<Vec<Range<u64>>> {
    let table = match gpt::read(&mut &*image) {
        Err(GptError::Io(error)) => return Err(error),
        Err(_) => return Ok(std::iter::once(0..image_size).collect()),
        Ok(table) => table,
    };
    let range = |partition: &gpt::Partition| {
        let size = if partition.type_guid == types::LINUX_GENERIC { partition.size.min(EDGE) } else { partition.size };
        partition.start..partition.start + size
    };
    Ok(table.partitions.iter().map(|(_, partition)| range(partition)).collect())
}

/// Converts ranges of bytes to ranges of blocks, ascending, with adjacent ones joined.
fn merge(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        let blocks = range.start / BLOCK_SIZE..range.end.div_ceil(BLOCK_SIZE);
        match merged.last_mut() {
            Some(last) if blocks.start <= last.end => last.end = last.end.max(blocks.end),
            _ => merged.push(blocks),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use progress::Silent;

    /// A disk of 32 MiB with a root at 4 MiB and a data partition at 8 MiB, all zeros but for 5000 bytes at 24 MiB.
    fn disk() -> File {
        use crate::gpt::{Attributes, Partition};
        use crate::{Guid, SectorSize};
        let image = tempfile::tempfile().unwrap();
        image.set_len(32 << 20).unwrap();
        let partition = |name: &str, type_guid, start: u64, size: u64| Partition {
            type_guid,
            unique_guid: Guid::from_digest(&[1; 32].into(), name),
            start: start << 20,
            size: size << 20,
            attributes: Attributes::default(),
            name: name.into(),
        };
        let partitions = [partition("root", types::ROOT_X86_64, 4, 2), partition("data", types::LINUX_GENERIC, 8, 22)];
        gpt::write(&image, Guid::from_digest(&[1; 32].into(), "disk"), SectorSize::Bytes512, &partitions).unwrap();
        image.write_all_at(&[1; 5000], 24 << 20).unwrap();
        image
    }

    #[test]
    fn maps_data_and_zeros_that_matter() {
        let map = BlockMap::of(&disk(), &Silent).unwrap();
        let ranges: Vec<_> = map.ranges.iter().map(|range| (range.first, range.last)).collect();
        // The first MiB, the root, the first MiB of the data partition, what is in it, the last MiB.
        assert_eq!(ranges, [(0, 255), (1024, 1535), (2048, 2303), (6144, 6145), (7936, 8191)]);
        let mut bytes = [0; 8192];
        bytes[..5000].fill(1);
        assert_eq!(map.ranges[3].sha256, Some(Digest::of(bytes)));
        assert_eq!(map.bytes(&map.ranges[3]), 24 << 20..(24 << 20) + 8192);
    }

    /// Copies may lose holes, and file systems may not support them or turn zeros into holes.
    #[test]
    fn holes_make_no_difference() {
        let map = BlockMap::of(&disk(), &Silent).unwrap();
        let without = disk();
        let mut bytes = vec![0; 32 << 20];
        without.read_exact_at(&mut bytes, 0).unwrap();
        without.write_all_at(&bytes, 0).unwrap();
        assert_eq!(sparse::data_ranges(&without).unwrap().first(), Some(&(0..32 << 20)));
        assert_eq!(BlockMap::of(&without, &Silent).unwrap(), map);
    }

    #[test]
    fn a_short_image_ends_within_its_last_block() {
        let image = tempfile::tempfile().unwrap();
        image.set_len(5000).unwrap();
        let map = BlockMap::of(&image, &Silent).unwrap();
        assert_eq!((map.ranges.len(), map.mapped_blocks(), map.bytes(&map.ranges[0])), (1, 2, 0..5000));
        assert_eq!(map.ranges[0].sha256, Some(Digest::of([0; 5000])));
    }
}
