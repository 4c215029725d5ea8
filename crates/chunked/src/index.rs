//! The index: where each chunk is, and what it must be.

use std::io;
use std::ops::Range;

use sha256::Digest;

use crate::Header;

/// How an index begins: its name and version.
const MAGIC: [u8; 16] = *b"rocbed index\0\0\0\x01";
/// Bytes before the first entry.
const FIXED: usize = 64;
/// Bytes of an entry.
const ENTRY: usize = 36;
/// Sizes of chunks that are accepted, in bytes.
const CHUNK_SIZES: Range<u32> = 4 << 10..(4 << 20) + 1;
/// Largest size of the whole, in bytes: a larger one is a mistake or an attack.
const MOST: u64 = 1 << 40;
/// Bytes by which a frame may be longer than its content: that does not compress, and a frame has a header.
const OVERHEAD: u32 = 1 << 10;

/// A chunk's frame in the chunk file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Offset of the frame in the chunk file, in bytes.
    pub offset: u64,
    /// Length of the frame, in bytes.
    pub length: u32,
    /// SHA-256 of the frame.
    pub sha256: Digest,
}

/// The index of a chunk file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    size: u64,
    sha256: Digest,
    chunk_size: u32,
    chunks: Vec<Chunk>,
}

/// The reason why bytes are not an index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// It does not begin as an index of this version does.
    #[error("it is not an index of chunks, or one of another version")]
    Magic,
    /// Numbers in it contradict each other or the limits.
    #[error("the index is damaged: {0}")]
    Damaged(&'static str),
}

/// The reason why bytes are not a chunk.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// There is no chunk with this number.
    #[error("there is no chunk {0}")]
    Number(usize),
    /// The bytes are others than the index wants.
    #[error("chunk {0} is not the one that the index names")]
    Digest(usize),
    /// It has the right digest, and cannot be decompressed: whoever made the index made a mistake.
    #[error("decompressing chunk {number}")]
    Content {
        /// Number of the chunk.
        number: usize,
        /// The decoder's error.
        source: io::Error,
    },
}

impl Index {
    /// Longest index, in bytes: of 200 GiB in chunks of 128 KiB.
    pub const LONGEST: u64 = 64 << 20;

    #[cfg(feature = "write")]
    pub(crate) fn new(header: Header, chunk_size: u32, frames: &[(u32, Digest)]) -> Result<Self, IndexError> {
        let mut offset = Header::LENGTH as u64;
        let chunks = frames.iter().map(|&(length, sha256)| {
            let chunk = Chunk { offset, length, sha256 };
            offset += u64::from(length);
            chunk
        });
        let index = Self { size: header.size, sha256: header.sha256, chunk_size, chunks: chunks.collect() };
        index.check().map(|()| index)
    }

    /// Reads an index.
    ///
    /// # Errors
    ///
    /// If it is not one, or if its numbers cannot be right.
    pub fn parse(bytes: &[u8]) -> Result<Self, IndexError> {
        const SHORT: IndexError = IndexError::Damaged("it is too short");
        let rest = bytes.strip_prefix(&MAGIC).ok_or(IndexError::Magic)?;
        let (size, rest) = rest.split_first_chunk().ok_or(SHORT)?;
        let (sha256, rest) = rest.split_first_chunk::<32>().ok_or(SHORT)?;
        let (chunk_size, rest) = rest.split_first_chunk().ok_or(SHORT)?;
        let (count, rest) = rest.split_first_chunk().ok_or(SHORT)?;
        if rest.len() != (u32::from_le_bytes(*count) as usize).saturating_mul(ENTRY) {
            return Err(IndexError::Damaged("its length is not that of its number of chunks"));
        }
        let mut offset = Header::LENGTH as u64;
        let chunks = rest.chunks_exact(ENTRY).filter_map(|entry| {
            let (length, sha256) = entry.split_first_chunk()?;
            let length = u32::from_le_bytes(*length);
            let chunk = Chunk { offset, length, sha256: Digest::from(*sha256.first_chunk::<32>()?) };
            offset += u64::from(length);
            Some(chunk)
        });
        let chunks = chunks.collect();
        let index = Self {
            size: u64::from_le_bytes(*size),
            sha256: Digest::from(*sha256),
            chunk_size: u32::from_le_bytes(*chunk_size),
            chunks,
        };
        index.check().map(|()| index)
    }

    fn check(&self) -> Result<(), IndexError> {
        if !self.chunk_size.is_power_of_two() || !CHUNK_SIZES.contains(&self.chunk_size) {
            return Err(IndexError::Damaged("the size of its chunks is not one that is used"));
        }
        if self.size > MOST || self.size.div_ceil(u64::from(self.chunk_size)) != self.chunks.len() as u64 {
            return Err(IndexError::Damaged("the number of its chunks is not that of its size"));
        }
        let longest = self.chunk_size + OVERHEAD;
        if self.chunks.iter().any(|chunk| chunk.length == 0 || chunk.length > longest) {
            return Err(IndexError::Damaged("a chunk is longer than one can be"));
        }
        Ok(())
    }

