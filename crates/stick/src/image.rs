//! Reads an image: its partition table and EFI system partition at once, the rest as a stream.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use advice::{Advise, Help};
use diskimage::SectorSize;
use diskimage::blockmap::BlockMap;
use diskimage::gpt::{self, GptError, Partition, Table, types};

use crate::buffer::is_zero;

/// The offset of the first partition in every image, in bytes.
pub(crate) const HEAD: u64 = 1 << 20;

/// The largest EFI system partition in bytes: it is kept in a temporary file, and ours are smaller.
const LARGEST_ESP: u64 = 8 << 30;

/// The appliance's own partition: it may be empty, and grows to the end of the device.
const DATA: &str = "rocbed-data";

/// The reason why an image cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Reading failed, or the digest is wrong.
    #[error("reading the image: {0}")]
    Read(io::Error),
    /// The EFI system partition cannot be copied to a temporary file.
    #[error("keeping the EFI system partition in a temporary file: {0}")]
    Spool(io::Error),
    /// It ends before its partitions do.
    #[error("the image is cut short: it ends in the middle of {0}")]
    Short(&'static str),
    /// The partition table cannot be read.
    #[error("the image has no usable partition table: {0}")]
    Table(#[from] GptError),
    /// The layout is not that of `rocbed build`.
    #[error("this is not an image of rocbed's: {0}")]
    Layout(&'static str),
    /// The block map belongs to another image.
    #[error("the block map is for an image of {map} bytes, and this one has {image}")]
    Map {
        /// The map's size in bytes.
        map: u64,
        /// The image's size in bytes.
        image: u64,
    },
}

impl Advise for ImageError {
    fn help(&self) -> Help {
        match self {
            Self::Short(_) => "fetch or build it again".into(),
            Self::Table(_) | Self::Layout(_) => "give a disk.img or disk.img.zst that `rocbed build` made".into(),
            Self::Map { .. } => "fetch or build the image again, with the block map beside it".into(),
            Self::Spool(_) => "make room in /var/tmp, or name another directory with TMPDIR".into(),
            Self::Read(_) => Help::none(),
        }
    }
}

/// An image whose first partition was read.
pub struct Image<'a> {
    pub(crate) reader: Box<dyn Read + Send + 'a>,
    /// Number of bytes read so far.
    pub(crate) position: u64,
    pub(crate) table: Table,
    /// Size of the whole image in bytes.
    pub(crate) size: u64,
    pub(crate) map: Option<&'a BlockMap>,
    /// The partitions, by offset; the first is the EFI system partition.
    pub(crate) partitions: Vec<Partition>,
    /// The content of the EFI system partition, at offset 0. Zeros are holes.
    pub(crate) esp: File,
}

impl<'a> Image<'a> {
    /// Reads the partition table and the EFI system partition.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn open(mut reader: Box<dyn Read + Send + 'a>, map: Option<&'a BlockMap>) -> Result<Self, ImageError> {
        let mut head = vec![0; HEAD as usize];
        read_exact(&mut reader, &mut head, "its partition table")?;
        let size = said_size(&head)?;
        let table = gpt::read(&mut Head { bytes: Cursor::new(&head), size, at: 0 })?;
        let mut partitions: Vec<_> = table.partitions.iter().map(|(_, partition)| partition.clone()).collect();
        partitions.sort_by_key(|partition| partition.start);
        let esp = match partitions.first() {
            Some(first) if first.type_guid == types::ESP && first.size <= LARGEST_ESP => first.clone(),
            _ => return Err(ImageError::Layout("its first partition is not an EFI system partition")),
        };
        let mut end = HEAD;
        for partition in &partitions {
            // Partitions from gpt::read are inside of the image, so these sums do not overflow.
            if partition.start < end || !partition.start.is_multiple_of(4096) || !partition.size.is_multiple_of(4096) {
                return Err(ImageError::Layout("its partitions overlap, or do not start at multiples of 4096 bytes"));
            }
            end = partition.start + partition.size;
        }
        if let Some(map) = map.filter(|map| map.image_size != size) {
            return Err(ImageError::Map { map: map.image_size, image: size });
        }
        let spool = tempfile::tempfile().map_err(ImageError::Spool)?;
        let mut image = Self { reader, position: HEAD, table, size, map, partitions, esp: spool };
        image.skip_to(esp.start)?;
        image.spool(esp.size)?;
        Ok(image)
    }

    /// Size of the whole image in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The sector size of its layout.
    pub fn sector_size(&self) -> SectorSize {
        self.table.sector_size
    }

    pub(crate) fn is_data(partition: &Partition) -> bool {
        partition.name == DATA
    }

    fn spool(&mut self, size: u64) -> Result<(), ImageError> {
        self.esp.set_len(size).map_err(ImageError::Spool)?;
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        while at < size {
            let part = (buffer.len() as u64).min(size - at) as usize;
            let Some(bytes) = buffer.get_mut(..part) else { break };
            self.read(bytes, "the EFI system partition")?;
            if !is_zero(bytes) {
                self.esp.write_all_at(bytes, at).map_err(ImageError::Spool)?;
            }
            at += part as u64;
        }
        Ok(())
    }

    /// Reads the next bytes.
    pub(crate) fn read(&mut self, bytes: &mut [u8], what: &'static str) -> Result<(), ImageError> {
        read_exact(&mut self.reader, bytes, what)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    pub(crate) fn skip_to(&mut self, at: u64) -> Result<(), ImageError> {
        let length = at.saturating_sub(self.position);
        let skipped = io::copy(&mut (&mut self.reader).take(length), &mut io::sink()).map_err(ImageError::Read)?;
        self.position += skipped;
        if skipped == length { Ok(()) } else { Err(ImageError::Short("a gap between partitions")) }
    }

    /// Reads to the end, where a reader with a digest checks it.
    pub(crate) fn finish(&mut self) -> Result<(), ImageError> {
        io::copy(&mut self.reader, &mut io::sink()).map(drop).map_err(ImageError::Read)
    }

    /// Whether a range of the image has to be written.
    pub(crate) fn is_mapped(&self, start: u64, length: u64) -> bool {
        let Some(map) = self.map else { return true };
        let next = map.ranges.partition_point(|range| map.bytes(range).end <= start);
        map.ranges.get(next).is_some_and(|range| map.bytes(range).start < start.saturating_add(length))
    }
}

fn read_exact(reader: &mut impl Read, bytes: &mut [u8], what: &'static str) -> Result<(), ImageError> {
    reader.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ImageError::Short(what),
        _ => ImageError::Read(error),
    })
}

/// The image's length by its primary header, which has the offset of the backup at the very end (UEFI 2.10, table
/// 5.5).
fn said_size(head: &[u8]) -> Result<u64, ImageError> {
    let last = |sector: usize| {
        let header = head.get(sector..sector + 512)?.strip_prefix(b"EFI PART")?;
        let other = u64::from_le_bytes(*header.get(24..)?.first_chunk()?);
        other.checked_add(1)?.checked_mul(sector as u64).filter(|size| *size < 1 << 60)
    };
    last(512).or_else(|| last(4096)).ok_or(ImageError::Table(GptError::NotFound))
}

/// The start of a disk; reading beyond it returns the end of the file.
struct Head<'a> {
    bytes: Cursor<&'a Vec<u8>>,
    size: u64,
    at: u64,
}

impl Read for Head<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.bytes.set_position(self.at);
        let count = self.bytes.read(buffer)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Head<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
