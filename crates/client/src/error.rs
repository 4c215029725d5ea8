//! [`ClientError`]: why a call has no answer.

use std::io;
use std::path::PathBuf;

use protocol::api::{Problem, ProblemCode};

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is none.
    #[error("`{0}` is no hub's address: it looks like http://hub.example:8420 or https://hub.example")]
    Address(String),
    /// The hub could not be reached, or did not answer.
    #[error("no answer from {url}: {reason}; tried {attempts} times")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What happened the last time.
        reason: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The hub's certificate is not accepted.
    #[error("the certificate of {url} is not accepted: {reason}; {advice}")]
    Certificate {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        reason: String,
        /// What to do about it.
        advice: String,
    },
    /// The hub refuses.
    #[error("the hub refuses: {0}")]
    Refused(Box<Problem>),
    /// Something else answers there.
    #[error("{url} does not answer as a hub does: {reason}; check the address")]
    NotAHub {
        /// What was asked for.
        url: String,
        /// What came.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("cannot use {path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// What is downloaded cannot be written where it goes.
    #[error("cannot write what was downloaded: {0}")]
    Write(io::Error),
    /// A file has changed while it was uploaded.
    #[error("{0} changed while it was uploaded")]
    Changed(PathBuf),
    /// No random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
}

impl ClientError {
    /// The kind of problem, if the hub refused.
    pub fn code(&self) -> Option<ProblemCode> {
        match self {
            Self::Refused(problem) => Some(problem.code),
            _ => None,
        }
    }

    /// Whether the same call may succeed later: the hub was not there, or has no room now.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(problem) => {
                problem.status >= 500
                    || problem.status == 429
                    || matches!(problem.code, ProblemCode::Busy | ProblemCode::TooSlow)
            }
            _ => false,
        }
    }

    /// Whether a result need not be kept for this hub: it has one, or wants none.
    pub fn is_unwanted(&self) -> bool {
        matches!(
            self.code(),
            Some(
                ProblemCode::AlreadyCompleted
                    | ProblemCode::JobCancelled
                    | ProblemCode::LeaseUnknown
                    | ProblemCode::LeaseOver
            )
        )
    }
}
