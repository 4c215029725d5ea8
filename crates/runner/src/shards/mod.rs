//! Puts the results of a job's parts together ([`Job::part`](protocol::Job::part)).
//!
//! A part is a whole job: it has its own result, bundle and verdict. [`join`] makes one result of all: each test once, with
//! the worst outcome of the parts, and the cases of all parts. Whether the parts together are the whole is concluded from
//! the cases in their reports, see [`cases`].

mod bounds;
mod bundle;
mod cases;
mod reports;
mod results;

pub use self::bundle::JoinedBundle;
pub use bounds::bounded;
pub use cases::JoinedReport;
pub use reports::{PartReports, ROOM};
pub(crate) use results::badness;
pub use results::{Joined, Part, join};

#[cfg(test)]
mod tests;
