//! Command line options of `autopkgtest-virt-rocbed --vm`.

use std::ffi::OsString;
use std::path::PathBuf;

use vm::{Accelerator, PciAddress};

use crate::options::{parse_bytes, parse_memory, split_equals};
use crate::{Error, Memory};

/// Output of `--vm --help`.
pub(crate) const HELP: &str = "\
Usage: autopkgtest-virt-rocbed --vm IMAGE [OPTION]...

A virtualisation server for autopkgtest(1) whose testbeds are virtual machines: autopkgtest PACKAGE -- rocbed --vm IMAGE

  --vm IMAGE            the directory of an image that rocbed build has made; it is never written to
  --memory SIZE         memory of the machine: bytes, K, M, G or T, or % of what is available [2G]
  --cpus NUMBER         processors of the machine [4, or as many as there are; 1 without KVM]
  --disk SIZE           how much a testbed may write: bytes, K, M, G or T [16G]
  --disk-dir DIR        the directory of the file for that, which is deleted at once [/var/tmp, or $TMPDIR]
  --gpu ADDRESS...      PCI devices of this machine that the testbed gets, by VFIO: 0000:03:00.0
  --network user        QEMU's own network: connections out, as the user who runs this [this is the default]
  --network none        no network
  --copy-limit SIZE     how much a session may copy out of its testbeds, holes included: bytes, K, M, G or T [16G]
  --user NAME           the user to suggest for tests [the first with an id from 1000 to 59999]
  --accelerator NAME    kvm or tcg [kvm where it works]
  --qemu PROGRAM        the path of QEMU [qemu-system-x86_64 on PATH]
  --machine-root DIR    where the machine's root directory is seen by this server; QEMU has it as its own [/]
  --console FILE        keep what the machines say on their serial consoles
  --debug               print what is asked and answered on standard error
  --help                print this
";

/// The least memory of a machine: Debian's kernel, the service and apt with its package lists.
const LEAST_MEMORY: u64 = 512 << 20;

/// The least size of the disk: an ext4 with its journal, and room for autopkgtest.
const LEAST_DISK: u64 = 256 << 20;

/// Options of testbeds that are virtual machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VmOptions {
    /// Directory of the image.
    pub(crate) image: PathBuf,
    /// Memory of the machine.
    pub(crate) memory: Memory,
    /// Number of processors.
    pub(crate) cpus: Option<u32>,
    /// Size of the disk for changes, in bytes.
    pub(crate) disk: u64,
    /// Directory of the file for it.
    pub(crate) disk_directory: Option<PathBuf>,
    /// Devices of the host.
    pub(crate) gpus: Vec<PciAddress>,
    /// Network of the machine.
    pub(crate) network: vm::Network,
    /// Most bytes that a session may copy out of its testbeds.
    pub(crate) copy_limit: Option<u64>,
    /// User to suggest for tests.
    pub(crate) user: Option<String>,
    /// How QEMU runs the machine's instructions, if that is not to be found out.
    pub(crate) accelerator: Option<Accelerator>,
    /// QEMU, as a path below `machine_root`.
    pub(crate) qemu: Option<PathBuf>,
    /// The root directory in which QEMU runs: autopkgtest may run in that of an image, which has no QEMU. Paths of files
    /// that QEMU opens have to be the same in both.
    pub(crate) machine_root: Option<PathBuf>,
    /// File for the serial console.
    pub(crate) console: Option<PathBuf>,
    /// Whether to log requests and answers.
    pub(crate) debug: bool,
}

/// Whether a command line asks for virtual machines.
pub(crate) fn are_wanted(arguments: &[OsString]) -> bool {
    arguments.iter().any(|word| word == "--vm" || word.to_string_lossy().starts_with("--vm="))
}

impl VmOptions {
    /// Parses the command line; `None` if help is requested.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Self>, Error> {
        let usage = |message: String| Error::Usage(message);
        let mut options = Self {
            image: PathBuf::new(),
            memory: Memory::Bytes(2 << 30),
            cpus: None,
            disk: 16 << 30,
            disk_directory: None,
            gpus: Vec::new(),
            network: vm::Network::User,
            copy_limit: None,
            user: None,
            accelerator: None,
            qemu: None,
            machine_root: None,
            console: None,
            debug: false,
        };
        let mut arguments = split_equals(arguments).into_iter().peekable();
        while let Some(argument) = arguments.next() {
            let name = argument.to_string_lossy().into_owned();
            if name == "--help" || name == "-h" {
                return Ok(None);
            }
            if name == "--debug" || name == "-d" {
                options.debug = true;
                continue;
            }
            let value = |next: Option<OsString>| next.ok_or_else(|| usage(format!("{name} wants a value")));
            let text = |next: Option<OsString>| value(next).map(|value| value.to_string_lossy().into_owned());
            match name.as_str() {
                "--vm" => options.image = value(arguments.next())?.into(),
                "--memory" => options.memory = parse_memory(&text(arguments.next())?)?,
                "--cpus" => options.cpus = Some(parse_cpus(&text(arguments.next())?)?),
                "--disk" => options.disk = parse_bytes(&text(arguments.next())?)?,
                "--disk-dir" => options.disk_directory = Some(value(arguments.next())?.into()),
                "--copy-limit" => options.copy_limit = Some(parse_bytes(&text(arguments.next())?)?),
                "--user" => options.user = Some(text(arguments.next())?),
                "--accelerator" => options.accelerator = Some(parse_accelerator(&text(arguments.next())?)?),
                "--qemu" => options.qemu = Some(value(arguments.next())?.into()),
                "--machine-root" => options.machine_root = Some(value(arguments.next())?.into()),
                "--console" => options.console = Some(value(arguments.next())?.into()),
                "--network" => match text(arguments.next())?.as_str() {
                    "user" => options.network = vm::Network::User,
                    "none" => options.network = vm::Network::None,
                    _ => return Err(usage("with --vm, --network wants user or none".into())),
                },
                "--gpu" => {
                    options.gpus.push(parse_address(&text(arguments.next())?)?);
                    while let Some(more) = arguments.next_if(|next| !next.to_string_lossy().starts_with('-')) {
                        options.gpus.push(parse_address(&more.to_string_lossy())?);
                    }
                }
                "--root" | "--layer" | "--overlay-size" | "--overlay-dir" | "--simulate" | "--report" | "--cgroup"
                | "--cpu-weight" | "--processes" | "--containers" | "--allow" => {
                    return Err(usage(format!("{name} is for testbeds that are not virtual machines")));
                }
                _ => return Err(usage(format!("unknown argument {name}"))),
            }
        }
        options.check()?;
        Ok(Some(options))
    }

    fn check(&self) -> Result<(), Error> {
        let usage = |message: &str| Err(Error::Usage(message.to_owned()));
        if self.image.as_os_str().is_empty() {
            return usage("--vm wants the directory of an image");
        }
        if matches!(self.memory, Memory::Bytes(bytes) if bytes < LEAST_MEMORY) {
            return usage("--memory: a machine needs 512M at least");
        }
        if self.disk < LEAST_DISK {
            return usage("--disk: a machine needs 256M at least");
        }
        Ok(())
    }

    /// Memory of the machine in MiB, if so many bytes are available on this one.
    ///
    /// # Errors
    /// If that is more than is available, or less than a machine needs.
    pub(crate) fn memory_mib(&self, available: u64) -> Result<u32, Error> {
        let wanted = self.memory.of(available);
        if wanted < LEAST_MEMORY || wanted > available {
            return Err(Error::NoMemory { wanted, available });
        }
        Ok(u32::try_from(wanted >> 20).unwrap_or(u32::MAX))
    }
}

