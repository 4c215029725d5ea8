//! The first stage: from the kernel's start to the real root.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::console::Console;
use crate::devices::{bus_modaliases, modaliases};
use crate::drivers::Drivers;
use crate::fatal::Fatal;
use crate::netroot::{self, Source};
use crate::protect::Protector;
use crate::search::{Search, SystemPaths};
use crate::start_disk;
use crate::switch_root::switch_root;
use crate::system::{MountMode, System};
use crate::uevent::{KernelUevents, Uevent, Uevents};
use crate::verified_root;
use appliance::block::BlockDevice;
use appliance::cmdline::{CommandLine, RootSpec};
use appliance::paths::{self, IMAGE, OVERLAY};
use appliance::root::find;

mod testbed_disk;

/// Directories of drivers that are not needed for reaching a disk; the second stage loads them from the root, with
/// their firmware.
const DEFERRED: [&str; 4] = ["kernel/drivers/net/", "kernel/drivers/gpu/", "kernel/drivers/char/", "kernel/sound/"];

const NEW_ROOT: &str = "/newroot";

/// The same for a root that comes over the network: network drivers are needed then, and those of disks in case
/// nothing else leads to a network interface.
const DEFERRED_FOR_NETWORK: [&str; 3] = ["kernel/drivers/gpu/", "kernel/drivers/char/", "kernel/sound/"];

/// Where the kernel looks for the program that loads modules for it (`CONFIG_MODPROBE_PATH`): drivers of network cards
/// need it to load those of their PHYs.
const MODPROBE: &str = "/sbin/modprobe";

/// Runs the first stage; returns only with an error.
pub fn run(system: &mut dyn System, console: &mut Console) -> Result<Infallible, Fatal> {
    mount_kernel_file_systems(system)?;
    *console = Console::open();
    // The kernel drops lines that come too fast, and these are the ones that matter.
    if let Err(error) = std::fs::write("/proc/sys/kernel/printk_devkmsg", "on\n") {
        console.say(&format!("setting printk_devkmsg: {error}; the kernel's log may lack lines"));
    }
    let line = CommandLine::of_kernel();
    for problem in &line.problems {
        console.say(&format!("kernel command line: {}", problem.in_one_line()));
    }
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let drivers = Drivers::of_kernel(&release, line)?;
    let now = system.uptime().as_secs_f64();
    console.say(&format!("starting at {now:.2} s on kernel {release} with {} modules", drivers.count()));
    let paths = SystemPaths { sys: "/sys".into(), dev: "/dev".into() };
    let mut events = KernelUevents::listen()
        .map_err(|error| Fatal::new(format!("listening for devices: {error}"), "use a kernel with CONFIG_NET"))?;
    keep_settings(system, console);
    let (root, kind, changes) = if let Some(source) = Source::of(line)? {
        offer_modprobe(system, console);
        let mut search = Search::new(paths, drivers, &DEFERRED_FOR_NETWORK, system, console);
        let (root, kind) = netroot::reach(&source, line, &mut search, &mut events)?;
        let root = verified_root::protect(root, line, &mut search)?;
        search.load("overlay");
        (root, kind, None)
    } else {
        let mut search = Search::new(paths, drivers, &DEFERRED, system, console);
        let started = start_disk::ask(&mut search.drivers, search.system).unwrap_or_else(|problem| {
            search.console.say(&format!("{problem}; of several disks with this image the first is taken"));
            None
        });
        let (root, kind) = search.reach_root(line, started.as_deref(), &mut events)?;
        let root = verified_root::protect(root, line, &mut search)?;
        let changes = search.reach_testbed_disk(line, &mut events)?;
        search.load("overlay");
        (root, kind, changes)
    };
    mount_root(&root, &kind, line, changes.as_ref(), system)?;
    switch_root(Path::new(NEW_ROOT), system)
}

fn mount_kernel_file_systems(system: &mut dyn System) -> Result<(), Fatal> {
    for (kind, target, mode, options) in [
        ("proc", "/proc", MountMode::Plain, ""),
        ("sysfs", "/sys", MountMode::Plain, ""),
        ("devtmpfs", "/dev", MountMode::Writable, "mode=755"),
        ("tmpfs", "/run", MountMode::Plain, "mode=755"),
    ] {
        let target = Path::new(target);
        let result = system.create_directory(target).and_then(|()| system.mount(kind, target, kind, mode, options));
        match result {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {} // the kernel did it already
            Err(error) => {
                let what = format!("mounting {kind} on {}: {error}", target.display());
                return Err(Fatal::new(what, "use a kernel with this file system built in, as Debian's have"));
            }
        }
    }
    Ok(())
}

