//! The result bundle: one `.tar.zst` of what came of a job, and the only code that writes it, reads it and unpacks it.
//!
//! `result.json` comes first, then `junit.xml`, `log` (all that autopkgtest printed), `kernel.log`, and autopkgtest's
//! output directories as they are, under the names of who ran the tests: `user/`, `root/`.
//!
//! # What a bundle may have
//!
//! Bundles come from tests and workers that need not be honest. [`read`] and [`unpack`] hold them against the same rules
//! in the same code, so that what a hub takes can be unpacked, and nothing else can:
//!
//! - one zstd stream whose window is at most 128 MiB ([`WINDOW_LOG`]), and in it one tar archive (ustar or GNU);
//! - `result.json` is the first entry, of at most 16 MiB ([`LARGEST_RESULT`]), and there once;
//! - entries are regular files, directories, and symbolic links whose target is beside or below them: no `..`, nothing
//!   absolute. No hard links, devices, named pipes, PAX headers or sparse files;
//! - names are relative, without `.`, `..` or empty parts, of at most 4095 bytes, each part of at most 255. Nothing is
//!   there twice, and nothing is below a file or a link;
//! - at most 200,000 entries, directories that only occur in paths included ([`ENTRIES`]); all names and targets
//!   together at most 32 MiB ([`NAMES`]); unpacked, at most 16 GiB ([`UNPACKED`]), or what the hub's settings say.
//!
//! Of a file's permissions, whether it can be run is kept; owners, set-id bits, attributes are not. [`write`] leaves out,
//! with a word in the result, what does not fit the rules.
//!
//! [`unpack_source`] has the same bounded reader take a source tree's tar, which may have more.

mod archive;
mod places;
mod read;
pub mod regular;
mod unpack;
mod write;

use std::io;
use std::path::PathBuf;

pub use archive::{Form, Rules};
pub use read::{Contents, Entry, EntryKind, file, list, parse, read, read_with};
pub use unpack::{unpack, unpack_source};
pub use write::{Plan, Room, write};

/// The name of the result in a bundle.
pub const RESULT: &str = "result.json";
/// The name of the JUnit report in a bundle.
pub const JUNIT: &str = "junit.xml";
/// What bundles' names end in.
pub const SUFFIX: &str = ".tar.zst";

/// No `result.json` is larger, in bytes.
pub const LARGEST_RESULT: u64 = 16 << 20;
/// No bundle has more entries.
pub const ENTRIES: usize = 200_000;
/// No bundle's names and targets of links have more bytes together.
pub const NAMES: usize = 32 << 20;
/// No bundle unpacks to more bytes.
pub const UNPACKED: u64 = 16 << 30;
/// What a decompressor may need of memory, as a power of two; zstd's own levels up to 19 need no more.
pub const WINDOW_LOG: u32 = 27;

/// The rules for a bundle that may unpack to so many bytes.
const fn rules(bytes: u64) -> Rules {
    Rules { bytes, entries: ENTRIES, names: NAMES, form: Form::Bundle }
}

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

/// Why something is not a bundle, or not an archive that may be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read or written, or is not a `.tar.zst`.
    #[error("reading the archive")]
    Io(#[from] io::Error),
    /// It unpacks to more than the limit.
    #[error("it unpacks to more than {0} bytes")]
    TooLarge(u64),
    /// It is an archive of something else, or a dangerous one.
    #[error("it is not an archive of the right kind: {0}")]
    Wrong(String),
    /// Its result makes no sense.
    #[error("result.json in it: {0}")]
    Result(String),
}
