//! Makes text from outside safe to print, and keeps secrets out of it.
//!
//! This crate implements two rules:
//!
//! * Secrets do not get into logs, errors and screens. A token is a [`Secret`] from reading it to sending it; text from
//!   outside, and text that quotes an address, goes through [`redacted`].
//! * Text from outside does not control the terminal that it is printed on. A field of a line goes through
//!   [`printable`], an error through [`for_terminal`], a whole log through a [`Filter`].
//!
//! ```
//! use safetext::{Secret, printable, redacted};
//! assert_eq!(format!("{:?}", Secret::new("rocbed-join-1")), "(not shown)");
//! assert_eq!(redacted("no answer from https://me:pw@hub.example/x"), "no answer from https://(not shown)@hub.example/x");
//! assert_eq!(printable("lab\u{1b}[2J-1"), r"lab\u{1b}[2J-1");
//! ```

mod filter;
mod printable;
mod redacted;
mod secret;

pub use filter::Filter;
pub use printable::{for_terminal, is_printable, printable};
pub use redacted::{redacted, without_password};
pub use secret::Secret;

/// Text that replaces a secret.
pub const NOT_SHOWN: &str = "(not shown)";
