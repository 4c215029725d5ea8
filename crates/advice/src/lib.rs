//! Errors with help: what failed, why, and what to do about it, kept apart until they are shown.
//!
//! - Libraries have error types of their own. Those that know what the user can do implement [`Advise`]; their messages
//!   (`Display`) say only what failed.
//! - [`Advice`] is an error for which no type is worth it, and what goes to another process or machine: a message and
//!   its help.
//! - Programs use `anyhow` and attach help where they know more than the library does, with [`WithHelp`].
//! - [`Report`] takes all of it apart again, once, where an error is shown.

mod at_path;
mod error;
mod help;
mod report;
mod with_help;

use std::error::Error;

pub use at_path::AtPath;
pub use error::Advice;
pub use help::Help;
pub use report::Report;
pub use with_help::{Helped, WithHelp, find};

/// An error that may know what the user can do about it.
pub trait Advise: Error {
    /// What to do next; empty if nothing is known. Help of a source that is shown as a cause of its own is not repeated
    /// here, that of a `#[error(transparent)]` one is.
    fn help(&self) -> Help;
}

/// The help of an error, if it has the type `E`. A program lists these functions for the types that it knows, and
/// gives the list to [`Report::of`]: Rust cannot ask a `dyn Error` for another trait.
pub fn help_of<E: Advise + 'static>(error: &(dyn Error + 'static)) -> Option<Help> {
    error.downcast_ref::<E>().map(Advise::help)
}
