//! [`tree`]: the files below `/sys` by which programs find the GPUs.

mod pci;
mod topology;

use std::collections::BTreeMap;

use crate::device::Machine;

/// What stands at a path below `/sys`. Directories are those that the paths need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A file with what it has in it.
    File(Vec<u8>),
    /// A symbolic link.
    Link(String),
    /// A directory that has nothing in it.
    Directory,
}

/// Entries by their path below `/sys`.
pub type Tree = BTreeMap<String, Entry>;

/// Directories of the real `/sys` that have the machine's GPUs, and that [`tree`] stands for instead.
pub const REPLACED: &[&str] = &[
    "bus/pci",
    "class/drm",
    "class/hwmon",
    "class/kfd",
    "dev/char",
    "devices/virtual/kfd",
    "devices/virtual/drm",
    "module",
];

/// The files and links of all GPUs.
pub fn tree(machine: &Machine) -> Tree {
    let mut tree = Tree::new();
    topology::write(machine, &mut tree);
    for device in machine.devices() {
        pci::write(device, &mut tree);
    }
    file(&mut tree, "module/amdgpu/initstate", "live");
    file(&mut tree, "module/amdgpu/version", "6.12.12");
    tree
}

/// Adds a file with one line.
fn file(tree: &mut Tree, path: impl Into<String>, line: impl std::fmt::Display) {
    tree.insert(path.into(), Entry::File(format!("{line}\n").into_bytes()));
}

/// Adds a symbolic link. `target` is a path below `/sys`.
fn link(tree: &mut Tree, path: &str, target: &str) {
    let up = "../".repeat(path.matches('/').count());
    tree.insert(path.to_owned(), Entry::Link(format!("{up}{target}")));
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::Chip;

    /// Writes a tree to a directory.
    fn write(root: &Path, tree: &Tree) {
        for (path, entry) in tree {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match entry {
                Entry::File(bytes) => fs::write(&path, bytes).unwrap(),
                Entry::Link(target) => std::os::unix::fs::symlink(target, &path).unwrap(),
                Entry::Directory => fs::create_dir_all(&path).unwrap(),
            }
        }
    }

    #[test]
    fn our_own_detection_finds_the_gpus_that_were_simulated() {
        let targets: Vec<String> = Chip::targets().map(|target| target.to_string()).collect();
        let inventory = gpu::simulate(&targets.join(",")).unwrap();
        let machine = Machine::new(&inventory, 16 << 30, 4).unwrap();
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &tree(&machine));
        let found = gpu::detect(&gpu::Sources::copy(gpu::Sysfs::new(root.path()), String::new()));
        assert_eq!(found.unusable, [], "{found}");
        assert_eq!(found.gpus.len(), targets.len());
        for (found, wanted) in found.gpus.iter().zip(&inventory.gpus) {
            assert_eq!(found.target.processor(), wanted.target.processor());
            assert_eq!((found.memory, found.compute_units), (wanted.memory, wanted.compute_units), "{}", found.target);
        }
    }

    #[test]
    fn our_own_detection_finds_the_gpus_of_a_hive_together_and_partitions_apart() {
        let mut inventory = gpu::simulate("gfx90a,gfx90a,gfx942,gfx942").unwrap();
        let [first, second, third, fourth] = inventory.gpus.as_mut_slice() else { panic!() };
        for gpu in [first, second] {
            gpu.xgmi = Some(gpu::Xgmi { hive: Some("00000000000000ab".into()), device: None, siblings: Vec::new() });
        }
        for (index, gpu) in (0..).zip([third, fourth]) {
            gpu.pci_address = Some("0000:83:00.0".parse().unwrap());
            gpu.partition = Some(gpu::Partition { index, compute: None, memory: None, siblings: Vec::new() });
        }
        let machine = Machine::new(&inventory, 16 << 30, 4).unwrap();
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &tree(&machine));
        let found = gpu::detect(&gpu::Sources::copy(gpu::Sysfs::new(root.path()), String::new()));
        assert_eq!((found.unusable.len(), found.gpus.len()), (0, 4), "{found}");
        let siblings = |index: usize| found.gpus[index].xgmi.as_ref().map(|xgmi| xgmi.siblings.clone());
        assert_eq!(siblings(0), Some(vec![found.gpus[1].id.clone()]));
        assert_eq!(siblings(1), Some(vec![found.gpus[0].id.clone()]));
        assert_eq!((siblings(2), siblings(3)), (None, None));
    }

    #[test]
    fn every_link_leads_to_something() {
        let machine = Machine::new(&gpu::simulate("gfx1100,gfx942").unwrap(), 16 << 30, 4).unwrap();
        let root = tempfile::tempdir().unwrap();
        let tree = tree(&machine);
        write(root.path(), &tree);
        for (path, entry) in &tree {
            if matches!(entry, Entry::Link(_)) {
                assert!(root.path().join(path).exists(), "{path}: {entry:?}");
            }
        }
    }
}
