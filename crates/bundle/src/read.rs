//! Reading a bundle that somebody else made: nothing in it is believed before it was looked at.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use protocol::JobResult;
use tar::{Archive, EntryType};

use super::RESULT;

/// A longer name is refused, in bytes.
const LONGEST_NAME: u64 = 8192;
/// A larger result is refused, in bytes.
const LARGEST_RESULT: u64 = 16 << 20;
/// More entries are refused.
const MOST_ENTRIES: usize = 250_000;
/// A larger bundle is refused, in bytes after decompression.
const LARGEST: u64 = 64 << 30;
/// What a decompressor may need of memory, as a power of two; zstd's own levels up to 19 need no more.
const WINDOW: u32 = 27;

/// What is in a bundle.
#[derive(Debug, Clone, PartialEq)]
pub struct Contents {
    /// The result.
    pub result: JobResult,
    /// All entries, in order.
    pub entries: Vec<Entry>,
}

/// An entry of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path, relative, without `..`. Bytes that are no UTF-8 are replaced: it is for people.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// Its length in bytes.
    pub size: u64,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link to something beside or below it.
    Link,
}

/// Why something is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read, or is no `.tar.zst`.
    #[error("reading the bundle")]
    Io(#[from] io::Error),
    /// It is an archive of something else, or a dangerous one.
    #[error("it is no result bundle: {0}")]
    Wrong(String),
    /// Its result makes no sense.
    #[error("result.json in it: {0}")]
    Result(String),
}

/// Reads a bundle to its end: all entries are looked at.
///
/// # Errors
/// If it is no bundle, or has what no bundle has: devices, paths that lead out of it.
pub fn read(bundle: impl Read) -> Result<Contents, ReadError> {
    let mut bytes = None;
    let entries = walk(bundle, &mut |entry, raw, content| {
        if entry.name == RESULT && entry.kind == EntryKind::File {
            if raw.index != 0 {
                return Err(wrong("result.json is not its first entry"));
            }
            bytes = Some(limited(content, entry.size, LARGEST_RESULT, RESULT)?);
        }
        Ok(true)
    })?;
    let bytes = bytes.ok_or_else(|| wrong("there is no result.json in it"))?;
    let result = JobResult::parse(&bytes).map_err(ReadError::Result)?;
    Ok(Contents { result, entries })
}

/// [`read`] of bytes in memory.
///
/// # Errors
/// As [`read`].
pub fn parse(bytes: &[u8]) -> Result<Contents, ReadError> {
    read(bytes)
}

/// The entries of a bundle.
///
/// # Errors
/// As [`read`], but the result is not looked at.
pub fn list(bundle: impl Read) -> Result<Vec<Entry>, ReadError> {
    walk(bundle, &mut |_, _, _| Ok(true))
}

/// One file of a bundle, of at most `largest` bytes; `None` if there is no such file. Reads no further than needed:
/// `result.json` is the first.
///
/// # Errors
/// As [`read`], or if the file is larger.
pub fn file(bundle: impl Read, name: &str, largest: u64) -> Result<Option<Vec<u8>>, ReadError> {
    let mut found = None;
    walk(bundle, &mut |entry, _, content| {
        if entry.name == name && entry.kind == EntryKind::File {
            found = Some(limited(content, entry.size, largest, name)?);
        }
        Ok(found.is_none())
    })?;
    Ok(found)
}

pub(super) fn wrong(message: impl Into<String>) -> ReadError {
    ReadError::Wrong(message.into())
}

fn limited(content: &mut dyn Read, size: u64, largest: u64, name: &str) -> Result<Vec<u8>, ReadError> {
    if size > largest {
        return Err(wrong(format!("{name} has {size} bytes, more than {largest}")));
    }
    let mut bytes = Vec::new();
    content.take(largest).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == size { Ok(bytes) } else { Err(wrong(format!("{name} is cut off"))) }
}

/// What an entry has besides, as it is written.
pub(super) struct Raw<'a> {
    /// Its number, from 0.
    pub(super) index: usize,
    /// Its path: the bytes that the name shows.
    pub(super) path: &'a Path,
    /// Where it points to, if it is a link.
    pub(super) target: &'a Path,
    /// Permission bits.
    pub(super) mode: u32,
}

/// Is given an entry, how it is written, and its content; says whether to go on.
pub(super) type Visit<'a> = dyn FnMut(&Entry, &Raw<'_>, &mut dyn Read) -> Result<bool, ReadError> + 'a;

/// Looks at each entry.
pub(super) fn walk(bundle: impl Read, each: &mut Visit<'_>) -> Result<Vec<Entry>, ReadError> {
    let mut decoder = zstd::Decoder::new(bundle)?;
    decoder.window_log_max(WINDOW)?;
    let mut archive = Archive::new(decoder.take(LARGEST));
    let mut entries = Vec::new();
    let (mut long_name, mut long_target) = (None, None);
    // Raw: the crate would read names of any length into memory.
    for raw in archive.entries()?.raw(true) {
        let mut raw = raw?;
        let size = raw.header().entry_size()?;
        let kind = match raw.header().entry_type() {
            EntryType::GNULongName => {
                long_name = Some(up_to_nul(limited(&mut raw, size, LONGEST_NAME, "a name")?));
                continue;
            }
            EntryType::GNULongLink => {
                long_target = Some(up_to_nul(limited(&mut raw, size, LONGEST_NAME, "a link")?));
                continue;
            }
            EntryType::Regular => EntryKind::File,
            EntryType::Directory => EntryKind::Directory,
            EntryType::Symlink => EntryKind::Link,
            other => return Err(wrong(format!("an entry of the kind {:?}", char::from(other.as_byte())))),
        };
        let name = long_name.take().unwrap_or_else(|| raw.header().path_bytes().into_owned());
        let entry = Entry { name: checked_name(&name)?, kind, size };
        if entries.len() >= MOST_ENTRIES {
            return Err(wrong(format!("more than {MOST_ENTRIES} entries")));
        }
        let header = raw.header();
        let target = long_target.take().or_else(|| Some(header.link_name_bytes()?.into_owned())).unwrap_or_default();
        let about = Raw {
            index: entries.len(),
            path: Path::new(OsStr::from_bytes(&name)),
            target: Path::new(OsStr::from_bytes(&target)),
            mode: header.mode()?,
        };
        let go_on = each(&entry, &about, &mut raw)?;
        entries.push(entry);
        if !go_on {
            return Ok(entries);
        }
    }
    Ok(entries)
}

fn up_to_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    bytes
}

/// A path that stays where it is unpacked.
fn checked_name(name: &[u8]) -> Result<String, ReadError> {
    let path = Path::new(OsStr::from_bytes(name));
    let text = String::from_utf8_lossy(name).trim_end_matches('/').to_owned();
    let stays = path.components().all(|part| matches!(part, Component::Normal(_)));
    if stays && !text.is_empty() && !name.contains(&0) {
        Ok(text)
    } else {
        Err(wrong(format!("the path {text:?} leads out of it")))
    }
}
