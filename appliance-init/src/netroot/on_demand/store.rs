//! [`Store`]: the root's content, out of chunks that are in memory or on the server.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chunked::{Chunk, Index};

use super::fuse::Content;
use super::memory::{Budget, Meminfo};
use super::pace::Pace;
use super::ranges::{Purpose, Ranges, RangesError};

/// Decompressed chunks that are kept: the kernel asks for a chunk in several reads.
const DECOMPRESSED: usize = 32;

/// How long reads and the background wait for each other.
const PATIENCE: Patience = Patience { of_reads: Duration::from_secs(2), of_the_background: Duration::from_secs(5) };

/// Fetched chunks between two looks at the memory, besides those that time brings.
const LOOK: u64 = 16;

/// How long reads and the background wait for each other.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// How long a read waits for a chunk that the background is fetching before it asks for it itself. On a slow link it must not
    /// ask before the chunk has had time to come (64 KiB at 256 kbit/s), or it would be sent twice there.
    of_reads: Duration,
    /// How long the background waits, on a slow link, while reads wait for chunks. It is limited, as one chunk that never comes
    /// right must not keep the others from coming; and so long that the background takes little of a link that reads use up.
    of_the_background: Duration,
}

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
    patience: Patience,
    /// What all requests show of the link.
    pace: Mutex<Pace>,
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
    /// Chunks that are being fetched, and who fetches each: a read, or the background.
    fetching: HashMap<usize, Purpose>,
    /// Reads that wait for a chunk.
    waiting: usize,
    /// Whether the background waits for those reads.
    lets_reads_pass: bool,
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
            fetching: HashMap::new(),
            waiting: 0,
            lets_reads_pass: false,
            decompressed: VecDeque::with_capacity(DECOMPRESSED),
        };
        Self {
            index,
            order,
            ranges,
            memory,
            observer,
            patience: PATIENCE,
            pace: Mutex::new(Pace::new()),
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

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
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
        if let Some(frame) = kept.frame(number) {
            return Ok(frame);
        }
        kept.waiting += 1;
        drop(kept);
        let frame = self.fetch_needed(number);
        self.kept().waiting -= 1;
        // The background may have waited for this.
        self.came.notify_all();
        frame
    }

    /// The same for a read that counts as waiting.
    fn fetch_needed(&self, number: usize) -> io::Result<Arc<[u8]>> {
        let chunk = self.index.chunks().get(number).copied();
        let chunk = chunk.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        loop {
            if let Some(frame) = self.wait_for_others(number) {
                return Ok(frame);
            }
            let frames = self.get(&[(number, chunk)], Purpose::Needed);
            self.kept().fetching.remove(&number);
            if let Some(frame) = frames.and_then(|mut frames| frames.pop()) {
                return Ok(frame);
            }
            // The background has brought it meanwhile.
        }
    }

    /// Waits for a chunk that another thread is fetching. `None` if none is, or if the background takes too long: then the chunk
    /// counts as being fetched by this read.
    fn wait_for_others(&self, number: usize) -> Option<Arc<[u8]>> {
        let mut kept = self.kept();
        let began = Instant::now();
        loop {
            if let Some(frame) = kept.frame(number) {
                return Some(frame);
            }
            kept = match kept.fetching.get(&number) {
                None => break,
                Some(Purpose::Needed) => self.came.wait(kept).unwrap_or_else(PoisonError::into_inner),
                // The background's request may be long, or may never be answered.
                Some(Purpose::Prefetch) => match self.patience.of_reads.checked_sub(began.elapsed()) {
                    None => break,
                    Some(rest) => self.came.wait_timeout(kept, rest).unwrap_or_else(PoisonError::into_inner).0,
                },
            };
        }
        kept.fetching.insert(number, Purpose::Needed);
        None
    }

    /// Waits for so long, or until a chunk has come. Returns whether it has.
    fn pause(&self, number: usize, pause: Duration) -> bool {
        let is_missing = |kept: &mut Kept| kept.frame(number).is_none();
        let waited = self.came.wait_timeout_while(self.kept(), pause, is_missing);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Gets the frames of neighbouring chunks in one request. They are kept. For a read it is repeated until the right ones have
    /// come. `None` if they did not come to the background, or if others have brought what the read waits for.
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
            let frames = frames(bytes).ok_or_else(|| RangesError::Again("the answer is too short".into()))?;
            let mut numbered = chunks.iter().zip(&frames);
            numbered.try_for_each(|((number, _), frame)| {
                self.index.verify(*number, frame).map_err(|error| RangesError::Again(error.to_string()))
            })
        };
        let mut has_come = false;
        let again = |reason: &str, pause| {
            self.observer.waiting(reason, pause);
            has_come = purpose == Purpose::Needed && chunks.iter().all(|(number, _)| self.pause(*number, pause));
            purpose == Purpose::Needed && !has_come
        };
        let answer = self.ranges.get((first.offset, length), purpose, accept, again);
        if answer.is_some() || has_come {
            self.observer.arrived();
        }
        let (bytes, time) = answer?;
        self.pace().took(length, time);
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
}

impl Kept {
    fn decompressed(&self, number: usize) -> Option<Arc<[u8]>> {
        self.decompressed.iter().find(|(kept, _)| *kept == number).map(|(_, bytes)| Arc::clone(bytes))
    }

    /// Whether a chunk is neither there nor being fetched.
    fn is_missing(&self, number: usize) -> bool {
        self.frames.get(number).is_some_and(Option::is_none) && !self.fetching.contains_key(&number)
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

mod background;
#[cfg(test)]
mod priority_tests;
#[cfg(test)]
mod server_tests;
#[cfg(test)]
mod tests;
