//! Disks that are not ours: set read-only before anybody could write to them.

use std::collections::BTreeSet;
use std::path::Path;

use rustix::io::Errno;

use crate::system::System;
use appliance::block::BlockDevice;

/// Sets block devices read-only as they show up.
#[derive(Debug, Default)]
pub struct Protector {
    done: BTreeSet<String>,
    ours: Option<String>,
}

impl Protector {
    /// For an appliance that was started from a disk: that disk was dealt with already, and its other partitions may be
    /// written to.
    pub fn sparing(disk: Option<String>) -> Self {
        Self { done: BTreeSet::new(), ours: disk }
    }

    /// Sets every device read-only that is new. Returns what went wrong.
    pub fn protect(&mut self, devices: &[BlockDevice], dev: &Path, system: &mut dyn System) -> Vec<String> {
        let mut problems = Vec::new();
        // A name that is gone may come back as another disk.
        self.done.retain(|name| devices.iter().any(|device| device.name == *name));
        for device in devices {
            let ours = self.ours.as_ref().is_some_and(|disk| device.is_on(disk));
            if ours || self.done.contains(&device.name) {
                continue;
            }
            let path = dev.join(&device.name);
            match system.set_read_only(&path, true) {
                // An empty drive: asked again when it may hold something.
                Err(error) if error.raw_os_error() == Some(Errno::NOMEDIUM.raw_os_error()) => continue,
                Err(error) => problems.push(format!("setting {} read-only: {error}", path.display())),
                Ok(()) => {}
            }
            self.done.insert(device.name.clone());
        }
        problems
    }

    /// The disk that we started from may be written to later, for its data partition; its root partition stays
    /// read-only. Returns what went wrong.
    pub fn release(root: &BlockDevice, devices: &[BlockDevice], dev: &Path, system: &mut dyn System) -> Vec<String> {
        let Some(disk) = &root.disk else { return Vec::new() };
        let ours = devices.iter().filter(|device| device.is_on(disk) && device.name != root.name);
        let set = ours.filter_map(|device| {
            let path = dev.join(&device.name);
            let result = system.set_read_only(&path, false);
            result.err().map(|error| format!("setting {} writable: {error}", path.display()))
        });
        set.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::recording::Recording;
    use appliance::block::list;
    use appliance::fixtures::add_disk;

    #[test]
    fn a_disk_that_comes_later_is_protected_once_and_ours_is_left_alone() -> std::io::Result<()> {
        let sys = tempfile::tempdir()?;
        let (dev, class) = (Path::new("/dev"), sys.path().join("class/block"));
        let (mut system, mut protector) = (Recording::default(), Protector::sparing(Some("sda".into())));
        add_disk(sys.path(), "sda", &[("sda1", "a")])?;
        assert!(protector.protect(&list(&class), dev, &mut system).is_empty());
        assert!(system.calls.is_empty());
        add_disk(sys.path(), "sdb", &[("sdb1", "b")])?;
        for _ in 0..2 {
            assert!(protector.protect(&list(&class), dev, &mut system).is_empty());
        }
        assert_eq!(system.calls, ["read-only /dev/sdb", "read-only /dev/sdb1"]);
        // Another stick in the same place.
        protector.protect(&[], dev, &mut system);
        protector.protect(&list(&class), dev, &mut system);
        assert_eq!(system.calls.len(), 4);
        Ok(())
    }
}
