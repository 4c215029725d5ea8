//! Removes kernel modules from a tree.

use std::collections::BTreeSet;

use fsimage::FileTree;

use crate::Error;

const DIRECTORY: &str = "usr/lib/modules";

/// Removes all kernel modules (`.ko`, compressed or not) below usr/lib/modules whose names are not in `keep`, and then
/// the directories that became empty. Returns the number of removed modules. Names are compared as in the kernel: `-`
/// and `_` are the same. depmod's index files are left unchanged; they have to be made again.
pub fn keep_modules(tree: &mut FileTree, keep: &BTreeSet<String>) -> Result<usize, Error> {
    let keep: BTreeSet<String> = keep.iter().map(|name| name.replace('-', "_")).collect();
    let gone: Vec<Vec<u8>> = tree
        .descendants(DIRECTORY)
        .filter(|(_, id)| !tree.node(*id).is_directory())
        .filter(|(path, _)| module_name(path).is_some_and(|name| !keep.contains(&name)))
        .map(|(path, _)| path.to_vec())
        .collect();
    for path in &gone {
        tree.remove(path)?;
    }
    for path in &gone {
        remove_empty_parents(tree, path)?;
    }
    Ok(gone.len())
}

/// Name of the module in a file called `path`; `None` if it is not a module.
pub fn module_name(path: &[u8]) -> Option<String> {
    let name = path.rsplit(|byte| *byte == b'/').next()?;
    let name = std::str::from_utf8(name).ok()?;
    let stem = [".ko", ".ko.xz", ".ko.zst", ".ko.gz"].iter().find_map(|suffix| name.strip_suffix(suffix))?;
    Some(stem.replace('-', "_"))
}

fn remove_empty_parents(tree: &mut FileTree, path: &[u8]) -> Result<(), Error> {
    let mut path = path;
    while let Some(slash) = path.iter().rposition(|byte| *byte == b'/') {
        path = &path[..slash];
        let empty = tree.get(path).is_some() && tree.descendants(path).next().is_none();
        if path.len() <= DIRECTORY.len() || !empty {
            break;
        }
        tree.remove(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use fsimage::{Metadata, Node, NodeKind, Timestamp};

    use super::*;

    #[test]
    fn keeps_the_named_modules_and_everything_that_is_no_module() {
        let metadata = Metadata::root(0o755, Timestamp::from_seconds(0));
        let mut tree = FileTree::new(metadata.clone());
        for path in [
            "usr/lib/modules/7.2/kernel/fs/ext4.ko.xz",
            "usr/lib/modules/7.2/kernel/gpu/amd/amdgpu.ko.xz",
            "usr/lib/modules/7.2/kernel/net/snd-hda-intel.ko",
            "usr/lib/modules/7.2/modules.order",
        ] {
            let (directory, _) = path.rsplit_once('/').unwrap();
            tree.create_directories(directory, &metadata).unwrap();
            tree.insert(path, Node { kind: NodeKind::File("".into()), metadata: metadata.clone() }).unwrap();
        }
        let keep = ["snd_hda_intel", "ext4"].map(str::to_owned).into();
        assert_eq!(keep_modules(&mut tree, &keep).unwrap(), 1);
        assert!(tree.get("usr/lib/modules/7.2/kernel/gpu").is_none());
        assert!(tree.get("usr/lib/modules/7.2/kernel/fs/ext4.ko.xz").is_some());
        assert!(tree.get("usr/lib/modules/7.2/kernel/net/snd-hda-intel.ko").is_some());
        assert!(tree.get("usr/lib/modules/7.2/modules.order").is_some());
    }
}
