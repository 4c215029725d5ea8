//! Since when a test fails, and because of what: the rules, without any I/O.
//!
//! [`evaluate`] decides the state of a test on a target from everything that was observed of it; the order of the
//! observations does not matter. [`differences`] lists what changed between two environments, and [`clear`] marks what
//! passing runs had as well. [`bisect`] finds the packages that a failure needs.
//!
//! `docs/history.md` describes the rules for users.

pub mod bisect;
mod environment;
mod evaluate;
mod known;
mod question;

pub use environment::{Environment, clear, differences};
pub use evaluate::{Cell, STALE, Transition, evaluate, transitions};
pub use known::matches;
pub use protocol::api::TestState;
pub use question::{Observation, Seen};
