//! [`RunId`]: the number of a job at its debci server.

use std::fmt;
use std::str::FromStr;

/// The number that a debci server has given to a job. A result is stored under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is not a run id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a run id: it is a number")]
pub struct NotARunId(String);

impl FromStr for RunId {
    type Err = NotARunId;

    /// Accepts digits only: it becomes the name of a directory, and part of an address.
    fn from_str(text: &str) -> Result<Self, NotARunId> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        number.map(Self).ok_or_else(|| NotARunId(safetext::redacted(text).to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_are_a_run_id() {
        assert_eq!("12".parse(), Ok(RunId(12)));
        for text in ["", "+1", "-1", "1_000", "../2", "20261129_150000", "99999999999999999999"] {
            assert!(text.parse::<RunId>().is_err(), "{text}");
        }
    }
}
