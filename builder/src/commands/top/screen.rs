//! [`Terminal`]: a terminal without echo and line editing, on its alternate screen (ECMA-48, and xterm's private modes).

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Alternate screen on, cursor hidden; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// Size where the terminal does not say it.
const USUAL: (usize, usize) = (80, 24);

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Enter,
    Escape,
    Backspace,
    /// Ctrl-C, Ctrl-D, or the end of the terminal.
    Interrupt,
    /// One that means nothing here.
    Other,
}

/// The terminal that the program runs on. Dropped, it is as it was.
pub(super) struct Terminal {
    stdin: io::Stdin,
    stdout: io::Stdout,
    before: Termios,
    ended: Arc<AtomicBool>,
}

impl Terminal {
    /// Switches the terminal over. SIGTERM and SIGHUP end the command instead of the program.
    pub(super) fn open() -> Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&ended)).context("waiting for signals")?;
        }
        let stdin = io::stdin();
        let before = tcgetattr(&stdin).context("asking the terminal for its settings")?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw).context("setting up the terminal")?;
        let mut terminal = Self { stdin, stdout: io::stdout(), before, ended };
        terminal.write(ENTER)?;
        Ok(terminal)
    }

    /// Whether a signal has ended the command.
    pub(super) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Columns and rows, as they are now.
    pub(super) fn size(&self) -> (usize, usize) {
        let size = tcgetwinsize(&self.stdout).map(|size| (usize::from(size.ws_col), usize::from(size.ws_row)));
        size.ok().filter(|(columns, rows)| *columns > 0 && *rows > 0).unwrap_or(USUAL)
    }

    /// Draws lines from the top. They have to fit.
    pub(super) fn draw(&mut self, lines: &[String]) -> Result<()> {
        // Each line is cleared after its end, and what is below the last: nothing flickers.
        let mut text = "\x1b[H".to_owned();
        text.push_str(&lines.join("\x1b[K\r\n"));
        text.push_str("\x1b[K\x1b[J");
        self.write(&text)
    }

    fn write(&mut self, text: &str) -> Result<()> {
        let written = self.stdout.write_all(text.as_bytes()).and_then(|()| self.stdout.flush());
        written.context("writing to the terminal")
    }

    /// The next key within this time.
    pub(super) fn key(&mut self, within: Duration) -> Result<Option<Key>> {
        let mut waited = [PollFd::new(&self.stdin, PollFlags::IN)];
        let time = Timespec::try_from(within).context("waiting for a key")?;
        match poll(&mut waited, Some(&time)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(error).context("waiting for a key"),
        }
        // One read takes a whole sequence of an arrow or function key, and what was typed with it.
        let mut bytes = [0; 32];
        let length = rustix::io::read(&self.stdin, &mut bytes).or_else(|error| match error {
            rustix::io::Errno::INTR | rustix::io::Errno::AGAIN => Ok(usize::MAX),
            error => Err(error),
        });
        match length.context("reading a key")? {
            usize::MAX => Ok(None),
            length => Ok(Some(key(bytes.get(..length).unwrap_or_default()))),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Nothing more can be done if the terminal is gone.
        let _ = self.write(LEAVE);
        let _ = tcsetattr(&self.stdin, OptionalActions::Now, &self.before);
    }
}

/// The key that these bytes of a terminal are.
fn key(bytes: &[u8]) -> Key {
    match bytes {
        [] | [0x03 | 0x04, ..] => Key::Interrupt,
        [b'\r' | b'\n', ..] => Key::Enter,
        [0x7f | 0x08, ..] => Key::Backspace,
        [0x1b] => Key::Escape,
        [0x1b, ..] => Key::Other,
        bytes => {
            let char = std::str::from_utf8(bytes).ok().and_then(|text| text.chars().next());
            char.filter(|char| safetext::is_printable(*char)).map_or(Key::Other, Key::Char)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_keys() {
        for (bytes, expected) in [
            (&b"q"[..], Key::Char('q')),
            ("ü".as_bytes(), Key::Char('ü')),
            (b"\r", Key::Enter),
            (b"\x1b", Key::Escape),
            (b"\x1b[A", Key::Other),
            (b"\x7f", Key::Backspace),
            (b"\x03", Key::Interrupt),
            (b"", Key::Interrupt),
            (b"\xff", Key::Other),
        ] {
            assert_eq!(key(bytes), expected, "{bytes:?}");
        }
    }
}
