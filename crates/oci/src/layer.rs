//! [`Layer`]: a file tree as a compressed tar archive (image specification, `layer.md`).

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek as _, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use fsimage::{FileTree, Node, NodeId, NodeKind};
use tar::{Builder, EntryType, Header};

use crate::hashed::Hashed;
use crate::{Digest, Error};

/// Prefix of the names by which a layer removes files of those below.
const WHITEOUT: &[u8] = b".wh.";

/// Keyword of a PAX record with an extended attribute.
const XATTR: &str = "SCHILY.xattr.";

/// A written layer.
#[derive(Debug)]
pub struct Layer {
    /// The compressed archive; removed when this is dropped.
    pub(crate) file: File,
    /// Digest of the compressed archive.
    pub digest: Digest,
    /// Digest of the archive before compression.
    pub diff_id: Digest,
    /// Length of the compressed archive in bytes.
    pub size: u64,
    /// What it has, for the image's history.
    pub(crate) what: String,
}

impl Layer {
    /// Writes a tree as a layer: a tar archive in the order of the paths, compressed by gzip, which every engine takes. The file is a
    /// nameless one in `scratch`; `what` says in the image's history what it has.
    ///
    /// Times are whole seconds. Device nodes and sockets are left out: a rootless engine cannot make them, and each has a `/dev` of its
    /// own.
    ///
    /// # Errors
    ///
    /// If a file has changed, has a name that is reserved, or reading or writing fails.
    pub fn write(tree: &FileTree, what: &str, compression: Compression, scratch: &Path) -> Result<Self, Error> {
        let file = tempfile::tempfile_in(scratch).map_err(Error::writing("a layer"))?;
        let gzip = GzEncoder::new(Hashed::new(io::BufWriter::new(file)), compression);
        let gzip = Hashed::new(gzip);
        let mut archive = Archive { tar: Builder::new(gzip), first: HashMap::new() };
        for (path, id) in tree.iter().filter(|(path, _)| !path.is_empty()) {
            archive.add(path, id, tree.node(id))?;
        }
        let finished = archive.tar.into_inner().and_then(|hashed| {
            let (gzip, diff_id, _) = hashed.finish();
            let (buffered, digest, size) = gzip.finish()?.finish();
            let mut file = buffered.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.rewind()?;
            Ok((file, diff_id, digest, size))
        });
        let (file, diff_id, digest, size) = finished.map_err(Error::writing("a layer"))?;
        Ok(Self { file, digest, diff_id, size, what: what.to_owned() })
    }
}

struct Archive<W: Write> {
    tar: Builder<W>,
    /// The first path of each node; others are hard links to it.
    first: HashMap<NodeId, Vec<u8>>,
}

impl<W: Write> Archive<W> {
    fn add(&mut self, path: &[u8], id: NodeId, node: &Node) -> Result<(), Error> {
        if path.rsplit(|byte| *byte == b'/').next().is_some_and(|name| name.starts_with(WHITEOUT)) {
            return Err(Error::Whiteout(shown(path)));
        }
        let metadata = &node.metadata;
        let mut header = Header::new_gnu();
        header.set_mode(u32::from(metadata.mode & 0o7777));
        header.set_uid(metadata.uid.into());
        header.set_gid(metadata.gid.into());
        header.set_mtime(u64::try_from(metadata.mtime.seconds).unwrap_or(0));
        header.set_size(0);
        let writing = Error::writing("a layer");
        if let Some(first) = self.first.get(&id) {
            header.set_entry_type(EntryType::Link);
            return self.tar.append_link(&mut header, native(path), native(first)).map_err(writing);
        }
        match &node.kind {
            NodeKind::Directory => {
                header.set_entry_type(EntryType::Directory);
                self.attributes(node)?;
                let with_slash = [path, b"/"].concat();
                self.tar.append_data(&mut header, native(&with_slash), io::empty()).map_err(writing)?;
            }
            NodeKind::File(content) => {
                header.set_entry_type(EntryType::Regular);
                header.set_size(content.len());
                self.attributes(node)?;
                let read = |source| Error::Read { path: shown(path), source };
                let mut exact = Exact { inner: content.open().map_err(read)?, left: content.len(), failed: None };
                let written = self.tar.append_data(&mut header, native(path), &mut exact);
                // The archive's own error has lost which side failed.
                match exact.failed {
                    Some(Failed::Changed) => return Err(Error::Changed { path: shown(path), length: content.len() }),
                    Some(Failed::Read(source)) => return Err(Error::Read { path: shown(path), source }),
                    None => written.map_err(writing)?,
                }
            }
            NodeKind::Symlink(target) => {
                header.set_entry_type(EntryType::Symlink);
                // As it is, where it fits into the header: `append_link` would take `a//b` for `a/b`.
                let written = match header.set_link_name_literal(target) {
                    Ok(()) => self.tar.append_data(&mut header, native(path), io::empty()),
                    Err(_) => self.tar.append_link(&mut header, native(path), native(target)),
                };
                written.map_err(writing)?;
            }
            NodeKind::Fifo => {
                header.set_entry_type(EntryType::Fifo);
                self.tar.append_data(&mut header, native(path), io::empty()).map_err(writing)?;
            }
            NodeKind::CharDevice { .. } | NodeKind::BlockDevice { .. } | NodeKind::Socket => return Ok(()),
        }
        if !node.is_directory() {
            self.first.insert(id, path.to_vec());
        }
        Ok(())
    }

