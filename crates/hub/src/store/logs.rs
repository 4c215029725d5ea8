//! [`Logs`]: storage of the output of running tests, one file for each attempt.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a log searched at a time.
const SEARCHED: usize = 1 << 20;

/// How far back the start of a line is searched, in bytes.
const LINE: usize = 64 << 10;

/// The directory of logs.
#[derive(Debug, Clone)]
pub(crate) struct Logs {
    root: PathBuf,
    /// Locks, so that two pieces of the same log are not written at once.
    turns: Arc<[Mutex<()>]>,
    hasher: RandomState,
}

/// Reason why a piece of a log is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The piece begins after the end of the log, which has this many bytes.
    #[error("the log has {0} bytes")]
    Gap(u64),
    /// The log has reached its limit, in bytes.
    #[error("the log has {0} bytes already")]
    Full(u64),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Logs {
    pub(crate) fn new(root: PathBuf) -> Self {
        let turns = (0..64).map(|_| Mutex::new(())).collect();
        Self { root, turns, hasher: RandomState::new() }
    }

    /// Path of an attempt's log. Job numbers are spread over subdirectories.
    pub(crate) fn path(&self, job: i64, attempt: u32) -> PathBuf {
        self.root.join(format!("{:02x}", job & 0xff)).join(format!("{job}-{attempt}.log"))
    }

    /// Length of a log in bytes; 0 if there is none.
    pub(crate) fn length(&self, job: i64, attempt: u32) -> io::Result<u64> {
        match fs::metadata(self.path(job, attempt)) {
            Ok(about) => Ok(about.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Appends a piece that begins at `offset`; the part that overlaps the log is skipped. Returns the length of the
    /// log, at most `limit` bytes.
    pub(crate) fn append(
        &self,
        job: i64,
        attempt: u32,
        offset: u64,
        piece: &[u8],
        limit: u64,
    ) -> Result<u64, LogError> {
        let path = self.path(job, attempt);
        let turn = self.hasher.hash_one(&path) as usize % self.turns.len().max(1);
        let _guard = self.turns.get(turn).map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner));
        let length = self.length(job, attempt)?;
        let Some(known) = length.checked_sub(offset) else { return Err(LogError::Gap(length)) };
        let Some(new) = usize::try_from(known).ok().and_then(|known| piece.get(known..)).filter(|new| !new.is_empty())
        else {
            return Ok(length);
        };
        let after = length.saturating_add(new.len() as u64);
        if after > limit {
            return Err(LogError::Full(length));
        }
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        if let Err(error) = file.write_all(new) {
            // A full disk may have stored a part. It is what belongs there: if it stays, the next piece goes on after it.
            let _ = file.set_len(length);
            return Err(error.into());
        }
        Ok(after)
    }

    /// Start of the first line at or after `from` that contains the text. In lines longer than [`LINE`] it is the
    /// position of the text.
    pub(crate) fn find(&self, job: i64, attempt: u32, from: u64, text: &[u8]) -> io::Result<Option<u64>> {
        let finder = memchr::memmem::Finder::new(text);
        let overlap = text.len().saturating_sub(1);
        let (mut offset, mut window) = (from, Vec::new());
        loop {
            let piece = self.read(job, attempt, offset.saturating_add(window.len() as u64), SEARCHED)?;
            if piece.is_empty() {
                return Ok(None);
            }
            window.extend_from_slice(&piece);
            if let Some(at) = finder.find(&window) {
                let at = offset.saturating_add(at as u64);
                let start = at.saturating_sub(LINE as u64);
                let before = self.read(job, attempt, start, (at - start) as usize)?;
                let line = memchr::memrchr(b'\n', &before).map(|newline| start + newline as u64 + 1);
                return Ok(Some(line.unwrap_or(if start == 0 { 0 } else { at })));
            }
            // The text may span two pieces.
            let done = window.len().saturating_sub(overlap);
            window.drain(..done);
            offset = offset.saturating_add(done as u64);
        }
    }

    /// Reads up to `most` bytes from `offset` on; fewer at the end.
    pub(crate) fn read(&self, job: i64, attempt: u32, offset: u64, most: usize) -> io::Result<Vec<u8>> {
        let mut file = match File::open(self.path(job, attempt)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        // Nothing follows the end; this also avoids offsets too large for the kernel.
        if offset >= file.metadata()?.len() {
            return Ok(Vec::new());
        }
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(most as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_that_come_twice_or_overlap_are_there_once() -> Result<(), LogError> {
        let temp = tempfile::tempdir()?;
        let logs = Logs::new(temp.path().to_owned());
        for (offset, piece, length) in
            [(0, "one ", 4), (0, "one ", 4), (2, "e two ", 8), (8, "three", 13), (1, "n", 13)]
        {
            assert_eq!(logs.append(7, 1, offset, piece.as_bytes(), 100)?, length);
        }
        assert_eq!(logs.read(7, 1, 0, 100)?, b"one two three");
        assert_eq!(logs.read(7, 1, 8, 3)?, b"thr");
        assert!(matches!(logs.append(7, 1, 14, b"x", 100), Err(LogError::Gap(13))));
        assert!(matches!(logs.append(7, 1, 13, b"long", 15), Err(LogError::Full(13))));
        assert_eq!(logs.read(8, 1, 0, 100)?, b"");
        for beyond in [13, 14, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
            assert_eq!(logs.read(7, 1, beyond, 100)?, b"", "{beyond}");
            assert_eq!(logs.find(7, 1, beyond, b"t")?, None, "{beyond}");
        }
        Ok(())
    }

    #[test]
    fn lines_are_found_also_across_the_pieces_that_are_read() -> Result<(), LogError> {
        let temp = tempfile::tempdir()?;
        let logs = Logs::new(temp.path().to_owned());
        let mut log = vec![b'x'; SEARCHED - 12];
        log.extend(b"\nthe needle\nno\nanother needle\n");
        logs.append(7, 1, 0, &log, 1 << 30)?;
        let line = SEARCHED as u64 - 11;
        assert_eq!(logs.find(7, 1, 0, b"needle")?, Some(line));
        assert_eq!(logs.find(7, 1, line + 11, b"needle")?, Some(line + 14));
        assert_eq!(logs.find(7, 1, line + 30, b"needle")?, None);
        assert_eq!(logs.find(7, 1, 0, b"xxx")?, Some(0));
        assert_eq!(logs.find(7, 2, 0, b"needle")?, None);
        Ok(())
    }
}
