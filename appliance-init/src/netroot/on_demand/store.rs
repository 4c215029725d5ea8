//! [`Store`]: the root's content, out of chunks that are in memory or on the server.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use chunked::{Chunk, Index};
use transfer::Backoff;

use super::fuse::Content;
use super::memory::{Budget, Meminfo};
use super::ranges::{Purpose, Ranges};

/// Decompressed chunks that are kept: the kernel asks for a chunk in several reads.
const DECOMPRESSED: usize = 32;

/// Bytes that are asked for at once in the background.
const AT_ONCE: u64 = 1 << 20;

/// Chunks of the order of earlier starts that are looked at together: neighbours among them are fetched in one request.
const AHEAD: usize = 64;

/// For how long nothing must have been read before the background goes on with what earlier starts did not read, so that it
/// does not compete with reads.
const QUIET: Duration = Duration::from_millis(500);

/// Fetched chunks between two looks at the memory, besides those that time brings.
const LOOK: u64 = 16;

/// Told of what goes on.
pub(super) trait Observer: Send + Sync {
    /// A chunk is waited for, because of this; it is tried again after the pause.
    fn waiting(&self, reason: &str, pause: Duration);
    /// Chunks come again.
    fn arrived(&self);
    /// Everything is in memory: the server is not needed any more.
    fn complete(&self, bytes: u64);
    /// Memory was short, and chunks with so many bytes were given up: the server is needed for them.
    fn gave_up(&self, bytes: u64);
}

/// The root's content.
pub(super) struct Store<O> {
    index: Index,
    /// Chunks that earlier starts read, what they read first at the start.
    order: Vec<usize>,
    ranges: Ranges,
    memory: Meminfo,
    observer: O,
    kept: Mutex<Kept>,
    /// A chunk has come.
    came: Condvar,
    /// Whether all chunks are to be kept.
    keep_all: AtomicBool,
    /// Bytes that compressed chunks may take, if not all are kept.
    most: u64,
    fetched: AtomicU64,
    last_read: Mutex<Instant>,
    /// Held while chunks are given up because memory is short.
    relieving: Mutex<()>,
}

/// The chunks in memory.
struct Kept {
    /// Frames by number, each with the time of its last use.
    frames: Vec<Option<(Arc<[u8]>, u64)>>,
    bytes: u64,
    /// Counts uses.
    clock: u64,
    /// Place in the order of earlier starts: what precedes it was fetched.
    ahead: usize,
    /// Chunks that a thread is fetching.
    fetching: HashSet<usize>,
    decompressed: VecDeque<(usize, Arc<[u8]>)>,
}

