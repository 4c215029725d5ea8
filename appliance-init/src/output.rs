//! [`Output`]: a terminal that PID 1 can write to without ever blocking.
//!
//! A terminal takes nothing while it is stopped: Scroll Lock or Ctrl-S do that to a display, and a single byte of
//! noise to an unconnected serial line. A program that writes to it then blocks, and PID 1 must not.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Timeout for a terminal that takes nothing. A slow serial line empties its buffer of 4 KiB in 0.4 s at 115,200
/// baud.
const PATIENCE: Duration = Duration::from_secs(2);

/// A console or a display.
#[derive(Debug)]
pub struct Output {
    file: File,
    /// Whether it took nothing the last time: then it is not waited for until it does again.
    stopped: bool,
}

impl Output {
    /// Opens a terminal without making it this process's controlling terminal.
    ///
    /// # Errors
    /// If it does not exist or cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = libc::O_NOCTTY | libc::O_NONBLOCK;
        let file = OpenOptions::new().write(true).custom_flags(flags).open(path)?;
        Ok(Self { file, stopped: false })
    }

    /// Writes all bytes, or as many as the terminal takes. The rest is lost.
    pub fn write(&mut self, mut bytes: &[u8]) {
        let mut since = Instant::now();
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return,
                Ok(count) => {
                    bytes = bytes.get(count..).unwrap_or_default();
                    (self.stopped, since) = (false, Instant::now());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && !self.stopped => {
                    let left = PATIENCE.saturating_sub(since.elapsed());
                    self.stopped = left.is_zero() || !self.has_room_within(left);
                }
                Err(_) => return,
            }
        }
    }

    /// Columns and rows, if the terminal knows them.
    pub fn size(&self) -> Option<(usize, usize)> {
        let size = rustix::termios::tcgetwinsize(&self.file).ok()?;
        (size.ws_col > 0 && size.ws_row > 0).then(|| (size.ws_col.into(), size.ws_row.into()))
    }

    fn has_room_within(&self, time: Duration) -> bool {
        let Ok(time) = Timespec::try_from(time) else { return false };
        let mut files = [PollFd::new(&self.file, PollFlags::OUT)];
        match poll(&mut files, Some(&time)) {
            Ok(count) => count > 0,
            // The caller tries again, with the time that is left.
            Err(error) => error == rustix::io::Errno::INTR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// A terminal without a reader: a named pipe that is read only on request.
    fn pipe() -> (tempfile::TempDir, File, Output) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let output = Output::open(&path).unwrap();
        (directory, reader, output)
    }

    /// Its present content.
    fn read_all(reader: &mut File) -> Vec<u8> {
        let (mut all, mut part) = (Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = reader.read(&mut part) {
            all.extend_from_slice(&part[..count]);
        }
        all
    }

    #[test]
    fn a_terminal_that_takes_nothing_holds_nobody_and_is_written_to_again_later() {
        let (_directory, mut reader, mut output) = pipe();
        let too_much = vec![b'x'; 1 << 17];
        output.write(&too_much);
        assert!(output.stopped);
        let since = Instant::now();
        for _ in 0..1000 {
            output.write(b"lost\n");
        }
        assert!(since.elapsed() < PATIENCE, "each line was waited for");
        read_all(&mut reader);
        output.write(b"seen\n");
        assert!(!output.stopped);
        assert!(read_all(&mut reader).ends_with(b"seen\n"));
    }

    #[test]
    fn a_slow_terminal_gets_everything() {
        let (_directory, mut reader, mut output) = pipe();
        let text = vec![b'y'; 300_000];
        std::thread::scope(|scope| {
            scope.spawn(|| output.write(&text));
            let mut seen = 0;
            while seen < text.len() {
                std::thread::sleep(Duration::from_millis(5));
                let mut part = [0; 10_000];
                seen += reader.read(&mut part).unwrap_or(0);
            }
        });
        assert!(!output.stopped);
    }
}