impl Search<'_> {
    /// Returns the root's device and file system type, once the root is there and all other devices are protected.
    /// `started` is the partition that the firmware started, if it tells.
    fn reach_root(
        &mut self,
        line: &CommandLine,
        started: Option<&str>,
        events: &mut dyn Uevents,
    ) -> Result<(BlockDevice, String), Fatal> {
        let Some(spec) = &line.root else {
            let advice = "add root=PARTUUID=... or root=UUID=... to the kernel command line";
            return Err(Fatal::new("the kernel command line names no root", advice));
        };
        let start = self.system.uptime();
        let mut stages = STAGES.iter();
        loop {
            // Loads only what is needed: the second stage loads the rest while it does other things.
            let more = stages.next();
            for alias in more.map(|stage| (stage.devices)(&self.paths.sys)).unwrap_or_default() {
                self.load_alias(&alias);
            }
            let devices = self.protect();
            let candidates = find(spec, &devices, &self.paths.dev, &mut self.superblocks);
            let waited = self.system.uptime().saturating_sub(start);
            if let Some(root) = start_disk::choose(&candidates, started, &devices, waited).cloned() {
                self.insist(Some(root.disk.as_deref().unwrap_or(&root.name)))?;
                let kind = self.file_system(&root, line)?;
                let problems = Protector::release(&root, &devices, &self.paths.dev, self.system);
                self.tell(&problems);
                let now = self.system.uptime().as_secs_f64();
                let ours = root.disk.as_deref().unwrap_or(&root.name);
                let others = devices.iter().filter(|device| device.disk.is_none() && !device.is_on(ours));
                let others: Vec<_> = others.map(|device| device.name.as_str()).collect();
                if !others.is_empty() {
                    self.console.say(&format!("disks of this machine, read-only: {}", others.join(" ")));
                }
                self.console.say(&format!("root {spec} is /dev/{} with {kind}, found at {now:.2} s", root.name));
                self.load(&kind);
                return Ok((root, kind));
            }
            if more.is_some() {
                continue;
            }
            if line.root_timeout.is_some_and(|patience| waited >= patience) {
                return Err(not_found(spec, waited, &devices));
            }
            self.wait_for_devices(events)?;
        }
    }

    fn load_all(&mut self) {
        for alias in modaliases(&self.paths.sys.join("devices")) {
            self.load_alias(&alias);
        }
    }

    /// Waits for an event, then takes all that are there.
    fn wait_for_devices(&mut self, events: &mut dyn Uevents) -> Result<(), Fatal> {
        let mut wait = Duration::from_secs(1);
        loop {
            let event = events.next(wait).map_err(|error| {
                Fatal::new(format!("waiting for devices: {error}"), "report this as a bug of rocbed, with this text")
            })?;
            match event {
                Some(Uevent::Added { modalias: Some(alias) }) => self.load_alias(&alias),
                Some(Uevent::Added { modalias: None } | Uevent::Other) => {}
                Some(Uevent::Lost) => self.load_all(),
                None => return Ok(()),
            }
            wait = Duration::ZERO;
        }
    }

    fn file_system(&mut self, root: &BlockDevice, line: &CommandLine) -> Result<String, Fatal> {
        if let Some(kind) = &line.root_type {
            return Ok(kind.clone());
        }
        let superblock = self.superblocks.of(&self.paths.dev, root);
        superblock.map(|superblock| superblock.kind.to_owned()).ok_or_else(|| {
            let what = format!("/dev/{} holds no ext4, erofs or squashfs file system, or cannot be read", root.name);
            Fatal::new(what, "write the image again; if that does not help, the medium is broken")
        })
    }
}

/// A group of devices that the root may be on.
struct Stage {
    /// Returns their modaliases, below `/sys`.
    devices: fn(&Path) -> BTreeSet<String>,
}

