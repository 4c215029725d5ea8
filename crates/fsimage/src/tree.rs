//! [`FileTree`]: all paths of a file system with their metadata, and the location of their content.
//!
//! It is central to an image build: a root directory is scanned into one, finishing changes it, and each writer turns
//! it into a file system image. Iteration is in the byte order of the paths, so that everything made from a tree is
//! reproducible. File contents stay where they are until a writer reads them, one block at a time.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::PathBuf;
use std::sync::Arc;

/// Identifies a node of a [`FileTree`]; two paths with the same id are hard links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

/// A point in time as in file systems: seconds since 1970 (negative before) and nanoseconds (0..1e9) after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down.
    pub seconds: i64,
    /// Nanoseconds after `seconds`, less than 1,000,000,000.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// Makes a timestamp of whole seconds.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self { seconds, nanoseconds: 0 }
    }
}

/// Location of a regular file's content.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// In memory: generated or small files.
    Bytes(Arc<[u8]>),
    /// In a file on this machine, `length` bytes long; writers preserve its holes if they can.
    HostFile {
        /// Path of the file.
        path: PathBuf,
        /// Length in bytes when the tree was made; a writer fails if it has changed.
        length: u64,
    },
}

impl Content {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::HostFile { length, .. } => *length,
        }
    }

    /// Whether the content is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Opens the content for reading from the start.
    pub fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        match self {
            Self::Bytes(bytes) => Ok(Box::new(Cursor::new(Arc::clone(bytes)))),
            Self::HostFile { path, .. } => File::open(path)
                .map(|file| Box::new(file) as Box<dyn Read + Send>)
                .map_err(|error| io::Error::new(error.kind(), format!("opening {}: {error}", path.display()))),
        }
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().into())
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::HostFile { path, length } => write!(f, "HostFile({}, {length} bytes)", path.display()),
        }
    }
}

/// Type of a node, with its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// A directory; its children are the tree's paths below it.
    Directory,
    /// A regular file.
    File(Content),
    /// A symbolic link with this target.
    Symlink(Vec<u8>),
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
    /// A Unix socket.
    Socket,
}

/// Metadata of a node: all but its type and names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Permission bits with setuid, setgid and sticky: `0o7777` at most. No file type.
    pub mode: u16,
    /// Owner's user id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Time of the last content change; writers use it for all of a node's times.
    pub mtime: Timestamp,
    /// Extended attributes by full name (`security.capability`), values as getxattr(2) gives them.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Metadata {
    /// Metadata of a file owned by root, with these permission bits and this time, without extended attributes.
    pub const fn root(mode: u16, mtime: Timestamp) -> Self {
        Self { mode, uid: 0, gid: 0, mtime, xattrs: BTreeMap::new() }
    }
}

/// A file, directory or other inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Type and data.
    pub kind: NodeKind,
    /// Mode, owner, time, extended attributes.
    pub metadata: Metadata,
}

impl Node {
    /// Whether this is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, NodeKind::Directory)
    }
}

/// A path that cannot be added to a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The path is absolute, empty, with `.`, `..`, an empty component or a NUL byte, or has a name over 255 bytes.
    #[error("{:?} is not a path of a file tree: it has to be relative, without empty, `.` or `..` components, each at most 255 bytes", String::from_utf8_lossy(.0))]
    BadPath(Vec<u8>),
    /// The parent directory does not exist.
    #[error("{:?} has no parent directory in the tree", String::from_utf8_lossy(.0))]
    NoParent(Vec<u8>),
    /// Its parent is a file, link or device.
    #[error("the parent of {:?} is not a directory", String::from_utf8_lossy(.0))]
    ParentNotDirectory(Vec<u8>),
    /// A node of another type exists there, or a directory that is not empty.
    #[error("{:?} is there already and cannot be replaced", String::from_utf8_lossy(.0))]
    Exists(Vec<u8>),
    /// The path does not exist.
    #[error("{:?} is not in the tree", String::from_utf8_lossy(.0))]
    NotFound(Vec<u8>),
    /// Directories cannot have hard links.
    #[error("{:?} is a directory and cannot be hard-linked", String::from_utf8_lossy(.0))]
    LinkToDirectory(Vec<u8>),
}

