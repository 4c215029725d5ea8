//! Reads archives into trees.

use std::collections::{BTreeMap, HashMap};

use super::{HEADER, TRAILER, file_type};
use crate::tree::{FileTree, Metadata, Node, NodeId, NodeKind, Timestamp, TreeError};

/// An archive that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The data does not begin with the magic number of newc.
    #[error("this is not a cpio archive in the newc format")]
    NotCpio,
    /// A header or content exceeds the end of the data.
    #[error("the cpio archive ends in the middle of the entry at byte {0}")]
    CutShort(usize),
    /// A header is damaged.
    #[error("the cpio archive is damaged at byte {at}: {what}")]
    Damaged {
        /// Offset of the entry.
        at: usize,
        /// Description of the damage.
        what: &'static str,
    },
    /// A path is not valid.
    #[error("the cpio archive has a bad entry at byte {at}: {source}")]
    BadPath {
        /// Offset of the entry.
        at: usize,
        /// The cause.
        source: TreeError,
    },
    /// The archive exceeds the limits.
    #[error("the cpio archive has more than {0} entries")]
    OverLimit(usize),
}

/// Limits for reading an untrusted archive. Its content takes no more memory than the archive itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of paths.
    pub entries: usize,
}

impl Default for Limits {
    /// One million paths.
    fn default() -> Self {
        Self { entries: 1_000_000 }
    }
}

/// Result of reading.
#[derive(Debug, Clone)]
pub struct Archive {
    /// All archives unpacked over each other, as the kernel does.
    pub tree: FileTree,
    /// Offset where the archives end and other data begins, such as a compressed archive; else the length of the data.
    pub end: usize,
}

/// Reads archives in the newc format, one after the other with zeros between them, up to the end or to other data.
/// Files of later archives replace those of earlier ones. The root has mode 0755 and time 0 if no archive includes it.
///
/// # Errors
/// If there is no archive, it is damaged, or it exceeds the limits.
pub fn read(bytes: &[u8], limits: Limits) -> Result<Archive, ReadError> {
    let mut tree = FileTree::new(Metadata::root(0o755, Timestamp::from_seconds(0)));
    if !is_magic(bytes) {
        return Err(ReadError::NotCpio);
    }
    // Hard links have the same inode number, but only within one archive.
    let mut links: HashMap<[u32; 3], NodeId> = HashMap::new();
    let (mut at, mut entries) = (0, 0);
    loop {
        let entry = Entry::parse(bytes, at)?;
        if entry.name == TRAILER {
            links.clear();
            let rest = bytes.get(entry.end..).unwrap_or_default();
            let Some(zeros) = rest.iter().position(|byte| *byte != 0) else {
                return Ok(Archive { tree, end: bytes.len() });
            };
            at = entry.end + zeros;
            if !at.is_multiple_of(4) || !is_magic(&rest[zeros..]) {
                return Ok(Archive { tree, end: at });
            }
            continue;
        }
        entries += 1;
        if entries > limits.entries {
            return Err(ReadError::OverLimit(limits.entries));
        }
        entry.add_to(&mut tree, &mut links)?;
        at = entry.end;
    }
}

/// The magic numbers without and with checksums, which are not verified.
fn is_magic(bytes: &[u8]) -> bool {
    bytes.starts_with(b"070701") || bytes.starts_with(b"070702")
}

struct Entry<'a> {
    /// Offset of the entry in the archive.
    at: usize,
    /// Offset of the next entry.
    end: usize,
    /// The 13 numbers of the header.
    numbers: [u32; 13],
    name: &'a [u8],
    content: &'a [u8],
}

impl<'a> Entry<'a> {
    fn parse(bytes: &'a [u8], at: usize) -> Result<Self, ReadError> {
        let damaged = |what| ReadError::Damaged { at, what };
        let part = |from: usize, length: u32| {
            let end = from.checked_add(length as usize).filter(|end| *end <= bytes.len());
            end.and_then(|end| bytes.get(from..end)).ok_or(ReadError::CutShort(at))
        };
        let header = part(at, HEADER as u32)?;
        if !is_magic(header) {
            return Err(damaged("there is no magic number"));
        }
        let mut numbers = [0; 13];
        for (number, digits) in numbers.iter_mut().zip(header.get(6..).unwrap_or_default().chunks_exact(8)) {
            *number =
                hexadecimal(digits).ok_or_else(|| damaged("a number has other characters than 0 to 9 and a to f"))?;
        }
        let (content_length, name_length) = (numbers[6], numbers[11]);
        let name = part(at + HEADER, name_length)?;
        let content_at = (at + HEADER + name.len()).next_multiple_of(4);
        let content = part(content_at, content_length)?;
        let name = name.strip_suffix(&[0]).ok_or_else(|| damaged("a name has no end"))?;
        let end = (content_at + content.len()).next_multiple_of(4).min(bytes.len());
        Ok(Self { at, end, numbers, name, content })
    }

