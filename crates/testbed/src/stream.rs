//! The format of a directory's contents in the pipe between host and testbed.
//!
//! One process is inside and the other outside, each restricted to its own directory by chroot(2), so that no link and
//! no `..` leads out. Both are the same program, so the format is private: entries, parents first, then
//! [`End`](Entry::End). Numbers are little-endian; a path or target is preceded by its length in bytes (u16).

use std::io::{self, Read, Write};

/// Longest path or link target, in bytes (`PATH_MAX`).
const LONGEST: usize = 4096;

/// An entry of a directory. Paths are relative and not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A directory; it precedes its contents.
    Directory { path: Vec<u8>, mode: u32 },
    /// A file. Its [extents](Extent) follow, each with its bytes, and then [`Extent::LAST`].
    File { path: Vec<u8>, mode: u32, modified: (i64, u32), size: u64 },
    /// A hard link to a file that was sent before.
    HardLink { path: Vec<u8>, target: Vec<u8> },
    /// A symbolic link.
    Symlink { path: Vec<u8>, target: Vec<u8> },
    /// The end.
    End,
}

impl Entry {
    /// Its path below the directory that is sent; `None` of the end.
    pub(crate) fn path(&self) -> Option<&[u8]> {
        match self {
            Self::Directory { path, .. }
            | Self::File { path, .. }
            | Self::HardLink { path, .. }
            | Self::Symlink { path, .. } => Some(path),
            Self::End => None,
        }
    }

    /// Writes the entry, without the file's bytes.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Directory { path, mode } => {
                out.write_all(b"d")?;
                write_bytes(out, path)?;
                out.write_all(&mode.to_le_bytes())
            }
            Self::File { path, mode, modified: (seconds, nanoseconds), size } => {
                out.write_all(b"f")?;
                write_bytes(out, path)?;
                out.write_all(&mode.to_le_bytes())?;
                out.write_all(&seconds.to_le_bytes())?;
                out.write_all(&nanoseconds.to_le_bytes())?;
                out.write_all(&size.to_le_bytes())
            }
            Self::HardLink { path, target } => {
                out.write_all(b"h")?;
                write_bytes(out, path)?;
                write_bytes(out, target)
            }
            Self::Symlink { path, target } => {
                out.write_all(b"l")?;
                write_bytes(out, path)?;
                write_bytes(out, target)
            }
            Self::End => out.write_all(b"."),
        }
    }

    /// Reads an entry, without the file's bytes.
    pub(crate) fn read(from: &mut impl Read) -> io::Result<Self> {
        let [kind] = array(from)?;
        let entry = match kind {
            b'd' => Self::Directory { path: read_bytes(from)?, mode: u32::from_le_bytes(array(from)?) },
            b'f' => Self::File {
                path: read_bytes(from)?,
                mode: u32::from_le_bytes(array(from)?),
                modified: (i64::from_le_bytes(array(from)?), u32::from_le_bytes(array(from)?)),
                size: u64::from_le_bytes(array(from)?),
            },
            b'h' => Self::HardLink { path: read_bytes(from)?, target: read_bytes(from)? },
            b'l' => Self::Symlink { path: read_bytes(from)?, target: read_bytes(from)? },
            b'.' => Self::End,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "no entry begins like this")),
        };
        Ok(entry)
    }
}

/// A part of a file that is not a hole. Extents are in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Offset in the file, in bytes.
    pub(crate) offset: u64,
    /// Number of bytes that follow in the stream.
    pub(crate) length: u64,
}

impl Extent {
    /// The end of a file.
    pub(crate) const LAST: Self = Self { offset: 0, length: 0 };

    /// Offset of the end in the file.
    pub(crate) fn end(self) -> u64 {
        self.offset.saturating_add(self.length)
    }

    /// Writes it, without its bytes.
    pub(crate) fn write(self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.offset.to_le_bytes())?;
        out.write_all(&self.length.to_le_bytes())
    }

    /// Reads one, without its bytes.
    pub(crate) fn read(from: &mut impl Read) -> io::Result<Self> {
        Ok(Self { offset: u64::from_le_bytes(array(from)?), length: u64::from_le_bytes(array(from)?) })
    }
}

fn write_bytes(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u16::try_from(bytes.len()).ok().filter(|length| usize::from(*length) <= LONGEST);
    let length =
        length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidFilename, "a path of more than 4096 bytes"))?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(bytes)
}

fn read_bytes(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let length = usize::from(u16::from_le_bytes(array(from)?));
    if !(1..=LONGEST).contains(&length) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a path of more than 4096 bytes, or of none"));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry() -> impl Strategy<Value = Entry> {
        let path = || prop::collection::vec(any::<u8>(), 1..100);
        prop_oneof![
            (path(), any::<u32>()).prop_map(|(path, mode)| Entry::Directory { path, mode }),
            (path(), any::<u32>(), any::<(i64, u32)>(), any::<u64>())
                .prop_map(|(path, mode, modified, size)| Entry::File { path, mode, modified, size }),
            (path(), path()).prop_map(|(path, target)| Entry::HardLink { path, target }),
            (path(), path()).prop_map(|(path, target)| Entry::Symlink { path, target }),
            Just(Entry::End),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(entries in prop::collection::vec(entry(), 0..10)) {
            let mut stream = Vec::new();
            for entry in &entries {
                entry.write(&mut stream).unwrap();
            }
            let mut rest = stream.as_slice();
            for entry in &entries {
                prop_assert_eq!(&Entry::read(&mut rest).unwrap(), entry);
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn any_bytes_are_an_entry_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Entry::read(&mut bytes.as_slice());
        }
    }

    #[test]
    fn parts_that_are_written_are_read() {
        let extent = Extent { offset: 7 << 60, length: 4096 };
        let mut stream = Vec::new();
        extent.write(&mut stream).unwrap();
        assert_eq!(Extent::read(&mut stream.as_slice()).unwrap(), extent);
        assert!(Extent::read(&mut &stream[..15]).is_err());
    }

    #[test]
    fn a_path_that_the_kernel_would_not_take_is_refused() {
        let entry = Entry::Directory { path: vec![b'a'; LONGEST + 1], mode: 0o755 };
        assert!(entry.write(&mut Vec::new()).is_err());
    }
}
