//! Protects foreign disks: sets them read-only before anything could write to them.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use std::{fmt, io};

use rustix::io::Errno;

use crate::system::System;
use appliance::block::BlockDevice;

/// How often setting a device read-only is tried before the machine stops.
const TRIES: u32 = 5;

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// Sets block devices read-only as they show up.
#[derive(Debug, Default)]
pub struct Protector {
    done: BTreeSet<String>,
    ours: Option<String>,
}

/// A device that could still be written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unprotected {
    device: BlockDevice,
    error: String,
}

impl Unprotected {
    /// Whether it is this disk or a partition of it.
    pub fn is_on(&self, disk: &str) -> bool {
        self.device.is_on(disk)
    }
}

impl fmt::Display for Unprotected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "setting /dev/{} read-only: {}", self.device.name, self.error)
    }
}

/// What to do about a disk that could still be written to.
pub const ADVICE: &str = "take this disk out of the machine or off its controller; nothing has been written to it";

impl Protector {
    /// A protector that leaves one disk alone: the disk that the appliance was started from was handled already, and
    /// its other partitions may be written to.
    pub fn sparing(disk: Option<String>) -> Self {
        Self { done: BTreeSet::new(), ours: disk }
    }

    /// Sets every device read-only that is new, or that failed before. Returns the devices that failed.
    pub fn protect(&mut self, devices: &[BlockDevice], dev: &Path, system: &mut dyn System) -> Vec<Unprotected> {
        let mut failed = Vec::new();
        // A name that is gone may come back for another disk.
        self.done.retain(|name| devices.iter().any(|device| device.name == *name));
        for device in devices {
            let ours = self.ours.as_ref().is_some_and(|disk| device.is_on(disk));
            if ours || self.done.contains(&device.name) {
                continue;
            }
            match system.set_read_only(&dev.join(&device.name), true) {
                Ok(()) => {
                    self.done.insert(device.name.clone());
                }
                // An empty drive, or one that has just gone: it cannot be written to. Tried again when it is back.
                Err(error) if is_absent(&error) => {}
                Err(error) => failed.push(Unprotected { device: device.clone(), error: error.to_string() }),
            }
        }
        failed
    }

    /// The same, several times if necessary. Devices that are returned cannot be protected: the caller must not go
    /// on.
    pub fn insist(
        &mut self,
        list: &mut dyn FnMut() -> Vec<BlockDevice>,
        dev: &Path,
        system: &mut dyn System,
    ) -> Vec<Unprotected> {
        let mut failed = self.protect(&list(), dev, system);
        for _ in 1..TRIES {
            if failed.is_empty() {
                break;
            }
            system.sleep(PAUSE);
            failed = self.protect(&list(), dev, system);
        }
        failed
    }

    /// Makes the disk that we started from writable, for its data partition; its root partition stays read-only.
    /// Returns the errors.
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

/// Whether the error says that there is no device or medium (open(2)).
fn is_absent(error: &io::Error) -> bool {
    let absent = [Errno::NOMEDIUM, Errno::NODEV, Errno::NXIO, Errno::NOENT].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| absent.contains(&code))
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

    #[test]
    fn a_disk_that_cannot_be_protected_is_tried_again_and_then_told() -> std::io::Result<()> {
        let sys = tempfile::tempdir()?;
        let (dev, class) = (Path::new("/dev"), sys.path().join("class/block"));
        add_disk(sys.path(), "sda", &[])?;
        add_disk(sys.path(), "sdb", &[])?;
        let mut system = Recording { fails: vec!["read-only /dev/sdb"], ..Recording::default() };
        let mut protector = Protector::default();
        let failed = protector.insist(&mut || list(&class), dev, &mut system);
        let told: Vec<_> = failed.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["setting /dev/sdb read-only: Input/output error (os error 5)"]);
        assert!(failed[0].is_on("sdb") && !failed[0].is_on("sda"));
        let tries = |system: &Recording, disk: &str| system.calls.iter().filter(|call| call.ends_with(disk)).count();
        assert_eq!((tries(&system, "/dev/sda"), tries(&system, "/dev/sdb")), (1, 5));
        // It is still tried.
        system.fails.clear();
        assert!(protector.insist(&mut || list(&class), dev, &mut system).is_empty());
        assert_eq!((tries(&system, "/dev/sda"), tries(&system, "/dev/sdb")), (1, 6));
        Ok(())
    }
}
