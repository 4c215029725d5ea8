//! Machines in QEMU: workers of the hub.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use super::hub::Hub;

/// Name of the machine with several GPUs.
const OF_RACK: &str = "rack-3";

/// Name of the machine that starts from a stick.
pub(super) const OF_STICK: &str = "living-room";

/// A machine that ends when this is dropped.
pub(super) struct Machine(Child);

impl Machine {
    /// Boots an image as a worker, with a picture of its display in a file. It ends when the hub has no more jobs for it.
    pub(super) fn of_rack(hub: &Hub, image: &Path, gpu: &str, directory: &Path, screen: &Path) -> Result<Self> {
        let mut boot = hub.rocbed();
        boot.args(["boot", "--hub", hub.address(), "--gpu", gpu, "--memory", "2GiB", "--ignore-valid-until"]);
        boot.args(["--when-done", "power-off", "--append", &format!("rocbed.name={OF_RACK}")]);
        boot.arg("--screenshot").arg(screen).arg(image);
        Self::start(&mut boot, &directory.join(format!("{OF_RACK}.log")))
    }

    /// Boots a stick, with a picture of its display in a file.
    pub(super) fn of_stick(hub: &Hub, stick: &Path, directory: &Path, screen: &Path) -> Result<Self> {
        let mut boot = hub.rocbed();
        boot.args(["boot", "--usb", "--keep", "--memory", "2GiB", "--screenshot"]).arg(screen).arg(stick);
        Self::start(&mut boot, &directory.join(format!("{OF_STICK}.log")))
    }

    fn start(boot: &mut Command, console: &Path) -> Result<Self> {
        let file = File::create(console).with_context(|| format!("making {}", console.display()))?;
        Ok(Self(boot.stdin(Stdio::null()).stdout(file).spawn().context("starting rocbed boot")?))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Like Ctrl-C, so that QEMU ends too. It may have ended already.
        let _ = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}
