//! Checking bundles in turns: a bundle may unpack to much, and whoever has a small one does not wait for it.
//!
//! However many are checked at once, few read at a time: after [`SLICE`] whoever reads gives others their turn, in the order
//! in which they came. So a small bundle waits for a slice of each of the others, and not for their ends.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So long one reads before others have their turn.
const SLICE: Duration = Duration::from_millis(50);

/// So much of a compressed file is read at once, in bytes. What it unpacks to is some thousand times as much at most: a slice
/// ends soon after its time.
const PIECE: usize = 4 << 10;

/// Turns for those who read, in the order in which they ask.
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
    /// For so many who read at a time.
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

/// A reader that takes turns. What is made of what it reads counts too: its turn goes on until it reads again.
#[derive(Debug)]
pub(crate) struct InTurns<R> {
    inner: R,
    turns: Arc<Turns>,
    since: Instant,
    /// Time that its turns took, in microseconds.
    used: Arc<AtomicU64>,
}

impl<R> InTurns<R> {
    /// Waits for its first turn. Adds the time of its turns to `used`, in microseconds.
    pub(crate) fn new(inner: R, turns: Arc<Turns>, used: Arc<AtomicU64>) -> Self {
        turns.take();
        Self { inner, turns, since: Instant::now(), used }
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
        self.inner.read(buffer.get_mut(..length).unwrap_or_default())
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

    /// Takes its time for each piece, and says when it was read to the end.
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
        // It stands in the line before the long one goes on.
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
