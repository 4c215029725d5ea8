//! Reads and writes small text files of a tree.

use std::io::Read;

use fsimage::{FileTree, NodeKind};

use crate::Error;

/// Size limit in bytes: the edited files are configuration files.
const AT_MOST: u64 = 4 << 20;

/// Reads a text file; `None` if it does not exist.
pub(super) fn read(tree: &FileTree, path: &str) -> Result<Option<String>, Error> {
    let malformed = |what: &str| Error::Malformed { path: path.to_owned(), what: what.to_owned() };
    let content = match tree.get(path).map(|node| &node.kind) {
        None => return Ok(None),
        Some(NodeKind::File(content)) => content,
        Some(_) => return Err(malformed("is not a regular file")),
    };
    if content.len() > AT_MOST {
        return Err(malformed("is too long to be edited"));
    }
    let mut text = String::new();
    let read = content.open().and_then(|mut reader| reader.read_to_string(&mut text));
    read.map_err(Error::io("reading", path))?;
    Ok(Some(text))
}

/// Replaces the content of an existing file.
pub(super) fn write(tree: &mut FileTree, path: &str, text: &str) {
    if let Some(node) = tree.get_mut(path) {
        node.kind = NodeKind::File(text.into());
    }
}
