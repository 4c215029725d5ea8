//! Handles devices once the root is mounted: loads drivers for those that were there at the start, then for new ones;
//! sets foreign disks read-only; gives GPUs to their groups; finds power buttons. It has a thread of its own, and
//! GPUs have another: a GPU's driver may take half a minute, or never return, and network, disks and watchdog must
//! not wait for it.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::devices::modaliases;
use crate::drivers::Drivers;
use crate::events::Event;
use crate::linux::Linux;
use crate::nodes;
use crate::power_button::PowerButtons;
use crate::protect::{self, Protector};
use crate::system::Ending;
use crate::uevent::{KernelUevents, Uevent, Uevents as _};
use appliance::block;
use appliance::cmdline::CommandLine;

/// Modules that are never loaded: the appliance uses no sound, and some of its drivers are slow to give up.
const UNUSED: [&str; 1] = ["kernel/sound/"];

/// The thread's nice value once the agent can start (nice(2)).
const LATER: i32 = 10;

/// How long GPU drivers may take before the machine goes on without them. A driver that never returns, or that
/// crashed in the kernel and took its thread with it, reports nothing.
const GPU_PATIENCE: Duration = Duration::from_secs(180);

/// Whose the machine's disks are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disks {
    /// The machine's owner's, except the one that the appliance was started from, if any: they are set read-only.
    Foreign(Option<String>),
    /// The tests': the machine is a virtual one, made for them.
    Own,
}

/// The state of the hardware thread.
struct Hardware {
    drivers: Drivers,
    /// `None` if the disks need no protection.
    protector: Option<Protector>,
    buttons: PowerButtons,
    groups: String,
    events: Sender<Event>,
    /// Whether the machine was told to end because of a writable foreign disk.
    refused: bool,
}

/// Starts the thread.
///
/// # Errors
/// If the thread cannot be started; problems with single devices come as events.
pub fn start(line: &CommandLine, disks: Disks, events: Sender<Event>) -> std::io::Result<()> {
    let line = line.clone();
    thread::Builder::new().name("hardware".into()).spawn(move || {
        // Without a GPU the agent need not wait until the index of thousands of modules was read.
        let has_gpu = has_gpu(Path::new("/sys/bus/pci/devices"));
        if !has_gpu {
            if events.send(Event::GpuDriversLoaded).is_err() {
                return;
            }
            make_way(&events);
        }
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let mut drivers = Drivers::of_kernel(&release, &line).unwrap_or_else(|error| {
            // There is no receiver once the machine is going down.
            let _ = events.send(Event::Said(format!("{error}; going on without drivers from the root")));
            Drivers::new("/".into(), kmod::ModuleSet::default())
        });
        drivers.skip_loaded(&std::fs::read_to_string("/proc/modules").unwrap_or_default());
        let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
        if has_gpu && let Err(error) = load_gpu_drivers(drivers.clone(), groups.clone(), &events) {
            // There is no receiver once the machine is going down.
            let _ = events.send(Event::Said(format!("starting a thread for GPUs: {error}; going on without them")));
            let _ = events.send(Event::GpuDriversLoaded);
        }
        let protector = match disks {
            Disks::Foreign(spared) => Some(Protector::sparing(spared)),
            Disks::Own => None,
        };
        let buttons = PowerButtons::default();
        Hardware { drivers, protector, buttons, groups, events, refused: false }.run();
    })?;
    Ok(())
}

impl Hardware {
    fn run(mut self) {
        self.drivers.defer(UNUSED);
        // Listens first, so that no event is missed while the existing devices are handled.
        let listening = KernelUevents::listen();
        self.settle();
        self.load_all(is_network);
        make_way(&self.events);
        self.load_all(is_other);
        if !Path::new("/dev/watchdog0").exists() {
            for problem in self.drivers.load("softdog", &mut Linux) {
                self.say(problem);
            }
        }
        self.settle();
        if self.events.send(Event::DriversLoaded).is_err() {
            return;
        }
        match listening {
            Ok(uevents) => self.follow(uevents),
            Err(error) => self.say(format!("listening for devices: {error}; what is plugged in later is not seen")),
        }
    }

