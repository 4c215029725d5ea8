//! A log file with a maximum size, so that it cannot fill the disk: of a longer log the first and the last part are
//! kept, as programs say most at their start and their end.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};

/// Longest last part, in bytes, or a quarter of the limit if that is less. It is held in memory until the end.
const LONGEST_END: u64 = 8 << 20;

/// A log file of limited size.
#[derive(Debug)]
pub(crate) struct BoundedLog {
    file: File,
    /// Bytes that may still be written to the file.
    room: u64,
    end: VecDeque<u8>,
    longest_end: usize,
    cut: u64,
    /// The first error of writing to the file.
    failed: Option<io::Error>,
}

impl BoundedLog {
    /// Creates the log in an empty file, for at most `limit` bytes.
    pub(crate) fn new(file: File, limit: u64) -> Self {
        let end = LONGEST_END.min(limit / 4);
        let longest_end = usize::try_from(end).unwrap_or(usize::MAX);
        Self { file, room: limit - end, end: VecDeque::new(), longest_end, cut: 0, failed: None }
    }

    /// Appends bytes. If they cannot be written, the tests continue, and [`Self::finish`] has the error.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let fits = usize::try_from(self.room).unwrap_or(usize::MAX).min(bytes.len());
        let (first, rest) = bytes.split_at(fits);
        match self.file.write_all(first) {
            Ok(()) => self.room -= fits as u64,
            Err(error) => {
                self.room = 0;
                self.failed.get_or_insert(error);
            }
        }
        let kept = rest.get(rest.len().saturating_sub(self.longest_end)..).unwrap_or_default();
        let over = (self.end.len() + kept.len()).saturating_sub(self.longest_end);
        self.end.drain(..over);
        self.end.extend(kept);
        self.cut += (rest.len() - kept.len() + over) as u64;
    }

    /// Writes the last part. Later bytes would follow it.
    ///
    /// # Errors
    /// If a part of the log could not be written, now or before.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let (end, cut) = (std::mem::take(&mut self.end), std::mem::take(&mut self.cut));
        let said = match cut {
            0 => String::new(),
            _ => format!("\n[the log is longer; {cut} bytes are left out here]\n"),
        };
        let (first, last) = end.as_slices();
        let written = [said.as_bytes(), first, last].into_iter().try_for_each(|part| self.file.write_all(part));
        self.failed.take().map_or(written, Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    fn written(limit: u64, pieces: &[&[u8]]) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = BoundedLog::new(File::create(&path).unwrap(), limit);
        for piece in pieces {
            log.write(piece);
        }
        log.finish().unwrap();
        String::from_utf8(fs::read(&path).unwrap()).unwrap()
    }

    #[test]
    fn the_first_and_the_last_part_of_a_long_log_are_kept() {
        assert_eq!(written(16, &[b"0123456789ab", b"cdef"]), "0123456789abcdef");
        let cut = "0123456789ab\n[the log is longer; 5 bytes are left out here]\nhijk";
        assert_eq!(written(16, &[b"0123456789abcdefghijk"]), cut);
        assert_eq!(written(16, &[b"0123456789abcdefg", b"h", b"ijk"]), cut);
    }

    #[test]
    fn a_log_that_could_not_be_written_is_told_at_the_end() {
        let full_disk = || File::options().write(true).open("/dev/full").unwrap();
        let mut log = BoundedLog::new(full_disk(), 16);
        log.write(b"0123");
        assert!(log.finish().is_err());
        let mut log = BoundedLog::new(full_disk(), 0);
        assert!(log.finish().is_ok(), "nothing was to be written");
        log.write(b"0123");
        assert!(log.finish().is_err());
    }

    proptest! {
        #[test]
        fn however_it_comes_it_is_the_same(text in "[a-z]{0,60}", limit in 0_u64..40, piece in 1_usize..9) {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(piece).collect();
            let log = written(limit, &pieces);
            prop_assert_eq!(&log, &written(limit, &[text.as_bytes()]));
            if text.len() as u64 <= limit {
                prop_assert_eq!(log, text);
            } else {
                let kept = log.split("\n[the log is longer; ").map(|part| part.rsplit("here]\n").next().unwrap().len());
                prop_assert_eq!(kept.sum::<usize>() as u64, limit);
            }
        }
    }
}
