//! Problems that callers see for faults inside the hub. The details go only to the hub's log, as they are not for
//! clients.

use protocol::api::{Problem, ProblemCode};

use crate::store::ReadError;

/// Problem for an internal fault.
pub(crate) fn internal(error: &dyn std::error::Error) -> Problem {
    tracing::error!(%error, "a request failed");
    Problem::new(ProblemCode::Internal, "the hub's log says more")
}

/// Problem for a file error. Callers are told that the disk is full; any other error is internal.
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
