//! Fair scheduling of bundle checks, so that a small bundle does not wait for large ones to be finished.
//!
//! Any number of checks may be open, but only a few read at a time: after [`SLICE`] a check lets the others have a
//! turn, in order of arrival. A small bundle waits for one slice of each other check, not for their ends.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time for which one check reads before the others get a turn.
const SLICE: Duration = Duration::from_millis(50);

/// Bytes of the compressed file read at once. They unpack to about a thousand times as much at most, so a slice ends
/// soon after its time.
const PIECE: usize = 4 << 10;

/// Turns for checks, given in the order in which they are asked for.
#[derive(Debug)]
pub(crate) struct Turns {
    line: Mutex<Line>,
    changed: Condvar,
}

#[derive(Debug)]
struct Line {
    free: usize,
    last: u64,
    waiting: VecDeque<u64>,
}

impl Turns {
    /// Creates turns for `count` simultaneous readers.
    pub(crate) fn new(count: usize) -> Self {
        Self {
            line: Mutex::new(Line { free: count.max(1), last: 0, waiting: VecDeque::new() }),
            changed: Condvar::new(),
        }
    }

    fn take(&self) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.last = line.last.wrapping_add(1);
        let mine = line.last;
        line.waiting.push_back(mine);
        while line.free == 0 || line.waiting.front() != Some(&mine) {
            line = self.changed.wait(line).unwrap_or_else(PoisonError::into_inner);
        }
        line.waiting.pop_front();
        line.free = line.free.saturating_sub(1);
        if line.free > 0 {
            self.changed.notify_all();
        }
    }

    fn give(&self) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.free = line.free.saturating_add(1);
        self.changed.notify_all();
    }
}

/// A reader that takes turns. A turn lasts until the next read, so it includes the processing of what was read.
#[derive(Debug)]
pub(crate) struct InTurns<R> {
    inner: R,
    turns: Arc<Turns>,
    since: Instant,
    /// Total time of its turns, in microseconds.
    used: Arc<AtomicU64>,
    /// Whether reading failed: then nothing is said about what was to be read.
    failed: Arc<AtomicBool>,
}

impl<R> InTurns<R> {
    /// Waits for the first turn. Adds the time of its turns to `used`, in microseconds.
    pub(crate) fn new(inner: R, turns: Arc<Turns>, used: Arc<AtomicU64>) -> Self {
        turns.take();
        Self { inner, turns, since: Instant::now(), used, failed: Arc::default() }
    }

    /// Becomes true if reading fails.
    pub(crate) fn failed(&self) -> Arc<AtomicBool> {
        self.failed.clone()
    }

    fn count(&self) {
        let micros = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.used.fetch_add(micros, Ordering::Relaxed);
    }
}

impl<R: Read> Read for InTurns<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.since.elapsed() >= SLICE {
            self.count();
            self.turns.give();
            self.turns.take();
            self.since = Instant::now();
        }
        let length = buffer.len().min(PIECE);
        let read = self.inner.read(buffer.get_mut(..length).unwrap_or_default());
        if read.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted) {
            self.failed.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<R> Drop for InTurns<R> {
    fn drop(&mut self) {
        self.count();
        self.turns.give();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that is slow for each piece and records when it was read to the end.
    struct Slow(u32);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            assert!(buffer.len() <= PIECE);
            let Some(left) = self.0.checked_sub(1) else { return Ok(0) };
            self.0 = left;
            std::thread::sleep(SLICE);
            Ok(buffer.len())
        }
    }

    #[test]
    fn who_has_little_does_not_wait_for_who_has_much() -> io::Result<()> {
        let turns = Arc::new(Turns::new(1));
        let (used, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
        let mut long = InTurns::new(Slow(20), turns.clone(), used.clone());
        let short = std::thread::spawn({
            let (turns, ended) = (turns.clone(), ended.clone());
            move || -> io::Result<()> {
                let mut short = InTurns::new(Slow(2), turns, Arc::default());
                io::copy(&mut short, &mut io::sink())?;
                ended.lock().unwrap_or_else(PoisonError::into_inner).push("short");
                Ok(())
            }
        });
        // The small check queues before the long one continues.
        while turns.line.lock().unwrap_or_else(PoisonError::into_inner).waiting.is_empty() {
            std::thread::yield_now();
        }
        io::copy(&mut long, &mut io::sink())?;
        ended.lock().unwrap_or_else(PoisonError::into_inner).push("long");
        drop(long);
        short.join().map_err(|_| io::Error::other("it panicked"))??;
        assert_eq!(*ended.lock().unwrap_or_else(PoisonError::into_inner), ["short", "long"]);
        assert!(used.load(Ordering::Relaxed) >= 20 * 50_000);
        assert_eq!(turns.line.lock().unwrap_or_else(PoisonError::into_inner).free, 1);
        Ok(())
    }
}
