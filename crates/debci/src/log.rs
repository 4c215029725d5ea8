//! [`CappedLog`]: the first and the last part of a log.

use std::io::{self, Read};

/// Longest log in a result, in bytes before compression: the limit of debci's own worker.
pub(crate) const LONGEST_LOG: usize = 20 << 20;

/// How much of a cut log is its beginning: one part in so many.
const HEAD: usize = 20;

/// A log of which at most [`LONGEST_LOG`] bytes are kept.
#[derive(Debug, Default)]
pub(crate) struct CappedLog {
    head: Vec<u8>,
    /// What follows the head; its beginning is removed when there is too much.
    rest: Vec<u8>,
    total: u64,
}

impl CappedLog {
    /// Reads a log to its end.
    pub(crate) fn read(content: &mut dyn Read) -> io::Result<Self> {
        let mut log = Self::default();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match content.read(&mut buffer)? {
                0 => return Ok(log),
                length => log.push(buffer.get(..length).unwrap_or_default()),
            }
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let to_head = bytes.len().min((LONGEST_LOG / HEAD).saturating_sub(self.head.len()));
        let (first, others) = bytes.split_at(to_head);
        self.head.extend_from_slice(first);
        self.rest.extend_from_slice(others);
        // Not with every piece: it moves the kept part.
        if self.rest.len() > 2 * LONGEST_LOG {
            self.rest.drain(..self.rest.len() - LONGEST_LOG);
        }
    }

    /// The log as it is if it has at most `most` bytes, which is at most [`LONGEST_LOG`]; or else its beginning, a note
    /// and its end.
    pub(crate) fn text(&self, most: usize) -> Vec<u8> {
        let kept = [self.head.as_slice(), &self.rest].concat();
        if self.total <= most as u64 {
            return kept;
        }
        let head = kept.get(..most / HEAD).unwrap_or_default();
        let tail = kept.get(kept.len().saturating_sub(most - most / HEAD)..).unwrap_or_default();
        let left_out = self.total - (head.len() + tail.len()) as u64;
        let note = format!(
            "\n\nrocbed: the log is longer than {most} bytes; {left_out} bytes are left out here, and the end follows\n\n"
        );
        [head, note.as_bytes(), tail].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(length: usize) -> io::Result<CappedLog> {
        let bytes: Vec<u8> = (0..length).map(|number| b'a' + (number % 23) as u8).collect();
        CappedLog::read(&mut bytes.as_slice())
    }

    #[test]
    fn a_short_log_stays_as_it_is() -> io::Result<()> {
        for length in [0, 1, LONGEST_LOG / HEAD, LONGEST_LOG] {
            assert_eq!(log(length)?.text(LONGEST_LOG).len(), length);
        }
        Ok(())
    }

    #[test]
    fn a_long_log_keeps_its_beginning_and_its_end() -> io::Result<()> {
        for (length, most) in [(LONGEST_LOG + 1, LONGEST_LOG), (5 * LONGEST_LOG, LONGEST_LOG), (5000, 2000)] {
            let whole: Vec<u8> = (0..length).map(|number| b'a' + (number % 23) as u8).collect();
            let text = log(length)?.text(most);
            assert!(text.len() <= most + 200, "{length} {most}: {}", text.len());
            assert_eq!(text[..most / HEAD], whole[..most / HEAD]);
            assert_eq!(text[text.len() - most / 2..], whole[length - most / 2..]);
            let shown = String::from_utf8_lossy(&text).into_owned();
            let left_out = format!("{} bytes are left out", length - most);
            assert!(shown.contains(&left_out), "{left_out}");
        }
        Ok(())
    }
}
