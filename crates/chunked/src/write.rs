//! Compresses a file into chunks.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;

use sha256::{Digest, Hasher};

use crate::Header;
use crate::index::{Index, IndexError};

/// The compression level: higher ones take much longer for little, as a chunk has few repetitions.
const LEVEL: i32 = 9;

/// Chunks that are read and compressed together; then they are written.
const BATCH: usize = 64;

/// The reason why there is no chunk file.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The whole cannot be read.
    #[error("reading what is to be compressed")]
    Read(#[source] io::Error),
    /// The chunk file cannot be written.
    #[error("writing the chunks")]
    Write(#[source] io::Error),
    /// A chunk cannot be compressed.
    #[error("compressing")]
    Compress(#[source] io::Error),
    /// The size is beyond the limits of an index.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Reads the whole and writes its chunk file, in all processors. Returns the index. `progress` gets numbers of bytes
/// done. `chunk_size` is in bytes.
///
/// # Errors
///
/// If a file cannot be read or written, or if `chunk_size` is not one that an index may have.
pub fn write(
    whole: &mut impl Read,
    file: &mut File,
    chunk_size: u32,
    progress: &mut dyn FnMut(u64),
) -> Result<Index, WriteError> {
    let mut frames: Vec<(u32, Digest)> = Vec::new();
    let (mut hash, mut size) = (Hasher::new(), 0);
    let mut output = BufWriter::with_capacity(1 << 20, &mut *file);
    // Its content is known at the end.
    output.write_all(&[0; Header::LENGTH]).map_err(WriteError::Write)?;
    let batch_size = chunk_size as usize * BATCH;
    let mut batch = Vec::with_capacity(batch_size);
    loop {
        batch.clear();
        whole.by_ref().take(batch_size as u64).read_to_end(&mut batch).map_err(WriteError::Read)?;
        if batch.is_empty() {
            break;
        }
        let chunks = batch.chunks(chunk_size as usize);
        let compressed = parallel::map(chunks, parallel::processors(), |chunk| {
            let frame = zstd::bulk::compress(chunk, LEVEL)?;
            let sha256 = Digest::of(&frame);
            Ok((frame, sha256))
        });
        hash.update(&batch);
        for result in compressed {
            let (frame, sha256) = result.map_err(WriteError::Compress)?;
            output.write_all(&frame).map_err(WriteError::Write)?;
            frames.push((frame.len() as u32, sha256));
        }
        size += batch.len() as u64;
        progress(batch.len() as u64);
    }
    output.flush().map_err(WriteError::Write)?;
    drop(output);
    let header = Header { size, sha256: hash.finish() };
    file.write_all_at(&header.to_bytes(), 0).map_err(WriteError::Write)?;
    Ok(Index::new(header, chunk_size, &frames)?)
}

/// Reads a whole chunk file and checks each frame, in all processors. Returns the SHA-256 of the whole that it really has.
///
/// # Errors
///
/// If it cannot be read, or if a frame is not the one that the index names.
pub fn verify(index: &Index, file: &File) -> io::Result<Digest> {
    let mut hash = Hasher::new();
    let numbered: Vec<_> = index.chunks().iter().enumerate().collect();
    for batch in numbered.chunks(BATCH) {
        let contents = parallel::map(batch.iter().copied(), parallel::processors(), |(number, chunk)| {
            let mut frame = vec![0; chunk.length as usize];
            file.read_exact_at(&mut frame, chunk.offset)?;
            index.verify(number, &frame).and_then(|()| index.decompress(number, &frame)).map_err(io::Error::other)
        });
        for content in contents {
            hash.update(content?);
        }
    }
    Ok(hash.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at / 7 % 251) as u8).collect()
    }

    #[test]
    fn each_chunk_is_where_the_index_says() -> Result<(), Box<dyn std::error::Error>> {
        for length in [0, 1, 4096, 4097, 4096 * BATCH + 5] {
            let mut file = tempfile::tempfile()?;
            let mut done = 0;
            let whole = whole(length);
            let index = write(&mut whole.as_slice(), &mut file, 4096, &mut |count| done += count)?;
            assert_eq!((index.size(), done), (length as u64, length as u64));
            assert_eq!(index.file_length(), file.metadata()?.len());
            let mut read = Vec::new();
            for (number, chunk) in index.chunks().iter().enumerate() {
                let mut frame = vec![0; chunk.length as usize];
                file.read_exact_at(&mut frame, chunk.offset)?;
                index.verify(number, &frame)?;
                read.extend(index.decompress(number, &frame)?);
            }
            assert!(read == whole, "{length}");
            assert_eq!(verify(&index, &file)?, Digest::of(&whole));
            assert_eq!(Index::parse(&index.to_bytes())?, index);
        }
        Ok(())
    }

    #[test]
    fn the_chunk_file_is_a_zstandard_file_of_the_whole() -> Result<(), Box<dyn std::error::Error>> {
        let (mut file, whole) = (tempfile::NamedTempFile::new()?, whole(3 << 20));
        let index = write(&mut whole.as_slice(), file.as_file_mut(), 128 << 10, &mut |_| {})?;
        let bytes = std::fs::read(file.path())?;
        assert!(zstd::decode_all(bytes.as_slice())? == whole);
        let header = Header::parse(&bytes).ok_or("no header")?;
        assert_eq!((header.size, &header.sha256), (index.size(), index.sha256()));
        assert_eq!(header.sha256, Digest::of(&whole));
        Ok(())
    }

    #[test]
    fn a_size_of_chunks_that_no_reader_takes_is_refused() {
        let mut file = tempfile::tempfile().expect("a file");
        let error = write(&mut [7_u8; 9000].as_slice(), &mut file, 3000, &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("size of its chunks"), "{error}");
    }
}
