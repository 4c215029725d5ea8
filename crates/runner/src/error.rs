//! What can keep a job from being run or its result from being kept.

use std::io;
use std::path::PathBuf;

use protocol::JobResult;

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// autopkgtest is not installed.
    #[error("{0} is not installed: install it with `apt-get install autopkgtest`")]
    NoAutopkgtest(PathBuf),
    /// The job asks for something that cannot be done with what the caller gave.
    #[error("{0}")]
    Job(String),
    /// The source could not be got or read. Nothing is said about the package.
    #[error("{what}: {reason}")]
    Source {
        /// What was done, on what.
        what: String,
        /// What went wrong.
        reason: String,
    },
    /// A step that has nothing to do with the tests.
    #[error("{what}")]
    Step {
        /// What was done, on what: `making /var/tmp/rocbed-job`.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The tests ran, and the bundle could not be written: the disk is full, or gone.
    #[error("writing the bundle {path}; there is room for it elsewhere, or artifacts can be limited more")]
    Bundle {
        /// The bundle.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
        /// What is not lost.
        result: Box<JobResult>,
    },
}

impl Error {
    /// Names the step that an I/O error ended.
    pub(crate) fn step<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |source| Self::Step { what, source: source.into() }
    }

    pub(crate) fn source(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Source { what: what.into(), reason: reason.into() }
    }
}
