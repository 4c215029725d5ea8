//! [`Search`]: what the first stage needs while it looks for the root, on a disk or over the network: drivers, and the
//! machine's own disks kept read-only.

use std::path::PathBuf;

use crate::console::Console;
use crate::drivers::Drivers;
use crate::fatal::Fatal;
use crate::protect::{self, Protector, Unprotected};
use crate::system::System;
use appliance::block::{self, BlockDevice};
use appliance::root::Superblocks;

/// The directories to use; tests use others.
#[derive(Debug)]
pub(crate) struct SystemPaths {
    pub(crate) sys: PathBuf,
    pub(crate) dev: PathBuf,
}

/// The search for the root.
pub(crate) struct Search<'a> {
    pub(crate) paths: SystemPaths,
    pub(crate) drivers: Drivers,
    pub(crate) system: &'a mut dyn System,
    pub(crate) console: &'a mut Console,
    pub(crate) protector: Protector,
    pub(crate) superblocks: Superblocks,
}

impl<'a> Search<'a> {
    pub(crate) fn new(
        paths: SystemPaths,
        mut drivers: Drivers,
        deferred: &[&str],
        system: &'a mut dyn System,
        console: &'a mut Console,
    ) -> Self {
        drivers.defer(deferred.iter().copied());
        let (protector, superblocks) = (Protector::default(), Superblocks::default());
        Self { paths, drivers, system, console, protector, superblocks }
    }

    pub(crate) fn load(&mut self, name: &str) {
        let problems = self.drivers.load(name, self.system);
        self.tell(&problems);
    }

    pub(crate) fn load_alias(&mut self, alias: &str) {
        let problems = self.drivers.load_alias(alias, self.system);
        self.tell(&problems);
    }

    /// Sets foreign disks read-only, as far as they have shown up. If that fails it is tried again as more disks show
    /// up; [`Self::insist`] checks the final result.
    pub(crate) fn protect(&mut self) -> Vec<BlockDevice> {
        let devices = block::list(&self.paths.sys.join("class/block"));
        // Failures are reported only if they last.
        self.protector.protect(&devices, &self.paths.dev, self.system);
        devices
    }

    /// Fails if a disk that is not ours can be written to; `ours` is the disk that the root is on.
    pub(crate) fn insist(&mut self, ours: Option<&str>) -> Result<(), Fatal> {
        let class = self.paths.sys.join("class/block");
        let failed = self.protector.insist(&mut || block::list(&class), &self.paths.dev, self.system);
        let others: Vec<Unprotected> =
            failed.into_iter().filter(|one| !ours.is_some_and(|disk| one.is_on(disk))).collect();
        match others.as_slice() {
            [] => Ok(()),
            [first, rest @ ..] => {
                let details = rest.iter().map(ToString::to_string).collect();
                Err(Fatal::new(first.to_string(), protect::ADVICE).with_details(details))
            }
        }
    }

    pub(crate) fn tell(&mut self, problems: &[String]) {
        for problem in problems {
            self.console.say(problem);
        }
    }
}
