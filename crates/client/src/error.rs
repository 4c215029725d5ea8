//! [`ClientError`]: reasons why a call fails.

use std::io;
use std::path::PathBuf;

use advice::{Advise, Help};
use protocol::api::{Problem, ProblemCode};
use transfer::tls::RootsError;

/// Reason why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The hub's address is not valid.
    #[error("`{0}` is not the address of a hub, which looks like http://hub.example:8420 or https://hub.example")]
    Address(String),
    /// The hub could not be reached, or did not answer.
    #[error("no answer from {url}: {reason}; tried {attempts} times")]
    Unreachable {
        /// The requested address.
        url: String,
        /// The error of the last attempt.
        reason: String,
        /// Number of attempts.
        attempts: u32,
    },
    /// The hub's certificate is refused.
    #[error("the certificate of {url} is not accepted: {reason}")]
    Certificate {
        /// The requested address.
        url: String,
        /// The fault of the certificate.
        reason: String,
        /// Help for the user.
        help: String,
    },
    /// The hub refused the request.
    #[error("the hub refuses: {0}")]
    Refused(Box<Problem>),
    /// The answer is not from a hub.
    #[error("{url} does not answer as a hub does: {reason}")]
    NotAHub {
        /// The requested address.
        url: String,
        /// Description of the answer.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("cannot use {path}: {error}")]
    File {
        /// Path of the file.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// The download cannot be written to its destination.
    #[error("cannot write what was downloaded: {0}")]
    Write(io::Error),
    /// A file changed during its upload.
    #[error("{0} changed while it was uploaded")]
    Changed(PathBuf),
    /// The system has no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
}

impl From<RootsError> for ClientError {
    fn from(RootsError { path, error }: RootsError) -> Self {
        Self::File { path, error }
    }
}

impl Advise for ClientError {
    fn help(&self) -> Help {
        match self {
            Self::Certificate { help, .. } => help.clone().into(),
            Self::Refused(problem) => problem.advice.clone().into(),
            Self::NotAHub { .. } => "check the address".into(),
            Self::File { error, .. } => Help::of_path(error),
            _ => Help::none(),
        }
    }
}

impl ClientError {
    /// Code of the problem, if the hub refused.
    pub fn code(&self) -> Option<ProblemCode> {
        match self {
            Self::Refused(problem) => Some(problem.code),
            _ => None,
        }
    }

    /// Whether the error is temporary: the hub was unreachable, or has no room now.
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

    /// Whether the hub will never need this result, so that it need not be kept: the hub has one already, or wants
    /// none.
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
