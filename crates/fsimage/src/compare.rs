//! Compares two trees.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io::{self, Read};

use crate::dump::{escaped, letter};
use crate::tree::{Content, FileTree, Node, NodeId, NodeKind};

/// One difference between two trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Path; empty for the root.
    pub path: Vec<u8>,
    /// Description: the first tree's side, then the second's.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}: {}", escaped(&self.path), self.what)
    }
}

/// Lists the differences between two trees, including contents, hard links and extended attributes.
///
/// # Errors
/// If reading a content fails.
pub fn compare(a: &FileTree, b: &FileTree) -> io::Result<Vec<Difference>> {
    let mut differences = Vec::new();
    // Hard links are the same if the same paths are first names.
    let (mut first_a, mut first_b) = (HashMap::new(), HashMap::new());
    let paths: BTreeSet<&[u8]> = a.iter().chain(b.iter()).map(|(path, _)| path).collect();
    for path in paths {
        let mut differ = |what: String| differences.push(Difference { path: path.to_vec(), what });
        let (id_a, id_b) = match (a.id(path), b.id(path)) {
            (Some(id_a), Some(id_b)) => (id_a, id_b),
            (Some(_), None) => {
                differ("only in the first".into());
                continue;
            }
            _ => {
                differ("only in the second".into());
                continue;
            }
        };
        let first = |map: &mut HashMap<NodeId, Vec<u8>>, id| map.entry(id).or_insert_with(|| path.to_vec()).clone();
        let (name_a, name_b) = (first(&mut first_a, id_a), first(&mut first_b, id_b));
        if name_a != name_b {
            differ(format!("hard link of /{} and of /{}", escaped(&name_a), escaped(&name_b)));
        }
        if name_a == path || name_b == path {
            compare_nodes(a.node(id_a), b.node(id_b), &mut differ)
                .map_err(|error| io::Error::new(error.kind(), format!("comparing /{}: {error}", escaped(path))))?;
        }
    }
    Ok(differences)
}

fn compare_nodes(a: &Node, b: &Node, differ: &mut impl FnMut(String)) -> io::Result<()> {
    let (x, y) = (&a.metadata, &b.metadata);
    if x.mode != y.mode {
        differ(format!("mode {:04o} and {:04o}", x.mode, y.mode));
    }
    if (x.uid, x.gid) != (y.uid, y.gid) {
        differ(format!("owner {}:{} and {}:{}", x.uid, x.gid, y.uid, y.gid));
    }
    if x.mtime != y.mtime {
        let shown = |time: &crate::Timestamp| format!("{}.{:09}", time.seconds, time.nanoseconds);
        differ(format!("time {} and {}", shown(&x.mtime), shown(&y.mtime)));
    }
    let names: BTreeSet<_> = x.xattrs.keys().chain(y.xattrs.keys()).collect();
    for name in names {
        let (value_a, value_b) = (x.xattrs.get(name), y.xattrs.get(name));
        if value_a != value_b {
            let shown = |value: Option<&Vec<u8>>| value.map_or("none".to_owned(), hex::encode);
            differ(format!("attribute {}: {} and {}", escaped(name), shown(value_a), shown(value_b)));
        }
    }
    match (&a.kind, &b.kind) {
        (NodeKind::File(a), NodeKind::File(b)) if a.len() != b.len() => {
            differ(format!("{} bytes and {}", a.len(), b.len()));
        }
        (NodeKind::File(a), NodeKind::File(b)) => {
            if let Some(at) = first_difference(a, b)? {
                differ(format!("content differs from byte {at} on"));
            }
        }
        (NodeKind::Symlink(a), NodeKind::Symlink(b)) if a != b => {
            differ(format!("links to {} and to {}", escaped(a), escaped(b)));
        }
        (a, b) if a != b && letter(a) == letter(b) => differ(format!("{a:?} and {b:?}")),
        (a, b) if a != b => differ(format!("type {} and {}", letter(a), letter(b))),
        _ => {}
    }
    Ok(())
}

/// Offset of the first byte in which two contents differ.
fn first_difference(a: &Content, b: &Content) -> io::Result<Option<u64>> {
    if a == b {
        return Ok(None);
    }
    let (mut reader_a, mut reader_b) = (a.open()?, b.open()?);
    let (mut buffer_a, mut buffer_b) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut at = 0;
    loop {
        let length_a = fill(&mut reader_a, &mut buffer_a)?;
        let length_b = fill(&mut reader_b, &mut buffer_b)?;
        let (part_a, part_b) = (&buffer_a[..length_a], &buffer_b[..length_b]);
        if part_a != part_b {
            let same = part_a.iter().zip(part_b).take_while(|(a, b)| a == b).count();
            return Ok(Some(at + same as u64));
        }
        if length_a == 0 {
            return Ok(None);
        }
        at += length_a as u64;
    }
}

/// Reads until the buffer is full or the content ends.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..])? {
            0 => break,
            length => filled += length,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Metadata, Timestamp};

    fn tree(change: impl FnOnce(&mut FileTree)) -> FileTree {
        let metadata = Metadata::root(0o755, Timestamp::from_seconds(0));
        let mut tree = FileTree::new(metadata.clone());
        for name in ["a", "b"] {
            tree.insert(name, Node { kind: NodeKind::File("same".into()), metadata: metadata.clone() }).unwrap();
        }
        change(&mut tree);
        tree
    }

    fn differences(change: impl FnOnce(&mut FileTree)) -> Vec<String> {
        compare(&tree(|_| {}), &tree(change)).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn finds_each_difference() {
        assert!(differences(|_| {}).is_empty());
        assert_eq!(differences(|tree| tree.remove("a").unwrap()), ["/a: only in the first"]);
        assert_eq!(differences(|tree| tree.get_mut("a").unwrap().metadata.mode = 0o700), ["/a: mode 0755 and 0700"]);
        assert_eq!(
            differences(|tree| tree.get_mut("b").unwrap().kind = NodeKind::File("sane".into())),
            ["/b: content differs from byte 2 on"]
        );
        assert_eq!(differences(|tree| tree.get_mut("b").unwrap().kind = NodeKind::Fifo), ["/b: type - and p"]);
        assert_eq!(
            differences(|tree| tree.link("b", tree.id("a").unwrap()).unwrap()),
            ["/b: hard link of /b and of /a"]
        );
    }
}
