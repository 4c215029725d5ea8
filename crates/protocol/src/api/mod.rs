//! The API of a hub: JSON over HTTP under [`PREFIX`].
//!
//! A worker [registers](Register), [claims](Claim) a job and gets a lease on it, keeps the lease by
//! [heartbeats](Heartbeat), sends the log, [uploads](CreateUpload) the result bundle and [completes](Complete) the
//! lease. Every request may be repeated: the second one changes nothing and gets the same answer. A refused request is
//! answered with a [`Problem`] (RFC 9457), which says what to do. Field names are in kebab-case; unknown fields are
//! ignored.

mod check;
mod compare;
mod debci;
mod events;
mod files;
mod history;
mod jobs;
mod kept;
mod known;
mod leases;
mod name;
mod packages;
mod problem;
mod results;
mod storage;
mod uploads;
mod workers;

pub use crate::job_id::job_id;
pub use check::{Invalid, check_id};
pub use compare::{Compared, ComparedCase, ComparedTest, Comparison};
pub use debci::{DebciOrigin, DebciProblem, DebciStatus, DebciWorkers};
pub use events::StateEvent;
pub use files::{BundleFile, BundleFiles};
pub use history::{
    ChangeKind, Confirmed, Difference, Explanation, ExplanationList, HistoryList, StateChange, TestHistory, TestRun,
    TestState,
};
pub use jobs::{AddJobs, AddedJobs, Attempt, AttemptState, JobInfo, JobPage, JobState, PartInfo};
pub use kept::{AskKept, KeptPackage, KeptPackages, KeptUse, PackageVersion};
pub use known::{AddKnown, KnownFailure, KnownList};
pub use leases::{
    Claim, Claimed, Complete, Completed, GiveBack, GiveBackReason, Given, Heartbeat, HeartbeatAnswer, LogAnswer,
    Testbed,
};
pub use name::{LONGEST_NAME, is_sayable, short_name};
pub use packages::{JobPackages, TestPackages};
pub use problem::{Problem, ProblemCode};
pub use results::{ResultDetail, ResultInfo, ResultPage};
pub use storage::BundleStorage;
pub use uploads::{AskParts, CreateUpload, DirectPart, DirectUpload, PartDigest, Parts, Upload};
pub use workers::{Health, Pause, Register, Registered, RetryGpus, WorkerInfo, WorkerPage, WorkerReport, is_clock_off};

/// Path of the API on a hub.
pub const PREFIX: &str = "/api/v1";

/// Header with the sender's version of the protocol: [`crate::VERSION`]. A hub sends its own with every answer, and
/// refuses requests with a later one.
pub const PROTOCOL_HEADER: &str = "rocbed-protocol";

/// Header with the number of bytes of an upload that the hub has.
pub const OFFSET_HEADER: &str = "upload-offset";

/// Header with the number of bytes that an upload will have.
pub const LENGTH_HEADER: &str = "upload-length";

/// Header that says whether the hub has all of an upload and has checked its digest: `true` or `false`.
pub const COMPLETE_HEADER: &str = "upload-complete";

/// Media type of a [`Problem`].
pub const PROBLEM_TYPE: &str = "application/problem+json";
