//! A log file with a maximum size, so that it cannot fill the disk: of a longer log the first and the last part are
//! kept, as programs say most at their start and their end.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;

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
}

impl BoundedLog {
    /// Creates the log in an empty file, for at most `limit` bytes.
    pub(crate) fn new(file: File, limit: u64) -> Self {
        let end = LONGEST_END.min(limit / 4);
        let longest_end = usize::try_from(end).unwrap_or(usize::MAX);
        Self { file, room: limit - end, end: VecDeque::new(), longest_end, cut: 0 }
    }

    /// Appends bytes. A full disk is noticed when the bundle is written; the tests continue.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let fits = usize::try_from(self.room).unwrap_or(usize::MAX).min(bytes.len());
        let (first, rest) = bytes.split_at(fits);
        self.room = match self.file.write_all(first) {
            Ok(()) => self.room - fits as u64,
            Err(_) => 0,
        };
        let kept = rest.get(rest.len().saturating_sub(self.longest_end)..).unwrap_or_default();
        let over = (self.end.len() + kept.len()).saturating_sub(self.longest_end);
        self.end.drain(..over);
        self.end.extend(kept);
        self.cut += (rest.len() - kept.len() + over) as u64;
    }

    /// Writes the last part. Later bytes would follow it.
    pub(crate) fn finish(&mut self) {
        if self.cut > 0 {
            let said = format!("\n[the log is longer; {} bytes are left out here]\n", self.cut);
            // A full disk is noticed when the bundle is written; the same below.
            let _ = self.file.write_all(said.as_bytes());
            self.cut = 0;
        }
        let end = std::mem::take(&mut self.end);
        let (first, last) = end.as_slices();
        let _ = self.file.write_all(first).and_then(|()| self.file.write_all(last));
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
        log.finish();
        String::from_utf8(fs::read(&path).unwrap()).unwrap()
    }

    #[test]
    fn the_first_and_the_last_part_of_a_long_log_are_kept() {
        assert_eq!(written(16, &[b"0123456789ab", b"cdef"]), "0123456789abcdef");
        let cut = "0123456789ab\n[the log is longer; 5 bytes are left out here]\nhijk";
        assert_eq!(written(16, &[b"0123456789abcdefghijk"]), cut);
        assert_eq!(written(16, &[b"0123456789abcdefg", b"h", b"ijk"]), cut);
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
