//! [`read_file`]: the content of a file of a tree.

use std::io::Read as _;

use anyhow::{Context as _, Result};
use fsimage::{FileTree, NodeKind};

/// The content of a regular file.
pub(super) fn read_file(tree: &FileTree, path: &str) -> Result<Vec<u8>> {
    let node = tree.get(path).with_context(|| format!("the root file system has no /{path}"))?;
    let NodeKind::File(content) = &node.kind else { anyhow::bail!("/{path} is not a regular file") };
    let mut bytes = Vec::new();
    content.open()?.read_to_end(&mut bytes).with_context(|| format!("reading /{path}"))?;
    Ok(bytes)
}
