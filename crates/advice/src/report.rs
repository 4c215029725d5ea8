//! [`Report`]: an error as it is shown.

use std::error::Error;
use std::fmt;

use crate::{Advice, Help, Helped, help_of};

/// An error taken apart: its message, its causes, and all help of both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What failed.
    pub message: String,
    /// Why: from the nearest cause to the first one.
    pub causes: Vec<String>,
    /// What to do next.
    pub help: Help,
}

impl Report {
    /// Takes an error apart. `known` finds the help of the error types that the program knows, each with
    /// [`help_of`]; the help of [`Advice`] and [`WithHelp`](crate::WithHelp) is found without it.
    pub fn of(error: &(dyn Error + 'static), known: impl Fn(&(dyn Error + 'static)) -> Option<Help>) -> Self {
        let (mut messages, mut help) = (Vec::<String>::new(), Help::none());
        let mut next = Some(error);
        while let Some(link) = next {
            let text = link.to_string();
            // Some libraries' errors repeat their source.
            if !messages.last().is_some_and(|last| last.ends_with(&text)) {
                messages.push(text);
            }
            let mut inner = link;
            while let Some(helped) = inner.downcast_ref::<Helped>() {
                help.extend(helped.help.clone());
                inner = helped.error.as_ref();
            }
            help.extend(help_of::<Advice>(inner).or_else(|| known(inner)).unwrap_or_default());
            next = link.source();
        }
        let mut messages = messages.into_iter();
        Self { message: messages.next().unwrap_or_default(), causes: messages.collect(), help }
    }
}

impl From<Advice> for Report {
    fn from(advice: Advice) -> Self {
        Self { message: advice.what, causes: Vec::new(), help: advice.help }
    }
}

/// The message, then a line for each cause and for each piece of help.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for cause in &self.causes {
            write!(f, "\n  caused by: {cause}")?;
        }
        for help in self.help.iter() {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context as _;

    use super::*;
    use crate::{Advise, WithHelp};

    #[derive(Debug, thiserror::Error)]
    #[error("writing at byte {at}: {source}")]
    struct WriteError {
        at: u64,
        source: io::Error,
    }

    impl Advise for WriteError {
        fn help(&self) -> Help {
            "try another stick".into()
        }
    }

    fn failed() -> anyhow::Result<()> {
        Err(WriteError { at: 5, source: io::Error::from(io::ErrorKind::WriteZero) }).context("writing the image")
    }

    fn text(error: &anyhow::Error) -> String {
        Report::of(error.as_ref(), help_of::<WriteError>).to_string()
    }

    #[test]
    fn message_causes_and_help_of_all_come_once_each() {
        let expected = "writing the image\n  caused by: writing at byte 5: write zero\n  help: try another stick";
        assert_eq!(text(&failed().unwrap_err()), expected);
        let error = failed().help("or --file").context("flashing").help("or --yes").help("try another stick");
        assert_eq!(
            text(&error.unwrap_err()),
            "flashing\n  caused by: writing the image\n  caused by: writing at byte 5: write zero\
             \n  help: try another stick\n  help: or --yes\n  help: or --file"
        );
    }

    #[test]
    fn help_may_stand_for_the_library_error_itself() {
        let error = anyhow::Error::new(WriteError { at: 0, source: io::ErrorKind::WriteZero.into() }).help("use sudo");
        assert_eq!(text(&error), "writing at byte 0: write zero\n  help: use sudo\n  help: try another stick");
        let error = anyhow::Error::new(Advice::new("no hub", "start one")).context("adding");
        assert_eq!(text(&error), "adding\n  caused by: no hub\n  help: start one");
    }
}
