//! Fetches chunks before anything reads them: first those that earlier starts read, then all others.
//!
//! Reads go first: on a link that is slow, or not known, the background asks for nothing while a read waits (for five seconds at
//! most), and for little at once ([`super::Pace`]). On a fast one it goes on, so that it gets ahead of the reads.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use chunked::Chunk;
use transfer::Backoff;

use super::super::ranges::Purpose;
use super::{Observer, Store};

/// Chunks of the order of earlier starts that are looked at together: neighbours among them are fetched in one request.
const AHEAD: usize = 64;

/// For how long nothing must have been read before the background goes on with what earlier starts did not read.
const QUIET: Duration = Duration::from_millis(500);

impl<O: Observer> Store<O> {
    /// Fetches what has not been read yet, as long as all may be kept. Returns when it is done.
    pub(in crate::netroot::on_demand) fn fetch_rest(&self) {
        let mut backoff = self.ranges.backoff();
        loop {
            if self.pace().is_slow() {
                self.let_reads_pass();
            }
            if !self.keep_all.load(Ordering::Relaxed) {
                return;
            }
            let most = self.pace().bytes();
            let ahead = self.next_ahead(most);
            if !ahead.is_empty() {
                self.get_ahead(&ahead, &mut backoff);
                continue;
            }
            let since = self.last_read.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
            if let Some(wait) = QUIET.checked_sub(since) {
                thread::sleep(wait);
                continue;
            }
            let missing = self.next_missing(most);
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

    /// Waits until no read waits for a chunk, or until `Patience::of_the_background` is over: one read may wait for ever, for a
    /// chunk that never comes right.
    fn let_reads_pass(&self) {
        let mut kept = self.kept();
        kept.lets_reads_pass = true;
        let passed = self.came.wait_timeout_while(kept, self.patience.of_the_background, |kept| kept.waiting > 0);
        passed.unwrap_or_else(PoisonError::into_inner).0.lets_reads_pass = false;
    }

    /// Fetches chunks that are marked as being fetched. If that fails, a read of one of them asks for that chunk alone: only
    /// another one of the group may be wrong on the server.
    fn get_ahead(&self, chunks: &[(usize, Chunk)], backoff: &mut Backoff) {
        let have_come = self.get(chunks, Purpose::Prefetch).is_some();
        if !have_come {
            self.pace().failed();
        }
        let mut kept = self.kept();
        for (number, _) in chunks {
            // A read that has asked for it meanwhile goes on.
            if kept.fetching.get(number) == Some(&Purpose::Prefetch) {
                kept.fetching.remove(number);
            }
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

    /// The next chunk of the order of earlier starts that is missing and not being fetched, with its neighbours that come
    /// soon after it in the order: `most` bytes, or one chunk. Marks them as being fetched.
    fn next_ahead(&self, most: u64) -> Vec<(usize, Chunk)> {
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
            if bytes > most && !found.is_empty() {
                break;
            }
            found.push((number, chunk));
        }
        kept.fetching.extend(found.iter().map(|(number, _)| (*number, Purpose::Prefetch)));
        found
    }

    /// The next neighbouring chunks that are missing and not being fetched: `most` bytes, or one chunk. Marks them as being
    /// fetched.
    fn next_missing(&self, most: u64) -> Vec<(usize, Chunk)> {
        let mut kept = self.kept();
        let numbered = self.index.chunks().iter().copied().enumerate();
        let (mut found, mut bytes) = (Vec::new(), 0);
        for (number, chunk) in numbered.skip_while(|(number, _)| !kept.is_missing(*number)) {
            bytes += u64::from(chunk.length);
            if !kept.is_missing(number) || (bytes > most && !found.is_empty()) {
                break;
            }
            found.push((number, chunk));
        }
        kept.fetching.extend(found.iter().map(|(number, _)| (*number, Purpose::Prefetch)));
        found
    }
}
