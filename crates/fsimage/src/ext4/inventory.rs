//! Converts a tree to numbered inodes and directory entries, without positions in the image.

use std::collections::HashMap;

use super::directory::{DirectoryEntry, file_type};
use super::error::{WriteError, shown};
use super::format::{FIRST_INODE, ROOT_INODE};
use crate::tree::{FileTree, Node, NodeId, NodeKind};

/// Name of the directory in which e2fsck puts lost files.
pub(super) const LOST_FOUND: &[u8] = b"lost+found";
/// Maximum number of links to a file.
const MOST_LINKS: u32 = 65_000;

/// An inode to write.
pub(super) struct Item<'t> {
    /// Its first path.
    pub(super) path: &'t [u8],
    pub(super) node: &'t Node,
    pub(super) number: u32,
    /// Number of links, including `.` and `..` for directories; 1 for directories with too many (`dir_nlink`).
    pub(super) links: u16,
    /// Entries, if it is a directory.
    pub(super) directory: Option<Directory<'t>>,
}

/// The entries of a directory, sorted by the bytes of their names.
pub(super) struct Directory<'t> {
    pub(super) parent: u32,
    pub(super) entries: Vec<DirectoryEntry<'t>>,
}

/// All inodes of a tree, in the order of their numbers: the root, `lost+found`, then the others in the order of their
/// first paths.
pub(super) fn take<'t>(tree: &'t FileTree, lost_found: &'t Node) -> Result<Vec<Item<'t>>, WriteError> {
    let kept = tree.get(LOST_FOUND);
    if kept.is_some_and(|node| !node.is_directory()) {
        return Err(WriteError::LostAndFound);
    }
    let root = tree.id("").map_or(lost_found, |id| tree.node(id));
    let mut items = vec![
        item(b"", root, ROOT_INODE, Some(ROOT_INODE)),
        item(LOST_FOUND, kept.unwrap_or(lost_found), FIRST_INODE, Some(ROOT_INODE)),
    ];
    let links = tree.link_counts();
    let mut numbers: HashMap<NodeId, u32> = HashMap::new();
    let mut directories: HashMap<&[u8], usize> = HashMap::from([(&b""[..], 0), (LOST_FOUND, 1)]);
    add_entry(&mut items[0], LOST_FOUND, FIRST_INODE, file_type::DIRECTORY);
    for (path, id) in tree.iter() {
        if path.is_empty() || path == LOST_FOUND {
            continue;
        }
        let node = tree.node(id);
        let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&b""[..], path),
        };
        let parent = directories[parent];
        let next = FIRST_INODE + items.len() as u32 - 1;
        let number = *numbers.entry(id).or_insert(next);
        if number == next {
            let above = node.is_directory().then(|| items[parent].number);
            let mut item = item(path, node, number, above);
            if above.is_some() {
                directories.insert(path, items.len());
            } else {
                let links = links[&id];
                item.links = links.min(MOST_LINKS) as u16;
                if links > MOST_LINKS {
                    return Err(WriteError::TooManyLinks { path: shown(path), links });
                }
            }
            items.push(item);
        }
        add_entry(&mut items[parent], name, number, type_of(&node.kind));
    }
    for item in &mut items {
        if let Some(directory) = &mut item.directory {
            directory.entries.sort_unstable_by_key(|entry| entry.name); // lost+found came first
            let below = directory.entries.iter().filter(|entry| entry.file_type == file_type::DIRECTORY).count();
            item.links = u16::try_from(below + 2).ok().filter(|links| u32::from(*links) < MOST_LINKS).unwrap_or(1);
        }
    }
    Ok(items)
}

fn item<'t>(path: &'t [u8], node: &'t Node, number: u32, directory_in: Option<u32>) -> Item<'t> {
    let directory = directory_in.map(|parent| Directory { parent, entries: Vec::new() });
    Item { path, node, number, links: 1, directory }
}

fn add_entry<'t>(item: &mut Item<'t>, name: &'t [u8], inode: u32, file_type: u8) {
    if let Some(directory) = &mut item.directory {
        directory.entries.push(DirectoryEntry { name, inode, file_type });
    }
}

fn type_of(kind: &NodeKind) -> u8 {
    match kind {
        NodeKind::File(_) => file_type::FILE,
        NodeKind::Directory => file_type::DIRECTORY,
        NodeKind::CharDevice { .. } => file_type::CHAR_DEVICE,
        NodeKind::BlockDevice { .. } => file_type::BLOCK_DEVICE,
        NodeKind::Fifo => file_type::FIFO,
        NodeKind::Socket => file_type::SOCKET,
        NodeKind::Symlink(_) => file_type::SYMLINK,
    }
}
