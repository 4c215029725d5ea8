//! [`Reader`]: reads the entries of an archive in order.

use std::io::{self, Read};

use crate::header::{BLOCK, Header};
use crate::limited::Limited;
use crate::path::{clean, shown};
use crate::{Entry, EntryKind, Error, Form, LONGEST_PATH, Rules, Time, pax};

/// Longest PAX header in bytes: extended attributes may have 64 KiB each.
const LONGEST_HEADER: u64 = 1 << 20;
/// Longest GNU long name in bytes, with the NUL byte after it.
const LONGEST_LONG_NAME: u64 = LONGEST_PATH as u64 + 1;
/// Most headers before that of an entry: a long name, a long target, records for it and for all.
const MOST_HEADERS: usize = 6;

/// Reads entries in order. Between two calls of [`Reader::next_entry`] it is a [`Read`] of the entry's content.
pub struct Reader<R> {
    inner: Limited<R>,
    rules: Rules,
    /// Unread bytes of the current content.
    remaining: u64,
    /// Padding bytes after them, up to the next block.
    padding: u64,
    /// Entries so far.
    entries: usize,
    /// Bytes of paths and link targets so far.
    names: usize,
    finished: bool,
}

/// What the headers before an entry's own say about it.
#[derive(Default)]
struct Extended {
    records: Option<pax::Records>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<R: Read> Reader<R> {
    /// Starts at the archive's first byte.
    pub fn new(inner: R, rules: Rules) -> Self {
        let inner = Limited::new(inner, rules.bytes);
        Self { inner, rules, remaining: 0, padding: 0, entries: 0, names: 0, finished: false }
    }

    /// The next entry, `None` at the end. Unread content of the previous entry is skipped.
    ///
    /// # Errors
    ///
    /// If reading fails, or the archive is malformed, cut off, or violates the rules.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        let mut extended = Extended::default();
        for _ in 0..=MOST_HEADERS {
            let Some(header) = self.next_header()? else {
                if extended.records.is_some() || extended.name.is_some() || extended.link.is_some() {
                    return Err(Error::refused("it ends after an extended header"));
                }
                return Ok(None);
            };
            let twice = match header.kind {
                b'x' | b'g' if self.rules.form == Form::Plain => return Err(unknown(&header.path, header.kind)),
                b'x' => extended.records.replace(pax::parse(&self.extension(header.size)?)?).is_some(),
                b'L' => extended.name.replace(self.long_name(header.size)?).is_some(),
                b'K' => extended.link.replace(self.long_name(header.size)?).is_some(),
                // Git's commit id, for example.
                b'g' if pax::parse(&self.extension(header.size)?)? == pax::Records::default() => false,
                b'g' => return Err(Error::refused("global PAX headers are not supported")),
                _ => return self.entry(header, extended).map(Some),
            };
            if twice {
                return Err(Error::refused("an entry has two extended headers of one type"));
            }
        }
        Err(Error::refused(format!("an entry has over {MOST_HEADERS} extended headers")))
    }

    fn entry(&mut self, header: Header, extended: Extended) -> Result<Entry, Error> {
        self.entries += 1;
        if self.entries > self.rules.entries {
            return Err(Error::refused(format!("it has over {} entries", self.rules.entries)));
        }
        let records = extended.records.unwrap_or_default();
        let raw_path = records.path.or(extended.name).unwrap_or(header.path);
        let link = records.link.or(extended.link).unwrap_or(header.link);
        let size = records.size.unwrap_or(header.size);
        let device = (header.major, header.minor);
        let kind = kind(header.kind, &raw_path, link, device, &self.rules)?;
        let directory = kind == EntryKind::Directory;
        let plain_path = raw_path.strip_suffix(b"/").filter(|_| directory).unwrap_or(&raw_path);
        let path = clean(plain_path, &self.rules)?;
        if path.is_empty() && !directory {
            return Err(Error::refused("the root is not a directory in it"));
        }
        self.names = self.names.saturating_add(path.len() + kind.target().map_or(0, <[u8]>::len));
        if self.names > self.rules.names {
            return Err(Error::refused(format!("its names have more than {} bytes", self.rules.names)));
        }
        let size = match kind {
            EntryKind::File => size,
            _ if size > 0 && self.rules.form == Form::Plain => {
                return Err(Error::refused(format!("{} has content and is not a file", shown(&raw_path))));
            }
            // Some writers give links a size although no content follows.
            _ => 0,
        };
        self.set_content(size)?;
        let id = |number: u64| {
            let name = shown(&raw_path);
            u32::try_from(number).map_err(|_| Error::refused(format!("{name:?} has the owner number {number}")))
        };
        Ok(Entry {
            path,
            kind,
            mode: (header.mode & 0o7777) as u16,
            uid: id(records.uid.unwrap_or(header.uid))?,
            gid: id(records.gid.unwrap_or(header.gid))?,
            mtime: records.mtime.unwrap_or(Time { seconds: header.mtime, nanoseconds: 0 }),
            size,
            xattrs: records.xattrs,
        })
    }