/// A whole file system, by path. Paths are relative bytes (`usr/bin/env`); the root directory is the empty path and
/// always exists.
#[derive(Debug, Clone)]
pub struct FileTree {
    paths: BTreeMap<Vec<u8>, NodeId>,
    nodes: Vec<Node>,
}

impl FileTree {
    /// A tree with only its root directory.
    pub fn new(root: Metadata) -> Self {
        let nodes = vec![Node { kind: NodeKind::Directory, metadata: root }];
        Self { paths: BTreeMap::from([(Vec::new(), NodeId(0))]), nodes }
    }

    /// Adds a node, or replaces one that is not a directory. Replacing a directory by a directory changes its metadata.
    pub fn insert(&mut self, path: impl AsRef<[u8]>, node: Node) -> Result<NodeId, TreeError> {
        let path = path.as_ref();
        if !path.is_empty() {
            self.check_place(path)?;
        }
        if let Some(&id) = self.paths.get(path) {
            let old = &self.nodes[id.0 as usize];
            match (old.is_directory(), node.is_directory()) {
                (true, true) => {
                    self.nodes[id.0 as usize] = node;
                    return Ok(id);
                }
                (false, false) => {} // a new inode under the old name; other names keep the old one
                _ => return Err(TreeError::Exists(path.to_vec())),
            }
        }
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(node);
        self.paths.insert(path.to_vec(), id);
        Ok(id)
    }

    /// Adds a hard link to an existing node that is not a directory.
    pub fn link(&mut self, path: impl AsRef<[u8]>, id: NodeId) -> Result<(), TreeError> {
        let path = path.as_ref();
        self.check_place(path)?;
        if self.nodes[id.0 as usize].is_directory() {
            return Err(TreeError::LinkToDirectory(path.to_vec()));
        }
        if self.get(path).is_some_and(Node::is_directory) {
            return Err(TreeError::Exists(path.to_vec()));
        }
        self.paths.insert(path.to_vec(), id);
        Ok(())
    }

    /// Creates a directory and its missing parents, all with this metadata; existing ones stay as they are.
    pub fn create_directories(&mut self, path: impl AsRef<[u8]>, metadata: &Metadata) -> Result<(), TreeError> {
        let path = path.as_ref();
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in ends.chain([path.len()]) {
            let part = &path[..end];
            if !self.get(part).is_some_and(Node::is_directory) {
                self.insert(part, Node { kind: NodeKind::Directory, metadata: metadata.clone() })?;
            }
        }
        Ok(())
    }

    /// Removes a path, including everything below a directory. The root itself stays, emptied.
    pub fn remove(&mut self, path: impl AsRef<[u8]>) -> Result<(), TreeError> {
        let path = path.as_ref();
        let directory = self.get(path).ok_or_else(|| TreeError::NotFound(path.to_vec()))?.is_directory();
        if directory {
            let below: Vec<_> = self.descendants(path).map(|(path, _)| path.to_vec()).collect();
            for path in below {
                self.paths.remove(&path);
            }
        }
        if !path.is_empty() {
            self.paths.remove(path);
        }
        Ok(())
    }

    /// The node at a path; symbolic links are not followed.
    pub fn get(&self, path: impl AsRef<[u8]>) -> Option<&Node> {
        self.id(path).map(|id| self.node(id))
    }

    /// The node at a path, for modification; all its hard links see the change.
    pub fn get_mut(&mut self, path: impl AsRef<[u8]>) -> Option<&mut Node> {
        let id = self.id(path)?;
        self.nodes.get_mut(id.0 as usize)
    }

    /// The node id of a path.
    pub fn id(&self, path: impl AsRef<[u8]>) -> Option<NodeId> {
        self.paths.get(path.as_ref()).copied()
    }

