//! Errors of reading words, times and documents.

/// A word that is not one of the known ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}; there are {}", .known.join(", "))]
pub struct UnknownWord {
    /// The word.
    pub text: String,
    /// What it should be, with its article: `a verdict`.
    pub what: &'static str,
    /// All words that there are.
    pub known: Vec<&'static str>,
}

impl UnknownWord {
    /// Finds the value that is written so among all values.
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

/// Text that is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// It is not written as one.
    #[error("`{0}` is not a length of time; write `2h`, `90m`, `1h30m`, or a number of seconds")]
    Malformed(String),
    /// It is zero.
    #[error("`{0}` is no time")]
    Zero(String),
    /// It is longer than any test runs.
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
    /// It is of a later version.
    #[error("the result has version {0}: use a later rocbed to read it")]
    TooNew(u32),
}
