//! The result bundle: one `.tar.zst` of what came of a job.
//!
//! `result.json` comes first, then `junit.xml`, `log` (all that autopkgtest printed), `kernel.log`, and autopkgtest's
//! output directories as they are, under the names of who ran the tests: `user/`, `root/`.

mod read;
mod unpack;
mod write;

pub use read::{Contents, Entry, EntryKind, ReadError, file, list, parse, read};
pub use unpack::unpack;
pub(crate) use write::{Plan, write};

use std::path::PathBuf;

/// The name of the result in a bundle.
pub const RESULT: &str = "result.json";
/// What bundles' names end in.
pub const SUFFIX: &str = ".tar.zst";

/// A bundle that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Where it is.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
}
