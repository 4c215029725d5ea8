//! Reads tar archives that nobody vouches for (tar(5): ustar, GNU and PAX): those in packages, result bundles and source
//! trees.
//!
//! A [`Reader`] streams: one header and the extended headers before it are in memory at a time. Whatever the archive
//! contains,
//!
//! - paths come out relative, without `.`, `..` and empty parts, and no longer than the kernel accepts;
//! - names, extended headers, entries and bytes end at the [`Rules`]; what is longer is never read into memory;
//! - PAX records win over GNU long names, and these over the header; two extended headers of one type, global records that
//!   would change entries, and sparse files are errors;
//! - an archive that is cut off is an error, unless it ends between two entries.
//!
//! Whether two entries may have the same path is for the caller to decide. The `tar` crate writes our archives. It is not
//! used for reading, as it reads long names of any length into memory, and leaves sparse files, limits and the meaning of
//! links to its users.

mod entry;
mod error;
#[cfg(feature = "fixtures")]
pub mod fixtures;
mod header;
mod limited;
mod path;
mod pax;
mod reader;
mod rules;

pub use entry::{Entry, EntryKind, Time};
pub use error::Error;
pub use limited::too_large;
pub use reader::Reader;
pub use rules::{Form, LONGEST_NAME, LONGEST_PATH, Rules};
