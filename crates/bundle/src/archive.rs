//! What may be unpacked: the entries of an untrusted tar archive, checked against each other.
//!
//! [`tarball`] reads the archive and sees to the limits and to each entry. Here is what concerns several: nothing lies below
//! a file or a link, and what is there twice. An archive that is read to its end without an error can be unpacked.

use std::io::{self, Read};
use std::path::Path;

use tarball::{Entry, EntryKind, Form, Reader, Rules};

use crate::ReadError;
use crate::member::{MemberKind, wrong};
use crate::places::Places;

/// An entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// Relative path, without `.`, `..` or a trailing slash.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: MemberKind,
    /// Length of the content in bytes: 0 for everything except files.
    pub(crate) size: u64,
    /// Whether the file is executable.
    pub(crate) executable: bool,
    /// Modification time in seconds since 1970.
    pub(crate) modified: u64,
}

/// Function that is called with each entry and its content; returns whether to continue. Unread content is skipped.
pub(crate) type Visit<'a> = dyn FnMut(&Item, &mut dyn Read) -> Result<bool, ReadError> + 'a;

/// Calls `each` for every entry, in order, until it returns false or the archive ends.
pub(crate) fn walk(tar: impl Read, rules: &Rules, each: &mut Visit<'_>) -> Result<(), ReadError> {
    let mut archive = Reader::new(tar, rules.clone());
    let mut places = Places::new(rules.entries, rules.form != Form::Plain);
    while let Some(entry) = archive.next_entry()? {
        let item = item(entry, rules.form)?;
        places.put(&item.path, &item.kind)?;
        if !each(&item, &mut archive)? {
            return Ok(());
        }
    }
    Ok(())
}

fn item(entry: Entry, form: Form) -> Result<Item, ReadError> {
    let name = || String::from_utf8_lossy(&entry.path).into_owned();
    let kind = match entry.kind {
        EntryKind::File => MemberKind::File,
        EntryKind::Directory => MemberKind::Directory,
        EntryKind::Symlink(target) if form == Form::Plain && !stays(&target) => {
            return Err(wrong(format!("the link {} leads to elsewhere", name())));
        }
        EntryKind::Symlink(target) => MemberKind::Link(target),
        EntryKind::HardLink(target) => MemberKind::HardLink(target),
        EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. } | EntryKind::Fifo => {
            return Err(wrong(format!("{} is not a file, directory or link", name())));
        }
    };
    let executable = entry.mode & 0o111 != 0;
    let modified = u64::try_from(entry.mtime.seconds).unwrap_or_default();
    Ok(Item { path: entry.path, kind, size: entry.size, executable, modified })
}

/// Whether the target of a link is beside or below the link.
pub(crate) fn stays(target: &[u8]) -> bool {
    target.split(|byte| *byte == b'/').all(|part| !part.is_empty() && part != b"." && part != b"..")
}

/// Reads a content into memory, if it is at most `most` bytes.
pub(crate) fn limited(content: &mut dyn Read, size: u64, most: u64, name: &str) -> Result<Vec<u8>, ReadError> {
    if size > most {
        return Err(wrong(format!("{name} has {size} bytes, more than {most}")));
    }
    let mut bytes = Vec::new();
    content.take(most).read_to_end(&mut bytes).map_err(of_reader)?;
    Ok(bytes)
}

/// Converts an error of reading a content; a size limit is not an I/O error.
pub(crate) fn of_reader(error: io::Error) -> ReadError {
    tarball::too_large(&error).map_or(ReadError::Io(error), ReadError::TooLarge)
}

impl From<tarball::Error> for ReadError {
    fn from(error: tarball::Error) -> Self {
        match error {
            tarball::Error::Read { source, .. } => Self::Io(source),
            tarball::Error::TooLarge(limit) => Self::TooLarge(limit),
            tarball::Error::Refused(reason) => Self::Wrong(reason),
        }
    }
}

/// A path of an archive.
pub(crate) fn as_path(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}
