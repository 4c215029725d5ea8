//! A streaming reader of the tar archives in a .deb (deb(5): ustar, GNU and PAX, no sparse files).
//!
//! Only one header and the extended headers before it are in memory at a time. Paths are returned relative and without
//! `.` components; a path with `..` is refused here.

use std::collections::BTreeMap;
use std::io::Read;

use fsimage::Timestamp;

use super::DebError;
use super::header::{BLOCK, Header};
use super::{limits, pax};

/// Maximum size in bytes of extended headers and long names; the kernel accepts no path over 4 KiB anyway.
const EXTENSION_AT_MOST: u64 = 1 << 20;

/// Type of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file; its content follows.
    File,
    /// A directory.
    Directory,
    /// A symbolic link with this target.
    Symlink(Vec<u8>),
    /// A hard link to an earlier entry, with that entry's cleaned path.
    HardLink(Vec<u8>),
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// An entry of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative, without `.`, `..` and empty components; empty for the root directory.
    pub path: Vec<u8>,
    /// Type of the entry.
    pub kind: EntryKind,
    /// Permission bits, `0o7777` at most.
    pub mode: u16,
    /// Owner's user id: names are ignored, as Debian's static ids are the same everywhere.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Modification time.
    pub mtime: Timestamp,
    /// Length of the content; 0 for everything but files.
    pub size: u64,
    /// Extended attributes (PAX `SCHILY.xattr.*`).
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Reads entries in order. Between two calls of [`TarReader::next_entry`] it is a [`Read`] of the entry's content.
pub struct TarReader<R> {
    inner: R,
    /// Unread bytes of the current content.
    remaining: u64,
    /// Padding bytes after them, up to the next block.
    padding: u64,
    entries: u64,
    finished: bool,
}

impl<R: Read> TarReader<R> {
    /// Starts at the archive's first byte.
    pub fn new(inner: R) -> Self {
        Self { inner, remaining: 0, padding: 0, entries: 0, finished: false }
    }

