//! [`Settings`] of the appliance: the kernel command line overrides `rocbed.toml` on the stick's ESP, which overrides
//! the image's own.
//!
//! A setting has the same name everywhere: `rocbed.hub=` on the kernel command line is `hub =` in a file. Invalid
//! values and unknown names are reported and ignored; an appliance that starts with a warning is of more use than one
//! that does not start.

use std::fmt;
use std::net::IpAddr;

use advice::{Advice, Advise, Help};
use protocol::settings::{self, Key, SettingError, SettingSource};
use protocol::{Hours, Span};
pub use safetext::Secret;

use crate::cmdline::CommandLine;
use crate::paths;

/// The network that tests have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TestNetwork {
    /// The machine's.
    #[default]
    Machine,
    /// One of their own, from which archives and listed hosts can be reached.
    Archive,
}

/// What the appliance does when it has no more jobs, or no job source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenDone {
    /// Wait for more jobs.
    #[default]
    Wait,
    /// Switch the machine off.
    PowerOff,
}

/// What the appliance does when it has run no job for a while.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenIdle {
    /// Stay on.
    #[default]
    Stay,
    /// Switch the machine off.
    PowerOff,
    /// Suspend it to memory.
    Suspend,
}

/// A debci server to work for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Debci {
    /// Address of its message broker, with user and password; `None` if there is no such server.
    pub broker: Option<Secret>,
    /// Suites whose jobs are run.
    pub suites: Vec<String>,
    /// Architecture, to which targets are added.
    pub architecture: String,
    /// The backend whose queues are read.
    pub backend: String,
    /// Address of the server's web pages.
    pub api: Option<String>,
    /// Authority that has signed the broker's certificate: a PEM file's path, or its text.
    pub ca: Option<String>,
    /// This machine's certificate for the broker, likewise.
    pub certificate: Option<String>,
    /// The key of that certificate, likewise.
    pub key: Option<Secret>,
}

impl Default for Debci {
    fn default() -> Self {
        Self {
            broker: None,
            suites: vec!["unstable".into(), "sid".into()],
            architecture: "amd64".into(),
            backend: "lxc".into(),
            api: None,
            ca: None,
            certificate: None,
            key: None,
        }
    }
}

/// A bucket of S3-compatible storage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Storage {
    /// Its address; `None` if there is no storage.
    pub address: Option<String>,
    /// Id of the key.
    pub key_id: Option<String>,
    /// The key's secret.
    pub key: Option<Secret>,
    /// Authority that has signed the storage's certificate: a PEM file's path, or its text.
    pub ca: Option<String>,
}

