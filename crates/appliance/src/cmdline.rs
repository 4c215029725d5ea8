//! The kernel command line: the kernel's own `root=` syntax and rocbed's settings
//! (kernel Documentation/admin-guide/kernel-parameters.rst).

use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use advice::{Advice, Help};
use protocol::settings::{self, KernelParameter, Key, SettingSource};

/// The block device that holds the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootSpec {
    /// `PARTUUID=`: GPT partition GUID or MBR `xxxxxxxx-nn`; lower case.
    PartUuid(String),
    /// `PARTLABEL=`: name of a GPT partition.
    PartLabel(String),
    /// `UUID=`: UUID of the file system on it; lower case.
    FsUuid(String),
    /// `LABEL=`: label of the file system on it.
    FsLabel(String),
    /// `/dev/NAME`.
    Device(String),
    /// `MAJOR:MINOR`.
    Number(String),
}

impl std::fmt::Display for RootSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PartUuid(id) => write!(f, "PARTUUID={id}"),
            Self::PartLabel(label) => write!(f, "PARTLABEL={label}"),
            Self::FsUuid(id) => write!(f, "UUID={id}"),
            Self::FsLabel(label) => write!(f, "LABEL={label}"),
            Self::Device(name) => write!(f, "/dev/{name}"),
            Self::Number(number) => f.write_str(number),
        }
    }
}

/// The parsed kernel command line. If a setting is given twice the last one counts, as in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// `rocbed.root-uuid=` (a file system's UUID) or else `root=`.
    pub root: Option<RootSpec>,
    /// `rootfstype=`; if it is not given, the superblock decides.
    pub root_type: Option<String>,
    /// `rootflags=`: options for the file system.
    pub root_flags: String,
    /// How long to wait for the root: `rocbed.root-timeout=` or `rootwait=` in seconds, 60 if not given; `None` for
    /// ever, with a bare `rootwait`.
    pub root_timeout: Option<Duration>,
    /// URL from which to fetch the root: `rocbed.root-url=`.
    pub root_url: Option<String>,
    /// SHA-256 of the fetched root, in hexadecimal: `rocbed.root-sha256=`.
    pub root_sha256: Option<String>,
    /// SHA-256 of the index of a root that is read when needed, in hexadecimal: `rocbed.root-index-sha256=`.
    pub root_index_sha256: Option<String>,
    /// What each block of the root is checked with: `rocbed.root-verity=`, which crate `verity` reads.
    pub root_verity: Option<String>,
    /// How long to wait for the network, and for a byte of a fetched root: as [`Self::root_timeout`], but 600 s if
    /// nothing is given, because servers may be restarting.
    pub network_timeout: Option<Duration>,
    /// URL to which the result of the start is reported: `rocbed.boot-report=`.
    pub boot_report: Option<String>,
    /// The file system for all changes, which makes the machine a bare testbed: `rocbed.testbed-disk=`, a UUID.
    pub testbed_disk: Option<RootSpec>,
    /// Modules never to load: `module_blacklist=` and `rocbed.blacklist=`, comma-separated.
    pub blacklist: Vec<String>,
    /// Parameters for modules when they are loaded: `MODULE.PARAMETER=`.
    pub module_parameters: kmod::Parameters,
    /// Seconds for which an error screen is shown before the restart: `rocbed.panic-timeout=`, 10 if not given; 0
    /// means for ever.
    pub panic_timeout: u64,
    /// The other `rocbed.*` settings, without `rocbed.`, and the kernel's own `ip=`: see [`crate::settings`].
    pub settings: Vec<(String, String)>,
    /// Warnings about invalid values.
    pub problems: Vec<Advice>,
}

impl Default for CommandLine {
    fn default() -> Self {
        Self {
            root: None,
            root_type: None,
            root_flags: String::new(),
            root_timeout: Some(Duration::from_secs(60)),
            root_url: None,
            root_sha256: None,
            root_index_sha256: None,
            root_verity: None,
            network_timeout: Some(Duration::from_secs(600)),
            boot_report: None,
            testbed_disk: None,
            blacklist: Vec::new(),
            module_parameters: kmod::Parameters::default(),
            panic_timeout: 10,
            settings: Vec::new(),
            problems: Vec::new(),
        }
    }
}