    /// The index as a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED + ENTRY * self.chunks.len());
        bytes.extend(MAGIC);
        bytes.extend(self.size.to_le_bytes());
        bytes.extend(self.sha256.as_bytes());
        bytes.extend(self.chunk_size.to_le_bytes());
        bytes.extend((self.chunks.len() as u32).to_le_bytes());
        for chunk in &self.chunks {
            bytes.extend(chunk.length.to_le_bytes());
            bytes.extend(chunk.sha256.as_bytes());
        }
        bytes
    }

    /// Size of the whole, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// SHA-256 of the whole.
    pub fn sha256(&self) -> &Digest {
        &self.sha256
    }

    /// Bytes of each chunk but the last, which may have fewer.
    pub fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// The chunks' frames, in order.
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Length of the chunk file, in bytes.
    pub fn file_length(&self) -> u64 {
        self.chunks.last().map_or(Header::LENGTH as u64, |chunk| chunk.offset + u64::from(chunk.length))
    }

    /// Bytes that a chunk has when it is decompressed; 0 if there is no such chunk.
    pub fn length_of(&self, number: usize) -> usize {
        let start = (number as u64).saturating_mul(u64::from(self.chunk_size));
        self.size.saturating_sub(start).min(u64::from(self.chunk_size)) as usize
    }

    /// Checks that these bytes are a chunk's frame. The decoder must not get others.
    ///
    /// # Errors
    ///
    /// If they are not.
    pub fn verify(&self, number: usize, frame: &[u8]) -> Result<(), ChunkError> {
        let chunk = self.chunks.get(number).ok_or(ChunkError::Number(number))?;
        if frame.len() == chunk.length as usize && Digest::of(frame) == chunk.sha256 {
            Ok(())
        } else {
            Err(ChunkError::Digest(number))
        }
    }

    /// Decompresses a verified frame.
    ///
    /// # Errors
    ///
    /// If it is not a frame with as many bytes as this chunk has.
    pub fn decompress(&self, number: usize, frame: &[u8]) -> Result<Vec<u8>, ChunkError> {
        let length = self.length_of(number);
        let failed = |source| ChunkError::Content { number, source };
        let bytes = zstd::bulk::decompress(frame, length).map_err(failed)?;
        if bytes.len() == length {
            Ok(bytes)
        } else {
            Err(failed(io::Error::other(format!("it has {} bytes instead of {length}", bytes.len()))))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn index() -> Index {
        let frames: Vec<(u32, Digest)> = (1..=3).map(|number| (u32::from(number) * 100, [number; 32].into())).collect();
        Index::new(Header { size: 10_000, sha256: [9; 32].into() }, 4096, &frames).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let read = Index::parse(&index().to_bytes()).unwrap();
        assert_eq!(read, index());
        assert_eq!(read.chunks()[2], Chunk { offset: 348, length: 300, sha256: [3; 32].into() });
        assert_eq!(read.file_length(), 648);
        assert_eq!([0, 1, 2, 3].map(|number| read.length_of(number)), [4096, 4096, 1808, 0]);
    }

    #[test]
    fn damage_is_told() {
        let good = index().to_bytes();
        let changed = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            Index::parse(&bytes).unwrap_err().to_string()
        };
        assert!(changed(0, 0).contains("is not an index"));
        assert!(changed(15, 2).contains("another version"));
        assert!(changed(20, 1).contains("number of its chunks"));
        assert!(changed(56, 1).contains("size of its chunks"));
        assert!(changed(60, 2).contains("its length is not"));
        assert!(changed(66, 1).contains("longer than one can be"));
        assert!(Index::parse(&good[..40]).unwrap_err().to_string().contains("too short"));
        assert!(Index::parse(&good[..good.len() - 1]).unwrap_err().to_string().contains("its length is not"));
    }

    #[test]
    fn only_the_named_bytes_are_a_chunk() {
        let frame = zstd::bulk::compress(&[5; 4096], 3).unwrap();
        let named = (frame.len() as u32, Digest::of(&frame));
        let index = Index::new(Header { size: 4096, sha256: [0; 32].into() }, 4096, &[named]).unwrap();
        index.verify(0, &frame).unwrap();
        assert_eq!(index.decompress(0, &frame).unwrap(), [5; 4096]);
        let mut other = frame.clone();
        other[9] ^= 1;
        for bytes in [&other[..], &frame[1..], b""] {
            assert!(matches!(index.verify(0, bytes), Err(ChunkError::Digest(0))));
        }
        assert!(matches!(index.verify(1, &frame), Err(ChunkError::Number(1))));
    }

    #[test]
    fn a_chunk_of_another_length_is_refused() {
        for length in [4095, 4097, 1 << 20] {
            let frame = zstd::bulk::compress(&vec![5; length], 3).unwrap();
            assert!(matches!(index().decompress(0, &frame), Err(ChunkError::Content { number: 0, .. })), "{length}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_written_the_same(changes: Vec<(u8, u8)>) {
            let mut bytes = index().to_bytes();
            for (at, value) in changes {
                let at = usize::from(at) % bytes.len();
                bytes[at] = value;
            }
            if let Ok(index) = Index::parse(&bytes) {
                prop_assert_eq!(index.to_bytes(), bytes);
            }
        }
    }
}
