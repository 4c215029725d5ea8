//! Since when a test fails, and because of what: the rules, without any I/O.
//!
//! [`evaluate`] decides the state of a test on a target from everything that was observed of it; the order of the
//! observations does not matter. [`differences`] lists what changed between two environments, and [`clear`] marks what
//! passing runs had as well. [`compare`](compare()) says how two results differ. [`bisect`] finds the packages that a failure needs, of those that [`groups`] puts together;
//! [`judge`] reads its answers from results.
//!
//! `docs/history.md` describes the rules for users.

pub mod bisect;
mod compare;
mod environment;
mod evaluate;
pub mod groups;
mod judge;
mod known;
mod question;

pub use compare::{compare, compared, is_without};
pub use environment::{Environment, clear, differences};
pub use evaluate::{Cell, STALE, Transition, change_point, evaluate, transitions};
pub use judge::{Judged, judge};
pub use known::matches;
pub use protocol::api::TestState;
pub use question::{Observation, Seen, verdict_of};
