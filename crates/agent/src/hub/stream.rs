//! [`LogStream`]: streams the log of one job to the hub while the job runs, without ever blocking it.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use client::ClientError;
use protocol::api::ProblemCode;

use super::link::Link;
use crate::rate_limit::RateLimit;
use crate::timeouts::Timeouts;

/// The most that is buffered for a hub that is slow or away, in bytes; the rest is left out.
const MOST: usize = 4 << 20;

/// The most that is sent in one request, in bytes.
const PIECE: usize = 256 << 10;

/// How many bytes of a log go to the hub at once, and then in a second: a test that prints without end is not to take
/// the network from others.
const BURST: u32 = 4 << 20;
const PER_SECOND: u32 = 1 << 20;

/// Log data that is not sent yet.
#[derive(Debug, Default)]
struct Buffer {
    bytes: VecDeque<u8>,
    /// Offset in the hub's log at which these bytes begin.
    offset: u64,
    /// Number of bytes that were left out after these.
    lost: u64,
    closed: bool,
    /// Whether the hub wants no more, or sending was given up after the job's end.
    over: bool,
}

impl Buffer {
    fn push(&mut self, bytes: &[u8]) {
        // Once something was left out there has to be some room again, so that the log does not become full of holes.
        let room = if self.lost > 0 { MOST / 2 } else { MOST };
        if self.bytes.len().saturating_add(bytes.len()) > room {
            self.lost = self.lost.saturating_add(bytes.len() as u64);
            return;
        }
        self.mark();
        self.bytes.extend(bytes);
    }

    /// Adds a line to the log that says how much was left out.
    fn mark(&mut self) {
        if self.lost > 0 {
            let text = format!(
                "\n[rocbed: {} bytes are missing here: the hub was away, or the log was too fast for it; the bundle has them]\n",
                self.lost
            );
            self.bytes.extend(text.as_bytes());
            self.lost = 0;
        }
    }

    fn piece(&self) -> Vec<u8> {
        self.bytes.iter().take(PIECE).copied().collect()
    }

    /// Drops the bytes that have arrived: the hub's log ends at this offset.
    fn arrived(&mut self, there: u64) {
        if let Some(known) = there.checked_sub(self.offset) {
            let known = usize::try_from(known).unwrap_or(usize::MAX).min(self.bytes.len());
            self.bytes.drain(..known);
        } else {
            // The hub has lost what it had, and we do not have it any more.
            let text = format!("\n[rocbed: the hub lost {} bytes of the log here]\n", self.offset - there);
            for byte in text.bytes().rev() {
                self.bytes.push_front(byte);
            }
        }
        self.offset = there;
    }
}

/// The log of one job.
#[derive(Debug, Clone)]
pub(crate) struct LogStream {
    shared: Arc<(Mutex<Buffer>, Condvar)>,
}

impl LogStream {
    pub(crate) fn start(link: Arc<Link>, lease: String, timeouts: Timeouts) -> io::Result<Self> {
        let stream = Self { shared: Arc::default() };
        let theirs = stream.clone();
        thread::Builder::new().name("log".into()).spawn(move || {
            theirs.run(&timeouts, |offset, piece| link.brief(|client| client.append_log(&lease, offset, piece)));
        })?;
        Ok(stream)
    }

    pub(crate) fn push(&self, bytes: &[u8]) {
        self.with(|buffer| {
            if !buffer.over {
                buffer.push(bytes);
            }
        });
    }

    /// Ends the log. The rest is still sent, for a limited time.
    pub(crate) fn close(&self) {
        self.with(|buffer| {
            buffer.mark();
            buffer.closed = true;
        });
    }

    /// Whether everything was sent, or will not be sent.
    pub(crate) fn is_over(&self) -> bool {
        self.with(|buffer| buffer.over)
    }

