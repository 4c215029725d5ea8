//! [`AtPath`]: errors about files and directories that the user named.

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::{Help, WithHelp as _};

impl Help {
    /// What to do about a path that the user named and that cannot be read; nothing if another one would not help.
    pub fn of_path(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => "give a path that exists".into(),
            ErrorKind::PermissionDenied => "give one that this user may read, or run the command as one who may".into(),
            ErrorKind::IsADirectory => "give the path of a file: this is a directory".into(),
            _ => Self::none(),
        }
    }
}

/// Names a path of the user's in an error, and says what to do about it.
pub trait AtPath<T> {
    /// The error `reading x: No such file or directory`, with help if something is wrong with the path.
    fn at_path(self, doing: &str, path: &Path) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> AtPath<T> for Result<T, E> {
    fn at_path(self, doing: &str, path: &Path) -> anyhow::Result<T> {
        self.map_err(|error| {
            let error: anyhow::Error = error.into();
            let help = error.chain().find_map(|cause| cause.downcast_ref()).map(Help::of_path).unwrap_or_default();
            error.context(format!("{doing} {}", path.display())).help(help)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Report;

    #[test]
    fn what_is_not_there_is_named_with_help() {
        let path = Path::new("/nowhere/jobs.toml");
        let error = std::fs::read(path).at_path("reading the job list", path).unwrap_err();
        let told = Report::of(error.as_ref(), |_| None).to_string();
        assert!(told.starts_with("reading the job list /nowhere/jobs.toml\n  caused by: No such file"), "{told}");
        assert!(told.contains("\n  help: give a path that exists"), "{told}");
    }

    #[test]
    fn help_fits_the_cause() {
        let told = |kind: ErrorKind| Help::of_path(&kind.into()).to_string();
        assert!(told(ErrorKind::PermissionDenied).contains("may read"));
        assert!(told(ErrorKind::IsADirectory).contains("a directory"));
        assert_eq!(told(ErrorKind::StorageFull), "");
        let whole: anyhow::Result<()> = Err(io::Error::from(ErrorKind::InvalidData)).at_path("reading", Path::new("x"));
        assert_eq!(Report::of(whole.unwrap_err().as_ref(), |_| None).help, Help::none());
    }
}