    /// The next entry, `None` at the end. Unread content of the previous entry is skipped.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, DebError> {
        let mut extended = pax::Records::default();
        let mut long_name = None;
        let mut long_link = None;
        loop {
            let Some(header) = self.next_header()? else {
                if extended != pax::Records::default() || long_name.is_some() || long_link.is_some() {
                    return Err(DebError::Tar("it ends after an extended header".into()));
                }
                return Ok(None);
            };
            match header.kind {
                b'x' => extended = pax::parse(&self.extension(header.size)?)?,
                b'L' => long_name = Some(c_string(self.extension(header.size)?)),
                b'K' => long_link = Some(c_string(self.extension(header.size)?)),
                b'g' => {
                    let global = pax::parse(&self.extension(header.size)?)?;
                    if global != pax::Records::default() {
                        return Err(DebError::Tar("global PAX headers are not supported".into()));
                    }
                }
                _ => return self.entry(header, extended, long_name, long_link).map(Some),
            }
        }
    }

    fn entry(
        &mut self,
        header: Header,
        extended: pax::Records,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Entry, DebError> {
        self.entries += 1;
        if self.entries > limits::ENTRIES {
            return Err(DebError::Tar(format!("it has over {} entries", limits::ENTRIES)));
        }
        let raw_path = extended.path.or(long_name).unwrap_or(header.path);
        let link = extended.link.or(long_link).unwrap_or(header.link);
        let shown = String::from_utf8_lossy(&raw_path).into_owned();
        let size = extended.size.unwrap_or(header.size);
        let device = |number: u64| {
            u32::try_from(number).map_err(|_| DebError::Tar(format!("{shown:?} has the device number {number}")))
        };
        let (major, minor) = (header.major, header.minor);
        let kind = match header.kind {
            b'0' | 0 | b'7' if raw_path.ends_with(b"/") => EntryKind::Directory,
            b'0' | 0 | b'7' => EntryKind::File,
            b'1' => EntryKind::HardLink(clean_path(&link)?),
            b'2' if link.is_empty() || link.contains(&0) => {
                return Err(DebError::Tar(format!("{shown:?} is a symbolic link without a usable target")));
            }
            b'2' if link.len() > limits::TARGET => {
                return Err(DebError::Tar(format!("{shown:?} links to a path over {} bytes", limits::TARGET)));
            }
            b'2' => EntryKind::Symlink(link),
            b'3' => EntryKind::CharDevice { major: device(major)?, minor: device(minor)? },
            b'4' => EntryKind::BlockDevice { major: device(major)?, minor: device(minor)? },
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            b'S' => return Err(DebError::Tar(format!("{shown:?} is stored sparse, which a .deb may not use"))),
            other => {
                return Err(DebError::Tar(format!("{shown:?} has the unknown type {:?}", char::from(other))));
            }
        };
        let path = clean_path(&raw_path)?;
        if path.is_empty() && kind != EntryKind::Directory {
            return Err(DebError::Tar("the root is not a directory in it".into()));
        }
        // Some writers give links a size although no content follows.
        let size = if kind == EntryKind::File { size } else { 0 };
        self.set_content(size)?;
        let id = |number: u64| {
            u32::try_from(number).map_err(|_| DebError::Tar(format!("{shown:?} has the owner number {number}")))
        };
        Ok(Entry {
            path,
            kind,
            mode: (header.mode & 0o7777) as u16,
            uid: id(extended.uid.unwrap_or(header.uid))?,
            gid: id(extended.gid.unwrap_or(header.gid))?,
            mtime: extended.mtime.unwrap_or(Timestamp::from_seconds(header.mtime)),
            size,
            xattrs: extended.xattrs,
        })
    }

    fn next_header(&mut self) -> Result<Option<Header>, DebError> {
        self.skip_content()?;
        if self.finished {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        match read_block(&mut self.inner, &mut block)? {
            0 => self.finished = true,
            BLOCK if block.iter().all(|byte| *byte == 0) => self.finished = true,
            BLOCK => return Header::parse(&block).map(Some),
            _ => return Err(DebError::Tar("a header is cut off".into())),
        }
        if self.finished {
            // Reads the rest, so that a checksum at the compressed stream's end is checked.
            std::io::copy(&mut self.inner, &mut std::io::sink()).map_err(DebError::read("the end of a tar archive"))?;
        }
        Ok(None)
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, DebError> {
        if size > EXTENSION_AT_MOST {
            return Err(DebError::Tar(format!("an extended header has {size} bytes, over {EXTENSION_AT_MOST}")));
        }
        self.set_content(size)?;
        let mut bytes = Vec::with_capacity(size as usize);
        self.read_to_end(&mut bytes).map_err(DebError::read("an extended header"))?;
        Ok(bytes)
    }

    fn set_content(&mut self, size: u64) -> Result<(), DebError> {
        if size > i64::MAX as u64 {
            return Err(DebError::Tar(format!("an entry has {size} bytes")));
        }
        self.remaining = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    fn skip_content(&mut self) -> Result<(), DebError> {
        let length = self.remaining + self.padding;
        let skipped = std::io::copy(&mut (&mut self.inner).take(length), &mut std::io::sink())
            .map_err(DebError::read("content of a tar archive"))?;
        // The last block of an archive may lack its padding; missing content is an error.
        if skipped < self.remaining {
            return Err(DebError::Tar("the content of an entry is cut off".into()));
        }
        (self.remaining, self.padding) = (0, 0);
        Ok(())
    }
}

impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.remaining).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.inner.read(&mut buffer[..wanted])?;
        if read == 0 {
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the content of an entry is cut off"));
        }
        self.remaining -= read as u64;
        Ok(read)
    }
}

/// Reads a whole block, or nothing at the end of the file; returns the number of bytes.
fn read_block(reader: &mut impl Read, block: &mut [u8; BLOCK]) -> Result<usize, DebError> {
    let mut filled = 0;
    while filled < BLOCK {
        match reader.read(&mut block[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(DebError::read("a tar header")(error)),
        }
    }
    Ok(filled)
}

fn c_string(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

/// Converts `./usr//bin/` to `usr/bin`. An absolute path is relative to the root, as for dpkg.
fn clean_path(raw: &[u8]) -> Result<Vec<u8>, DebError> {
    let shown = || String::from_utf8_lossy(raw).into_owned();
    let mut path = Vec::with_capacity(raw.len());
    for part in raw.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => continue,
            b".." => return Err(DebError::Tar(format!("the path {:?} leads out of the root", shown()))),
            _ if part.contains(&0) => return Err(DebError::Tar(format!("the path {:?} has a NUL byte", shown()))),
            _ if part.contains(&b'\n') => {
                // dpkg's file lists have one path per line: a line break in a name would make it several paths.
                return Err(DebError::Tar(format!("the path {:?} has a line break", shown())));
            }
            _ if part.len() > 255 => {
                return Err(DebError::Tar(format!("the path {:?} has a name over 255 bytes", shown())));
            }
            _ => {}
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(part);
    }
    if path.len() > limits::PATH {
        let start = String::from_utf8_lossy(&path[..64]).into_owned();
        return Err(DebError::Tar(format!("a path that begins with {start:?} has over {} bytes", limits::PATH)));
    }
    Ok(path)
}