    fn with<T>(&self, change: impl FnOnce(&mut Buffer) -> T) -> T {
        let mut buffer = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut buffer);
        self.shared.1.notify_all();
        result
    }

    fn run(&self, timeouts: &Timeouts, send: impl Fn(u64, &[u8]) -> Result<u64, ClientError>) {
        let (mut backoff, mut given_up) = (timeouts.backoff(), None);
        let mut rate = RateLimit::new(BURST, PER_SECOND);
        while let Some((offset, piece)) = self.next_piece(timeouts.gather) {
            let outcome = send(offset, &piece);
            let pause = self.with(|buffer| match outcome {
                Ok(there) => {
                    buffer.arrived(there);
                    backoff.reset();
                    // What is left at the job's end is no more than the buffer.
                    let wait = rate.spend(piece.len(), Instant::now());
                    (!buffer.closed && !wait.is_zero()).then_some(wait)
                }
                Err(ClientError::Refused(problem)) if problem.code == ProblemCode::WrongOffset => {
                    match problem.offset {
                        Some(there) => buffer.arrived(there),
                        None => buffer.over = true,
                    }
                    None
                }
                Err(error) if error.is_passing() => {
                    // After the job's end the hub has some time to come back.
                    if buffer.closed {
                        let end = *given_up.get_or_insert_with(|| Instant::now() + timeouts.farewell);
                        buffer.over = Instant::now() >= end;
                    }
                    Some(backoff.next_pause())
                }
                // The log has reached the hub's size limit, or the lease is over: the bundle has all of it.
                Err(_) => {
                    buffer.over = true;
                    None
                }
            });
            if let Some(pause) = pause {
                self.pause(pause);
            }
        }
    }

    /// Waits for something to send; `None` means the end.
    fn next_piece(&self, gather: Duration) -> Option<(u64, Vec<u8>)> {
        let wait = |buffer, time| self.shared.1.wait_timeout(buffer, time).unwrap_or_else(PoisonError::into_inner).0;
        let mut buffer = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        while buffer.bytes.is_empty() && !buffer.closed && !buffer.over {
            buffer = wait(buffer, Duration::from_secs(3600));
        }
        if buffer.bytes.len() < PIECE && !buffer.closed && !buffer.over {
            drop(buffer);
            self.pause(gather);
            buffer = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        }
        if buffer.over || buffer.bytes.is_empty() {
            buffer.over = true;
            buffer.bytes.clear();
            return None;
        }
        Some((buffer.offset, buffer.piece()))
    }

    /// Waits, but returns early when the log ends.
    fn pause(&self, time: Duration) {
        let end = Instant::now() + time;
        let mut buffer = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        let was_closed = buffer.closed;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || (buffer.closed && !was_closed) {
                return;
            }
            buffer = self.shared.1.wait_timeout(buffer, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::api::Problem;

    #[test]
    fn what_was_left_out_is_said() {
        let mut buffer = Buffer::default();
        buffer.push(&vec![b'a'; MOST]);
        buffer.push(b"lost");
        buffer.push(b"lost too");
        assert_eq!((buffer.bytes.len(), buffer.lost), (MOST, 12));
        buffer.arrived(MOST as u64);
        buffer.push(b"again");
        let text = String::from_utf8(buffer.piece()).unwrap_or_default();
        assert!(text.starts_with("\n[rocbed: 12 bytes are missing here") && text.ends_with("]\nagain"), "{text}");
    }

    #[test]
    fn memory_is_bounded() {
        let mut buffer = Buffer::default();
        for _ in 0..1000 {
            buffer.push(&vec![b'x'; 100_000]);
        }
        assert!(buffer.bytes.len() <= MOST);
    }

    /// A hub that keeps what it is sent, and answers badly now and then.
    fn sent(refusals: &[Problem], pieces: &[&str]) -> String {
        let kept = Mutex::new((Vec::new(), refusals.to_vec()));
        let stream = LogStream { shared: Arc::default() };
        for piece in pieces {
            stream.push(piece.as_bytes());
        }
        stream.close();
        stream.run(&Timeouts::of_tests(), |offset, piece| {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            let (log, refusals) = &mut *kept;
            if let Some(problem) = refusals.pop() {
                if problem.code == ProblemCode::WrongOffset {
                    log.clear();
                }
                return Err(ClientError::Refused(Box::new(problem)));
            }
            assert_eq!(offset, log.len() as u64);
            log.extend_from_slice(piece);
            Ok(log.len() as u64)
        });
        assert!(stream.is_over());
        let (log, _) = kept.into_inner().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8(log).unwrap_or_default()
    }

    #[test]
    fn a_log_goes_on_where_the_hub_is() {
        let full = Problem::new(ProblemCode::DiskFull, "");
        assert_eq!(sent(&[full.clone(), full], &["one ", "two"]), "one two");
        let mut buffer = Buffer { offset: 10, bytes: b"rest".to_vec().into(), ..Buffer::default() };
        buffer.arrived(12);
        assert_eq!(buffer.piece(), b"st");
        buffer.arrived(2);
        assert!(buffer.piece().starts_with(b"\n[rocbed: the hub lost 10 bytes"));
    }

    #[test]
    fn a_hub_that_takes_no_more_gets_no_more() {
        assert_eq!(sent(&[Problem::new(ProblemCode::TooLarge, "")], &["one"]), "");
    }
}
