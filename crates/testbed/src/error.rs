//! Why a testbed could not be made, used or taken away.

use std::io;
use std::path::PathBuf;

/// What failed, on what, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line is wrong.
    #[error("{0}; see --help")]
    Usage(String),
    /// A step outside the testbed failed.
    #[error("{step}: {source}")]
    Step {
        /// What was tried, as a gerund.
        step: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A step of the set-up inside the testbed's namespaces failed.
    #[error("making the testbed: {0}")]
    Inside(String),
    /// A root directory that no testbed can be made of.
    #[error("{} is not a root directory: {reason}", root.display())]
    Root {
        /// The directory.
        root: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// The user for tests is not in the root directory's passwd(5).
    #[error("there is no user {0} in the testbed's /etc/passwd; name one that is, or leave --user out")]
    NoUser(String),
    /// The user has no subordinate ids.
    #[error(
        "{user} has no 65535 subordinate ids in {file}; as root, run: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
    )]
    NoSubordinateIds {
        /// The user's name.
        user: String,
        /// `/etc/subuid` or `/etc/subgid`.
        file: &'static str,
    },
    /// Ids could not be mapped.
    #[error("mapping subordinate ids: {0}")]
    Mapping(String),
    /// What was waited for did not happen.
    #[error("{what} took more than {seconds} s")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long, in seconds.
        seconds: u64,
    },
    /// Processes that SIGKILL did not end.
    #[error(
        "the testbed cannot be closed: SIGKILL did not end {0}; the kernel holds them, as a driver that hangs does; restart the machine"
    )]
    Stuck(String),
    /// A signal asked for the end.
    #[error("ended by signal {0}")]
    Signal(i32),
    /// A copy failed; the part that failed has said why.
    #[error("copying failed")]
    Copy,
}

impl Error {
    /// Makes an error of a step from the system's answer.
    pub(crate) fn step<E: Into<io::Error>>(step: impl Into<String>) -> impl FnOnce(E) -> Self {
        move |source| Self::Step { step: step.into(), source: source.into() }
    }
}
