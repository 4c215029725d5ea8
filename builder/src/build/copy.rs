//! The root file system into the disk, and the disk's digest on the way.
//!
//! The root's zeros are written, not left as holes: who flashes only the mapped blocks of a disk onto a used stick would
//! otherwise leave old bytes where the file system counts on zeros.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc;
use std::thread;

use progress::{Progress, Unit};
use sha2::{Digest, Sha256};

/// Bytes handed over at a time: large enough to keep system calls rare, small enough to stay in the processor's cache.
const CHUNK: usize = 1 << 20;

/// How many chunks may wait for the hash.
const QUEUE: usize = 8;

/// Copies all of `source` to `offset` of `disk` and returns the SHA-256 of the whole disk. Everything else on the disk
/// has to be written before. Copying and hashing run side by side.
pub(super) fn into_disk(source: &File, disk: &File, offset: u64, progress: &dyn Progress) -> io::Result<[u8; 32]> {
    let (root_size, disk_size) = (source.metadata()?.len(), disk.metadata()?.len());
    let task = progress.task("writing disk.img", Some(disk_size), Unit::Bytes);
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel::<Vec<u8>>(QUEUE);
        let hash = scope.spawn(move || {
            let mut hash = Sha256::new();
            for chunk in receiver {
                hash.update(&chunk);
            }
            hash.finalize()
        });
        let hand_over = |chunk: Vec<u8>| {
            task.advance(chunk.len() as u64);
            sender.send(chunk).map_err(|_| io::Error::other("the hashing thread ended"))
        };
        let read = |file: &File, range: std::ops::Range<u64>, then: &dyn Fn(&[u8], u64) -> io::Result<()>| {
            let mut at = range.start;
            while at < range.end {
                let mut chunk = vec![0; CHUNK.min(usize::try_from(range.end - at).unwrap_or(CHUNK))];
                file.read_exact_at(&mut chunk, at)?;
                then(&chunk, at)?;
                at += chunk.len() as u64;
                hand_over(chunk)?;
            }
            Ok::<_, io::Error>(())
        };
        read(disk, 0..offset, &|_, _| Ok(()))?;
        read(source, 0..root_size, &|chunk, at| disk.write_all_at(chunk, offset + at))?;
        read(disk, offset + root_size..disk_size, &|_, _| Ok(()))?;
        drop(sender);
        hash.join().map(Into::into).map_err(|_| io::Error::other("the hashing thread panicked"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Seek as _, Write as _};

    #[test]
    fn the_digest_is_of_the_whole_disk_and_zeros_are_written() {
        let mut source = tempfile::tempfile().unwrap();
        source.write_all(b"root").unwrap();
        source.set_len(3 << 20).unwrap();
        let mut disk = tempfile::tempfile().unwrap();
        disk.write_all(b"boot").unwrap();
        disk.set_len(8 << 20).unwrap();
        let sha256 = into_disk(&source, &disk, 2 << 20, &progress::Silent).unwrap();
        let mut bytes = Vec::new();
        disk.rewind().unwrap();
        disk.read_to_end(&mut bytes).unwrap();
        assert_eq!(&bytes[2 << 20..(2 << 20) + 4], b"root");
        assert_eq!(sha256, <[u8; 32]>::from(Sha256::digest(&bytes)));
        assert!(std::os::unix::fs::MetadataExt::blocks(&disk.metadata().unwrap()) * 512 >= 3 << 20);
    }
}
