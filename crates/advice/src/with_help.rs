//! [`WithHelp`]: help for an `anyhow` error.

use std::error::Error;
use std::fmt;

use crate::Help;

/// Attaches help to an error, for the user of the program: `.context("opening x")` says what failed, `.help("...")`
/// after it what to do.
pub trait WithHelp {
    /// Itself, with help.
    type Output;

    /// Attaches help.
    fn help(self, help: impl Into<Help>) -> Self::Output;

    /// Attaches help that is made only if there is an error.
    fn with_help<H: Into<Help>>(self, help: impl FnOnce() -> H) -> Self::Output;
}

impl WithHelp for anyhow::Error {
    type Output = Self;

    fn help(self, help: impl Into<Help>) -> Self {
        let help = help.into();
        if help.is_empty() { self } else { Self::new(Helped { error: self, help }) }
    }

    fn with_help<H: Into<Help>>(self, help: impl FnOnce() -> H) -> Self {
        self.help(help())
    }
}

impl<T, E: Into<anyhow::Error>> WithHelp for Result<T, E> {
    type Output = anyhow::Result<T>;

    fn help(self, help: impl Into<Help>) -> anyhow::Result<T> {
        self.map_err(|error| error.into().help(help))
    }

    fn with_help<H: Into<Help>>(self, help: impl FnOnce() -> H) -> anyhow::Result<T> {
        self.map_err(|error| error.into().help(help()))
    }
}

/// An error with help attached. It has the message and the source of the error that it stands for.
#[derive(Debug)]
pub struct Helped {
    pub(crate) error: anyhow::Error,
    pub(crate) help: Help,
}

impl fmt::Display for Helped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for Helped {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// Finds the error or context of a type, as `anyhow::Error::downcast_ref` does, also below attached help.
pub fn find<E: fmt::Display + fmt::Debug + Send + Sync + 'static>(error: &anyhow::Error) -> Option<&E> {
    error.downcast_ref::<E>().or_else(|| find(&error.downcast_ref::<Helped>()?.error))
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context as _;

    use super::*;

    #[test]
    fn errors_are_found_below_help() {
        let failed = || Err::<(), _>(io::Error::from(io::ErrorKind::NotFound));
        let error =
            failed().context("opening x").help("name another").context("reading y").help("or none").unwrap_err();
        assert_eq!(find::<io::Error>(&error).map(io::Error::kind), Some(io::ErrorKind::NotFound));
        assert_eq!(find::<&str>(&error), Some(&"reading y"));
        assert!(find::<fmt::Error>(&error).is_none());
        assert_eq!(format!("{error:#}"), "reading y: opening x: entity not found");
    }
}