    fn next_header(&mut self) -> Result<Option<Header>, Error> {
        self.skip_content()?;
        if self.finished {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        match read_block(&mut self.inner, &mut block)? {
            0 => self.finished = true,
            BLOCK if block.iter().all(|byte| *byte == 0) => self.finished = true,
            BLOCK => return Header::parse(&block).map(Some),
            _ => return Err(Error::refused("a header is cut off")),
        }
        // Reads the rest, so that a checksum at the compressed stream's end is checked.
        io::copy(&mut self.inner, &mut io::sink()).map_err(Error::read("the end of a tar archive"))?;
        Ok(None)
    }

    fn long_name(&mut self, size: u64) -> Result<Vec<u8>, Error> {
        if size > LONGEST_LONG_NAME {
            return Err(Error::refused(format!("a name has {size} bytes, more than {LONGEST_LONG_NAME}")));
        }
        let mut name = self.extension(size)?;
        name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
        Ok(name)
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, Error> {
        if size > LONGEST_HEADER {
            return Err(Error::refused(format!("an extended header has {size} bytes, more than {LONGEST_HEADER}")));
        }
        self.set_content(size)?;
        let mut bytes = Vec::with_capacity(size as usize);
        self.read_to_end(&mut bytes).map_err(Error::read("an extended header"))?;
        Ok(bytes)
    }

    fn set_content(&mut self, size: u64) -> Result<(), Error> {
        if size > i64::MAX as u64 {
            return Err(Error::refused(format!("an entry has {size} bytes")));
        }
        self.remaining = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    fn skip_content(&mut self) -> Result<(), Error> {
        let length = self.remaining + self.padding;
        let skipped = io::copy(&mut (&mut self.inner).take(length), &mut io::sink())
            .map_err(Error::read("content of a tar archive"))?;
        // The last block of another's archive may lack its padding; missing content is an error.
        let needed = if self.rules.form == Form::Plain { length } else { self.remaining };
        if skipped < needed {
            return Err(Error::refused("the content of an entry is cut off"));
        }
        (self.remaining, self.padding) = (0, 0);
        Ok(())
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.remaining).unwrap_or(usize::MAX));
        let Some(wanted) = buffer.get_mut(..wanted).filter(|wanted| !wanted.is_empty()) else { return Ok(0) };
        let read = self.inner.read(wanted)?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the content of an entry is cut off"));
        }
        self.remaining -= read as u64;
        Ok(read)
    }
}

fn unknown(path: &[u8], letter: u8) -> Error {
    let letter = char::from(letter);
    Error::refused(format!("{} is an entry of the kind {letter:?}, which is not accepted here", shown(path)))
}

/// The type of an entry, from the letter in its header, if archives of this form may have it.
fn kind(letter: u8, path: &[u8], link: Vec<u8>, device: (u64, u64), rules: &Rules) -> Result<EntryKind, Error> {
    let name = shown(path);
    let number = |number: u64| {
        u32::try_from(number).map_err(|_| Error::refused(format!("{name:?} has the device number {number}")))
    };
    let (root, plain) = (rules.form == Form::Root, rules.form == Form::Plain);
    Ok(match letter {
        // In old archives, a directory is a file with a slash at the end of its name.
        b'0' | 0 | b'7' if path.ends_with(b"/") && !plain => EntryKind::Directory,
        b'0' | 0 => EntryKind::File,
        b'7' if !plain => EntryKind::File,
        b'1' if !plain => EntryKind::HardLink(clean(&link, rules)?),
        b'2' if link.is_empty() || link.contains(&0) => {
            return Err(Error::refused(format!("{name:?} is a symbolic link without a usable target")));
        }
        b'2' if link.len() > LONGEST_PATH => {
            return Err(Error::refused(format!("{name:?} links to a path over {LONGEST_PATH} bytes")));
        }
        b'2' => EntryKind::Symlink(link),
        b'3' if root => EntryKind::CharDevice { major: number(device.0)?, minor: number(device.1)? },
        b'4' if root => EntryKind::BlockDevice { major: number(device.0)?, minor: number(device.1)? },
        b'5' => EntryKind::Directory,
        b'6' if root => EntryKind::Fifo,
        b'S' => return Err(Error::refused(format!("{name:?} is stored sparse, which is not supported"))),
        _ => return Err(unknown(path, letter)),
    })
}

/// Reads a whole block, or nothing at the end of the file; returns the number of bytes.
fn read_block(reader: &mut impl Read, block: &mut [u8; BLOCK]) -> Result<usize, Error> {
    let mut filled = 0;
    while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::read("a tar header")(error)),
        }
    }
    Ok(filled)
}