/// The settings of an appliance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The worker's name; derived from a network card's address if it is not set.
    pub name: Option<String>,
    /// URL of the hub.
    pub hub: Option<String>,
    /// The token with which this machine registers as a worker of the hub, until it has a token of its own.
    pub join_token: Option<Secret>,
    /// The authority that has signed the hub's certificate, in addition to the system's: a PEM file's path, or its
    /// text.
    pub hub_ca: Option<String>,
    /// URL of a job list, for setups without a hub.
    pub jobs: Option<String>,
    /// URL below which the results of that list's jobs are put.
    pub results: Option<String>,
    /// The broker of a debci server, and which of its jobs are taken.
    pub debci: Debci,
    /// Where result bundles are put besides.
    pub storage: Storage,
    /// Targets of GPUs to simulate instead of looking for real ones.
    pub gpu: Option<String>,
    /// GPUs that get no jobs: ids or unique ids.
    pub leave_out: Vec<String>,
    /// Whether simulated GPUs accept simulated faults.
    pub simulate_faults: bool,
    /// Debian mirror for apt in testbeds, instead of the image's.
    pub mirror: Option<String>,
    /// HTTP proxy for apt in testbeds, possibly with a password.
    pub proxy: Option<Secret>,
    /// Whether apt rejects a Release file past its `Valid-Until`.
    pub check_valid_until: bool,
    /// Address ranges and so on in the kernel's `ip=` form, one for each link that is not to use DHCP.
    pub ip: Vec<String>,
    /// Time servers, instead of those that DHCP names.
    pub ntp: Vec<String>,
    /// Name servers, before those that DHCP names.
    pub dns: Vec<IpAddr>,
    /// Whether the clock is set from the network.
    pub set_clock: bool,
    /// The watchdog's timeout, after which it resets the machine; `None` for no watchdog.
    pub watchdog: Option<Span>,
    /// The size of a testbed's writable layer, which is in memory: as tmpfs(5) accepts it, or `50%`.
    pub overlay_size: String,
    /// The most memory of a testbed, as the `--memory` of testbeds accepts it: `4G`, or `90%` of what is available.
    pub testbed_memory: String,
    /// Source packages that the machine tests; all if there are none. One may end with `*`.
    pub packages: Vec<String>,
    /// The most time that a job has.
    pub longest_job: Option<Span>,
    /// When the machine takes jobs; `None` for always.
    pub hours: Option<Hours>,
    /// What to do after [`Self::idle_after`] without a job.
    pub when_idle: WhenIdle,
    /// How long the machine has no job before that.
    pub idle_after: Span,
    /// The network of tests.
    pub test_network: TestNetwork,
    /// Hosts that tests may reach besides archives, if they have a network of their own.
    pub test_hosts: Vec<String>,
    /// How many jobs run at once at most; `None` for one for each GPU.
    pub jobs_at_once: Option<u32>,
    /// What to do without jobs.
    pub when_done: WhenDone,
    /// Whether a person at the machine may have a root shell. Only the image can set it.
    pub debug_shell: bool,
    /// The recipe that the image was made from. Only the image can set it.
    pub recipe: Option<String>,
    /// Whether a root shell is wanted on the first serial console (and the image allows it).
    pub shell: bool,
    /// What is wrong with settings that say what the machine must not do: it takes no jobs then.
    pub wrong_rules: Vec<Advice>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: None,
            hub: None,
            join_token: None,
            hub_ca: None,
            jobs: None,
            results: None,
            debci: Debci::default(),
            storage: Storage::default(),
            gpu: None,
            leave_out: Vec::new(),
            simulate_faults: false,
            mirror: None,
            proxy: None,
            check_valid_until: true,
            ip: Vec::new(),
            ntp: Vec::new(),
            dns: Vec::new(),
            set_clock: true,
            watchdog: Some(Span::seconds(120)),
            overlay_size: "50%".to_owned(),
            testbed_memory: "90%".to_owned(),
            packages: Vec::new(),
            longest_job: None,
            hours: None,
            when_idle: WhenIdle::default(),
            idle_after: Span::seconds(600),
            test_network: TestNetwork::default(),
            test_hosts: Vec::new(),
            jobs_at_once: None,
            when_done: WhenDone::default(),
            debug_shell: false,
            recipe: None,
            shell: false,
            wrong_rules: Vec::new(),
        }
    }
}

/// The origin of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The image itself: made by the recipe's author.
    Image,
    /// `rocbed.toml` on the stick.
    Stick,
    /// The kernel command line.
    CommandLine,
    /// The program that runs the virtual machine.
    HandOver,
}

/// A setting that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {error}")]
pub struct RefusedSetting {
    /// Where it was given.
    pub origin: Origin,
    /// Why it was not taken.
    pub error: SettingError,
}

impl Advise for RefusedSetting {
    fn help(&self) -> Help {
        self.error.help()
    }
}

impl Origin {
    fn source(self) -> SettingSource {
        match self {
            Self::Image => SettingSource::Image,
            Self::Stick | Self::HandOver => SettingSource::Stick,
            Self::CommandLine => SettingSource::CommandLine,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Image => "the image's settings",
            Self::Stick => "rocbed.toml on the stick",
            Self::CommandLine => "kernel command line",
            Self::HandOver => "settings from outside of the virtual machine",
        })
    }
}

