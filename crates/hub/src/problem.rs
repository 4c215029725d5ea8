//! Problems that callers see for faults inside the hub. The details go only to the hub's log, as they are not for
//! clients.

use protocol::api::{JobInfo, Problem, ProblemCode};

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

/// Problem where a job is asked for its result and has none: its state says why.
pub(crate) fn without_result(id: &str, job: Option<&JobInfo>) -> Problem {
    let Some(job) = job else { return Problem::new(ProblemCode::NotFound, format!("there is no job `{id}`")) };
    let detail = format!("job `{}` has no result: it is {}", job.id, job.state);
    let advice = format!("`rocbed jobs show {}` says more", job.id);
    Problem { advice, ..Problem::new(ProblemCode::NotFound, detail) }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        internal(&error)
    }
}
