//! Copies the root file system into the disk image and computes the disk's digest in the same pass.
//!
//! The root's zeros are written, not left as holes: flashing only the mapped blocks onto a used stick would otherwise
//! leave old bytes where the file system expects zeros.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use progress::{Progress, Task, Unit};
use sha256::{Digest, Hasher};

/// Bytes per chunk: large enough to keep system calls rare, small enough to stay in the processor's cache.
const CHUNK: usize = 1 << 20;

/// Number of chunks that may wait for a hash.
const QUEUE: usize = 8;

/// Number of bytes after which writeback to the disk is started: it then overlaps with copying, and the final wait is
/// short.
const FLUSH: u64 = 64 << 20;

/// Digests of what was copied.
pub(super) struct Copied {
    /// SHA-256 of the whole disk.
    pub(super) disk: Digest,
    /// SHA-256 of the source, if requested.
    pub(super) source: Option<Digest>,
}

/// Mode of [`into_disk`].
#[derive(Debug, Clone, Copy)]
pub(super) enum Copy {
    /// Copy, and hash the disk.
    Plain,
    /// Copy, and hash the source too.
    Check,
    /// Copy nothing; hash the disk as if it had been.
    Pretend,
}

/// Copies all of `source` to `offset` of `disk` and hashes the whole disk. Everything else on the disk has to be
/// written before. Copying and hashing run in parallel.
pub(super) fn into_disk(
    source: &File,
    disk: &File,
    offset: u64,
    how: Copy,
    progress: &dyn Progress,
) -> io::Result<Copied> {
    let check = matches!(how, Copy::Check);
    let (root_size, disk_size) = (source.metadata()?.len(), disk.metadata()?.len());
    let task = progress.task("writing disk.img", Some(disk_size), Unit::Bytes);
    thread::scope(|scope| {
        let (to_disk, of_disk) = sync_channel(QUEUE);
        let (to_source, of_source) = sync_channel(QUEUE);
        let disk_hash = scope.spawn(move || hash(of_disk));
        let source_hash = check.then(|| scope.spawn(move || hash(of_source)));
        let (to_flusher, wakes) = sync_channel::<()>(1);
        let flusher = scope.spawn(move || wakes.into_iter().try_for_each(|()| disk.sync_data()));
        let mut unflushed = 0;
        each_chunk(disk, 0..offset, |_, chunk| hand_over(&to_disk, chunk, &*task))?;
        each_chunk(source, 0..root_size, |at, chunk| {
            if matches!(how, Copy::Pretend) {
                return hand_over(&to_disk, chunk, &*task);
            }
            disk.write_all_at(&chunk, offset + at)?;
            unflushed += chunk.len() as u64;
            if unflushed >= FLUSH {
                unflushed = 0;
                // If a flush is still running, the next one or the final wait covers these bytes.
                let _ = to_flusher.try_send(());
            }
            if check {
                to_source.send(Arc::clone(&chunk)).map_err(|_| ended())?;
            }
            hand_over(&to_disk, chunk, &*task)
        })?;
        each_chunk(disk, offset + root_size..disk_size, |_, chunk| hand_over(&to_disk, chunk, &*task))?;
        drop((to_disk, to_source, to_flusher));
        flusher.join().map_err(|_| ended())??;
        let source = source_hash.map(|thread| thread.join().map_err(|_| ended())).transpose()?;
        Ok(Copied { disk: disk_hash.join().map_err(|_| ended())?, source })
    })
}

fn hash(chunks: Receiver<Arc<[u8]>>) -> Digest {
    let mut hash = Hasher::new();
    for chunk in chunks {
        hash.update(&chunk);
    }
    hash.finish()
}

fn hand_over(to: &SyncSender<Arc<[u8]>>, chunk: Arc<[u8]>, task: &dyn Task) -> io::Result<()> {
    task.advance(chunk.len() as u64);
    to.send(chunk).map_err(|_| ended())
}

fn ended() -> io::Error {
    io::Error::other("a thread of the copy ended early")
}

/// Reads a range chunk by chunk, each with its offset in the file.
fn each_chunk(
    file: &File,
    range: Range<u64>,
    mut then: impl FnMut(u64, Arc<[u8]>) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut at = range.start;
    while at < range.end {
        let length = CHUNK.min(usize::try_from(range.end - at).unwrap_or(CHUNK));
        let part = buffer.get_mut(..length).unwrap_or_default();
        file.read_exact_at(part, at)?;
        then(at, Arc::from(&*part))?;
        at += length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Seek as _, Write as _};
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn the_digests_are_of_everything_and_zeros_are_written() {
        let mut source = tempfile::tempfile().unwrap();
        source.write_all(b"root").unwrap();
        source.set_len(3 << 20).unwrap();
        let mut disk = tempfile::tempfile().unwrap();
        disk.write_all(b"boot").unwrap();
        disk.set_len(8 << 20).unwrap();
        let mut empty = tempfile::tempfile().unwrap();
        empty.write_all(b"boot").unwrap();
        empty.set_len(8 << 20).unwrap();
        let blocks = empty.metadata().unwrap().blocks();
        let copied = into_disk(&source, &disk, 2 << 20, Copy::Check, &progress::Silent).unwrap();
        let pretended = into_disk(&source, &empty, 2 << 20, Copy::Pretend, &progress::Silent).unwrap();
        assert_eq!(pretended.disk, copied.disk);
        assert_eq!(empty.metadata().unwrap().blocks(), blocks);
        let mut bytes = Vec::new();
        disk.rewind().unwrap();
        disk.read_to_end(&mut bytes).unwrap();
        assert_eq!(&bytes[2 << 20..(2 << 20) + 4], b"root");
        assert_eq!(copied.disk, Digest::of(&bytes));
        assert_eq!(copied.source, Some(Digest::of(&bytes[2 << 20..5 << 20])));
        assert!(disk.metadata().unwrap().blocks() * 512 >= 3 << 20);
    }
}