fn parse_cpus(text: &str) -> Result<u32, Error> {
    let number = text.parse().ok().filter(|number| (1..=1024).contains(number));
    number.ok_or_else(|| Error::Usage(format!("{text} is not a number of processors; write one from 1 to 1024")))
}

fn parse_accelerator(text: &str) -> Result<Accelerator, Error> {
    match text {
        "kvm" => Ok(Accelerator::Kvm),
        "tcg" => Ok(Accelerator::Tcg),
        _ => Err(Error::Usage("--accelerator wants kvm or tcg".into())),
    }
}

fn parse_address(text: &str) -> Result<PciAddress, Error> {
    text.parse().map_err(|error: gpu::AddressError| Error::Usage(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<VmOptions>, Error> {
        VmOptions::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_in_any_order() {
        let line = "--memory 25% --vm=images/rocm --cpus 8 --disk 4G --disk-dir /srv --gpu 0000:03:00.0 0000:43:00.0 \
                    --network none --copy-limit 1G --user u --console /c --accelerator tcg --qemu /q \
                    --machine-root /run/m --debug";
        let options = parse(line).unwrap().unwrap();
        assert_eq!(options.image.to_str(), Some("images/rocm"));
        assert_eq!((options.memory, options.cpus, options.disk), (Memory::Percent(25), Some(8), 4 << 30));
        assert_eq!(options.gpus.len(), 2);
        assert_eq!((options.network, options.copy_limit), (vm::Network::None, Some(1 << 30)));
        assert_eq!((options.accelerator, options.qemu), (Some(Accelerator::Tcg), Some("/q".into())));
        assert_eq!(options.machine_root, Some("/run/m".into()));
        assert!(options.debug && parse("--vm x --help").unwrap().is_none());
    }

    #[test]
    fn says_what_is_wrong() {
        for (line, message) in [
            ("--vm", "--vm wants a value"),
            ("--memory 1G", "--vm wants the directory of an image"),
            ("--vm x --root /", "--root is for testbeds that are not virtual machines"),
            ("--vm x --memory 100M", "--memory: a machine needs 512M at least"),
            ("--vm x --disk 1M", "--disk: a machine needs 256M at least"),
            ("--vm x --cpus 0", "0 is not a number of processors; write one from 1 to 1024"),
            ("--vm x --network host", "with --vm, --network wants user or none"),
            (
                "--vm x --gpu /dev/dri/renderD128",
                "`/dev/dri/renderD128` is not a PCI address; they look like 0000:03:00.0",
            ),
            ("--vm x --accelerator fast", "--accelerator wants kvm or tcg"),
            ("--vm x --dance", "unknown argument --dance"),
        ] {
            assert_eq!(parse(line).unwrap_err().in_one_line(), format!("{message}; see --help"), "{line}");
        }
    }

    #[test]
    fn only_memory_that_is_there_is_given() {
        let options = parse("--vm x --memory 2G").unwrap().unwrap();
        assert_eq!(options.memory_mib(4 << 30).unwrap(), 2048);
        let error = options.memory_mib(1 << 30).unwrap_err().in_one_line();
        assert!(
            error.starts_with("a machine with 2048 MiB of memory was asked for, and 1024 MiB are available"),
            "{error}"
        );
        let part = parse("--vm x --memory 10%").unwrap().unwrap();
        assert!(part.memory_mib(1 << 30).is_err(), "too little");
    }

    #[test]
    fn the_man_page_has_the_same_options_as_the_help() {
        let page = include_str!("../../autopkgtest-virt-rocbed.1").replace('\\', "");
        let missing: Vec<_> =
            HELP.split_whitespace().filter(|word| word.starts_with("--") && !page.contains(*word)).collect();
        assert!(missing.is_empty(), "the man page has no {missing:?}");
    }
}