impl CommandLine {
    /// That of the running kernel, which does not change: it is read once per process. Defaults as long as /proc is
    /// not there.
    pub fn of_kernel() -> &'static Self {
        static PARSED: OnceLock<CommandLine> = OnceLock::new();
        static DEFAULT: LazyLock<CommandLine> = LazyLock::new(CommandLine::default);
        PARSED.get().unwrap_or_else(|| match std::fs::read("/proc/cmdline") {
            Ok(bytes) => PARSED.get_or_init(|| Self::parse(&String::from_utf8_lossy(&bytes))),
            Err(_) => &DEFAULT,
        })
    }

    /// Parses a command line. Never fails: errors are in [`Self::problems`].
    pub fn parse(text: &str) -> Self {
        let mut line = Self { module_parameters: kmod::Parameters::from_command_line(text), ..Self::default() };
        let mut root_uuid = None;
        for word in words(text) {
            let (key, value) = word.split_once('=').map_or((word.as_str(), ""), |(key, value)| (key, value));
            match (key.strip_prefix("rocbed."), settings::kernel_parameter(key)) {
                (Some(name), _) => line.take(&name.replace('_', "-"), value, &mut root_uuid),
                (None, Some(known)) => line.take_kernels(known, value),
                (None, None) => {}
            }
        }
        line.root = root_uuid.or(line.root);
        line
    }

    /// Takes a parameter of the kernel's own.
    fn take_kernels(&mut self, word: KernelParameter, value: &str) {
        match word {
            KernelParameter::Root => {
                if let Some(root) = parse_root(value) {
                    self.root = Some(root);
                } else {
                    let what = format!("root={value} is not understood");
                    self.problems.push(Advice::new(what, "give PARTUUID=, UUID= or /dev/NAME"));
                }
            }
            KernelParameter::RootFsType => self.root_type = Some(value.to_owned()),
            KernelParameter::RootFlags => value.clone_into(&mut self.root_flags),
            KernelParameter::RootWait if value.is_empty() => (self.root_timeout, self.network_timeout) = (None, None),
            KernelParameter::RootWait => self.wait("rootwait", value),
            KernelParameter::ModuleBlacklist => self.blacklist.extend(settings::list(value).map(str::to_owned)),
            KernelParameter::Ip => self.settings.push(("ip".to_owned(), value.to_owned())),
        }
    }

    /// Takes one of our parameters, without `rocbed.`. Those that are not needed before files can be read are left to
    /// [`crate::settings`], which also checks them.
    fn take(&mut self, name: &str, value: &str, root_uuid: &mut Option<RootSpec>) {
        match settings::find(name, SettingSource::CommandLine).map(|setting| setting.key) {
            Ok(Key::RootUuid) if value.is_empty() => {
                self.problems.push(Advice::new("rocbed.root-uuid= names no file system", "give its UUID"));
            }
            Ok(Key::RootUuid) => *root_uuid = Some(RootSpec::FsUuid(value.to_ascii_lowercase())),
            Ok(Key::RootTimeout) => self.wait("rocbed.root-timeout", value),
            Ok(Key::RootUrl) => self.root_url = Some(value.to_owned()),
            Ok(Key::RootSha256) => self.root_sha256 = Some(value.to_owned()),
            Ok(Key::RootIndexSha256) => {
                self.root_index_sha256 = Some(value.to_owned()).filter(|value| !value.is_empty());
            }
            Ok(Key::RootVerity) => self.root_verity = Some(value.to_owned()).filter(|value| !value.is_empty()),
            Ok(Key::BootReport) => self.boot_report = Some(value.to_owned()),
            Ok(Key::TestbedDisk) => self.testbed_disk = Some(RootSpec::FsUuid(value.to_ascii_lowercase())),
            Ok(Key::Blacklist) => self.blacklist.extend(settings::list(value).map(str::to_owned)),
            Ok(Key::PanicTimeout) => {
                if let Some(seconds) = self.seconds("rocbed.panic-timeout", value) {
                    self.panic_timeout = seconds;
                }
            }
            Ok(
                Key::Name
                | Key::Hub
                | Key::JoinToken
                | Key::HubCa
                | Key::Jobs
                | Key::Results
                | Key::Debci
                | Key::DebciSuite
                | Key::DebciArch
                | Key::DebciBackend
                | Key::DebciApi
                | Key::DebciCa
                | Key::DebciCertificate
                | Key::DebciKey
                | Key::Storage
                | Key::StorageKeyId
                | Key::StorageKey
                | Key::StorageCa
                | Key::WhenDone
                | Key::Packages
                | Key::LongestJob
                | Key::Hours
                | Key::WhenIdle
                | Key::IdleAfter
                | Key::TestNetwork
                | Key::TestHosts
                | Key::Ip
                | Key::Dns
                | Key::Ntp
                | Key::SetClock
                | Key::Mirror
                | Key::Proxy
                | Key::CheckValidUntil
                | Key::Gpu
                | Key::LeaveOut
                | Key::SimulateFaults
                | Key::OverlaySize
                | Key::TestbedMemory
                | Key::JobsAtOnce
                | Key::Watchdog
                | Key::DebugShell
                | Key::Shell
                | Key::Recipe,
            )
            | Err(_) => self.settings.push((name.to_owned(), value.to_owned())),
        }
    }

    fn wait(&mut self, name: &str, value: &str) {
        if let Some(seconds) = self.seconds(name, value) {
            self.root_timeout = Some(Duration::from_secs(seconds));
            self.network_timeout = self.root_timeout;
        }
    }

    fn seconds(&mut self, name: &str, value: &str) -> Option<u64> {
        let seconds = value.parse().ok();
        if seconds.is_none() {
            let what = format!("{name}={value} is not a number of seconds");
            self.problems.push(Advice::new(what, Help::none()));
        }
        seconds
    }

    /// The value of one of [`Self::settings`].
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().rev().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

