//! Converts a tree to directories and files of known sizes, before the cluster size is known.

use std::collections::HashMap;

use fsimage::{Content, FileTree, NodeKind};

use super::FatError;
use super::entry::{self, ATTRIBUTE_ARCHIVE, ATTRIBUTE_DIRECTORY, ATTRIBUTE_VOLUME, DosTime, SLOT};
use super::geometry::Geometry;
use super::name::{self, ShortName, ShortNames};

/// Maximum number of slots in a directory (specification, "Directory structure").
const MAX_SLOTS: usize = 65_536;

/// All files and directories in the tree's order, with the root directory first.
pub(super) struct Plan<'a> {
    pub(super) nodes: Vec<Planned<'a>>,
    label: Option<ShortName>,
}

pub(super) struct Planned<'a> {
    pub(super) path: String,
    parent: usize,
    pub(super) kind: PlannedKind<'a>,
}

pub(super) enum PlannedKind<'a> {
    File(&'a Content),
    Directory { children: Vec<Child<'a>>, slots: usize },
}

/// A name in a directory.
pub(super) struct Child<'a> {
    long: &'a str,
    short: ShortName,
    node: usize,
}

impl<'a> Plan<'a> {
    pub(super) fn new(tree: &'a FileTree, label: Option<&str>) -> Result<Self, FatError> {
        let mut nodes: Vec<Planned<'a>> = Vec::with_capacity(tree.len());
        let mut names: Vec<Vec<(&'a str, usize)>> = Vec::with_capacity(tree.len());
        let mut directories = HashMap::new();
        for (path, id) in tree.iter() {
            let text = String::from_utf8_lossy(path).into_owned();
            let kind = match &tree.node(id).kind {
                NodeKind::Directory => PlannedKind::Directory { children: Vec::new(), slots: 0 },
                NodeKind::File(content) if content.len() > u64::from(u32::MAX) => {
                    return Err(FatError::FileTooLarge { path: text, size: content.len() });
                }
                NodeKind::File(content) => PlannedKind::File(content),
                _ => return Err(FatError::Kind(text)),
            };
            let mut parent = 0;
            if !path.is_empty() {
                let slash = path.iter().rposition(|byte| *byte == b'/');
                let name = slash.map_or(path, |slash| &path[slash + 1..]);
                // In a tree, parents come before their children.
                parent = directories.get(slash.map_or(&b""[..], |slash| &path[..slash])).copied().unwrap_or(0);
                let name = name::check(name).map_err(|flaw| FatError::Name { path: text.clone(), flaw })?;
                names[parent].push((name, nodes.len()));
            }
            if matches!(kind, PlannedKind::Directory { .. }) {
                directories.insert(path, nodes.len());
            }
            names.push(Vec::new());
            nodes.push(Planned { path: text, parent, kind });
        }
        let label = label.map(check_label).transpose()?;
        for (index, names) in names.iter().enumerate() {
            let children = name_children(names, &nodes)?;
            let own = if index == 0 { usize::from(label.is_some()) } else { 2 };
            let total = own + children.iter().map(Child::slots).sum::<usize>();
            if let PlannedKind::Directory { children: empty, slots } = &mut nodes[index].kind {
                if total > MAX_SLOTS {
                    return Err(FatError::DirectoryTooLarge(nodes[index].path.clone()));
                }
                (*empty, *slots) = (children, total);
            }
        }
        Ok(Self { nodes, label })
    }

    /// Number of clusters of all nodes.
    pub(super) fn clusters(&self, cluster_bytes: u64) -> u64 {
        self.nodes.iter().map(|node| node.clusters(cluster_bytes)).sum()
    }

    /// Size of all nodes in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.nodes.iter().map(Planned::bytes).sum()
    }

    /// First cluster of each node: consecutive runs, 0 for empty files.
    pub(super) fn place(&self, geometry: &Geometry) -> Vec<u32> {
        let mut next = 2;
        let place = |node: &Planned| {
            let clusters = node.clusters(geometry.cluster_bytes()) as u32;
            let first = if clusters == 0 { 0 } else { next };
            next += clusters;
            first
        };
        self.nodes.iter().map(place).collect()
    }

    /// Encodes a directory whose children have these first clusters.
    pub(super) fn directory(&self, node: usize, children: &[Child], places: &[u32], when: DosTime) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.nodes[node].bytes() as usize);
        let mut add = |slot: [u8; SLOT]| bytes.extend_from_slice(&slot);
        if node != 0 {
            let parent = self.nodes[node].parent;
            let parent_cluster = if parent == 0 { 0 } else { places[parent] }; // the root counts as 0 here
            add(entry::short(b".          ", ATTRIBUTE_DIRECTORY, when, places[node], 0));
            add(entry::short(b"..         ", ATTRIBUTE_DIRECTORY, when, parent_cluster, 0));
        } else if let Some(label) = &self.label {
            add(entry::short(label, ATTRIBUTE_VOLUME, when, 0, 0));
        }
        for child in children {
            if child.needs_long_name() {
                entry::long(child.long, &child.short).into_iter().for_each(&mut add);
            }
            let (attributes, size) = match &self.nodes[child.node].kind {
                PlannedKind::File(content) => (ATTRIBUTE_ARCHIVE, content.len() as u32),
                PlannedKind::Directory { .. } => (ATTRIBUTE_DIRECTORY, 0),
            };
            add(entry::short(&child.short, attributes, when, places[child.node], size));
        }
        bytes
    }

    /// The label, as in the boot sector.
    pub(super) fn label(&self) -> &ShortName {
        self.label.as_ref().unwrap_or(b"NO NAME    ")
    }
}

impl Planned<'_> {
    pub(super) fn bytes(&self) -> u64 {
        match &self.kind {
            PlannedKind::File(content) => content.len(),
            // The root directory has a cluster even if it is empty.
            PlannedKind::Directory { slots, .. } => (*slots).max(1) as u64 * SLOT as u64,
        }
    }

    pub(super) fn clusters(&self, cluster_bytes: u64) -> u64 {
        self.bytes().div_ceil(cluster_bytes)
    }
}

impl Child<'_> {
    fn needs_long_name(&self) -> bool {
        name::display(&self.short) != self.long
    }

    fn slots(&self) -> usize {
        if self.needs_long_name() { 1 + entry::long_slots(self.long) } else { 1 }
    }
}

fn name_children<'a>(names: &[(&'a str, usize)], nodes: &[Planned]) -> Result<Vec<Child<'a>>, FatError> {
    let mut folded = HashMap::with_capacity(names.len());
    for (name, node) in names {
        if let Some(first) = folded.insert(name::fold(name), *node) {
            return Err(FatError::CaseClash { first: nodes[first].path.clone(), second: nodes[*node].path.clone() });
        }
    }
    let mut short = ShortNames::new(names.iter().map(|(name, _)| *name));
    Ok(names.iter().map(|(long, node)| Child { long, short: short.take(long), node: *node }).collect())
}

fn check_label(label: &str) -> Result<ShortName, FatError> {
    let valid = |byte: u8| byte == b' ' || name::is_short_character(byte);
    if label.trim().is_empty() || label.starts_with(' ') || label.len() > 11 || !label.bytes().all(valid) {
        return Err(FatError::Label(label.to_owned()));
    }
    let mut padded = [b' '; 11];
    padded[..label.len()].copy_from_slice(label.as_bytes());
    Ok(padded)
}
