//! [`Advice`]: a message with its help.

use std::error::Error;
use std::fmt;

use crate::{Advise, Help};

/// What went wrong and what to do about it. Without a cause: one that matters is part of the message.
///
/// Given to `anyhow` it is an error of its own (`bail!`, `ensure!`), never a context: of a context, anyhow keeps only
/// the message. [`WithHelp`](crate::WithHelp) adds help to a context.
#[derive(Debug, Clone, PartialEq, Eq)]
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
