//! Trees as text, with one line for each path: for snapshot tests and for reading.

use std::collections::HashMap;
use std::fmt::Write;
use std::io;

use sha256::Digest;

use crate::tree::{Content, FileTree, NodeId, NodeKind};

/// Describes a tree, one line for each path in byte order:
/// `PATH TYPE MODE UID GID MTIME [size=.. | target=.. | device=..] [link=FIRST-PATH] [sha256=..] [NAME=HEX..]`.
///
/// Bytes of paths, targets and attribute names that are not printable ASCII, and spaces and backslashes, are written
/// `\xNN`. With `digests`, contents are read and their SHA-256 is shown.
///
/// # Errors
/// Only with `digests`, if reading a content fails.
pub fn dump(tree: &FileTree, digests: bool) -> io::Result<String> {
    let mut text = String::new();
    let mut first_paths: HashMap<NodeId, &[u8]> = HashMap::new();
    for (path, id) in tree.iter() {
        let node = tree.node(id);
        let metadata = &node.metadata;
        let mut line = vec![
            if path.is_empty() { "/".to_owned() } else { escaped(path) },
            letter(&node.kind).to_owned(),
            format!("{:04o}", metadata.mode),
            metadata.uid.to_string(),
            metadata.gid.to_string(),
            format!("{}.{:09}", metadata.mtime.seconds, metadata.mtime.nanoseconds),
        ];
        match &node.kind {
            NodeKind::File(content) => line.push(format!("size={}", content.len())),
            NodeKind::Symlink(target) => line.push(format!("target={}", escaped(target))),
            NodeKind::CharDevice { major, minor } | NodeKind::BlockDevice { major, minor } => {
                line.push(format!("device={major}:{minor}"));
            }
            NodeKind::Directory | NodeKind::Fifo | NodeKind::Socket => {}
        }
        if let Some(first) = first_paths.get(&id) {
            line.push(format!("link={}", escaped(first)));
        } else {
            first_paths.insert(id, path);
            if let (NodeKind::File(content), true) = (&node.kind, digests) {
                line.push(format!("sha256={}", content_digest(content)?));
            }
        }
        for (name, value) in &metadata.xattrs {
            line.push(format!("{}={}", escaped(name), hex::encode(value)));
        }
        // Writing to a String cannot fail.
        writeln!(text, "{}", line.join(" ")).map_err(io::Error::other)?;
    }
    Ok(text)
}

/// The type letter of `ls -l`.
pub(crate) fn letter(kind: &NodeKind) -> &'static str {
    match kind {
        NodeKind::Directory => "d",
        NodeKind::File(_) => "-",
        NodeKind::Symlink(_) => "l",
        NodeKind::CharDevice { .. } => "c",
        NodeKind::BlockDevice { .. } => "b",
        NodeKind::Fifo => "p",
        NodeKind::Socket => "s",
    }
}

/// Escapes bytes as printable text without spaces.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len()), |mut text, byte| {
        match byte {
            b'!'..=b'[' | b']'..=b'~' => text.push(char::from(*byte)),
            _ => {
                text.push_str("\\x");
                text.push_str(&hex::encode([*byte]));
            }
        }
        text
    })
}

/// The SHA-256 of a file's content.
///
/// # Errors
/// If reading fails.
pub fn content_digest(content: &Content) -> io::Result<Digest> {
    if let Content::Bytes(bytes) = content {
        return Ok(Digest::of(bytes));
    }
    Digest::of_reader(content.open()?).map(|(digest, _)| digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Metadata, Node, Timestamp};

    #[test]
    fn one_line_for_each_path() {
        let root = Metadata::root(0o755, Timestamp { seconds: -1, nanoseconds: 5 });
        let mut tree = FileTree::new(root.clone());
        let mut metadata = root.clone();
        metadata.xattrs.insert(b"user.x".to_vec(), vec![1, 0xff]);
        let id = tree.insert("a b", Node { kind: NodeKind::File("hello".into()), metadata }).unwrap();
        tree.link("c", id).unwrap();
        tree.insert("n", Node { kind: NodeKind::CharDevice { major: 1, minor: 3 }, metadata: root }).unwrap();
        let expected = "\
/ d 0755 0 0 -1.000000005
a\\x20b - 0755 0 0 -1.000000005 size=5 user.x=01ff
c - 0755 0 0 -1.000000005 size=5 link=a\\x20b user.x=01ff
n c 0755 0 0 -1.000000005 device=1:3
";
        assert_eq!(dump(&tree, false).unwrap(), expected);
        let digest = "sha256=2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        assert_eq!(dump(&tree, true).unwrap().matches(digest).count(), 1);
    }
}
