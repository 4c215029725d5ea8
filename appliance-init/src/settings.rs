//! [`Settings`] of the appliance: kernel command line over `rocbed.toml` on the stick's ESP over the image's own.
//!
//! A setting has the same name everywhere: `rocbed.hub=` on the kernel command line is `hub =` in a file. A value that
//! makes no sense and a name that nobody knows are told and passed over; an appliance that starts with a warning is of
//! more use than one that does not start.

use std::fmt;
use std::net::IpAddr;

use protocol::Span;

use crate::cmdline::CommandLine;

/// A value that must not get into logs or onto screens.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not shown)")
    }
}

/// What the appliance does when it has no more jobs, or no place to get them from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenDone {
    /// Wait for more.
    #[default]
    Wait,
    /// Switch the machine off.
    PowerOff,
}

/// What can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The worker's name; made from a network card's address if it has none.
    pub name: Option<String>,
    /// Address of the hub.
    pub hub: Option<String>,
    /// What makes this machine a worker of the hub, until it has a token of its own.
    pub join_token: Option<Secret>,
    /// The authority that has signed the hub's certificate, besides the system's: a PEM file's path, or its text.
    pub hub_ca: Option<String>,
    /// Address of a job list, for those who want no hub.
    pub jobs: Option<String>,
    /// Address below which the results of that list's jobs are put.
    pub results: Option<String>,
    /// Targets of GPUs to make up instead of looking for real ones.
    pub gpu: Option<String>,
    /// Debian mirror for apt in testbeds, instead of the image's.
    pub mirror: Option<String>,
    /// Whether apt refuses a Release file past its `Valid-Until`.
    pub check_valid_until: bool,
    /// Address ranges and so on in the kernel's `ip=` form, one for each link that is not to use DHCP.
    pub ip: Vec<String>,
    /// Time servers, instead of those that DHCP names.
    pub ntp: Vec<String>,
    /// Name servers, before those that DHCP names.
    pub dns: Vec<IpAddr>,
    /// Whether the clock is set from the network.
    pub set_clock: bool,
    /// How long the watchdog waits for a sign of life before it resets the machine; `None` is no watchdog.
    pub watchdog: Option<Span>,
    /// How much a testbed may write, in memory: as tmpfs(5) takes it, or `50%`.
    pub overlay_size: String,
    /// What to do without jobs.
    pub when_done: WhenDone,
    /// Whether whoever is at the machine may have a root shell. Only the image can say so.
    pub debug_shell: bool,
    /// The recipe that the image was made from. Only the image can say so.
    pub recipe: Option<String>,
    /// Whether a root shell is wanted on the first serial console (and the image allows it).
    pub shell: bool,
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
            gpu: None,
            mirror: None,
            check_valid_until: true,
            ip: Vec::new(),
            ntp: Vec::new(),
            dns: Vec::new(),
            set_clock: true,
            watchdog: Some(Span::seconds(120)),
            overlay_size: "50%".to_owned(),
            when_done: WhenDone::default(),
            debug_shell: false,
            recipe: None,
            shell: false,
        }
    }
}

/// Where a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The image itself: made by the recipe's author.
    Image,
    /// `rocbed.toml` on the stick.
    Stick,
    /// The kernel command line.
    CommandLine,
    /// Whoever runs the virtual machine.
    HandOver,
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

/// Where the first stage leaves the image's settings.
pub const OF_IMAGE: &str = "/run/rocbed/image.toml";

/// Where the second stage leaves those of the stick.
pub const OF_STICK: &str = "/run/rocbed/stick.toml";

/// All names, for finding the one that was meant.
const NAMES: [&str; 18] = [
    "name",
    "hub",
    "join-token",
    "hub-ca",
    "jobs",
    "results",
    "gpu",
    "mirror",
    "check-valid-until",
    "ip",
    "ntp",
    "dns",
    "set-clock",
    "watchdog",
    "overlay-size",
    "when-done",
    "debug-shell",
    "shell",
];

