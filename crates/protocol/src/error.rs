//! Errors of parsing words, time spans and documents.

use advice::{Advise, Help};

use crate::VERSION;

/// A word that is not one of the valid ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}; there are {}", .known.join(", "))]
pub struct UnknownWord {
    /// The unknown word.
    pub text: String,
    /// What it should be, with its article: `a verdict`.
    pub what: &'static str,
    /// All valid words.
    pub known: Vec<&'static str>,
}

impl UnknownWord {
    /// Finds the value with this name.
    pub(crate) fn find<T: Copy, const N: usize>(
        text: &str,
        what: &'static str,
        all: [T; N],
        name: impl Fn(T) -> &'static str,
    ) -> Result<T, Self> {
        let found = all.into_iter().find(|value| name(*value) == text);
        found.ok_or_else(|| Self { text: text.to_owned(), what, known: all.map(name).to_vec() })
    }
}

/// Text that is not a time span. Command lines and readers of TOML and JSON keep nothing of it but its message, so that
/// says how time spans are written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// The syntax is wrong.
    #[error("`{0}` is not a time span: these are `2h`, `90m`, `1h30m`, or a number of seconds")]
    Malformed(String),
    /// The time span is zero.
    #[error("`{0}` is not a time span: it is zero")]
    Zero(String),
    /// It is longer than a month, which no test runs.
    #[error("`{0}` is more than a month")]
    TooLong(String),
}

/// A `result.json` that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ResultError {
    /// A field is missing or wrong; the message has its path.
    #[error("{0}")]
    Field(#[source] serde_path_to_error::Error<serde_json::Error>),
    /// Something follows the result.
    #[error("after the result: {0}")]
    End(#[source] serde_json::Error),
    /// It has a later version of the format.
    #[error("the result has version {0}, and this rocbed reads up to version {VERSION}")]
    TooNew(u32),
}

impl Advise for ResultError {
    fn help(&self) -> Help {
        match self {
            Self::TooNew(_) => "use a later rocbed".into(),
            Self::Field(_) | Self::End(_) => Help::none(),
        }
    }
}