    fn add_to(&self, tree: &mut FileTree, links: &mut HashMap<[u32; 3], NodeId>) -> Result<(), ReadError> {
        let [inode, mode, uid, gid, link_count, time, _, major, minor, device_major, device_minor, ..] = self.numbers;
        let bad_path = |source| ReadError::BadPath { at: self.at, source };
        let path = relative(self.name);
        let (major_minor, is_file) = ([inode, major, minor], mode & file_type::MASK == file_type::FILE);
        if let (true, true, Some(id)) = (is_file, link_count > 1, links.get(&major_minor)) {
            if tree.id(path) != Some(*id) {
                tree.link(path, *id).map_err(bad_path)?;
            }
            // One of the names has the content.
            if let (false, Some(node)) = (self.content.is_empty(), tree.get_mut(path)) {
                node.kind = NodeKind::File(self.content.to_vec().into());
            }
            return Ok(());
        }
        let kind = match mode & file_type::MASK {
            file_type::DIRECTORY => NodeKind::Directory,
            file_type::FILE => NodeKind::File(self.content.to_vec().into()),
            file_type::SYMLINK => NodeKind::Symlink(self.content.to_vec()),
            file_type::CHAR_DEVICE => NodeKind::CharDevice { major: device_major, minor: device_minor },
            file_type::BLOCK_DEVICE => NodeKind::BlockDevice { major: device_major, minor: device_minor },
            file_type::FIFO => NodeKind::Fifo,
            file_type::SOCKET => NodeKind::Socket,
            _ => return Err(ReadError::Damaged { at: self.at, what: "there is no such file type" }),
        };
        let mtime = Timestamp::from_seconds(i64::from(time));
        let metadata = Metadata { mode: (mode & 0o7777) as u16, uid, gid, mtime, xattrs: BTreeMap::new() };
        let id = tree.insert(path, Node { kind, metadata }).map_err(bad_path)?;
        if is_file && link_count > 1 {
            links.insert(major_minor, id);
        }
        Ok(())
    }
}

/// Converts a name to a path of a tree: `.` is the root, and a leading `/` or `./` is removed.
fn relative(name: &[u8]) -> &[u8] {
    let mut path = name;
    while let Some(rest) = path.strip_prefix(b"/").or_else(|| path.strip_prefix(b"./")) {
        path = rest;
    }
    if path == b"." { b"" } else { path }
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |number, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        number.checked_mul(16)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpio::write;

    fn archive(names: &[&str]) -> Vec<u8> {
        let metadata = Metadata::root(0o644, Timestamp::from_seconds(5));
        let mut tree = FileTree::new(metadata.clone());
        for name in names {
            tree.insert(name, Node { kind: NodeKind::File((*name).into()), metadata: metadata.clone() }).unwrap();
        }
        let mut bytes = Vec::new();
        write(&tree, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn archives_lie_over_each_other() {
        let bytes = [archive(&["a", "b"]), vec![0; 1000 * 4], archive(&["b", "c"])].concat();
        let read = read(&bytes, Limits::default()).unwrap();
        assert_eq!((read.tree.len(), read.end), (4, bytes.len()));
    }

    #[test]
    fn what_comes_after_is_left_alone() {
        let first = archive(&["a"]);
        let bytes = [first.clone(), b"\x28\xb5\x2f\xfd zstd".to_vec()].concat();
        assert_eq!(read(&bytes, Limits::default()).unwrap().end, first.len());
    }

    #[test]
    fn broken_archives_are_refused() {
        let good = archive(&["abc"]);
        assert_eq!(read(b"", Limits::default()).unwrap_err(), ReadError::NotCpio);
        for length in 6..good.len() - 300 {
            assert!(read(&good[..length], Limits::default()).is_err(), "{length}");
        }
        let mut bad = good.clone();
        bad[10] = b'+';
        assert!(matches!(read(&bad, Limits::default()), Err(ReadError::Damaged { at: 0, .. })));
        assert_eq!(read(&good, Limits { entries: 1 }).unwrap_err(), ReadError::OverLimit(1));
        let climbing = String::from_utf8(good).unwrap().replace("abc\0", "../\0");
        assert!(matches!(read(climbing.as_bytes(), Limits::default()), Err(ReadError::BadPath { .. })));
    }
}
