//! Finds the disk of a bare testbed (`rocbed.testbed-disk=`), which takes all changes to the root, and makes it writable.
//!
//! The word is for `autopkgtest-virt-rocbed --vm`. On any other machine it would have the first stage write to a disk of
//! the owner's, so the disk has to be one that the server makes, in a machine that the server starts.

use std::path::Path;

use super::find;
use crate::fatal::Fatal;
use crate::search::Search;
use crate::uevent::Uevents;
use appliance::block::BlockDevice;
use appliance::cmdline::CommandLine;
use testbed::virtual_machine::{LABEL, limits};

/// Its file system, which the server makes.
pub(super) const KIND: &str = "ext4";

/// What to do about a machine that has no such disk.
const ADVICE: &str = "rocbed.testbed-disk= is for autopkgtest-virt-rocbed --vm; leave it out elsewhere";

/// Device type of a console, which has the serial ports (virtio 1.2, section 5.3.1), in sysfs.
const CONSOLE: &str = "0x0003";

impl Search<'_> {
    /// Returns the disk, writable, once it is there; `None` if the command line asks for none.
    pub(super) fn reach_testbed_disk(
        &mut self,
        line: &CommandLine,
        events: &mut dyn Uevents,
    ) -> Result<Option<BlockDevice>, Fatal> {
        let Some(spec) = &line.testbed_disk else { return Ok(None) };
        let start = self.system.uptime();
        loop {
            let devices = self.protect();
            let found = find(spec, &devices, &self.paths.dev, &mut self.superblocks);
            let disk = match found.as_slice() {
                [] => None,
                [disk] => Some((*disk).clone()),
                [first, second, ..] => {
                    let what = format!("{} and {} both have the file system {spec}", first.name, second.name);
                    return Err(Fatal::new(what, ADVICE));
                }
            };
            if let Some(disk) = disk {
                self.check(&disk)?;
                let path = self.paths.dev.join(&disk.name);
                self.system.set_read_only(&path, false).map_err(|error| {
                    let what = format!("setting {}, the testbed's disk, writable: {error}", path.display());
                    Fatal::new(what, "start the testbed again")
                })?;
                self.console.say(&format!("a bare testbed, whose changes go to /dev/{}", disk.name));
                self.load(KIND);
                return Ok(Some(disk));
            }
            if self.system.uptime().saturating_sub(start) >= limits::DISK {
                let what = format!("the testbed's disk {spec} did not show up in {} s", limits::DISK.as_secs());
                return Err(Fatal::new(what, ADVICE));
            }
            self.wait_for_devices(events)?;
        }
    }

    /// Refuses a disk that the server has not made, and a machine that it has not started. The name of the port cannot be
    /// read yet, as its driver is loaded later.
    fn check(&mut self, disk: &BlockDevice) -> Result<(), Fatal> {
        let refused =
            |why: &str| Err(Fatal::new(format!("/dev/{} is not the disk of a testbed: {why}", disk.name), ADVICE));
        let superblock = self.superblocks.of(&self.paths.dev, disk);
        if superblock.is_none_or(|superblock| superblock.kind != KIND || superblock.label.as_deref() != Some(LABEL)) {
            return refused(&format!("its file system is not an {KIND} with the label {LABEL}"));
        }
        if disk.disk.is_some() {
            return refused("it is a partition");
        }
        if !has_serial_ports(&self.paths.sys) {
            return refused("this machine has no virtio-serial port");
        }
        Ok(())
    }
}

fn has_serial_ports(sys: &Path) -> bool {
    let devices = std::fs::read_dir(sys.join("bus/virtio/devices")).into_iter().flatten().flatten();
    let mut types = devices.map(|entry| std::fs::read_to_string(entry.path().join("device")));
    types.any(|found| found.is_ok_and(|text| text.trim_end() == CONSOLE))
}