impl Settings {
    /// Those of this appliance, and what is wrong with them.
    pub fn of_this_machine(line: &CommandLine) -> (Self, Vec<String>) {
        let (mut settings, mut problems) = (Self::default(), line.problems.clone());
        for (path, origin) in [(OF_IMAGE, Origin::Image), (OF_STICK, Origin::Stick)] {
            match std::fs::read(path) {
                Ok(bytes) => problems.extend(settings.set_all(&String::from_utf8_lossy(&bytes), origin)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => problems.push(format!("{origin}: reading {path}: {error}")),
            }
        }
        // Several `ip=` are several links, but they replace those of a file.
        if line.setting("ip").is_some() {
            settings.ip.clear();
        }
        problems.extend(
            line.settings.iter().filter_map(|(name, value)| settings.set(name, value, Origin::CommandLine).err()),
        );
        (settings, problems)
    }

    /// Takes one setting; tells what is wrong with it.
    ///
    /// # Errors
    /// For people, beginning with where it comes from.
    pub fn set(&mut self, name: &str, value: &str, origin: Origin) -> Result<(), String> {
        self.try_set(&name.replace('_', "-"), value, origin).map_err(|problem| format!("{origin}: {problem}"))
    }

    fn try_set(&mut self, name: &str, value: &str, origin: Origin) -> Result<(), String> {
        let text = || if value.is_empty() { Err(format!("{name} has no value")) } else { Ok(value.to_owned()) };
        match name {
            "name" => self.name = Some(host_name(value)?),
            "hub" => self.hub = Some(address(name, value)?),
            "join-token" => self.join_token = Some(token(value)?),
            "jobs" => self.jobs = Some(address(name, value)?),
            "results" => self.results = Some(address(name, value)?),
            "hub-ca" => self.hub_ca = Some(authority(value)?),
            "gpu" => {
                // Kept also if it makes no sense: whoever wanted a made-up GPU does not want jobs run on a real one.
                self.gpu = Some(value.to_owned());
                gpu::simulate(value).map_err(|error| format!("gpu: {error}"))?;
            }
            "mirror" => self.mirror = Some(address(name, value)?),
            "check-valid-until" => self.check_valid_until = truth(name, value)?,
            "ip" => self.ip.push(text()?),
            "ntp" => self.ntp = words(value),
            "dns" => {
                let servers = words(value);
                let parsed = servers.iter().map(|word| word.parse().map_err(|_| word));
                self.dns =
                    parsed.collect::<Result<_, _>>().map_err(|word| format!("dns: `{word}` is no IP address"))?;
            }
            "set-clock" => self.set_clock = truth(name, value)?,
            "watchdog" => {
                let off = ["off", "no", "0", "false"].contains(&value);
                self.watchdog =
                    if off { None } else { Some(value.parse().map_err(|error| format!("watchdog: {error}"))?) };
            }
            "overlay-size" => self.overlay_size = text()?,
            "when-done" => {
                self.when_done = match value {
                    "wait" => WhenDone::Wait,
                    "power-off" => WhenDone::PowerOff,
                    _ => return Err(format!("when-done: `{value}` is neither `wait` nor `power-off`")),
                };
            }
            // A stick found in a drawer, or whoever edits the boot menu, must not get what the recipe did not allow.
            "debug-shell" if origin == Origin::Image => self.debug_shell = truth(name, value)?,
            "debug-shell" => return Err("debug-shell can only be set by the recipe; build an image with it".into()),
            "recipe" if origin == Origin::Image => self.recipe = Some(text()?),
            "shell" => self.shell = truth(name, value)?,
            unknown => return Err(unknown_name(unknown)),
        }
        Ok(())
    }

    /// Takes all settings of a `rocbed.toml`; tells what is wrong with it.
    pub fn set_all(&mut self, text: &str, origin: Origin) -> Vec<String> {
        let table: toml::Table = match toml::from_str(text) {
            Ok(table) => table,
            Err(error) => {
                let line =
                    error.span().map_or(1, |span| text.get(..span.start).unwrap_or("").matches('\n').count() + 1);
                return vec![format!("{origin}: line {line}: {}; none of it is used", error.message())];
            }
        };
        table.iter().flat_map(|(name, value)| self.set_value(name, value, origin)).collect()
    }

    fn set_value(&mut self, name: &str, value: &toml::Value, origin: Origin) -> Vec<String> {
        let told = |result: Result<(), String>| result.err().into_iter().collect::<Vec<_>>();
        match value {
            // Lists are the words of one setting, or the same setting several times.
            toml::Value::Array(values) if name == "ip" => {
                values.iter().flat_map(|value| self.set_value(name, value, origin)).collect()
            }
            toml::Value::Array(values) => {
                let words: Vec<_> = values.iter().map(scalar).collect();
                told(self.set(name, &words.join(","), origin))
            }
            toml::Value::Table(_) => vec![format!("{origin}: {name} is a table; there is no such setting")],
            other => told(self.set(name, &scalar(other), origin)),
        }
    }
}

fn scalar(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn words(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn truth(name: &str, value: &str) -> Result<bool, String> {
    match value {
        "" | "yes" | "true" | "1" | "on" => Ok(true),
        "no" | "false" | "0" | "off" => Ok(false),
        _ => Err(format!("{name}: `{value}` is neither yes nor no")),
    }
}

/// One label of a host name (RFC 1123, section 2.1).
fn host_name(value: &str) -> Result<String, String> {
    let inner = |char: char| char.is_ascii_alphanumeric() || char == '-';
    let good = !value.is_empty() && value.len() <= 63 && value.chars().all(inner) && !value.starts_with('-');
    if good { Ok(value.to_owned()) } else { Err(format!("name: `{value}` is no host name: letters, digits and -")) }
}

/// Tokens are sent in a header (RFC 6750, section 2.1). What is wrong with one is told without it.
fn token(value: &str) -> Result<Secret, String> {
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Secret(value.to_owned()));
    }
    Err("join-token: it is empty, or there are blanks or other strange characters in it; copy it from the hub's \
         first lines"
        .into())
}

/// Text of a PEM file (RFC 7468), or where there is one.
fn authority(value: &str) -> Result<String, String> {
    if value.starts_with('/') || value.trim_start().starts_with("-----BEGIN CERTIFICATE-----") {
        return Ok(value.to_owned());
    }
    let hint = "give an absolute path, or the text of the PEM file itself";
    Err(format!("hub-ca: `{}` is no certificate; {hint}", value.lines().next().unwrap_or_default()))
}

fn address(name: &str, value: &str) -> Result<String, String> {
    let known = value.starts_with("http://") || value.starts_with("https://");
    // What ends up in apt's sources must not bring lines of its own.
    let plain = !value.chars().any(|char| char.is_whitespace() || char.is_control());
    if known && plain {
        Ok(value.trim_end_matches('/').to_owned())
    } else {
        Err(format!("{name}: `{value}` is no address; it begins with http:// or https://"))
    }
}

fn unknown_name(unknown: &str) -> String {
    match nearest::nearest(unknown, NAMES).first() {
        Some(name) => format!("there is no setting `{unknown}`; did you mean `{name}`?"),
        None => format!("there is no setting `{unknown}`; there are {}", NAMES.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_command_line_is_over_the_stick_is_over_the_image() {
        let mut settings = Settings::default();
        let image = "name = \"from-image\"\nhub = \"http://a\"\ndebug-shell = true\nwatchdog = \"1m\"\n";
        let stick = "hub = \"http://b/\"\nip = [\"dhcp\", \"off\"]\nntp = [\"x\", \"y\"]\ncheck-valid-until = false\n";
        assert!(settings.set_all(image, Origin::Image).is_empty());
        assert!(settings.set_all(stick, Origin::Stick).is_empty());
        assert_eq!(settings.set("watchdog", "off", Origin::CommandLine), Ok(()));
        assert_eq!(settings.name.as_deref(), Some("from-image"));
        assert_eq!(settings.hub.as_deref(), Some("http://b"));
        assert_eq!((settings.ip.len(), settings.ntp.len(), settings.watchdog), (2, 2, None));
        assert!(settings.debug_shell && !settings.check_valid_until);
    }

    #[test]
    fn a_broken_file_changes_nothing_and_is_told() {
        let mut settings = Settings::default();
        let problems = settings.set_all("hub = \"http://a\"\nname = \n", Origin::Stick);
        assert_eq!(settings, Settings::default());
        assert!(problems[0].starts_with("rocbed.toml on the stick: line 2: "), "{problems:?}");
    }

    #[test]
    fn what_is_wrong_is_told_and_the_rest_is_used() {
        let mut settings = Settings::default();
        let text = "hubb = \"http://a\"\nname = \"a b\"\ndns = [\"1.2.3.4\", \"x\"]\nset-clock = \"perhaps\"\n\
            mirror = \"deb.example\"\nwhen-done = \"dance\"\n[table]\n[other]\n";
        let problems = settings.set_all(text, Origin::Stick);
        assert_eq!(problems.len(), 8, "{problems:#?}");
        assert!(problems.iter().any(|problem| problem.contains("did you mean `hub`?")), "{problems:#?}");
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn a_token_is_never_told() {
        let mut settings = Settings::default();
        let problem = settings.set("join-token", "se cret", Origin::Stick).unwrap_err();
        assert!(!problem.contains("se cret"), "{problem}");
        assert_eq!(settings.set("join_token", "join-abc123", Origin::CommandLine), Ok(()));
        assert_eq!(settings.join_token.as_ref().map(Secret::reveal), Some("join-abc123"));
        assert!(!format!("{settings:?}").contains("abc123"));
    }

    #[test]
    fn an_authority_is_a_path_or_the_file_itself() {
        let mut settings = Settings::default();
        let file = "hub-ca = \"\"\"\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n\"\"\"\n";
        assert!(settings.set_all(file, Origin::Stick).is_empty());
        assert!(settings.hub_ca.as_deref().is_some_and(|text| text.contains("MIIB\n")));
        assert_eq!(settings.set("hub-ca", "/etc/rocbed/hub-ca.pem", Origin::CommandLine), Ok(()));
        assert!(settings.set("hub-ca", "ca.pem", Origin::CommandLine).is_err());
    }

    #[test]
    fn only_the_image_may_allow_a_shell() {
        let mut settings = Settings::default();
        for origin in [Origin::Stick, Origin::CommandLine, Origin::HandOver] {
            assert!(settings.set("debug-shell", "yes", origin).is_err());
        }
        assert!(!settings.debug_shell);
    }

    proptest! {
        #[test]
        fn any_file_is_read(text in "([a-z-]{1,12} = (\"[^\"]{0,9}\"|[0-9]{1,3}|true|\\[\"a\", 1\\])\n|\\[x\\]\n|.){0,9}") {
            Settings::default().set_all(&text, Origin::Stick);
        }
    }
}