/// Where the root may be, likely and fast places first: virtual devices, which are there at once, NVMe drives, and
/// everything. Reading all of sysfs takes far longer than loading a driver.
const STAGES: [Stage; 3] = [
    Stage { devices: |sys| bus_modaliases(&sys.join("bus/virtio/devices")) },
    Stage {
        devices: |sys| {
            let mut found = bus_modaliases(&sys.join("bus/pci/devices"));
            // Class 01, subclass 08: non-volatile memory.
            found.retain(|alias| alias.contains("bc01sc08"));
            found
        },
    },
    Stage { devices: |sys| modaliases(&sys.join("devices")) },
];

fn not_found(spec: &RootSpec, waited: Duration, devices: &[BlockDevice]) -> Fatal {
    let seen =
        if devices.is_empty() { "no block devices at all".to_owned() } else { "these block devices:".to_owned() };
    let advice = if devices.is_empty() {
        "check that the disk or stick is plugged in, or try another port; its driver may be missing in the initramfs"
    } else {
        "check that this is the stick or disk that was written, and that it was written to the end"
    };
    let details = std::iter::once(format!("seen {seen}")).chain(devices.iter().map(BlockDevice::describe)).collect();
    Fatal::new(format!("the root {spec} did not show up in {} s", waited.as_secs()), advice).with_details(details)
}

/// Mounts the image read-only, and over it what takes all changes: a tmpfs, or the disk of a bare testbed.
fn mount_root(
    root: &BlockDevice,
    kind: &str,
    line: &CommandLine,
    changes: Option<&BlockDevice>,
    system: &mut dyn System,
) -> Result<(), Fatal> {
    let device = format!("/dev/{}", root.name);
    let mut step = |source: &str, target: &str, kind: &str, mode, options: &str| {
        let result = system
            .create_directory(Path::new(target))
            .and_then(|()| system.mount(source, Path::new(target), kind, mode, options));
        result.map_err(|error| {
            let what = format!("mounting {source} ({kind}) on {target}: {error}");
            Fatal::new(what, "write the image again; the kernel's messages above may say more")
        })
    };
    step(&device, IMAGE, kind, MountMode::ReadOnly, &line.root_flags)?;
    match changes {
        None => step("tmpfs", OVERLAY, "tmpfs", MountMode::Writable, "mode=755")?,
        Some(disk) => step(&format!("/dev/{}", disk.name), OVERLAY, testbed_disk::KIND, MountMode::Writable, "")?,
    }
    for name in ["upper", "work"] {
        let directory = Path::new(OVERLAY).join(name);
        system.create_directory(&directory).map_err(|error| {
            Fatal::new(format!("making {}: {error}", directory.display()), "give the machine more memory")
        })?;
    }
    let options = format!("lowerdir={IMAGE},upperdir={OVERLAY}/upper,workdir={OVERLAY}/work");
    let mut step = |source: &str, target: &str, kind: &str, mode, options: &str| {
        let result = system
            .create_directory(Path::new(target))
            .and_then(|()| system.mount(source, Path::new(target), kind, mode, options));
        result.map_err(|error| {
            let what = format!("mounting {kind} on {target}: {error}");
            Fatal::new(what, "the initramfs needs the module overlay: build the image again")
        })
    };
    step("rocbed-root", NEW_ROOT, "overlay", MountMode::Writable, &options)
}

/// Lets the kernel load modules by this program, under the name that it knows.
fn offer_modprobe(system: &mut dyn System, console: &mut Console) {
    let path = Path::new(MODPROBE);
    let made = path.parent().map_or(Ok(()), |directory| system.create_directory(directory));
    if let Err(error) = made.and_then(|()| system.link(Path::new("/init"), path)) {
        console.say(&format!("making {MODPROBE}: {error}; some network cards may not work"));
    }
}

/// Keeps the image's settings, which came in the initramfs: the second stage reads them from /run.
fn keep_settings(system: &mut dyn System, console: &mut Console) {
    let (from, to) = (Path::new("/etc/rocbed/rocbed.toml"), Path::new(paths::IMAGE_SETTINGS));
    let made = to.parent().map_or(Ok(()), |directory| system.create_directory(directory));
    // The directory is there, so "not found" can only mean an image without settings.
    match made.and_then(|()| system.copy_file(from, to)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            console.say(&format!("keeping the image's settings: {error}; going on with the defaults"));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