    fn load_all(&mut self, wanted: fn(&str) -> bool) {
        for_each_device(wanted, |alias| self.load(alias));
    }

    fn load(&mut self, alias: &str) {
        for problem in self.drivers.load_alias(alias, &mut Linux) {
            self.say(problem);
        }
        self.protect();
    }

    /// Protects foreign disks as soon as they show up. The machine does not go on with one that it might write to:
    /// the next start stops at it, with the same message.
    fn protect(&mut self) {
        let Some(protector) = &mut self.protector else { return };
        let mut list = || block::list(Path::new("/sys/class/block"));
        let failed = protector.insist(&mut list, Path::new("/dev"), &mut Linux);
        if let Some(first) = failed.first().filter(|_| !self.refused) {
            self.refused = true;
            let why = format!("{first}; {}", protect::ADVICE);
            // There is no receiver once the machine is going down.
            let _ = self.events.send(Event::Problem(why.clone()));
            let _ = self.events.send(Event::End(Ending::Restart, why));
        }
    }

    fn follow(&mut self, mut uevents: KernelUevents) {
        let mut wait = Duration::from_secs(3600);
        loop {
            match uevents.next(wait) {
                Ok(Some(Uevent::Added { modalias: Some(alias) })) => self.load(&alias),
                Ok(Some(Uevent::Lost)) => self.load_all(is_other),
                Ok(Some(_)) => {}
                Ok(None) => {
                    self.settle();
                    wait = Duration::from_secs(3600);
                    continue;
                }
                Err(error) => {
                    self.say(format!("waiting for devices: {error}; what is plugged in later is not seen"));
                    return;
                }
            }
            // Events come in bursts; handle them once the burst is over.
            wait = Duration::from_millis(20);
        }
    }

    /// Does what every change of devices requires.
    fn settle(&mut self) {
        let dev = Path::new("/dev");
        self.protect();
        let problems = nodes::hand_out(dev, &self.groups);
        self.buttons.look(Path::new("/sys/class/input"), Path::new("/dev/input"), &self.events);
        for problem in problems {
            self.say(problem);
        }
    }

    fn say(&self, text: String) {
        // There is no receiver once the machine is going down.
        let _ = self.events.send(Event::Said(text));
    }
}

/// Loads the drivers of GPUs in a thread of their own, and reports when that is done or has taken too long.
fn load_gpu_drivers(mut drivers: Drivers, groups: String, events: &Sender<Event>) -> std::io::Result<()> {
    let ((done, finished), say) = (channel(), events.clone());
    thread::Builder::new().name("gpu drivers".into()).spawn(move || {
        let mut problems = Vec::new();
        for_each_device(is_gpu, |alias| problems.extend(drivers.load_alias(alias, &mut Linux)));
        problems.extend(nodes::hand_out(Path::new("/dev"), &groups));
        for problem in problems {
            // There is no receiver once the machine is going down.
            let _ = say.send(Event::Said(problem));
        }
        if done.send(()).is_err() {
            let text = "the driver of a GPU has come back after all: restart the machine for it to be used";
            let _ = say.send(Event::Said(text.into()));
        }
    })?;
    let events = events.clone();
    thread::Builder::new().name("gpu patience".into()).spawn(move || await_gpu_drivers(&finished, &events))?;
    Ok(())
}

/// Lets the agent start, even if GPU drivers fail.
fn await_gpu_drivers(finished: &Receiver<()>, events: &Sender<Event>) {
    if finished.recv_timeout(GPU_PATIENCE) == Err(RecvTimeoutError::Timeout) {
        let text = format!(
            "the driver of a GPU has not come back for {} s, going on without it: the kernel's log may say why; where              it is always so, try another kernel, or blacklist the driver (rocbed.blacklist=amdgpu)",
            GPU_PATIENCE.as_secs()
        );
        // There is no receiver once the machine is going down.
        let _ = events.send(Event::Problem(text));
    }
    let _ = events.send(Event::GpuDriversLoaded);
}

