//! A bounded reader for untrusted tar archives (tar(5): ustar and GNU; for sources PAX too).
//!
//! Whatever the archive contains, paths come out relative and without `..`, nothing lies below a file or a link, names
//! that the kernel would not accept are never read into memory, and reading ends at the bytes and entries that the
//! [`Rules`] allow. An archive that is read to its end without an error can be unpacked.

use std::io::{self, Read};
use std::path::Path;

use tar::{Archive, EntryType};

use crate::ReadError;
use crate::places::Places;

/// Longest path, and longest target of a link, in bytes: one less than the kernel's `PATH_MAX`.
pub(crate) const LONGEST_PATH: usize = 4095;
/// Longest file name on Linux file systems, in bytes.
pub(crate) const LONGEST_NAME: usize = 255;
/// Longest extended header, in bytes.
const LONGEST_HEADER: u64 = 64 << 10;
/// Most headers of one entry: a long name, a long target, extended headers, and its own.
const HEADERS: usize = 6;

/// Limits for an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Most bytes, including headers.
    pub bytes: u64,
    /// Most entries, including directories that are only part of a path.
    pub entries: usize,
    /// Most bytes of all names and link targets together.
    pub names: usize,
    /// Accepted kind of archive.
    pub form: Form,
}

/// A kind of archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A result bundle, which only rocbed writes: files, directories, and symbolic links to what is beside or below
    /// them. No path occurs twice.
    Bundle,
    /// A source tree, from any tar: also hard links, symbolic links to anywhere, PAX headers. A later file replaces an
    /// earlier one.
    Source,
}

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

/// Type of an entry, with a link's target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MemberKind {
    File,
    Directory,
    Link(Vec<u8>),
    HardLink(Vec<u8>),
}

impl MemberKind {
    fn target(&self) -> Option<&[u8]> {
        match self {
            Self::Link(target) | Self::HardLink(target) => Some(target),
            Self::File | Self::Directory => None,
        }
    }
}

/// Function that is called with each entry and its content; returns whether to continue. Unread content is skipped.
pub(crate) type Visit<'a> = dyn FnMut(&Item, &mut dyn Read) -> Result<bool, ReadError> + 'a;

pub(crate) fn wrong(message: impl Into<String>) -> ReadError {
    ReadError::Wrong(message.into())
}

/// Calls `each` for every entry, in order, until it returns false or the archive ends.
pub(crate) fn walk(tar: impl Read, rules: &Rules, each: &mut Visit<'_>) -> Result<(), ReadError> {
    let limited = Limited { inner: tar, left: rules.bytes, limit: rules.bytes };
    let mut archive = Archive::new(limited);
    let mut places = Places::new(rules.entries, rules.form == Form::Source);
    let mut extended = Extended::default();
    let (mut headers, mut names) = (0_usize, 0_usize);
    // Raw entries, as the crate would read names of any length into memory.
    for raw in archive.entries()?.raw(true) {
        let mut raw = raw.map_err(of_reader)?;
        headers += 1;
        if headers > rules.entries.saturating_mul(HEADERS) {
            return Err(wrong(format!("more than {} entries", rules.entries)));
        }
        let size = raw.header().entry_size()?;
        let kind = raw.header().entry_type();
        if extended.take(kind, size, rules.form, &mut raw)? {
            continue;
        }
        let about = std::mem::take(&mut extended);
        let item = item(raw.header(), kind, size, about, rules.form)?;
        names += item.path.len() + item.kind.target().map_or(0, <[u8]>::len);
        if names > rules.names {
            return Err(wrong(format!("its names have more than {} bytes", rules.names)));
        }
        places.put(&item.path, &item.kind)?;
        if !each(&item, &mut raw)? {
            return Ok(());
        }
    }
    if extended.is_empty() { Ok(()) } else { Err(wrong("it ends after a long name")) }
}

/// Information about an entry from the headers before its own.
#[derive(Debug, Default)]
struct Extended {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Extended {
    fn is_empty(&self) -> bool {
        self.path.is_none() && self.target.is_none()
    }