impl<O: Observer> Store<O> {
    /// The content that `index` describes. `order` has the numbers of the chunks that are fetched in advance before others.
    pub(super) fn new(index: Index, order: Vec<usize>, ranges: Ranges, memory: Meminfo, observer: O) -> Self {
        let (keep_all, most) = match memory.budget(index.file_length()) {
            Budget::All => (true, u64::MAX),
            Budget::Bytes(most) => (false, most),
        };
        let kept = Kept {
            frames: vec![None; index.chunks().len()],
            bytes: 0,
            clock: 0,
            ahead: 0,
            fetching: HashSet::new(),
            decompressed: VecDeque::with_capacity(DECOMPRESSED),
        };
        Self {
            index,
            order,
            ranges,
            memory,
            observer,
            kept: Mutex::new(kept),
            came: Condvar::new(),
            keep_all: AtomicBool::new(keep_all),
            most,
            fetched: AtomicU64::new(0),
            last_read: Mutex::new(Instant::now()),
            relieving: Mutex::default(),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A decompressed chunk.
    fn chunk(&self, number: usize) -> io::Result<Arc<[u8]>> {
        let frame = {
            let mut kept = self.kept();
            if let Some(found) = kept.decompressed(number) {
                return Ok(found);
            }
            kept.frame(number)
        };
        let frame = match frame {
            Some(frame) => frame,
            None => self.fetch(number)?,
        };
        let bytes: Arc<[u8]> = self.index.decompress(number, &frame).map_err(io::Error::other)?.into();
        let mut kept = self.kept();
        kept.decompressed.truncate(DECOMPRESSED - 1);
        kept.decompressed.push_front((number, Arc::clone(&bytes)));
        Ok(bytes)
    }

    /// Fetches a chunk, unless another thread does; then waits for that.
    fn fetch(&self, number: usize) -> io::Result<Arc<[u8]>> {
        let mut kept = self.kept();
        loop {
            if let Some(frame) = kept.frame(number) {
                return Ok(frame);
            }
            if kept.fetching.insert(number) {
                break;
            }
            kept = self.came.wait(kept).unwrap_or_else(PoisonError::into_inner);
        }
        drop(kept);
        let chunk = self.index.chunks().get(number).copied();
        let chunk = chunk.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput));
        let frames = chunk.map(|chunk| self.get(&[(number, chunk)], Purpose::Needed));
        self.kept().fetching.remove(&number);
        self.came.notify_all();
        frames?.and_then(|mut frames| frames.pop()).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Gets the frames of neighbouring chunks in one request, until the right ones have come. They are kept. `None` if they did
    /// not come and nothing waits for them.
    fn get(&self, chunks: &[(usize, Chunk)], purpose: Purpose) -> Option<Vec<Arc<[u8]>>> {
        let (first, last) = (chunks.first()?.1, chunks.last()?.1);
        let length = last.offset + u64::from(last.length) - first.offset;
        let frames = |bytes: &[u8]| -> Option<Vec<Arc<[u8]>>> {
            let frame = |chunk: &Chunk| {
                let start = (chunk.offset - first.offset) as usize;
                bytes.get(start..start + chunk.length as usize).map(Arc::from)
            };
            chunks.iter().map(|(_, chunk)| frame(chunk)).collect()
        };
        let accept = |bytes: &[u8]| {
            let frames = frames(bytes).ok_or("the answer is too short")?;
            let mut numbered = chunks.iter().zip(&frames);
            numbered.try_for_each(|((number, _), frame)| {
                self.index.verify(*number, frame).map_err(|error| error.to_string())
            })
        };
        let failed = |reason: &str, pause| self.observer.waiting(reason, pause);
        let bytes = self.ranges.get((first.offset, length), purpose, accept, failed)?;
        self.observer.arrived();
        let frames = frames(&bytes).unwrap_or_default();
        let mut kept = self.kept();
        for ((number, _), frame) in chunks.iter().zip(&frames) {
            kept.keep(*number, Arc::clone(frame));
        }
        if !self.keep_all.load(Ordering::Relaxed) {
            // The frames that have just come are the ones used last, and stay.
            kept.shrink_to(self.most.max(length));
        }
        drop(kept);
        let more = chunks.len() as u64;
        let before = self.fetched.fetch_add(more, Ordering::Relaxed);
        if before / LOOK != (before + more) / LOOK {
            self.relieve();
        }
        Some(frames)
    }

    /// Gives up half of the chunks if memory is short: those that were not used for longest. From then on only what is read is
    /// fetched.
    pub(super) fn relieve(&self) {
        // One thread at a time: the others see the same memory, until it has given back what it freed.
        let Ok(_alone) = self.relieving.try_lock() else { return };
        if !self.memory.is_scarce() {
            return;
        }
        self.keep_all.store(false, Ordering::Relaxed);
        let mut kept = self.kept();
        let before = kept.bytes;
        kept.decompressed.clear();
        kept.shrink_to(before / 2);
        let freed = before - kept.bytes;
        drop(kept);
        if freed > 0 {
            super::heap::give_back();
            self.observer.gave_up(freed);
        }
    }

    /// Fetches what has not been read yet, as long as all may be kept. Returns when it is done.
    pub(super) fn fetch_rest(&self) {
        let mut backoff = self.ranges.backoff();
        while self.keep_all.load(Ordering::Relaxed) {
            let ahead = self.next_ahead();
            if !ahead.is_empty() {
                self.get_ahead(&ahead, &mut backoff);
                continue;
            }
            let since = self.last_read.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
            if let Some(wait) = QUIET.checked_sub(since) {
                thread::sleep(wait);
                continue;
            }
            let missing = self.next_missing();
            if missing.is_empty() {
                let is_complete = self.kept().frames.iter().all(Option::is_some);
                if is_complete {
                    self.observer.complete(self.index.file_length());
                    return;
                }
                // Others are fetching what is missing.
                thread::sleep(QUIET);
                continue;
            }
            self.get_ahead(&missing, &mut backoff);
        }
    }

    /// Fetches chunks that count as being fetched. If they do not come, whoever reads one of them asks for it alone: another
    /// one may be what the server has wrong.
    fn get_ahead(&self, chunks: &[(usize, Chunk)], backoff: &mut Backoff) {
        let have_come = self.get(chunks, Purpose::Prefetch).is_some();
        let mut kept = self.kept();
        for (number, _) in chunks {
            kept.fetching.remove(number);
        }
        if !have_come {
            // The rest of the order comes first. These chunks are fetched later, with those that earlier starts did not read.
            kept.ahead = kept.ahead.saturating_add(1);
        }
        drop(kept);
        self.came.notify_all();
        if have_come {
            *backoff = self.ranges.backoff();
        } else {
            thread::sleep(backoff.next_pause());
        }
    }

    /// The next chunk that earlier starts read and that nobody has or fetches, with neighbours that they read soon after; they
    /// count as being fetched.
    fn next_ahead(&self) -> Vec<(usize, Chunk)> {
        let mut kept = self.kept();
        let rest = self.order.get(kept.ahead..).unwrap_or_default();
        let Some(skipped) = rest.iter().position(|number| kept.is_missing(*number)) else {
            kept.ahead = self.order.len();
            return Vec::new();
        };
        kept.ahead += skipped;
        let mut soon: Vec<usize> = rest.iter().skip(skipped).take(AHEAD).copied().collect();
        let Some(&first) = soon.first() else { return Vec::new() };
        soon.retain(|number| *number >= first && kept.is_missing(*number));
        soon.sort_unstable();
        soon.dedup();
        let (mut found, mut bytes) = (Vec::new(), 0);
        for (number, expected) in soon.into_iter().zip(first..) {
            let Some(chunk) = self.index.chunks().get(number).copied().filter(|_| number == expected) else { break };
            bytes += u64::from(chunk.length);
            if bytes > AT_ONCE && !found.is_empty() {
                break;
            }
            found.push((number, chunk));
        }
        kept.fetching.extend(found.iter().map(|(number, _)| *number));
        found
    }

    /// The next neighbouring chunks that nobody has or fetches; they count as being fetched.
    fn next_missing(&self) -> Vec<(usize, Chunk)> {
        let mut kept = self.kept();
        let numbered = self.index.chunks().iter().copied().enumerate();
        let (mut found, mut bytes) = (Vec::new(), 0);
        for (number, chunk) in numbered.skip_while(|(number, _)| !kept.is_missing(*number)) {
            bytes += u64::from(chunk.length);
            if !kept.is_missing(number) || (bytes > AT_ONCE && !found.is_empty()) {
                break;
            }
            found.push((number, chunk));
        }
        kept.fetching.extend(found.iter().map(|(number, _)| *number));
        found
    }
}

impl Kept {
    fn decompressed(&self, number: usize) -> Option<Arc<[u8]>> {
        self.decompressed.iter().find(|(kept, _)| *kept == number).map(|(_, bytes)| Arc::clone(bytes))
    }