/// Splits at blanks outside of double quotes, and removes the quotes, as the kernel's `next_arg()` does.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for char in text.chars() {
        match char {
            '"' => quoted = !quoted,
            blank if blank.is_ascii_whitespace() && !quoted => words.push(std::mem::take(&mut word)),
            char => word.push(char),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

fn parse_root(value: &str) -> Option<RootSpec> {
    let numbers = |(major, minor): (&str, &str)| major.parse::<u32>().is_ok() && minor.parse::<u32>().is_ok();
    match value.split_once('=') {
        Some((_, "")) => None,
        Some(("PARTUUID", id)) if !id.contains('/') => Some(RootSpec::PartUuid(id.to_ascii_lowercase())),
        Some(("PARTLABEL", label)) => Some(RootSpec::PartLabel(label.to_owned())),
        Some(("UUID", id)) => Some(RootSpec::FsUuid(id.to_ascii_lowercase())),
        Some(("LABEL", label)) => Some(RootSpec::FsLabel(label.to_owned())),
        Some(_) => None,
        None => match value.strip_prefix("/dev/") {
            Some(name) if !name.is_empty() => Some(RootSpec::Device(name.to_owned())),
            Some(_) => None,
            None => value.split_once(':').is_some_and(numbers).then(|| RootSpec::Number(value.to_owned())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn roots() {
        let table = [
            ("root=PARTUUID=ABCD-ef", Some("PARTUUID=abcd-ef")),
            ("root=UUID=0AF1", Some("UUID=0af1")),
            ("root=LABEL=My", Some("LABEL=My")),
            ("root=PARTLABEL=rocbed-root", Some("PARTLABEL=rocbed-root")),
            ("root=/dev/vda", Some("/dev/vda")),
            ("root=254:1", Some("254:1")),
            ("root=UUID=a rocbed.root-uuid=B root=/dev/sda", Some("UUID=b")),
            ("root=/dev/sda root=/dev/sdb", Some("/dev/sdb")),
            ("root=/dev/sda rocbed.root-uuid=", Some("/dev/sda")),
            ("root=/dev/", None),
            ("root=PARTUUID=x/PARTNROFF=1", None),
            ("root=nfs", None),
            ("quiet", None),
        ];
        for (text, expected) in table {
            let root = CommandLine::parse(text).root.map(|root| root.to_string());
            assert_eq!(root.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn settings() {
        let line = CommandLine::parse(
            "BOOT_IMAGE=/x quiet rootfstype=erofs rootflags=\"noload a b\" module_blacklist=a,b rocbed.blacklist=c \
             rocbed.root-timeout=5 rocbed.panic-timeout=0 ro\n",
        );
        assert_eq!(line.root_type.as_deref(), Some("erofs"));
        assert_eq!(line.root_flags, "noload a b");
        assert_eq!(line.blacklist, ["a", "b", "c"]);
        assert_eq!((line.root_timeout, line.panic_timeout), (Some(Duration::from_secs(5)), 0));
        assert!(line.problems.is_empty(), "{:?}", line.problems);
        assert_eq!(line.testbed_disk, None);
        let bare = CommandLine::parse("rocbed.testbed-disk=ABCD-12");
        assert_eq!(bare.testbed_disk, Some(RootSpec::FsUuid("abcd-12".into())));
        assert_eq!(CommandLine::parse("rootwait").root_timeout, None);
    }

    #[test]
    fn mistakes_are_told() {
        let line = CommandLine::parse("rocbed.panic-timeout=soon root=nfs");
        assert_eq!(line.problems.len(), 2, "{:?}", line.problems);
        assert_eq!(line.problems[0].what, "rocbed.panic-timeout=soon is not a number of seconds");
        assert_eq!(line.panic_timeout, 10);
    }

    #[test]
    fn other_settings_are_left_to_those_who_know_them() {
        let line = CommandLine::parse("rocbed.gpu=gfx1030,gfx942 rocbed.set_clock=no ip=dhcp quiet rocbed.shell");
        let shown: Vec<_> = line.settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(shown, ["gpu=gfx1030,gfx942", "set-clock=no", "ip=dhcp", "shell="]);
        assert!(line.problems.is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(root=|UUID=|rocbed\\.|rootwait|[ \"=:/a1]){0,12}") {
            CommandLine::parse(&text);
        }
    }
}
