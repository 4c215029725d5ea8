//! Adds a recipe's files. Paths may go through links such as /bin of a merged /usr.

use fsimage::{Content, FileTree, Metadata, Node, NodeKind, Timestamp};

use crate::Error;

/// Maximum number of links in one path, as in the kernel.
const LINKS_AT_MOST: usize = 40;

/// A file to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// Content.
    pub content: Content,
    /// Mode, owner, time, extended attributes.
    pub metadata: Metadata,
}

/// Adds a regular file, replacing an existing one; missing directories are created, owned by root, 0755, with the
/// file's time.
pub fn add_file(tree: &mut FileTree, path: &str, file: NewFile) -> Result<(), Error> {
    let path = place(tree, path, file.metadata.mtime)?;
    tree.insert(path, Node { kind: NodeKind::File(file.content), metadata: file.metadata })?;
    Ok(())
}

/// Adds a symbolic link, replacing an existing file.
pub fn add_symlink(tree: &mut FileTree, path: &str, target: &str, metadata: Metadata) -> Result<(), Error> {
    let path = place(tree, path, metadata.mtime)?;
    tree.insert(path, Node { kind: NodeKind::Symlink(target.into()), metadata })?;
    Ok(())
}

/// Adds a directory, or changes the metadata of an existing one.
pub fn add_directory(tree: &mut FileTree, path: &str, metadata: &Metadata) -> Result<(), Error> {
    let path = place(tree, path, metadata.mtime)?;
    tree.insert(path, Node { kind: NodeKind::Directory, metadata: metadata.clone() })?;
    Ok(())
}

/// Resolves a path: links in its directory are followed, the last name is kept. Directories that do not exist stay as
/// they are written.
pub fn resolve(tree: &FileTree, path: &str) -> Result<Vec<u8>, Error> {
    let bad = |what: &str| Error::Malformed { path: path.to_owned(), what: what.to_owned() };
    let mut links = 0;
    let mut resolved: Vec<Vec<u8>> = Vec::new();
    let mut open: Vec<Vec<u8>> = path.as_bytes().split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect();
    while let Some(part) = open.pop() {
        match part.as_slice() {
            b"" | b"." => continue,
            b".." => {
                resolved.pop();
                continue;
            }
            _ => {}
        }
        resolved.push(part);
        if open.iter().all(Vec::is_empty) {
            break; // the last name
        }
        let Some(NodeKind::Symlink(target)) = tree.get(resolved.join(&b'/')).map(|node| &node.kind) else { continue };
        links += 1;
        if links > LINKS_AT_MOST {
            return Err(bad("goes through too many links"));
        }
        resolved.pop();
        if target.starts_with(b"/") {
            resolved.clear();
        }
        open.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
    }
    if resolved.is_empty() { Err(bad("is not a path for a file")) } else { Ok(resolved.join(&b'/')) }
}

fn place(tree: &mut FileTree, path: &str, mtime: Timestamp) -> Result<Vec<u8>, Error> {
    let path = resolve(tree, path)?;
    if let Some(slash) = path.iter().rposition(|byte| *byte == b'/') {
        tree.create_directories(&path[..slash], &Metadata::root(0o755, mtime))?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged_usr() -> FileTree {
        let metadata = Metadata::root(0o755, Timestamp::from_seconds(0));
        let mut tree = FileTree::new(metadata.clone());
        tree.create_directories("usr/bin", &metadata).unwrap();
        for (path, target) in [("bin", "usr/bin"), ("loop", "/loop"), ("up", "../../usr")] {
            let kind = NodeKind::Symlink(target.into());
            tree.insert(path, Node { kind, metadata: metadata.clone() }).unwrap();
        }
        tree
    }

    fn file(text: &str) -> NewFile {
        NewFile { content: text.into(), metadata: Metadata::root(0o755, Timestamp::from_seconds(1)) }
    }

    #[test]
    fn goes_through_links_and_never_out_of_the_tree() {
        let mut tree = merged_usr();
        add_file(&mut tree, "/bin/rocbed", file("a")).unwrap();
        add_file(&mut tree, "up/share/new/b", file("b")).unwrap();
        assert!(tree.get("usr/bin/rocbed").is_some() && tree.get("usr/share/new/b").is_some());
        assert_eq!(tree.get("usr/share").unwrap().metadata.mode, 0o755);
        assert!(add_file(&mut tree, "loop/x", file("c")).is_err());
        assert!(add_file(&mut tree, "..", file("d")).is_err());
    }

    #[test]
    fn replaces_a_file_but_no_directory() {
        let mut tree = merged_usr();
        add_file(&mut tree, "etc/issue", file("old")).unwrap();
        add_file(&mut tree, "etc/issue", file("new")).unwrap();
        assert_eq!(tree.get("etc/issue").unwrap().kind, NodeKind::File("new".into()));
        assert!(add_file(&mut tree, "etc", file("x")).is_err());
    }
}
