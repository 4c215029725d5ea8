//! Result bundles: one `.tar.zst` with everything that a job produced. Only this crate writes, reads and unpacks them.
//!
//! `result.json` comes first, then `junit.xml`, `log` (autopkgtest's complete output), `kernel.log`, and autopkgtest's
//! unchanged output directories, named after the user of the run: `user/`, `root/`.
//!
//! # Rules for bundles
//!
//! Bundles come from tests and workers that may be malicious. [`read`] and [`unpack`] check the same rules with the
//! same code, so that exactly the bundles that a hub accepts can be unpacked:
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
//! The executable bit of a file is kept; other permissions, owners, set-id bits and attributes are not. [`write`]
//! leaves out files that violate the rules, and adds a note to the result.
//!
//! [`unpack_source`] unpacks the tar file of a source tree in the same way, for which the rules are less strict, and
//! [`pack_source`] makes one. The bounded reader of tar archives is the crate [`tarball`], which packages are read with too.

mod archive;
mod member;
mod places;
mod read;
pub mod regular;
mod source;
mod unpack;
mod write;

use std::io;
use std::path::PathBuf;

pub use tarball::Rules;
use tarball::{Form, LONGEST_PATH};

pub use read::{BundleEntry, Contents, EntryKind, copy_entry, file, list, parse, read, read_with};
pub use source::pack_source;
pub use unpack::{unpack, unpack_source};
pub use write::{BundleLimits, BundlePlan, write};

/// File name of the result in a bundle.
pub const RESULT: &str = "result.json";
/// File name of the JUnit report in a bundle.
pub const JUNIT: &str = "junit.xml";
/// File name suffix of bundles.
pub const SUFFIX: &str = ".tar.zst";

/// Largest `result.json`, in bytes.
pub const LARGEST_RESULT: u64 = 16 << 20;
/// Most entries in a bundle.
pub const ENTRIES: usize = 200_000;
/// Most bytes of all names and link targets in a bundle.
pub const NAMES: usize = 32 << 20;
/// Most bytes that a bundle may unpack to.
pub const UNPACKED: u64 = 16 << 30;
/// Largest window of a decompressor, as a power of two; zstd's levels up to 19 need no more.
pub const WINDOW_LOG: u32 = 27;

/// The rules for a bundle that may unpack to this many bytes.
const fn rules(bytes: u64) -> Rules {
    Rules { bytes, entries: ENTRIES, names: NAMES, path: LONGEST_PATH, form: Form::Plain }
}

/// A written bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Path of the file.
    pub path: PathBuf,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256, as hexadecimal digits.
    pub sha256: sha256::Digest,
}

/// The rules for the tar file of a source tree that may unpack to this many bytes.
pub const fn source_rules(bytes: u64, entries: usize, names: usize) -> Rules {
    Rules { bytes, entries, names, path: LONGEST_PATH, form: Form::Tree }
}

/// Reason why a bundle, or an archive, is refused.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read or written, or is not a `.tar.zst`.
    #[error("reading the archive")]
    Io(#[from] io::Error),
    /// It unpacks to more than the limit.
    #[error("it unpacks to more than {0} bytes")]
    TooLarge(u64),
    /// It is not a bundle, or violates the rules.
    #[error("it is not an archive of the right kind: {0}")]
    Wrong(String),
    /// Its result is invalid.
    #[error("result.json in it: {0}")]
    Result(#[source] protocol::ResultError),
}
