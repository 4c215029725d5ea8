//! Devices once the root is there: drivers for what was there at the start, then for what comes; other people's disks
//! read-only; GPUs for their groups; power buttons. In a thread of its own: a GPU's driver may take half a minute.

use std::path::Path;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use crate::block;
use crate::cmdline::CommandLine;
use crate::devices::modaliases;
use crate::drivers::Drivers;
use crate::events::Event;
use crate::linux::Linux;
use crate::nodes;
use crate::power_button::PowerButtons;
use crate::protect::Protector;
use crate::uevent::{Event as Uevent, Events as _, KernelEvents};

/// Nobody listens to sound here, and some of its drivers are slow to give up.
const UNUSED: [&str; 1] = ["kernel/sound/"];

/// What the thread has at hand.
struct Hardware {
    drivers: Drivers,
    protector: Protector,
    buttons: PowerButtons,
    groups: String,
    events: Sender<Event>,
}

/// Starts the thread. `disk` is what the appliance was started from, if from a disk.
///
/// # Errors
/// If the thread cannot be started; problems with single devices come as events.
pub fn start(line: &CommandLine, disk: Option<String>, events: Sender<Event>) -> std::io::Result<()> {
    let blacklist = line.blacklist.clone();
    thread::Builder::new().name("hardware".into()).spawn(move || {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let drivers = Drivers::of_kernel(&release, &blacklist).unwrap_or_else(|error| {
            drop(events.send(Event::Said(format!("{error}; going on without drivers from the root"))));
            Drivers::new("/".into(), kmod::ModuleSet::default())
        });
        let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
        let (protector, buttons) = (Protector::sparing(disk), PowerButtons::default());
        Hardware { drivers, protector, buttons, groups, events }.run();
    })?;
    Ok(())
}

impl Hardware {
    fn run(mut self) {
        self.drivers.defer(UNUSED);
        // Listening first: what comes while the rest is looked at is not missed.
        let listening = KernelEvents::listen();
        self.load_all();
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

    /// Loading one driver brings devices that want others: as long as there are new ones.
    fn load_all(&mut self) {
        let mut known = std::collections::BTreeSet::new();
        loop {
            let new: Vec<_> =
                modaliases(Path::new("/sys/devices")).into_iter().filter(|alias| known.insert(alias.clone())).collect();
            if new.is_empty() {
                return;
            }
            for alias in new {
                self.load(&alias);
            }
        }
    }

    fn load(&mut self, alias: &str) {
        for problem in self.drivers.load_alias(alias, &mut Linux) {
            self.say(problem);
        }
    }

    fn follow(&mut self, mut uevents: KernelEvents) {
        let mut wait = Duration::from_secs(3600);
        loop {
            match uevents.next(wait) {
                Ok(Some(Uevent::Added { modalias: Some(alias) })) => self.load(&alias),
                Ok(Some(Uevent::Lost)) => self.load_all(),
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
            // Events come in crowds; look around once they have gone by.
            wait = Duration::from_millis(20);
        }
    }

    /// What has to be done for devices whatever they are.
    fn settle(&mut self) {
        let dev = Path::new("/dev");
        let mut problems = self.protector.protect(&block::list(Path::new("/sys/class/block")), dev, &mut Linux);
        problems.extend(nodes::hand_out(dev, &self.groups));
        self.buttons.look(Path::new("/sys/class/input"), dev, &self.events);
        for problem in problems {
            self.say(problem);
        }
    }

    fn say(&self, text: String) {
        // Nobody listens any more once the machine is going down.
        drop(self.events.send(Event::Said(text)));
    }
}
