//! Reads untrusted bundles.

use std::io::{self, Read, Write};

use protocol::JobResult;

use crate::archive::{Item, limited, of_reader, walk};
use crate::member::{MemberKind, wrong};
use crate::{LARGEST_RESULT, RESULT, ReadError, UNPACKED, WINDOW_LOG, rules};

/// Contents of a bundle.
#[derive(Debug, Clone, PartialEq)]
pub struct Contents {
    /// The parsed result.
    pub result: JobResult,
    /// All entries, in order.
    pub entries: Vec<BundleEntry>,
}

/// An entry of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleEntry {
    /// Relative path without `..`, for display: bytes that are not UTF-8 are replaced.
    pub name: String,
    /// Type of the entry.
    pub kind: EntryKind,
    /// Length in bytes.
    pub size: u64,
    /// What a link points to, for display: bytes that are not UTF-8 are replaced.
    pub target: Option<String>,
}

/// Type of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link to something beside or below it.
    Link,
}

impl BundleEntry {
    pub(crate) fn of(item: &Item) -> Self {
        let (kind, target) = match &item.kind {
            MemberKind::File | MemberKind::HardLink(_) => (EntryKind::File, None),
            MemberKind::Directory => (EntryKind::Directory, None),
            MemberKind::Link(target) => (EntryKind::Link, Some(String::from_utf8_lossy(target).into_owned())),
        };
        Self { name: String::from_utf8_lossy(&item.path).into_owned(), kind, size: item.size, target }
    }

    fn is_file(&self, name: &str) -> bool {
        self.kind == EntryKind::File && self.name == name
    }
}

/// Reads a bundle to its end and checks all entries. An accepted bundle can be unpacked.
///
/// # Errors
///
/// If it is not a bundle, or violates the rules, for example with devices or paths that lead out of it.
pub fn read(bundle: impl Read) -> Result<Contents, ReadError> {
    read_with(bundle, UNPACKED, &mut |_, _| Ok(()))
}

/// Like [`read`], for a bundle that may unpack to this many bytes. `each` is called for every file except the result,
/// with its content, which it need not read.
///
/// # Errors
///
/// As [`read`], and those of `each`.
pub fn read_with(
    bundle: impl Read,
    unpacked: u64,
    each: &mut dyn FnMut(&BundleEntry, &mut dyn Read) -> Result<(), ReadError>,
) -> Result<Contents, ReadError> {
    let mut result = None;
    let mut entries = Vec::new();
    walk(decompressed(bundle)?, &rules(unpacked.min(UNPACKED)), &mut |item, content| {
        let entry = BundleEntry::of(item);
        if entries.is_empty() {
            if !entry.is_file(RESULT) {
                return Err(wrong("result.json is not its first entry"));
            }
            let bytes = limited(content, entry.size, LARGEST_RESULT, RESULT)?;
            result = Some(JobResult::parse(&bytes).map_err(ReadError::Result)?);
        } else if entry.kind == EntryKind::File {
            each(&entry, content)?;
        }
        entries.push(entry);
        Ok(true)
    })?;
    let result = result.ok_or_else(|| wrong("there is no result.json in it"))?;
    Ok(Contents { result, entries })
}

/// Like [`read`], for bytes in memory.
///
/// # Errors
///
/// As [`read`].
pub fn parse(bytes: &[u8]) -> Result<Contents, ReadError> {
    read(bytes)
}

/// Calls `each` with every entry of a bundle, in order, until its archive has been read for `unpacked` bytes.
///
/// # Errors
///
/// As [`read`], but the result is not parsed. [`ReadError::TooLarge`] comes after the entries up to the limit.
pub fn list(bundle: impl Read, unpacked: u64, each: &mut dyn FnMut(BundleEntry)) -> Result<(), ReadError> {
    walk(decompressed(bundle)?, &rules(unpacked.min(UNPACKED)), &mut |item, _| {
        each(BundleEntry::of(item));
        Ok(true)
    })
}

/// Copies the content of a file of a bundle: the entry with this number, in the order of [`list`], the first being 0.
/// Returns its length, or `None` if there is no such entry or it is not a file. Reads no further than needed, and at most
/// `unpacked` bytes of the archive.
///
/// # Errors
///
/// As [`read`], or if the file ends after `unpacked` bytes, or writing fails.
pub fn copy_entry(
    bundle: impl Read,
    number: usize,
    unpacked: u64,
    to: &mut dyn Write,
) -> Result<Option<u64>, ReadError> {
    let (mut next, mut copied) = (0, None);
    walk(decompressed(bundle)?, &rules(unpacked.min(UNPACKED)), &mut |item, content| {
        if next == number && item.kind == MemberKind::File {
            copied = Some(io::copy(content, to).map_err(of_reader)?);
        }
        next += 1;
        Ok(next <= number)
    })?;
    Ok(copied)
}

/// One file of a bundle, of at most `largest` bytes; `None` if there is no such file. Reads no further than needed:
/// `result.json` is the first.
///
/// # Errors
///
/// As [`read`], or if the file is larger.
pub fn file(bundle: impl Read, name: &str, largest: u64) -> Result<Option<Vec<u8>>, ReadError> {
    let mut found = None;
    walk(decompressed(bundle)?, &rules(UNPACKED), &mut |item, content| {
        if item.kind == MemberKind::File && item.path == name.as_bytes() {
            found = Some(limited(content, item.size, largest, name)?);
        }
        Ok(found.is_none())
    })?;
    Ok(found)
}

/// The tar archive inside a bundle.
pub(crate) fn decompressed(bundle: impl Read) -> Result<impl Read, ReadError> {
    let mut decoder = zstd::Decoder::new(bundle)?;
    decoder.window_log_max(WINDOW_LOG)?;
    Ok(decoder)
}