    /// The node with an id of this tree.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// All paths in byte order, the root (`""`) first; a directory comes before its children.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], NodeId)> {
        self.paths.iter().map(|(path, id)| (path.as_slice(), *id))
    }

    /// All paths below a directory, at any depth, without the directory itself.
    pub fn descendants(&self, directory: impl AsRef<[u8]>) -> impl Iterator<Item = (&[u8], NodeId)> {
        let mut prefix = directory.as_ref().to_vec();
        if !prefix.is_empty() {
            prefix.push(b'/');
        }
        let start = prefix.clone();
        self.paths
            .range(start..)
            .take_while(move |(path, _)| path.starts_with(&prefix))
            .filter(|(path, _)| !path.is_empty())
            .map(|(path, id)| (path.as_slice(), *id))
    }

    /// Number of names of each reachable node: 2 and more for hard links; always 1 for directories here.
    pub fn link_counts(&self) -> HashMap<NodeId, u32> {
        let mut counts = HashMap::with_capacity(self.paths.len());
        for id in self.paths.values() {
            *counts.entry(*id).or_insert(0) += 1;
        }
        counts
    }

    /// Number of paths, including the root.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether there is only the root directory.
    pub fn is_empty(&self) -> bool {
        self.paths.len() == 1
    }

    fn check_place(&self, path: &[u8]) -> Result<(), TreeError> {
        let bad =
            |part: &[u8]| part.is_empty() || part == b"." || part == b".." || part.len() > 255 || part.contains(&0);
        if path.split(|byte| *byte == b'/').any(bad) {
            return Err(TreeError::BadPath(path.to_vec()));
        }
        let parent = path.iter().rposition(|byte| *byte == b'/').map_or(&b""[..], |slash| &path[..slash]);
        match self.get(parent) {
            Some(node) if node.is_directory() => Ok(()),
            Some(_) => Err(TreeError::ParentNotDirectory(path.to_vec())),
            None => Err(TreeError::NoParent(path.to_vec())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Timestamp = Timestamp::from_seconds(0);

    fn file(text: &str) -> Node {
        Node { kind: NodeKind::File(text.into()), metadata: Metadata::root(0o644, EPOCH) }
    }

    fn tree() -> FileTree {
        let directory = Metadata::root(0o755, EPOCH);
        let mut tree = FileTree::new(directory.clone());
        tree.create_directories("usr/bin", &directory).unwrap();
        tree.insert("usr/bin/env", file("env")).unwrap();
        tree
    }

    #[test]
    fn iterates_in_byte_order_with_parents_first() {
        let mut tree = tree();
        tree.insert("usr-local", file("")).unwrap();
        let paths: Vec<_> = tree.iter().map(|(path, _)| String::from_utf8_lossy(path).into_owned()).collect();
        assert_eq!(paths, ["", "usr", "usr-local", "usr/bin", "usr/bin/env"]);
    }

    #[test]
    fn hard_links_share_one_node() {
        let mut tree = tree();
        let id = tree.id("usr/bin/env").unwrap();
        tree.link("usr/bin/printenv", id).unwrap();
        tree.get_mut("usr/bin/printenv").unwrap().metadata.mode = 0o600;
        assert_eq!(tree.get("usr/bin/env").unwrap().metadata.mode, 0o600);
        assert_eq!(tree.link_counts()[&id], 2);
    }

    #[test]
    fn refuses_paths_that_leave_the_tree() {
        let mut tree = tree();
        for path in ["/etc", "usr/../etc", "usr//x", "./x", "usr/bin/"] {
            assert!(matches!(tree.insert(path, file("")), Err(TreeError::BadPath(_))), "{path}");
        }
        assert!(matches!(tree.insert("no/where", file("")), Err(TreeError::NoParent(_))));
        assert!(matches!(tree.insert("usr/bin/env/x", file("")), Err(TreeError::ParentNotDirectory(_))));
    }

    #[test]
    fn removing_a_directory_removes_what_is_below() {
        let mut tree = tree();
        tree.insert("usr.txt", file("stays")).unwrap();
        tree.remove("usr").unwrap();
        let paths: Vec<_> = tree.iter().map(|(path, _)| path.to_vec()).collect();
        assert_eq!(paths, [b"".to_vec(), b"usr.txt".to_vec()]);
    }
}
