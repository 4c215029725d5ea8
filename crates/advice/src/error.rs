//! [`Advice`]: a message with its help.

use std::error::Error;
use std::fmt;

use crate::{Advise, Help};

/// What went wrong and what to do about it. Without a cause: one that matters is part of the message.
///
/// Given to `anyhow` it is an error of its own (`bail!`, `ensure!`), never a context: of a context, anyhow keeps only
/// the message. [`WithHelp`](crate::WithHelp) adds help to a context.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Advice {
    /// What failed, on what.
    pub what: String,
    /// What to do next.
    pub help: Help,
}

impl Advice {
    /// A message with help.
    pub fn new(what: impl Into<String>, help: impl Into<Help>) -> Self {
        Self { what: what.into(), help: help.into() }
    }

    /// Message and help of an error.
    pub fn of(error: &impl Advise) -> Self {
        Self { what: error.to_string(), help: error.help() }
    }

    /// The same, with more help after what there is.
    #[must_use]
    pub fn and(mut self, help: impl Into<Help>) -> Self {
        self.help.extend(help.into());
        self
    }

    /// Message and help on one line, for places that have only one.
    pub fn in_one_line(&self) -> String {
        if self.help.is_empty() { self.what.clone() } else { format!("{}; {}", self.what, self.help) }
    }
}

/// The message, without the help.
impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Advice {}

impl Advise for Advice {
    fn help(&self) -> Help {
        self.help.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_has_message_and_help() {
        let error = Advice::new("no answer", Help::none());
        assert_eq!(error.in_one_line(), "no answer");
        assert_eq!(Advice::of(&error.and("try again")).and("wait").in_one_line(), "no answer; try again; wait");
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_reader_gets_what_a_writer_gave() -> Result<(), serde_json::Error> {
        let error = Advice::new("no answer", ["try again", "wait"]);
        let json = serde_json::to_string(&error)?;
        assert_eq!(json, r#"{"what":"no answer","help":["try again","wait"]}"#);
        assert_eq!(serde_json::from_str::<Advice>(&json)?, error);
        Ok(())
    }
}