/// Calls `act` for each device that is wanted, by its modalias. A driver may bring new devices: repeats as long as
/// there are any.
fn for_each_device(wanted: fn(&str) -> bool, mut act: impl FnMut(&str)) {
    let mut known = std::collections::BTreeSet::new();
    loop {
        let found = modaliases(Path::new("/sys/devices")).into_iter();
        let new: Vec<_> = found.filter(|alias| wanted(alias) && known.insert(alias.clone())).collect();
        if new.is_empty() {
            return;
        }
        for alias in &new {
            act(alias);
        }
    }
}

/// Lets the agent start first: on a machine with one processor, this thread's next steps would delay it.
fn make_way(events: &Sender<Event>) {
    if let Err(error) = rustix::process::setpriority_process(None, LATER) {
        // There is no receiver once the machine is going down.
        let _ = events.send(Event::Said(format!("lowering a thread's priority: {error}")));
    }
}

/// Whether there is a GPU on the bus, by the PCI classes of its devices: far less to read than all modaliases.
fn has_gpu(devices: &Path) -> bool {
    let classes = std::fs::read_dir(devices).into_iter().flatten().flatten();
    let mut classes = classes.filter_map(|entry| std::fs::read_to_string(entry.path().join("class")).ok());
    classes.any(|class| class.starts_with("0x03") || class.starts_with("0x12"))
}

/// The PCI base class in a modalias, two hexadecimal digits (kernel Documentation/ABI/testing/sysfs-bus-pci).
fn pci_class(alias: &str) -> Option<&str> {
    alias.strip_prefix("pci:")?.split_once("bc")?.1.get(..2)
}

/// Whether a device is a display (03) or an accelerator (12).
fn is_gpu(alias: &str) -> bool {
    matches!(pci_class(alias), Some("03" | "12"))
}

/// Whether a device belongs to none of the kinds that have a thread of their own.
fn is_other(alias: &str) -> bool {
    !is_gpu(alias)
}

/// Whether a device is a network interface: base class 02, or virtio's device 1 (virtio 1.2, section 5).
fn is_network(alias: &str) -> bool {
    pci_class(alias) == Some("02") || alias.starts_with("virtio:d00000001v")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_is_seen_by_its_class() -> std::io::Result<()> {
        let bus = tempfile::tempdir()?;
        assert!(!has_gpu(&bus.path().join("none")));
        for (name, class, expected) in [("00:1f.2", "0x010601", false), ("03:00.0", "0x120000", true)] {
            std::fs::create_dir(bus.path().join(name))?;
            std::fs::write(bus.path().join(name).join("class"), format!("{class}\n"))?;
            assert_eq!(has_gpu(bus.path()), expected);
        }
        Ok(())
    }

    #[test]
    fn the_agent_starts_once_drivers_are_there() {
        let ((done, finished), (events, seen)) = (channel(), channel());
        done.send(()).unwrap();
        await_gpu_drivers(&finished, &events);
        drop(events);
        let seen: Vec<_> = seen.iter().map(|event| format!("{event:?}")).collect();
        assert_eq!(seen, ["GpuDriversLoaded"]);
    }

    #[test]
    fn gpus_and_network_cards_are_told_from_others() {
        assert!(is_gpu("pci:v00001002d000073BFsv00001002sd00000E3Abc03sc00i00"));
        assert!(is_gpu("pci:v00001002d000074A1sv00001002sd000074A1bc12sc00i00"));
        assert!(is_network("pci:v00008086d000015F3sv00001043sd000087D2bc02sc00i00"));
        assert!(is_network("virtio:d00000001v00001AF4"));
        for other in [
            "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01",
            "virtio:d00000002v00001AF4",
            "acpi:PNP0C0C:",
            "pci:v",
        ] {
            assert!(!is_gpu(other) && !is_network(other), "{other}");
        }
    }
}
