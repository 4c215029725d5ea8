//! Errors that prevent a job from being run or its result from being stored.

use std::io;
use std::path::PathBuf;

use advice::{Advise, Help};
use protocol::JobResult;

/// Reason why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// autopkgtest is not installed.
    #[error("{0} is not installed")]
    NoAutopkgtest(PathBuf),
    /// The job requires something that the caller did not provide.
    #[error("{0}")]
    Job(String),
    /// The directory for the results has files in it.
    #[error("{} is not empty", .0.display())]
    NotEmpty(PathBuf),
    /// The source could not be fetched or read. This says nothing about the package.
    #[error("{what}: {reason}")]
    Source {
        /// The action and its object.
        what: String,
        /// The error.
        reason: String,
    },
    /// A step outside of the tests failed.
    #[error("{what}")]
    Step {
        /// The action and its object: `making /var/tmp/rocbed-job`.
        what: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The tests ran, but the bundle could not be written: the disk is full, or gone.
    #[error("writing the bundle {path}")]
    Bundle {
        /// Path of the bundle.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
        /// The result of the tests.
        result: Box<JobResult>,
    },
}

impl Advise for Error {
    fn help(&self) -> Help {
        match self {
            Self::NoAutopkgtest(_) => "apt install autopkgtest".into(),
            Self::NotEmpty(_) => "name a new directory for the results".into(),
            Self::Bundle { .. } => ["make room there, or put the bundle elsewhere", "limit the artifacts more"].into(),
            Self::Job(_) | Self::Source { .. } | Self::Step { .. } => Help::none(),
        }
    }
}

impl Error {
    /// Adds the name of the step to an I/O error.
    pub(crate) fn step<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |source| Self::Step { what, source: source.into() }
    }

    pub(crate) fn source(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Source { what: what.into(), reason: reason.into() }
    }
}
