//! debci's formats: what the Debian CI (<https://ci.debian.net/doc/>) and its workers say to each
//! other through a message broker, as debci 4.4 does it.
//!
//! - A job is one line of text in a queue ([`JobLine`]); there is a queue for each architecture and backend
//!   ([`queues`]). A GPU target is part of the architecture's name: `amd64+gfx1030`.
//! - A result is a `.tar.gz` ([`result_file`]), with autopkgtest's exit status, its log and its output directory. debci's
//!   collector finds the job by the name of the directory that has a file `exitcode`. Those of other workers are read by
//!   [`receive()`].
//!
//! The only thing here that uses a network is the question whether a job still waits for its result ([`JobStates`]).
//!
//! Both come from outside: whoever may write to the broker can write any line, and tests leave any files. Lines are
//! read with limits, and what a test leaves never looks like a result of its own.

mod exit_code;
mod file_name;
mod job_line;
mod job_state;
mod log;
mod queue;
mod receive;
mod result_file;
mod run_id;
mod tarball;

pub use exit_code::{Status, exit_code};
pub use job_line::{JobLine, LONGEST_LINE, LineError};
pub use job_state::{JobState, JobStateError, JobStates};
pub use queue::{ArchitectureQueue, PRIORITIES, RESULTS_QUEUE, architecture, queue_name, queues};
pub use receive::{ReceiveError, Received, receive};
pub use result_file::{
    Heading, LARGEST_MESSAGE, MARGIN, ResultFile, ResultFileError, of_bundle, of_refusal, or_reason,
};
pub use run_id::{NotARunId, RunId};
