//! Reads untrusted ext2, ext3 and ext4 images.
//!
//! Nothing is written and no journal is replayed. Checksums are verified if the file system has them.

mod content;
mod directory;
mod error;
mod extents;
mod image;
mod superblock;
mod xattrs;

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Seek};
use std::sync::Arc;

pub use content::FileReader;
pub use error::ReadError;
use sha256::Digest;
pub use superblock::Superblock;

use self::error::damaged;
use self::image::{Image, RawInode};
use super::error::shown;
use super::field::get32;
use super::format::{
    FAST_SYMLINK, INODE_EXTENTS, ROOT_INODE, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK,
};
use super::inode::decode_device;
use crate::tree::{Content, FileTree, Metadata, Node, NodeKind};

/// Limits for reading an untrusted image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of paths.
    pub entries: usize,
    /// Maximum memory in bytes for paths, link targets, extended attributes and, if requested, contents.
    pub memory: u64,
}

impl Default for Limits {
    /// Four million paths, 1 GiB.
    fn default() -> Self {
        Self { entries: 4_000_000, memory: 1 << 30 }
    }
}

/// Maximum length of a path in bytes; the kernel's own limit is 4096.
const LONGEST_PATH: usize = 16 * 1024;

/// A path of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ext4Entry {
    /// Path, as in a [`FileTree`].
    pub path: Vec<u8>,
    /// Inode number; paths with the same one are hard links.
    pub inode: u32,
    /// Number of links according to the inode.
    pub links: u16,
    /// Type of the file.
    pub kind: EntryKind,
    /// Mode, owner, time, extended attributes.
    pub metadata: Metadata,
}

/// Type of a path in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Length in bytes.
        size: u64,
    },
    /// Anything else; never [`NodeKind::File`].
    Other(NodeKind),
}

/// An image open for reading.
#[derive(Debug)]
pub struct Reader<R> {
    image: Image<R>,
}

impl<R: Read + Seek> Reader<R> {
    /// Opens the file system at byte `offset`.
    ///
    /// # Errors
    /// If there is none, it is truncated or damaged, or has unsupported features.
    pub fn open(mut reader: R, offset: u64) -> Result<Self, ReadError> {
        let length = reader.seek(io::SeekFrom::End(0)).map_err(|source| ReadError::Io { offset, length: 0, source })?;
        let image = Image::open(reader, offset)?;
        // All bounds below rely on this one: there cannot be more blocks than there are bytes.
        if length.saturating_sub(offset) < image.superblock.size() {
            return damaged(format!("it has {} bytes and should have {}", length - offset, image.superblock.size()));
        }
        Ok(Self { image })
    }

    /// The superblock.
    pub fn superblock(&self) -> &Superblock {
        &self.image.superblock
    }

    /// All paths in byte order, starting with the root (`""`).
    ///
    /// # Errors
    /// If the file system is damaged or exceeds the limits.
    pub fn entries(&mut self, limits: Limits) -> Result<Vec<Ext4Entry>, ReadError> {
        let mut budget = Budget(limits.memory);
        let root = self.image.inode(ROOT_INODE)?;
        let mut entries = vec![self.entry(Vec::new(), &root, &mut budget)?];
        if entries[0].kind != EntryKind::Other(NodeKind::Directory) {
            return damaged("its root is not a directory");
        }
        let mut seen = HashSet::from([ROOT_INODE]);
        let mut pending = vec![(root, Vec::new())];
        while let Some((directory, path)) = pending.pop() {
            for (name, number) in self.names(&directory, limits.entries.saturating_sub(entries.len()))? {
                let path = if path.is_empty() { name } else { [path.as_slice(), b"/", &name].concat() };
                if path.len() > LONGEST_PATH {
                    return Err(ReadError::OverLimit(format!("a path of over {LONGEST_PATH} bytes")));
                }
                let inode = self.image.inode(number)?;
                let entry = self.entry(path, &inode, &mut budget)?;
                if entry.kind == EntryKind::Other(NodeKind::Directory) {
                    if !seen.insert(number) {
                        return damaged(format!("directory {number} is in two places"));
                    }
                    pending.push((inode, entry.path.clone()));
                }
                entries.push(entry);
            }
        }
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        match entries.windows(2).find(|pair| matches!(pair, [a, b] if a.path == b.path)) {
            Some(pair) => damaged(format!("{} is there twice", shown(&pair[0].path))),
            None => Ok(entries),
        }
    }