    /// Whether a chunk is neither there nor being fetched.
    fn is_missing(&self, number: usize) -> bool {
        self.frames.get(number).is_some_and(Option::is_none) && !self.fetching.contains(&number)
    }

    fn frame(&mut self, number: usize) -> Option<Arc<[u8]>> {
        self.clock += 1;
        let (frame, used) = self.frames.get_mut(number)?.as_mut()?;
        *used = self.clock;
        Some(Arc::clone(frame))
    }

    fn keep(&mut self, number: usize, frame: Arc<[u8]>) {
        self.clock += 1;
        if let Some(place) = self.frames.get_mut(number) {
            self.bytes += frame.len() as u64;
            if let Some((before, _)) = place.replace((frame, self.clock)) {
                self.bytes -= before.len() as u64;
            }
        }
    }

    /// Gives up the frames that were not used for longest; a tenth more than needed, so that this is rare.
    fn shrink_to(&mut self, most: u64) {
        if self.bytes <= most {
            return;
        }
        let mut by_age: Vec<(u64, usize)> =
            self.frames.iter().enumerate().filter_map(|(number, kept)| Some((kept.as_ref()?.1, number))).collect();
        by_age.sort_unstable();
        let newest = by_age.pop();
        for (_, number) in by_age {
            if self.bytes <= most - most / 10 {
                break;
            }
            if let Some((frame, _)) = self.frames.get_mut(number).and_then(Option::take) {
                self.bytes -= frame.len() as u64;
            }
        }
        debug_assert!(newest.is_none_or(|(_, number)| self.frames.get(number).is_some_and(Option::is_some)));
    }
}

impl<O: Observer> Content for Store<O> {
    fn size(&self) -> u64 {
        self.index.size()
    }

    fn read(&self, offset: u64, length: usize, into: &mut Vec<u8>) -> io::Result<()> {
        *self.last_read.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let chunk_size = u64::from(self.index.chunk_size());
        let end = into.len() + length;
        let mut at = offset;
        while into.len() < end {
            let chunk = self.chunk((at / chunk_size) as usize)?;
            let part = chunk.get((at % chunk_size) as usize..).unwrap_or_default();
            let part = part.get(..part.len().min(end - into.len())).unwrap_or_default();
            if part.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            into.extend(part);
            at += part.len() as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod server_tests;
#[cfg(test)]
mod tests;
