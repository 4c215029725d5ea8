//! What callers are told of faults inside the hub. The details go to the hub's own log: they are not for whoever asked.

use protocol::api::{Problem, ProblemCode};

use crate::store::ReadError;

/// Something broke.
pub(crate) fn internal(error: &dyn std::error::Error) -> Problem {
    tracing::error!(%error, "a request failed");
    Problem::new(ProblemCode::Internal, "the hub's log says more")
}

/// What went wrong with a file. A disk that is full is the caller's to know; everything else is ours.
pub(crate) fn io_problem(error: &std::io::Error) -> Problem {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            tracing::error!("the data directory's disk is full");
            Problem::new(ProblemCode::DiskFull, "there is no room in the data directory")
        }
        _ => internal(error),
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        internal(&error)
    }
}
