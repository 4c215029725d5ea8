//! Writes the pieces of an image in chunks of one MiB, with several threads; another thread hashes the chunks.
//!
//! Small files are collected in a buffer and written together, which makes this fast. Blocks of zeros are never
//! written.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use progress::Task;
use sha256::Hasher;

use super::error::{WriteError, shown};
use super::format::{BLOCK, BLOCK_SIZE};
use super::holes;
use super::pieces::{Piece, Source};
use crate::digest::is_zero;
use crate::tree::Content;

/// Bytes that are written and hashed at once.
const CHUNK: u64 = 1024 * 1024;
/// More threads would only wait for each other: the kernel allows one writer at a time per file.
const MOST_WRITERS: usize = 3;
/// Number of buffers for each writer if the digest is computed as well.
const BUFFERS: usize = 3;

/// Destination of an image.
pub(super) struct Target<'a> {
    pub(super) image: &'a File,
    /// Offset of the file system in the image file in bytes.
    pub(super) offset: u64,
    /// Size of the file system in bytes.
    pub(super) size: u64,
    /// Progress task, advanced by each byte of the size.
    pub(super) task: &'a dyn Task,
    /// Gets each chunk, with its offset in the file system: from several threads, in any order, zeros too.
    pub(super) each: &'a (dyn Fn(u64, &[u8]) + Sync),
}

/// A chunk on its way from a writer to the hasher, and back for its buffer.
struct Written {
    index: u64,
    buffer: Vec<u8>,
    length: usize,
    /// Whether the chunk is all zeros and its buffer unused.
    zero: bool,
}

impl Target<'_> {
    /// Writes the pieces, and hashes the whole file system if requested.
    pub(super) fn write(&self, pieces: &[Piece<'_>], digest: bool) -> Result<Option<Hasher>, WriteError> {
        let writers = thread::available_parallelism().map_or(1, usize::from).min(MOST_WRITERS);
        let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let (to_writers, from_hasher) = channel();
        let (to_hasher, from_writers) = channel();
        for _ in 0..writers * BUFFERS {
            // The receiver is alive: it is in this function.
            let _ = to_writers.send(vec![0; CHUNK as usize]);
        }
        let free_buffers = Mutex::new(from_hasher);
        thread::scope(|scope| {
            let hasher = scope.spawn(move || hash(&from_writers, &to_writers, digest));
            let running: Vec<_> = (0..writers)
                .map(|_| {
                    let to_hasher = to_hasher.clone();
                    let (next, stop, free_buffers) = (&next, &stop, &free_buffers);
                    scope.spawn(move || self.write_chunks(pieces, next, stop, free_buffers, &to_hasher))
                })
                .collect();
            drop(to_hasher);
            let results: Vec<_> = running.into_iter().map(joined).collect();
            let hasher = joined(hasher);
            results.into_iter().collect::<Result<(), _>>().map(|()| hasher)
        })
    }

    fn write_chunks(
        &self,
        pieces: &[Piece<'_>],
        next: &AtomicU64,
        stop: &AtomicBool,
        free_buffers: &Mutex<Receiver<Vec<u8>>>,
        to_hasher: &Sender<Written>,
    ) -> Result<(), WriteError> {
        loop {
            // First the buffer, then the number: so the chunk with the lowest number in progress always has a buffer.
            let received = free_buffers.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(mut buffer) = received else { return Ok(()) };
            let index = next.fetch_add(1, Ordering::Relaxed);
            let start = index.saturating_mul(CHUNK);
            if start >= self.size || stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let length = (self.size - start).min(CHUNK) as usize;
            let result = fill(pieces, start, &mut buffer[..length]).and_then(|any| {
                if any {
                    self.write_data(&buffer[..length], start)?;
                }
                (self.each)(start, &buffer[..length]);
                Ok(!any)
            });
            self.task.advance(length as u64);
            // After an error the numbers continue, so that no other thread waits for this one.
            let zero = *result.as_ref().unwrap_or(&true);
            let sent = to_hasher.send(Written { index, buffer, length, zero });
            if result.is_err() || sent.is_err() {
                stop.store(true, Ordering::Relaxed);
                return result.map(|_| ());
            }
        }
    }

    /// Writes the non-zero blocks of a buffer, adjacent ones together.
    fn write_data(&self, buffer: &[u8], start: u64) -> Result<(), WriteError> {
        let mut blocks = buffer.chunks(BLOCK).enumerate().peekable();
        while let Some((first, block)) = blocks.next() {
            if is_zero(block) {
                continue;
            }
            let mut end = first * BLOCK + block.len();
            while let Some((_, block)) = blocks.next_if(|(_, block)| !is_zero(block)) {
                end += block.len();
            }
            let offset = self.offset + start + (first * BLOCK) as u64;
            self.image
                .write_all_at(&buffer[first * BLOCK..end], offset)
                .map_err(|source| WriteError::Write { offset, source })?;
        }
        Ok(())
    }
}

/// Fills a buffer with the bytes from `start` on. Returns whether there are any.
pub(super) fn fill(pieces: &[Piece<'_>], start: u64, buffer: &mut [u8]) -> Result<bool, WriteError> {
    let end = start + buffer.len() as u64;
    let first = pieces.partition_point(|piece| piece.block * BLOCK_SIZE + piece.length <= start);
    let mut filled = 0;
    for piece in pieces[first..].iter().take_while(|piece| piece.block * BLOCK_SIZE < end) {
        let piece_start = piece.block * BLOCK_SIZE;
        let skip = start.saturating_sub(piece_start);
        let at = (piece_start + skip - start) as usize;
        let length = (piece.length - skip).min(end - start - at as u64) as usize;
        buffer[filled..at].fill(0);
        filled = at + length;
        copy(&piece.source, skip, &mut buffer[at..filled])?;
    }
    buffer[filled..].fill(0);
    Ok(filled > 0)
}

fn copy(source: &Source<'_>, skip: u64, buffer: &mut [u8]) -> Result<(), WriteError> {
    let from = |bytes: &[u8], at: u64, buffer: &mut [u8]| {
        buffer.copy_from_slice(&bytes[at as usize..at as usize + buffer.len()]);
    };
    match source {
        Source::Metadata(bytes) => from(bytes, skip, buffer),
        Source::Content { content: Content::Bytes(bytes), at, .. } => from(bytes, at + skip, buffer),
        Source::Content { path, content: Content::HostFile { path: host, length }, at } => {
            let file = holes::open(path, host, *length)?;
            file.read_exact_at(buffer, at + skip).map_err(|source| WriteError::Read {
                path: shown(path),
                host: host.display().to_string(),
                source,
            })?;
        }
    }
    Ok(())
}

/// Hashes chunks in order, if requested, and returns the buffers.
fn hash(from_writers: &Receiver<Written>, to_writers: &Sender<Vec<u8>>, digest: bool) -> Option<Hasher> {
    let zeros = vec![0; CHUNK as usize];
    let mut hasher = Hasher::new();
    let mut waiting = BTreeMap::new();
    let mut next = 0;
    for written in from_writers {
        waiting.insert(if digest { written.index } else { next }, written);
        while let Some(written) = waiting.remove(&next) {
            if digest {
                hasher.update(if written.zero { &zeros[..written.length] } else { &written.buffer[..written.length] });
            }
            next += 1;
            // Once all writers have ended, the buffer is not needed.
            let _ = to_writers.send(written.buffer);
        }
    }
    digest.then_some(hasher)
}

/// The result of a thread; a panic is propagated.
fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
