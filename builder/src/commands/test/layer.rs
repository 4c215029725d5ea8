//! The layer that testbeds have over the root directory: the recipe's users, files and apt sources.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use fsimage::{Node, NodeKind};

use crate::image::root::Root;
use crate::image::tree;
use crate::lock::Lock;
use crate::recipe::Recipe;

/// Writes the layer into a directory that does not exist yet.
pub fn write(root: &Root, recipe: &Recipe, lock: &Lock, directory: &Path) -> Result<()> {
    fs::DirBuilder::new().mode(0o755).create(directory).with_context(|| format!("making {}", directory.display()))?;
    for (path, node) in tree::additions(root, recipe, lock)? {
        let to = directory.join(std::ffi::OsStr::from_bytes(&path));
        if !path.is_empty() {
            write_node(&to, &node).with_context(|| format!("writing {}", to.display()))?;
        }
    }
    Ok(())
}

fn write_node(path: &Path, node: &Node) -> Result<()> {
    let (uid, gid) = (Some(node.metadata.uid), Some(node.metadata.gid));
    match &node.kind {
        NodeKind::Directory => fs::create_dir(path)?,
        NodeKind::File(content) => {
            let mut file = fs::File::create_new(path)?;
            io::copy(&mut content.open()?, &mut file)?;
        }
        NodeKind::Symlink(target) => {
            symlink(std::ffi::OsStr::from_bytes(target), path)?;
            return Ok(lchown(path, uid, gid)?);
        }
        _ => bail!("it is neither a file nor a directory nor a link"),
    }
    chown(path, uid, gid)?;
    // After changing the owner, which clears the setuid bit.
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(node.metadata.mode.into()))?)
}
