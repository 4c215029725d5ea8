//! SHA-256 of sparse files, without reading their holes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use sha256::{Digest, Hasher};

/// Bytes that are read and hashed at once.
const CHUNK: usize = 1024 * 1024;

/// The SHA-256 of `length` bytes of a file from `offset` on. Holes are hashed as zeros, but not read.
///
/// # Errors
/// If reading fails or the file is too short.
pub fn digest_of(file: &File, offset: u64, length: u64) -> io::Result<Digest> {
    let end = offset.checked_add(length).ok_or(io::ErrorKind::InvalidInput)?;
    if file.metadata()?.is_file() && file.metadata()?.len() < end {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; CHUNK];
    let zeros = vec![0; CHUNK];
    let mut at = offset;
    while at < end {
        let (data, hole) = next_data(file, at, end)?;
        for_chunks(at, data, |_, length| {
            hasher.update(&zeros[..length]);
            Ok(())
        })?;
        for_chunks(data, hole, |at, length| {
            file.read_exact_at(&mut buffer[..length], at)?;
            hasher.update(&buffer[..length]);
            Ok(())
        })?;
        at = hole;
    }
    Ok(hasher.finish())
}

fn for_chunks(from: u64, to: u64, mut each: impl FnMut(u64, usize) -> io::Result<()>) -> io::Result<()> {
    let mut at = from;
    while at < to {
        let length = (to - at).min(CHUNK as u64);
        each(at, length as usize)?;
        at += length;
    }
    Ok(())
}

/// Start and end of the next data, both between `at` and `end`; everything is data if holes cannot be found.
fn next_data(file: &File, at: u64, end: u64) -> io::Result<(u64, u64)> {
    match seek(file, SeekFrom::Data(at)) {
        Ok(data) if data >= end => Ok((end, end)),
        Ok(data) => Ok((data, seek(file, SeekFrom::Hole(data))?.clamp(data + 1, end))),
        Err(Errno::NXIO) => Ok((end, end)),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok((at, end)),
        Err(error) => Err(error.into()),
    }
}

/// Whether all bytes are zero; fast if they are not.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let mut words = bytes.chunks_exact(16);
    words.all(|word| word == [0; 16]) && words.remainder().iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_count_as_zeros() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(5 << 20).unwrap();
        file.write_all_at(b"somewhere", 3 << 20).unwrap();
        let mut bytes = vec![0; 5 << 20];
        file.read_exact_at(&mut bytes, 0).unwrap();
        let expected = Digest::of(&bytes[100..]);
        assert_eq!(digest_of(&file, 100, (5 << 20) - 100).unwrap(), expected);
        assert!(digest_of(&file, 100, 5 << 20).is_err());
    }
}
