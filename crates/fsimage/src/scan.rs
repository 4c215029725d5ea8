//! Scans a directory of the host into a [`FileTree`].

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat, lgetxattr, llistxattr, lstat, major, minor};
use rustix::io::Errno;

use crate::tree::{Content, FileTree, Metadata, Node, NodeId, NodeKind, Timestamp, TreeError};

/// A directory that could not be scanned.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// A system call failed.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was being done, as a gerund.
        action: &'static str,
        /// Path it was done to.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The path to scan is not a directory.
    #[error("{0} is not a directory")]
    NotADirectory(PathBuf),
    /// A file of unknown type.
    #[error("{path}: unknown file type {mode:o}")]
    UnknownType {
        /// Path of the file.
        path: PathBuf,
        /// Its `st_mode`.
        mode: u32,
    },
    /// A path that is not valid in a tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Reads a directory and everything below it into a tree: types, modes, owners, times, extended attributes (all that
/// the caller may see: `trusted.*` needs root), hard links, link targets and device numbers. Other file systems
/// mounted below are included. Contents stay in the files.
///
/// # Errors
/// If anything cannot be read; the error names the path.
pub fn scan(root: &Path) -> Result<FileTree, ScanError> {
    let stat = stat(root)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(ScanError::NotADirectory(root.to_owned()));
    }
    let mut scan = Scan { buffer: vec![0; 64 * 1024], links: HashMap::new() };
    let mut tree = FileTree::new(scan.metadata(root, &stat)?);
    let mut pending = vec![(root.to_owned(), Vec::new())];
    while let Some((directory, path)) = pending.pop() {
        let failed = |source| ScanError::Io { action: "listing", path: directory.clone(), source };
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().into_vec();
            let host = directory.join(std::ffi::OsStr::from_bytes(&name));
            let path = if path.is_empty() { name } else { [path.as_slice(), b"/", &name].concat() };
            if scan.add(&mut tree, &host, &path)? {
                pending.push((host, path));
            }
        }
    }
    Ok(tree)
}

struct Scan {
    /// Buffer for lists and values of extended attributes, which have at most 64 KiB.
    buffer: Vec<u8>,
    /// Hard-linked files by device and inode.
    links: HashMap<(u64, u64), NodeId>,
}

impl Scan {
    /// Adds one path. Returns whether it is a directory.
    fn add(&mut self, tree: &mut FileTree, host: &Path, path: &[u8]) -> Result<bool, ScanError> {
        let stat = stat(host)?;
        let file_type = FileType::from_raw_mode(stat.st_mode);
        let directory = file_type == FileType::Directory;
        let linked = (stat.st_nlink > 1 && !directory).then_some((stat.st_dev, stat.st_ino));
        if let Some(id) = linked.and_then(|key| self.links.get(&key)) {
            tree.link(path, *id)?;
            return Ok(false);
        }
        let (major, minor) = (major(stat.st_rdev), minor(stat.st_rdev));
        let kind = match file_type {
            FileType::Directory => NodeKind::Directory,
            FileType::RegularFile if stat.st_size == 0 => NodeKind::File(Vec::new().into()),
            FileType::RegularFile => {
                NodeKind::File(Content::HostFile { path: host.to_owned(), length: stat.st_size.unsigned_abs() })
            }
            FileType::Symlink => {
                let target = fs::read_link(host).map_err(|source| failed("reading link", host, source))?;
                NodeKind::Symlink(target.into_os_string().into_vec())
            }
            FileType::CharacterDevice => NodeKind::CharDevice { major, minor },
            FileType::BlockDevice => NodeKind::BlockDevice { major, minor },
            FileType::Fifo => NodeKind::Fifo,
            FileType::Socket => NodeKind::Socket,
            FileType::Unknown => {
                return Err(ScanError::UnknownType { path: host.to_owned(), mode: stat.st_mode });
            }
        };
        let id = tree.insert(path, Node { kind, metadata: self.metadata(host, &stat)? })?;
        if let Some(key) = linked {
            self.links.insert(key, id);
        }
        Ok(directory)
    }

    fn metadata(&mut self, host: &Path, stat: &Stat) -> Result<Metadata, ScanError> {
        let mut metadata = Metadata {
            mode: (stat.st_mode & 0o7777) as u16,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: Timestamp { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 },
            xattrs: BTreeMap::new(),
        };
        let length = match llistxattr(host, self.buffer.as_mut_slice()) {
            Ok(length) => length,
            Err(Errno::OPNOTSUPP) => 0, // a file system without any
            Err(error) => return Err(failed("listing the extended attributes of", host, error.into())),
        };
        if length > 0 {
            let names = self.buffer[..length].to_vec();
            for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
                let length = lgetxattr(host, name, self.buffer.as_mut_slice())
                    .map_err(|error| failed("reading an extended attribute of", host, error.into()))?;
                metadata.xattrs.insert(name.to_vec(), self.buffer[..length].to_vec());
            }
        }
        Ok(metadata)
    }
}

fn stat(path: &Path) -> Result<Stat, ScanError> {
    lstat(path).map_err(|error| failed("looking at", path, error.into()))
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> ScanError {
    ScanError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn takes_types_modes_links_and_targets() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/file"), "text").unwrap();
        fs::set_permissions(root.join("d/file"), fs::Permissions::from_mode(0o4711)).unwrap();
        fs::hard_link(root.join("d/file"), root.join("other")).unwrap();
        symlink("d/file", root.join("link")).unwrap();

        let tree = scan(root).unwrap();
        assert_eq!(tree.len(), 5);
        assert_eq!(tree.id("other"), tree.id("d/file"));
        assert_eq!(tree.get("d/file").unwrap().metadata.mode, 0o4711);
        assert_eq!(tree.get("link").unwrap().kind, NodeKind::Symlink(b"d/file".into()));
    }

    #[test]
    fn errors_name_the_path() {
        let error = scan(Path::new("/nowhere/at/all")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/at/all"), "{error}");
        assert!(matches!(scan(Path::new("/dev/null")), Err(ScanError::NotADirectory(_))));
    }
}
