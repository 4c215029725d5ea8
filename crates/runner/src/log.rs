//! Reads autopkgtest's log while it is written: which tests start and end, and when.
//!
//! autopkgtest's own lines look like `autopkgtest [12:34:56]: test NAME: [-----------------------`. Tests can print
//! such lines too, so they are used only for times and for which tests have started; outcomes come from the summary.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

/// Longest part of a line that is parsed, in bytes.
const LONGEST_LINE: usize = 4096;
/// Most tests that are recorded; no package has as many.
const MOST_TESTS: usize = 10_000;

/// How much later than a test's first file its start may be read: the log passes through pipes, and file systems have
/// coarse timestamps. Between two tests more time passes.
const LAG: Duration = Duration::from_millis(100);

/// Event in a line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The testbed is being prepared for a test.
    Preparing(String),
    /// A test's output follows.
    Begins(String),
    /// A test has ended.
    Ends(String),
    /// All tests have ended; the summary follows.
    Summary,
}

impl Line {
    /// Parses a line; `None` if it is none of these.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line.get(..LONGEST_LINE.min(line.len()))?).ok()?;
        let (_, text) = line.split_once("autopkgtest [")?;
        let (time, text) = text.split_once("]: ")?;
        if time.len() != 8 || !time.bytes().all(|byte| byte.is_ascii_digit() || byte == b':') {
            return None;
        }
        let text = text.trim_end();
        if text == "@@@@@@@@@@@@@@@@@@@@ summary" {
            return Some(Self::Summary);
        }
        let (name, what) = text.strip_prefix("test ")?.split_once(": ")?;
        if name.is_empty() || name.contains(|char: char| char.is_whitespace() || char.is_control()) {
            return None;
        }
        let name = name.to_owned();
        match what {
            "preparing testbed" => Some(Self::Preparing(name)),
            "[-----------------------" => Some(Self::Begins(name)),
            "-----------------------]" => Some(Self::Ends(name)),
            _ => None,
        }
    }
}

/// Times of a test.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Start of its output.
    pub began: Option<(Instant, SystemTime)>,
    /// Duration in seconds, once the test has ended.
    pub seconds: Option<f64>,
}

/// Reads the log in pieces and records the tests.
#[derive(Debug, Default)]
pub struct Reader {
    partial: Vec<u8>,
    /// Tests that have started, or were being prepared, in order.
    pub order: Vec<String>,
    /// Times of each test.
    pub times: BTreeMap<String, Times>,
}

impl Reader {
    /// Reads the next piece; returns the events of its complete lines.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LONGEST_LINE.saturating_sub(self.partial.len());
            self.partial.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.partial);
                if let Some(line) = Line::parse(&line) {
                    self.note(&line);
                    lines.push(line);
                }
            }
        }
        lines
    }

    fn note(&mut self, line: &Line) {
        let (Line::Preparing(name) | Line::Begins(name) | Line::Ends(name)) = line else { return };
        if !self.times.contains_key(name) {
            if self.order.len() >= MOST_TESTS {
                return;
            }
            self.order.push(name.clone());
        }
        let times = self.times.entry(name.clone()).or_insert(Times { began: None, seconds: None });
        match line {
            Line::Begins(_) => times.began = Some((Instant::now(), SystemTime::now())),
            Line::Ends(_) => times.seconds = times.began.map(|(began, _)| began.elapsed().as_secs_f64()),
            Line::Preparing(_) | Line::Summary => {}
        }
    }

    /// The test at a given time: the last one that had started by then.
    pub fn at(&self, time: SystemTime) -> Option<&str> {
        let time = time.checked_add(LAG).unwrap_or(time);
        let began = |name: &String| self.times.get(name).and_then(|times| times.began).map(|(_, time)| time);
        let earlier =
            self.order.iter().filter_map(|name| Some((began(name)?, name))).filter(|(began, _)| *began <= time);
        earlier.max_by_key(|(began, _)| *began).map(|(_, name)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_autopkgtests_own_are_read() {
        let table = [
            ("autopkgtest [23:57:08]: test gpu: preparing testbed\n", Some(Line::Preparing("gpu".into()))),
            ("autopkgtest [23:57:08]: test gpu: [-----------------------\n", Some(Line::Begins("gpu".into()))),
            ("  9s autopkgtest [23:57:09]: test gpu: -----------------------]\n", Some(Line::Ends("gpu".into()))),
            ("autopkgtest [23:57:09]: @@@@@@@@@@@@@@@@@@@@ summary\n", Some(Line::Summary)),
            ("autopkgtest [23:57:09]: test gpu:  - - - - - - - - - - results - - - - - - - - - -\n", None),
            ("autopkgtest [soon]: test gpu: preparing testbed\n", None),
            ("gpu                  PASS\n", None),
            ("autopkgtest [23:57:08]: test g\x1b[2J: preparing testbed\n", None),
            ("autopkgtest [", None),
        ];
        for (line, expected) in table {
            assert_eq!(Line::parse(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn tests_are_timed_and_found_by_time() {
        let mut reader = Reader::default();
        reader.push(b"autopkgtest [00:00:00]: test a: [-----------------------\nautopkgtest [00:00:0");
        let lines =
            reader.push(b"0]: test a: -----------------------]\nautopkgtest [00:00:00]: test b: preparing testbed\n");
        assert_eq!(lines, [Line::Ends("a".into()), Line::Preparing("b".into())]);
        assert_eq!(reader.order, ["a", "b"]);
        assert!(reader.times["a"].seconds.is_some() && reader.times["b"].began.is_none());
        assert_eq!(reader.at(SystemTime::now()), Some("a"));
        assert_eq!(reader.at(SystemTime::UNIX_EPOCH), None);
    }

    proptest! {
        #[test]
        fn however_it_is_cut_it_says_the_same(cut in 1_usize..80) {
            let text = b"x\nautopkgtest [00:00:00]: test a: [-----------------------\n\xff\nautopkgtest [00:00:01]: test a: -----------------------]\n";
            let mut reader = Reader::default();
            let lines: Vec<Line> = text.chunks(cut).flat_map(|chunk| reader.push(chunk)).collect();
            prop_assert_eq!(lines, [Line::Begins("a".into()), Line::Ends("a".into())]);
        }

        #[test]
        fn any_bytes_are_read(bytes: Vec<u8>) {
            Reader::default().push(&bytes);
        }
    }
}