    /// The extended attributes of the entry that follows.
    fn attributes(&mut self, node: &Node) -> Result<(), Error> {
        let names = node.metadata.xattrs.iter();
        let records: Vec<_> =
            names.map(|(name, value)| (format!("{XATTR}{}", shown(name)), value.as_slice())).collect();
        let records = records.iter().map(|(key, value)| (key.as_str(), *value));
        self.tar.append_pax_extensions(records).map_err(Error::writing("a layer"))
    }
}

/// A content that has to have the length which the header says.
struct Exact<R> {
    inner: R,
    left: u64,
    failed: Option<Failed>,
}

enum Failed {
    /// It is shorter or longer.
    Changed,
    Read(io::Error),
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self.inner.read(buffer) {
            Ok(read) => read as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(Failed::Read(error));
                return Err(kind.into());
            }
        };
        if read > self.left || (read == 0 && self.left > 0 && !buffer.is_empty()) {
            self.failed = Some(Failed::Changed);
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.left -= read;
        Ok(read as usize)
    }
}

fn native(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

#[cfg(test)]
mod tests {
    use fsimage::{Content, Metadata, Timestamp};

    use super::*;

    const TIME: Timestamp = Timestamp::from_seconds(1_790_000_000);

    fn directory() -> Metadata {
        Metadata::root(0o755, TIME)
    }

    fn file(content: &str) -> Node {
        Node { kind: NodeKind::File(content.into()), metadata: Metadata::root(0o4755, TIME) }
    }

    fn write(tree: &FileTree) -> Result<Layer, Error> {
        Layer::write(tree, "files", Compression::fast(), &std::env::temp_dir())
    }

    /// Paths, types, owners, link targets, attributes and contents, by the reader of the crate `tar`.
    fn listed(layer: Layer) -> Vec<String> {
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(layer.file));
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let attributes: Vec<String> = match entry.pax_extensions().unwrap() {
                Some(records) => records.map(|record| record.unwrap().key().unwrap().to_owned()).collect(),
                None => Vec::new(),
            };
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            let header = entry.header();
            let link = entry.link_name().unwrap().map(|link| format!(" -> {}", link.display())).unwrap_or_default();
            let kind = header.entry_type().as_byte() as char;
            let (mode, uid, time) = (header.mode().unwrap(), header.uid().unwrap(), header.mtime().unwrap());
            let path = entry.path().unwrap().display().to_string();
            let length = content.len();
            format!("{path} {kind} {mode:o} {uid} {time} {length}{link} {}", attributes.join(",")).trim_end().to_owned()
        });
        entries.collect()
    }

    #[test]
    fn a_tree_becomes_an_archive_in_its_order() {
        let mut tree = FileTree::new(directory());
        let long = "d/".repeat(70) + "name";
        tree.create_directories(long.rsplit_once('/').unwrap().0, &directory()).unwrap();
        tree.insert(&long, file("deep")).unwrap();
        let mut ping = file("ping");
        ping.metadata.uid = 3_000_000;
        ping.metadata.xattrs.insert(b"security.capability".to_vec(), vec![1, 0, 255, b'=']);
        let ping = tree.insert("ping", ping).unwrap();
        tree.link("ping6", ping).unwrap();
        tree.insert("sh", Node { kind: NodeKind::Symlink(b"ping".to_vec()), metadata: directory() }).unwrap();
        tree.insert("null", Node { kind: NodeKind::CharDevice { major: 1, minor: 3 }, metadata: directory() }).unwrap();
        let lines = listed(write(&tree).unwrap());
        let expected = [
            format!("{long} 0 4755 0 1790000000 4"),
            "ping 0 4755 3000000 1790000000 4 SCHILY.xattr.security.capability".into(),
            "ping6 1 4755 3000000 1790000000 0 -> ping".into(),
            "sh 2 755 0 1790000000 0 -> ping".into(),
        ];
        assert_eq!(lines[0], "d/ 5 755 0 1790000000 0");
        assert_eq!(lines[70..], expected);
    }

    #[test]
    fn one_tree_gives_the_same_bytes() {
        let mut tree = FileTree::new(directory());
        tree.insert("file", file("text")).unwrap();
        let (one, two) = (write(&tree).unwrap(), write(&tree).unwrap());
        assert_eq!((&one.digest, &one.diff_id, one.size), (&two.digest, &two.diff_id, two.size));
        assert_ne!(one.digest, one.diff_id);
    }

    #[test]
    fn a_name_that_would_remove_a_file_is_refused() {
        let mut tree = FileTree::new(directory());
        tree.insert(".wh.passwd", file("")).unwrap();
        assert!(matches!(write(&tree), Err(Error::Whiteout(_))));
    }

    #[test]
    fn a_file_that_has_changed_is_an_error() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("file");
        std::fs::write(&path, "text").unwrap();
        for length in [3, 5] {
            let mut tree = FileTree::new(directory());
            let kind = NodeKind::File(Content::HostFile { path: path.clone(), length });
            tree.insert("file", Node { kind, metadata: directory() }).unwrap();
            assert!(matches!(write(&tree), Err(Error::Changed { .. })), "{length}");
        }
    }
}
