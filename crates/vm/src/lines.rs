//! Splits the output of a serial console into lines of text.

/// A line longer than this is cut in two: a guest may never send a line feed.
const LONGEST: usize = 16 * 1024;

/// Splits a stream of bytes into lines, without carriage returns and terminal control sequences (ECMA-48 CSI), which
/// firmware sends in great number.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    line: Vec<u8>,
    state: State,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    Escape,
    Sequence,
}

impl Lines {
    /// Takes more bytes; calls `on_line` for each completed line.
    pub(crate) fn push(&mut self, bytes: &[u8], on_line: &mut dyn FnMut(&str)) {
        for &byte in bytes {
            self.state = match (self.state, byte) {
                (_, b'\n') => {
                    self.finish_line(on_line);
                    State::Text
                }
                (_, 0x1b) => State::Escape,
                (State::Escape, b'[') | (State::Sequence, 0x20..=0x3f) => State::Sequence,
                (State::Text, b'\t' | 0x20..=0x7e | 0x80..=0xff) => {
                    self.line.push(byte);
                    if self.line.len() >= LONGEST {
                        self.finish_line(on_line);
                    }
                    State::Text
                }
                // The end of a sequence, or a control character.
                (State::Text | State::Escape | State::Sequence, _) => State::Text,
            };
        }
    }

    /// Completes the last line, if any of it has come.
    pub(crate) fn end(&mut self, on_line: &mut dyn FnMut(&str)) {
        if !self.line.is_empty() {
            self.finish_line(on_line);
        }
    }

    fn finish_line(&mut self, on_line: &mut dyn FnMut(&str)) {
        on_line(&String::from_utf8_lossy(&self.line));
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(chunks: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        let mut keep = |line: &str| found.push(line.to_owned());
        for chunk in chunks {
            lines.push(chunk, &mut keep);
        }
        lines.end(&mut keep);
        found
    }

    #[test]
    fn lines_come_without_decoration() {
        assert_eq!(split(&[b"a\r\n\x1b[2J\x1b[01;01Hb", b"c\n\n\xc3", b"\xa4"]), ["a", "bc", "", "ä"]);
        assert_eq!(split(&[&vec![b'x'; LONGEST + 1]]).len(), 2);
        assert_eq!(split(&[b"bad \xff\x1b[31"]), ["bad \u{fffd}"]);
    }

    proptest! {
        #[test]
        fn how_the_bytes_arrive_does_not_matter(bytes: Vec<u8>, cut in 0_usize..100) {
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(split(&[first, second]), split(&[&bytes]));
        }
    }
}
