//! [`Tarball`]: a `.tar.gz` of at most so many bytes, in memory.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

/// A file of so many bytes is compressed by itself, so that its compressed size is known.
const LARGE: u64 = 4096;

/// A tar file that is being written, with all files below one directory and of one time.
pub(crate) struct Tarball {
    builder: Builder<GzEncoder<Bounded>>,
    top: String,
    modified: u64,
}

/// A finished tar file.
#[derive(Debug)]
pub(crate) struct Written {
    /// The file; `None` if it has more bytes than it may have.
    pub(crate) bytes: Option<Vec<u8>>,
    /// How many bytes it has.
    pub(crate) size: u64,
}

/// Keeps what fits, and counts the rest.
#[derive(Debug)]
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
    size: u64,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.size += bytes.len() as u64;
        if self.size <= self.most as u64 {
            self.bytes.extend_from_slice(bytes);
        } else {
            // It is not going to be used.
            self.bytes = Vec::new();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Tarball {
    /// Begins a file of at most `most` bytes. All paths in it are below `top`; `modified` is in seconds since 1970.
    pub(crate) fn new(top: String, modified: u64, most: usize) -> Self {
        let bounded = Bounded { bytes: Vec::new(), most, size: 0 };
        Self { builder: Builder::new(GzEncoder::new(bounded, Compression::default())), top, modified }
    }

    /// Adds a file of `size` bytes. Returns how many compressed bytes came out meanwhile: for a small file, those of
    /// earlier ones.
    pub(crate) fn file(&mut self, name: &str, size: u64, content: &mut dyn Read) -> io::Result<u64> {
        if size >= LARGE {
            self.builder.get_mut().flush()?;
        }
        let before = self.builder.get_ref().get_ref().size;
        let mut header = self.header(EntryType::Regular, 0o644);
        header.set_size(size);
        self.builder.append_data(&mut header, format!("{}/{name}", self.top), content)?;
        if size >= LARGE {
            self.builder.get_mut().flush()?;
        }
        Ok(self.builder.get_ref().get_ref().size - before)
    }

    /// Adds a file with this content.
    pub(crate) fn text(&mut self, name: &str, content: impl AsRef<[u8]>) -> io::Result<()> {
        let mut content = content.as_ref();
        self.file(name, content.len() as u64, &mut content).map(drop)
    }

    /// Adds a symbolic link.
    pub(crate) fn link(&mut self, name: &str, target: &str) -> io::Result<()> {
        let mut header = self.header(EntryType::Symlink, 0o777);
        header.set_size(0);
        self.builder.append_link(&mut header, format!("{}/{name}", self.top), target)
    }

    /// Ends the file.
    pub(crate) fn finish(self) -> io::Result<Written> {
        let bounded = self.builder.into_inner()?.finish()?;
        let fits = bounded.size <= bounded.most as u64;
        Ok(Written { bytes: fits.then_some(bounded.bytes), size: bounded.size })
    }

    fn header(&self, kind: EntryType, mode: u32) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(self.modified);
        header.set_uid(0);
        header.set_gid(0);
        header
    }
}