    /// Reads the whole image into a tree, with all contents in memory.
    ///
    /// # Errors
    /// If the file system is damaged or exceeds the limits.
    pub fn tree(&mut self, limits: Limits) -> Result<FileTree, ReadError> {
        let mut entries = self.entries(limits)?.into_iter();
        let root = entries.next().map_or_else(|| damaged("it has no root"), Ok)?;
        let mut budget = Budget(limits.memory);
        let mut tree = FileTree::new(root.metadata);
        let mut nodes = HashMap::new();
        for entry in entries {
            let failed = |error: crate::TreeError| ReadError::Damaged(error.to_string());
            if let Some(id) = nodes.get(&entry.inode) {
                tree.link(&entry.path, *id).map_err(failed)?;
                continue;
            }
            let kind = match entry.kind {
                EntryKind::Other(kind) => kind,
                EntryKind::File { size } => {
                    budget.spend(size, &entry.path)?;
                    let inode = self.image.inode(entry.inode)?;
                    NodeKind::File(Content::Bytes(Arc::from(self.content(&inode, &entry.path)?)))
                }
            };
            let directory = kind == NodeKind::Directory;
            let id = tree.insert(&entry.path, Node { kind, metadata: entry.metadata }).map_err(failed)?;
            if !directory {
                nodes.insert(entry.inode, id);
            }
        }
        Ok(tree)
    }

