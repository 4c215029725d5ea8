//! Finds the parts of a file that become holes: every aligned 64 KiB of zeros, and nothing else.
//!
//! The rule depends on content only, so that the same content makes the same image regardless of holes in the host's
//! file and of the host's file system. Host holes only save the reading. Checking the first bytes of each 64 KiB is
//! mostly enough, so this costs little.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::error::{WriteError, shown};
use super::format::BLOCK_SIZE;
use crate::tree::Content;

/// Size and alignment of holes in bytes.
const CHUNK: u64 = 64 * 1024;
/// Number of bytes of a chunk that are checked first.
const GLANCE: usize = 512;

/// Ranges of blocks that are not holes: the first block in the file, and the number of blocks.
pub(super) type Runs = Vec<(u64, u64)>;

/// Finds the data ranges of a file.
pub(super) fn runs(path: &[u8], content: &Content) -> Result<Runs, WriteError> {
    let blocks = content.len().div_ceil(BLOCK_SIZE);
    if content.len() < CHUNK {
        return Ok(if blocks == 0 { Vec::new() } else { vec![(0, blocks)] });
    }
    let mut runs = Builder::default();
    match content {
        Content::Bytes(bytes) => {
            for (chunk, bytes) in bytes.chunks(CHUNK as usize).enumerate() {
                runs.chunk(chunk as u64, blocks, bytes.iter().all(|byte| *byte == 0));
            }
        }
        Content::HostFile { path: host, length } => {
            let failed = |source| WriteError::Read { path: shown(path), host: host.display().to_string(), source };
            let file = open(path, host, *length)?;
            host_runs(&file, *length, blocks, &mut runs).map_err(failed)?;
        }
    }
    Ok(runs.0)
}

/// Opens a file on the host and checks that its length is as recorded in the tree.
pub(super) fn open(path: &[u8], host: &Path, length: u64) -> Result<File, WriteError> {
    let shown_host = || host.display().to_string();
    let failed = |source| WriteError::Read { path: shown(path), host: shown_host(), source };
    let file = File::open(host).map_err(failed)?;
    let found = file.metadata().map_err(failed)?.len();
    if found != length {
        return Err(WriteError::Changed { path: shown(path), host: shown_host(), expected: length, found });
    }
    Ok(file)
}

fn host_runs(file: &File, length: u64, blocks: u64, runs: &mut Builder) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK as usize];
    let mut data = 0..0u64; // where the host has data, as far as is known
    for chunk in 0..length.div_ceil(CHUNK) {
        let start = chunk * CHUNK;
        let end = length.min(start + CHUNK);
        if start >= data.end {
            data = next_data(file, start, length)?;
        }
        let zero = data.start >= end || is_zero(file, &mut buffer[..(end - start) as usize], start)?;
        runs.chunk(chunk, blocks, zero);
    }
    Ok(())
}

/// The first data at or behind `from`, as reported by the host's file system; all the rest if it cannot tell.
fn next_data(file: &File, from: u64, length: u64) -> io::Result<std::ops::Range<u64>> {
    let start = match seek(file, SeekFrom::Data(from)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(length..length), // a hole up to the end
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(from..length),
        Err(error) => return Err(error.into()),
    };
    Ok(start..seek(file, SeekFrom::Hole(start))?.max(start + 1))
}

fn is_zero(file: &File, buffer: &mut [u8], at: u64) -> io::Result<bool> {
    let glance = GLANCE.min(buffer.len());
    let zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    file.read_exact_at(&mut buffer[..glance], at)?;
    if !zero(&buffer[..glance]) {
        return Ok(false);
    }
    file.read_exact_at(buffer, at)?;
    Ok(zero(buffer))
}

#[derive(Default)]
struct Builder(Runs);

impl Builder {
    /// Adds the next chunk of a file with that many blocks.
    fn chunk(&mut self, chunk: u64, blocks: u64, zero: bool) {
        let first = chunk * (CHUNK / BLOCK_SIZE);
        let count = (blocks - first).min(CHUNK / BLOCK_SIZE);
        match self.0.last_mut() {
            _ if zero => {}
            Some((start, length)) if *start + *length == first => *length += count,
            _ => self.0.push((first, count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn zeros_on_the_host_and_holes_on_the_host_are_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let length = 1024 * 1024 + 100;
        let sparse = directory.path().join("sparse");
        let file = File::create(&sparse).unwrap();
        file.set_len(length).unwrap();
        file.write_all_at(b"data", 5 * CHUNK + 70).unwrap();
        file.write_all_at(b"end", length - 3).unwrap();
        let dense = directory.path().join("dense");
        std::fs::write(&dense, std::fs::read(&sparse).unwrap()).unwrap();

        let expected = vec![(80, 16), (256, 1)];
        for path in [sparse, dense.clone()] {
            assert_eq!(runs(b"f", &Content::HostFile { path, length }).unwrap(), expected);
        }
        assert_eq!(runs(b"f", &Content::Bytes(std::fs::read(&dense).unwrap().into())).unwrap(), expected);
        let changed = runs(b"f", &Content::HostFile { path: dense, length: length + 1 });
        assert!(matches!(changed, Err(WriteError::Changed { .. })));
    }
}
