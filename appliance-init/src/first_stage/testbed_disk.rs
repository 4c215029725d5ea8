//! Finds the disk of a bare testbed (`rocbed.testbed-disk=`), which takes all changes to the root, and makes it writable.

use std::time::Duration;

use super::find;
use crate::fatal::Fatal;
use crate::search::Search;
use crate::uevent::Uevents;
use appliance::block::BlockDevice;
use appliance::cmdline::CommandLine;

/// Its file system, which the server makes.
pub(super) const KIND: &str = "ext4";

/// How long to wait for it: it is there from the start, unlike a stick.
const PATIENCE: Duration = Duration::from_secs(30);

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
            let found =
                find(spec, &devices, &self.paths.dev, &mut self.superblocks).first().map(|found| (*found).clone());
            if let Some(disk) = found {
                let path = self.paths.dev.join(&disk.name);
                self.system.set_read_only(&path, false).map_err(|error| {
                    let what = format!("setting {}, the testbed's disk, writable: {error}", path.display());
                    Fatal::new(what, "start the testbed again")
                })?;
                self.console.say(&format!("a bare testbed, whose changes go to /dev/{}", disk.name));
                self.load(KIND);
                return Ok(Some(disk));
            }
            if self.system.uptime().saturating_sub(start) >= PATIENCE {
                let what = format!("the testbed's disk {spec} did not show up in {} s", PATIENCE.as_secs());
                let advice = "rocbed.testbed-disk= is for autopkgtest-virt-rocbed --vm; leave it out elsewhere";
                return Err(Fatal::new(what, advice));
            }
            self.wait_for_devices(events)?;
        }
    }
}