impl Settings {
    /// Reads the settings of this appliance; also returns the problems with them.
    pub fn of_this_machine(line: &CommandLine) -> (Self, Vec<Advice>) {
        let (mut settings, mut problems) = (Self::default(), line.problems.clone());
        for (path, origin) in [(paths::IMAGE_SETTINGS, Origin::Image), (paths::STICK_SETTINGS, Origin::Stick)] {
            match std::fs::read(path) {
                Ok(bytes) => problems.extend(settings.set_all(&String::from_utf8_lossy(&bytes), origin)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => problems.push(settings.unread(format!("{origin}: reading {path}: {error}"))),
            }
        }
        if let Ok(problem) = std::fs::read_to_string(paths::STICK_SETTINGS_PROBLEM) {
            // Told by who noted it.
            settings.unread(problem);
        }
        // Several `ip=` configure several links, but together they replace those of a file.
        if line.setting("ip").is_some() {
            settings.ip.clear();
        }
        let given = line.settings.iter();
        let refused = given.filter_map(|(name, value)| settings.set(name, value, Origin::CommandLine).err());
        problems.extend(refused.map(|error| Advice::of(&error)));
        (settings, problems)
    }

    /// Notes that settings could not be read, in which rules of the owner may have been.
    fn unread(&mut self, problem: String) -> Advice {
        let wrong = Advice::new(problem, "write the stick again: rules of the machine's owner may be in its settings");
        self.wrong_rules.push(wrong.clone());
        wrong
    }

    /// Sets one setting.
    ///
    /// # Errors
    /// If there is no such setting, it cannot be set there, or does not take the value. It is as it was, then.
    pub fn set(&mut self, name: &str, value: &str, origin: Origin) -> Result<(), RefusedSetting> {
        self.try_set(name, value, origin).map_err(|error| {
            let is_rule = error.is_about_rule();
            let refused = RefusedSetting { origin, error };
            if is_rule {
                self.wrong_rules.push(Advice::of(&refused));
            }
            refused
        })
    }

    fn try_set(&mut self, name: &str, value: &str, origin: Origin) -> Result<(), SettingError> {
        let setting = settings::find(name, origin.source())?;
        if setting.key == Key::Gpu {
            // Kept even if it is not valid: if simulated GPUs were asked for, jobs must not run on a real one.
            self.gpu = Some(value.to_owned());
        }
        setting.check(value)?;
        let address = || Some(value.trim_end_matches('/').to_owned());
        let words = || settings::list(value).map(str::to_owned);
        let is_on = settings::parse_bool(value).unwrap_or_default();
        // Without a `_`: a setting of the table that is not handled here does not compile.
        match setting.key {
            Key::Name => self.name = Some(value.to_owned()),
            Key::Hub => self.hub = address(),
            Key::JoinToken => self.join_token = Some(Secret::new(value)),
            Key::HubCa => self.hub_ca = Some(value.to_owned()),
            Key::Jobs => self.jobs = address(),
            Key::Results => self.results = address(),
            Key::Debci => self.debci.broker = Some(Secret::new(value)),
            Key::DebciSuite => self.debci.suites = words().collect(),
            Key::DebciArch => value.clone_into(&mut self.debci.architecture),
            Key::DebciBackend => value.clone_into(&mut self.debci.backend),
            Key::DebciApi => self.debci.api = address(),
            Key::DebciCa => self.debci.ca = Some(value.to_owned()),
            Key::DebciCertificate => self.debci.certificate = Some(value.to_owned()),
            Key::DebciKey => self.debci.key = Some(Secret::new(value)),
            Key::Storage => self.storage.address = address(),
            Key::StorageKeyId => self.storage.key_id = Some(value.to_owned()),
            Key::StorageKey => self.storage.key = Some(Secret::new(value)),
            Key::StorageCa => self.storage.ca = Some(value.to_owned()),
            Key::Mirror => self.mirror = address(),
            Key::Proxy => self.proxy = Some(Secret::new(value.trim_end_matches('/'))),
            Key::CheckValidUntil => self.check_valid_until = is_on,
            Key::Ip => self.ip.push(value.to_owned()),
            Key::Ntp => self.ntp = words().collect(),
            Key::Dns => self.dns = settings::list(value).filter_map(|word| word.parse().ok()).collect(),
            Key::SetClock => self.set_clock = is_on,
            Key::Watchdog => self.watchdog = value.parse().ok(),
            Key::LeaveOut => self.leave_out = words().collect(),
            Key::SimulateFaults => self.simulate_faults = is_on,
            Key::OverlaySize => value.clone_into(&mut self.overlay_size),
            Key::Packages => self.packages = words().collect(),
            Key::LongestJob => self.longest_job = value.parse().ok(),
            Key::Hours => self.hours = value.parse().ok(),
            Key::WhenIdle => {
                self.when_idle = match value {
                    "power-off" => WhenIdle::PowerOff,
                    "suspend" => WhenIdle::Suspend,
                    _ => WhenIdle::Stay,
                }
            }
            Key::IdleAfter => self.idle_after = value.parse().unwrap_or(self.idle_after),
            Key::TestNetwork => {
                self.test_network = if value == "archive" { TestNetwork::Archive } else { TestNetwork::Machine };
            }
            Key::TestHosts => self.test_hosts = words().collect(),
            Key::JobsAtOnce => self.jobs_at_once = value.parse().ok(),
            Key::TestbedMemory => value.clone_into(&mut self.testbed_memory),
            Key::WhenDone => self.when_done = if value == "wait" { WhenDone::Wait } else { WhenDone::PowerOff },
            Key::DebugShell => self.debug_shell = is_on,
            Key::Recipe => self.recipe = Some(value.to_owned()),
            Key::Shell => self.shell = is_on,
            // The first was handled above; the others are only possible on the kernel command line, and were read
            // from it before.
            Key::Gpu
            | Key::RootUuid
            | Key::RootTimeout
            | Key::RootUrl
            | Key::RootSha256
            | Key::RootIndexSha256
            | Key::RootVerity
            | Key::BootReport
            | Key::TestbedDisk
            | Key::Blacklist
            | Key::PanicTimeout => {}
        }
        Ok(())
    }

    /// Sets all settings of a `rocbed.toml`; returns the problems with it.
    pub fn set_all(&mut self, text: &str, origin: Origin) -> Vec<Advice> {
        let table: toml::Table = match toml::from_str(text) {
            Ok(table) => table,
            Err(error) => {
                let line =
                    error.span().map_or(1, |span| text.get(..span.start).unwrap_or("").matches('\n').count() + 1);
                let what = format!("{origin}: line {line}: {}; none of it is used", error.message());
                let wrong = Advice::new(what, "values are texts in quotes, numbers, true, false, or [lists] of texts");
                // A rule may have been in it.
                self.wrong_rules.push(wrong.clone());
                return vec![wrong];
            }
        };
        table.iter().flat_map(|(name, value)| self.set_value(name, value, origin)).collect()
    }

    fn set_value(&mut self, name: &str, value: &toml::Value, origin: Origin) -> Vec<Advice> {
        let told = |result: Result<(), RefusedSetting>| result.err().iter().map(Advice::of).collect::<Vec<_>>();
        match value {
            // A list means the words of one setting, or the same setting several times.
            toml::Value::Array(values) if name == "ip" => {
                values.iter().flat_map(|value| self.set_value(name, value, origin)).collect()
            }
            toml::Value::Array(values) => {
                let words: Vec<_> = values.iter().map(scalar).collect();
                told(self.set(name, &words.join(","), origin))
            }
            toml::Value::Table(_) => {
                let what = format!("{origin}: {name} is a table; there is no such setting");
                let wrong = Advice::new(what, format!("write `{name} = ` and its value in one line"));
                if settings::is_rule(name) {
                    self.wrong_rules.push(wrong.clone());
                }
                vec![wrong]
            }
            other => told(self.set(name, &scalar(other), origin)),
        }
    }
}

fn scalar(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests;