    /// Opens a regular file by its path; symbolic links are not followed.
    ///
    /// # Errors
    /// If the file does not exist, or the file system is damaged.
    pub fn open_file(&mut self, path: impl AsRef<[u8]>) -> Result<FileReader<'_, R>, ReadError> {
        let path = path.as_ref();
        let mut inode = self.image.inode(ROOT_INODE)?;
        for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            if inode.mode() & S_IFMT != S_IFDIR {
                return Err(ReadError::NotFound(shown(path)));
            }
            let mut found = None;
            directory::for_each(&mut self.image, &inode, |name, number| {
                if name == part {
                    found = Some(number);
                }
                Ok(())
            })?;
            inode = self.image.inode(found.ok_or_else(|| ReadError::NotFound(shown(path)))?)?;
        }
        self.file_reader(&inode, path)
    }

    /// Opens the regular file of an entry.
    ///
    /// # Errors
    /// If it is not a regular file, or the file system is damaged.
    pub fn open_entry(&mut self, entry: &Ext4Entry) -> Result<FileReader<'_, R>, ReadError> {
        let inode = self.image.inode(entry.inode)?;
        self.file_reader(&inode, &entry.path)
    }

    /// The SHA-256 of the content of a regular file. Holes are hashed as zeros: for an untrusted image, check the size
    /// first, which can be up to 16 TiB however small the image is.
    ///
    /// # Errors
    /// If it is not a regular file, or the file system is damaged.
    pub fn digest(&mut self, entry: &Ext4Entry) -> Result<Digest, ReadError> {
        let reader = self.open_entry(entry)?;
        Digest::of_reader(reader).map(|(digest, _)| digest).map_err(|error| in_content(error, &entry.path))
    }

    fn file_reader(&mut self, inode: &RawInode, path: &[u8]) -> Result<FileReader<'_, R>, ReadError> {
        if inode.mode() & S_IFMT == S_IFREG {
            FileReader::new(&mut self.image, inode)
        } else {
            Err(ReadError::NotAFile(shown(path)))
        }
    }

    /// The names in a directory, at most `most`.
    fn names(&mut self, inode: &RawInode, most: usize) -> Result<Vec<(Vec<u8>, u32)>, ReadError> {
        let mut names = Vec::new();
        directory::for_each(&mut self.image, inode, |name, number| {
            if names.len() >= most {
                return Err(ReadError::OverLimit("it has too many paths".into()));
            }
            names.push((name.to_vec(), number));
            Ok(())
        })?;
        Ok(names)
    }

    fn entry(&mut self, path: Vec<u8>, inode: &RawInode, budget: &mut Budget) -> Result<Ext4Entry, ReadError> {
        let block = inode.block();
        let (major, minor) = decode_device(get32(block, 0), get32(block, 4));
        let kind = match inode.mode() & S_IFMT {
            S_IFREG => EntryKind::File { size: inode.size() },
            S_IFDIR => EntryKind::Other(NodeKind::Directory),
            S_IFLNK => EntryKind::Other(NodeKind::Symlink(self.target(inode, &path)?)),
            S_IFCHR => EntryKind::Other(NodeKind::CharDevice { major, minor }),
            S_IFBLK => EntryKind::Other(NodeKind::BlockDevice { major, minor }),
            S_IFIFO => EntryKind::Other(NodeKind::Fifo),
            S_IFSOCK => EntryKind::Other(NodeKind::Socket),
            _ => return damaged(format!("inode {} ({}) has no file type", inode.number, shown(&path))),
        };
        let metadata = Metadata {
            mode: inode.mode() & 0o7777,
            uid: inode.uid(),
            gid: inode.gid(),
            mtime: inode.mtime(),
            xattrs: xattrs::of(&mut self.image, inode)?,
        };
        let target = if let EntryKind::Other(NodeKind::Symlink(target)) = &kind { target.len() } else { 0 };
        let attributes: usize = metadata.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        budget.spend((path.len() + target + attributes) as u64, &path)?;
        Ok(Ext4Entry { path, inode: inode.number, links: inode.links(), kind, metadata })
    }

    fn target(&mut self, inode: &RawInode, path: &[u8]) -> Result<Vec<u8>, ReadError> {
        let size = inode.size();
        if size < FAST_SYMLINK as u64 && inode.flags() & INODE_EXTENTS == 0 {
            return Ok(inode.block().get(..size as usize).unwrap_or_default().to_vec());
        }
        if size > self.image.block_size() {
            return damaged(format!("the symbolic link {} is too long", shown(path)));
        }
        self.content(inode, path)
    }

    /// Reads the whole content; its size was checked.
    fn content(&mut self, inode: &RawInode, path: &[u8]) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        FileReader::new(&mut self.image, inode)?.read_to_end(&mut bytes).map_err(|error| in_content(error, path))?;
        Ok(bytes)
    }
}

/// Extracts our own error from an error of [`Read`].
fn in_content(error: io::Error, path: &[u8]) -> ReadError {
    match error.downcast::<ReadError>() {
        Ok(error) => error,
        Err(source) => ReadError::Damaged(format!("reading {}: {source}", shown(path))),
    }
}

/// Reads a whole image in memory into a tree, with all parts of the reader: for fuzzing and small images.
///
/// # Errors
/// As [`Reader::open`] and [`Reader::tree`].
pub fn read(bytes: &[u8], limits: Limits) -> Result<FileTree, ReadError> {
    Reader::open(io::Cursor::new(bytes), 0)?.tree(limits)
}

/// Number of bytes of memory that may still be used.
struct Budget(u64);

impl Budget {
    fn spend(&mut self, bytes: u64, path: &[u8]) -> Result<(), ReadError> {
        self.0 = self.0.checked_sub(bytes).ok_or_else(|| {
            ReadError::OverLimit(format!("{} and what came before need more memory than allowed", shown(path)))
        })?;
        Ok(())
    }
}
