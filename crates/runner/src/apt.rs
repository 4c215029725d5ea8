//! Errors of apt in a log, so that a problem with a machine's packages names its cause.

/// Start of the lines with which apt and dpkg report errors (apt-get(8)).
const MARK: &[u8] = b"E: ";
/// Longest part of a line that is kept, in bytes.
const LONGEST: usize = 400;
/// Number of lines kept: apt repeats itself, and the last ones are the errors that ended it.
const KEPT: usize = 3;

/// Searches for apt's errors in a log that arrives in pieces.
#[derive(Debug, Default)]
pub(crate) struct Errors {
    line: Vec<u8>,
    found: Vec<String>,
}

impl Errors {
    /// Takes the next piece of the log.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LONGEST.saturating_sub(self.line.len()).min(piece.len());
            self.line.extend_from_slice(piece.get(..room).unwrap_or_default());
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.take(&line);
            }
        }
    }

    fn take(&mut self, line: &[u8]) {
        let Some(text) = without_time(line).strip_prefix(MARK) else { return };
        let text = String::from_utf8_lossy(text);
        let text: String = text.trim().chars().filter(|char| !char.is_control()).collect();
        if text.is_empty() {
            return;
        }
        self.found.retain(|other| *other != text);
        self.found.push(text);
        if self.found.len() > KEPT {
            self.found.remove(0);
        }
    }

    /// The last errors, for users; `None` if there were none.
    pub(crate) fn said(&self) -> Option<String> {
        (!self.found.is_empty()).then(|| format!("apt said: {}", self.found.join("; ")))
    }
}

/// Removes the elapsed seconds that autopkgtest 6 writes before each line.
fn without_time(line: &[u8]) -> &[u8] {
    let text = line.trim_ascii_start();
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match text.get(digits..) {
        Some([b's', b' ', rest @ ..]) if digits > 0 => rest,
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_errors_are_kept_once() {
        let mut errors = Errors::default();
        let log = b"Err:1 http://x sid\nE: The repository 'http://x sid Release' is not signed.\nE: a\n 12s E: b\nE: a\nTest: E: c\nE: \n";
        for piece in log.chunks(7) {
            errors.push(piece);
        }
        let expected = "apt said: The repository 'http://x sid Release' is not signed.; b; a";
        assert_eq!(errors.said().as_deref(), Some(expected));
        assert_eq!(Errors::default().said(), None);
    }

    #[test]
    fn a_line_is_cut_and_cleaned() {
        let mut errors = Errors::default();
        errors.push(format!("E: \x1b[2J{}\n", "x".repeat(5000)).as_bytes());
        let said = errors.said().unwrap_or_default();
        assert!(said.len() < 500 && !said.contains('\x1b'), "{said}");
    }
}