    /// Reads such a header; returns whether it was one.
    fn take(&mut self, kind: EntryType, size: u64, form: Form, content: &mut dyn Read) -> Result<bool, ReadError> {
        match kind {
            EntryType::GNULongName => {
                self.path = Some(up_to_nul(limited(content, size, LONGEST_PATH as u64 + 1, "a name")?));
            }
            EntryType::GNULongLink => {
                self.target = Some(up_to_nul(limited(content, size, LONGEST_PATH as u64 + 1, "a link")?));
            }
            EntryType::XHeader if form == Form::Source => {
                let records = limited(content, size, LONGEST_HEADER, "an extended header")?;
                for record in tar::PaxExtensions::new(&records) {
                    let record = record?;
                    let value = record.value_bytes().to_vec();
                    match record.key_bytes() {
                        b"path" => self.path = Some(value),
                        b"linkpath" => self.target = Some(value),
                        b"size" => self.size = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok()),
                        _ => {}
                    }
                }
            }
            // Git's commit id, which applies to all entries.
            EntryType::XGlobalHeader if form == Form::Source => {}
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn item(header: &tar::Header, kind: EntryType, size: u64, about: Extended, form: Form) -> Result<Item, ReadError> {
    let raw = about.path.unwrap_or_else(|| header.path_bytes().into_owned());
    let name = String::from_utf8_lossy(&raw).into_owned();
    let target = || match about.target {
        Some(target) => target,
        None => header.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default(),
    };
    let kind = match kind {
        // In old archives, a directory is a file with a slash at the end of its name.
        EntryType::Regular | EntryType::Continuous if raw.ends_with(b"/") && form == Form::Source => {
            MemberKind::Directory
        }
        EntryType::Regular => MemberKind::File,
        EntryType::Continuous if form == Form::Source => MemberKind::File,
        EntryType::Directory => MemberKind::Directory,
        EntryType::Symlink => MemberKind::Link(checked_target(target(), form, &name)?),
        EntryType::Link if form == Form::Source => MemberKind::HardLink(checked_path(&target(), false, form)?),
        other => {
            let letter = char::from(other.as_byte());
            return Err(wrong(format!("{name} is an entry of the kind {letter:?}, not a file, directory or link")));
        }
    };
    if size > 0 && kind != MemberKind::File {
        return Err(wrong(format!("{name} has content and is not a file")));
    }
    if about.size.is_some_and(|other| other != size) {
        return Err(wrong(format!("{name} has two lengths")));
    }
    let path = checked_path(&raw, kind == MemberKind::Directory, form)?;
    let modified = header.mtime().unwrap_or_default();
    Ok(Item { path, kind, size, executable: header.mode()? & 0o111 != 0, modified })
}

/// Checks that a path stays inside the archive, and removes what tar(1) adds: `./` in sources, and the slash at the end
/// of a directory.
fn checked_path(raw: &[u8], directory: bool, form: Form) -> Result<Vec<u8>, ReadError> {
    let refuse = |why: &str| wrong(format!("the path {:?} {why}", String::from_utf8_lossy(raw)));
    let path = if directory { raw.strip_suffix(b"/").unwrap_or(raw) } else { raw };
    let path = match form {
        Form::Source if path == b"." => return Ok(Vec::new()),
        Form::Source => path.strip_prefix(b"./").unwrap_or(path),
        Form::Bundle => path,
    };
    if path.len() > LONGEST_PATH {
        return Err(refuse("is too long"));
    }
    for part in path.split(|byte| *byte == b'/') {
        if part.is_empty() || part == b"." || part == b".." || part.contains(&0) {
            return Err(refuse("leads out of it"));
        }
        if part.len() > LONGEST_NAME {
            return Err(refuse("has a name that is too long"));
        }
    }
    Ok(path.to_owned())
}

fn checked_target(target: Vec<u8>, form: Form, name: &str) -> Result<Vec<u8>, ReadError> {
    let is_plain = |part: &[u8]| !part.is_empty() && part != b"." && part != b"..";
    let stays = target.split(|byte| *byte == b'/').all(is_plain);
    if target.is_empty() || target.len() > LONGEST_PATH || target.contains(&0) || (form == Form::Bundle && !stays) {
        return Err(wrong(format!("the link {name} leads to elsewhere")));
    }
    Ok(target)
}

/// Reads a content into memory, if it is at most `most` bytes.
pub(crate) fn limited(content: &mut dyn Read, size: u64, most: u64, name: &str) -> Result<Vec<u8>, ReadError> {
    if size > most {
        return Err(wrong(format!("{name} has {size} bytes, more than {most}")));
    }
    let mut bytes = Vec::new();
    content.take(most).read_to_end(&mut bytes).map_err(of_reader)?;
    if bytes.len() as u64 == size { Ok(bytes) } else { Err(wrong(format!("{name} is cut off"))) }
}

fn up_to_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    bytes
}

/// A reader that fails when there is more than is allowed.
struct Limited<R> {
    inner: R,
    left: u64,
    limit: u64,
}

/// Wrapped in an [`io::Error`], as the tar reader passes on no other type.
#[derive(Debug, thiserror::Error)]
#[error("it unpacks to more than {0} bytes")]
struct TooLarge(u64);

/// Converts an error of the reader; a size limit is not an I/O error.
pub(crate) fn of_reader(error: io::Error) -> ReadError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = error.get_ref().map(|inner| inner as _);
    while let Some(cause) = source {
        if let Some(TooLarge(limit)) = cause.downcast_ref() {
            return ReadError::TooLarge(*limit);
        }
        source = match cause.downcast_ref::<io::Error>() {
            Some(inner) => inner.get_ref().map(|inner| inner as _),
            None => cause.source(),
        };
    }
    ReadError::Io(error)
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            // The content may end exactly here.
            return match self.inner.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(io::Error::other(TooLarge(self.limit))),
            };
        }
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let length = self.inner.read(buffer.get_mut(..room).unwrap_or_default())?;
        self.left = self.left.saturating_sub(length as u64);
        Ok(length)
    }
}

/// A path of an archive.
pub(crate) fn as_path(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}
