//! Command line options.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use gpusim::Kernels;

use crate::processors::ProcessorList;
use crate::proxy::AllowedHosts;
use crate::simulate::SimulateOptions;
use crate::{Error, Memory};

/// Output of `--help`.
pub const HELP: &str = "\
Usage: autopkgtest-virt-rocbed --root DIR [OPTION]...
       autopkgtest-virt-rocbed --vm IMAGE [OPTION]...

A virtualisation server for autopkgtest(1): autopkgtest PACKAGE -- rocbed --root DIR

  --root DIR            the configured root directory that testbeds begin as; it is never written to
  --layer DIR           files that go over the root directory's; may be given more than once, the last on top
  --overlay-size SIZE   how much a testbed may write, in memory: bytes, K, M, G or T, or % of the memory [50%]; two thirds
                        of --memory at most
  --overlay-dir DIR     keep what a testbed writes in DIR instead; its file system is the limit
  --gpu NODE...         the GPUs inside, as render nodes: /dev/dri/renderD128; none without this
  --simulate GPUS       simulated GPUs inside: targets with commas between them, or the file of an inventory
  --run-kernels         interpret kernels for gfx10 and gfx11 on the processor, instead of refusing them; wants --simulate
  --report FILE         add to FILE a line about each command: how far it came on the simulated GPUs
  --copy-limit SIZE     how much a session may copy out of its testbeds, holes included: bytes, K, M, G or T [16G]
  --processes NUMBER    how many processes and threads a testbed may have [16384, or a quarter of the machine's]
  --cgroup DIR          make a control group (cgroup2) for each testbed in DIR, so that its limits hold
  --cpu-weight NUMBER   share of the processors when others want them too, 1 to 10000; wants --cgroup [50]
  --processors LIST     keep testbeds on these processors: 0-15,64-79; with --cgroup nothing inside gets away from them
  --memory SIZE         how much memory a testbed may use, its files in memory included: bytes, K, M, G or T, or % of
                        what is available when it is made; wants --cgroup [no limit]
  --containers          let tests make containers: user namespaces, mounts, networks of their own
  --network host        use the machine's network [this is the default]
  --network none        an own network with a loopback only
  --network proxy       an own network, with a proxy that reaches only the --allow hosts; apt and the variables
                        http_proxy and https_proxy name it
  --allow HOST          a host that the proxy reaches: ftp.debian.org, mirror.lab:8080; may be given more than once
  --user NAME           the user to suggest for tests [the first with an id from 1000 to 59999]
  --debug               print what is asked and answered on standard error
  --help                print this

Testbeds of --vm IMAGE are virtual machines, and have other options: see --vm IMAGE --help
";

/// Options of testbeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestbedOptions {
    /// Root directory of testbeds.
    pub root: PathBuf,
    /// Directories whose files are layered over the root directory, the last on top; they are never written to either.
    pub layers: Vec<PathBuf>,
    /// Storage for files that testbeds write.
    pub storage: Storage,
    /// Most bytes that a session may copy out of its testbeds.
    pub copy_limit: Option<u64>,
    /// Most processes and threads in a testbed.
    pub processes: Option<u64>,
    /// Directory in a cgroup2 file system for the control groups of testbeds.
    pub control_group: Option<PathBuf>,
    /// Share of the processors (`cpu.weight`), when others want them too.
    pub cpu_weight: Option<u32>,
    /// Processors that testbeds are kept on.
    pub processor_list: Option<ProcessorList>,
    /// Most memory of a testbed; a percentage is of what is available when it is made.
    pub memory: Option<Memory>,
    /// Whether tests may make user namespaces, mounts and networks of their own.
    pub containers: bool,
    /// Render nodes of the GPUs inside.
    pub gpus: Vec<PathBuf>,
    /// GPUs to simulate.
    pub simulate: Option<SimulateOptions>,
    /// Network inside.
    pub network: Network,
    /// Hosts that the proxy reaches.
    pub hosts: AllowedHosts,
    /// User to suggest for tests.
    pub user: Option<String>,
    /// Whether to log requests and answers.
    pub debug: bool,
}

/// Storage for files that testbeds write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// Memory, up to a size.
    Memory {
        /// Bytes, or a percentage of the machine's memory. Of a testbed whose memory is limited, it is at most two thirds
        /// of that.
        size: Memory,
    },
    /// A directory, up to the free space of its file system.
    Directory(PathBuf),
}

/// Network of a testbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The machine's network.
    Host,
    /// Only a loopback interface.
    None,
    /// A loopback interface, and a proxy.
    Proxy,
}

impl TestbedOptions {
    /// Parses the command line; `None` if help is requested.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Self>, Error> {
        let usage = |message: String| Error::Usage(message);
        let (mut root, mut size, mut directory, mut user) = (None, None, None, None);
        let (mut layers, mut gpus, mut network, mut debug) = (Vec::new(), Vec::new(), Network::Host, false);
        let (mut copy_limit, mut processes, mut containers, mut processor_list) = (None, None, false, None);
        let (mut hosts, mut kernels) = (AllowedHosts::default(), Kernels::Refuse);
        let (mut simulate, mut report, mut control_group, mut memory, mut cpu_weight) = (None, None, None, None, None);
        let mut arguments = split_equals(arguments).into_iter().peekable();
        while let Some(argument) = arguments.next() {
            let name = argument.to_string_lossy().into_owned();
            if name == "--help" || name == "-h" {
                return Ok(None);
            }
            let mut value = || arguments.next().ok_or_else(|| usage(format!("{name} wants a value")));
            match name.as_str() {
                "--debug" | "-d" => debug = true,
                "--containers" => containers = true,
                "--copy-limit" => copy_limit = Some(parse_bytes(&value()?.to_string_lossy())?),
                "--cgroup" => control_group = Some(PathBuf::from(value()?)),
                "--cpu-weight" => cpu_weight = Some(parse_weight(&value()?.to_string_lossy())?),
                "--processors" => processor_list = Some(value()?.to_string_lossy().parse()?),
                "--memory" => memory = Some(parse_memory(&value()?.to_string_lossy())?),
                "--processes" => processes = Some(parse_number(&value()?.to_string_lossy())?),
                "--simulate" => {
                    let wrong = |_| usage("--simulate wants targets or a file".into());
                    simulate = Some(value()?.into_string().map_err(wrong)?);
                }
                "--run-kernels" => kernels = Kernels::Run,
                "--report" => report = Some(PathBuf::from(value()?)),
                "--root" => root = Some(PathBuf::from(value()?)),
                "--layer" => layers.push(PathBuf::from(value()?)),
                "--overlay-size" => size = Some(parse_memory(&value()?.to_string_lossy())?),
                "--overlay-dir" => directory = Some(PathBuf::from(value()?)),
                "--user" => user = Some(value()?.into_string().map_err(|_| usage("--user wants a name".into()))?),
                "--network" => match value()?.to_str() {
                    Some("host") => network = Network::Host,
                    Some("none") => network = Network::None,
                    Some("proxy") => network = Network::Proxy,
                    _ => return Err(usage("--network wants host, none or proxy".into())),
                },
                "--allow" => hosts.add(&value()?.to_string_lossy())?,
                "--gpu" => {
                    gpus.push(PathBuf::from(value()?));
                    while let Some(more) = arguments.next_if(|next| !next.to_string_lossy().starts_with('-')) {
                        gpus.push(PathBuf::from(more));
                    }
                }
                _ => return Err(usage(format!("unknown argument {name}"))),
            }
        }
        let storage = match (size, directory) {
            (Some(_), Some(_)) => return Err(usage("--overlay-size and --overlay-dir exclude each other".into())),
            (None, Some(directory)) => Storage::Directory(directory),
            (size, None) => Storage::Memory { size: size.unwrap_or(Memory::Percent(50)) },
        };
        let root = root.ok_or_else(|| usage("--root is missing".into()))?;
        let simulate = simulate.map(|gpus| SimulateOptions { gpus, kernels, report });
        if simulate.is_none() && kernels != Kernels::Refuse {
            return Err(usage(
                "--run-kernels wants --simulate: only simulated GPUs have their kernels interpreted".into(),
            ));
        }
        if simulate.is_some() && !gpus.is_empty() {
            return Err(usage("--simulate and --gpu exclude each other".into()));
        }
        if memory.is_some() && control_group.is_none() {
            return Err(usage("--memory wants --cgroup: only a control group limits memory".into()));
        }
        if hosts.is_empty() != (network != Network::Proxy) {
            return Err(usage("--network proxy and --allow want each other".into()));
        }
        if cpu_weight.is_some() && control_group.is_none() {
            return Err(usage("--cpu-weight wants --cgroup: only a control group has one".into()));
        }
        Ok(Some(Self {
            root,
            layers,
            storage,
            copy_limit,
            processes,
            control_group,
            cpu_weight,
            processor_list,
            memory,
            containers,
            gpus,
            simulate,
            network,
            hosts,
            user,
            debug,
        }))
    }
}

/// Splits `--name=value` into `--name value`.
pub(crate) fn split_equals(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words = Vec::new();
    for argument in arguments {
        let bytes = argument.into_vec();
        match bytes.iter().position(|byte| *byte == b'=') {
            Some(at) if bytes.starts_with(b"--") => {
                let (name, value) = bytes.split_at(at);
                words.push(OsString::from_vec(name.to_vec()));
                words.push(OsString::from_vec(value.get(1..).unwrap_or_default().to_vec()));
            }
            _ => words.push(OsString::from_vec(bytes)),
        }
    }
    words
}

/// Parses an amount of memory: a number with K, M, G or T for powers of 1024, or with %.
pub(crate) fn parse_memory(text: &str) -> Result<Memory, Error> {
    match text.strip_suffix('%').map(str::parse::<u8>) {
        Some(Ok(percent @ 1..=100)) => Ok(Memory::Percent(percent)),
        Some(_) => Err(wrong_size(text)),
        None => parse_bytes(text).map(Memory::Bytes),
    }
}

/// Parses a number with K, M, G or T for powers of 1024.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, Error> {
    let wrong = || wrong_size(text);
    let letters = text.trim_start_matches(|character: char| character.is_ascii_digit());
    let number: u64 = text.strip_suffix(letters).and_then(|digits| digits.parse().ok()).ok_or_else(wrong)?;
    let power = match letters.to_ascii_uppercase().as_str() {
        "" => 0,
        "K" | "KIB" => 10,
        "M" | "MIB" => 20,
        "G" | "GIB" => 30,
        "T" | "TIB" => 40,
        _ => return Err(wrong()),
    };
    // 0 means unlimited for tmpfs.
    number.checked_mul(1 << power).filter(|bytes| (1..1 << 60).contains(bytes)).ok_or_else(wrong)
}

fn wrong_size(text: &str) -> Error {
    Error::Usage(format!("{text} is not a size; write 512M, 4G or 25%"))
}

/// Parses a number of processes; fewer than 64 would not be enough for autopkgtest's own commands.
fn parse_number(text: &str) -> Result<u64, Error> {
    let number = text.parse().ok().filter(|number| (64..=4_194_304).contains(number));
    number.ok_or_else(|| Error::Usage(format!("{text} is not a number of processes; write one from 64 to 4194304")))
}

/// Parses a share of the processors.
fn parse_weight(text: &str) -> Result<u32, Error> {
    let number = text.parse().ok().filter(|number| (1..=10_000).contains(number));
    number.ok_or_else(|| Error::Usage(format!("{text} is not a share of the processors; write one from 1 to 10000")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(line: &str) -> Result<Option<TestbedOptions>, Error> {
        TestbedOptions::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn reads_all_options() {
        let line = "--root=/r --layer /a --layer /b --overlay-size 2G --gpu /dev/dri/renderD128 /dev/dri/renderD129 --network none --user u -d --copy-limit 3K --processes 64 --containers --cgroup /sys/fs/cgroup/x --memory 90% --cpu-weight 200 --processors 0-3,8";
        let expected = TestbedOptions {
            root: "/r".into(),
            layers: vec!["/a".into(), "/b".into()],
            storage: Storage::Memory { size: Memory::Bytes(2 << 30) },
            copy_limit: Some(3072),
            processes: Some(64),
            control_group: Some("/sys/fs/cgroup/x".into()),
            cpu_weight: Some(200),
            processor_list: "0-3,8".parse().ok(),
            memory: Some(Memory::Percent(90)),
            containers: true,
            gpus: vec!["/dev/dri/renderD128".into(), "/dev/dri/renderD129".into()],
            simulate: None,
            network: Network::None,
            hosts: AllowedHosts::default(),
            user: Some("u".into()),
            debug: true,
        };
        assert_eq!(parse(line).unwrap().unwrap(), expected);
    }

    #[test]
    fn kernels_of_simulated_gpus_are_refused_unless_they_are_to_be_run() {
        for (line, kernels) in [("", Kernels::Refuse), (" --run-kernels", Kernels::Run)] {
            let options = parse(&format!("--root /r{line} --simulate gfx1030,gfx1100 --report /x")).unwrap().unwrap();
            let expected = SimulateOptions { gpus: "gfx1030,gfx1100".into(), kernels, report: Some("/x".into()) };
            assert_eq!(options.simulate, Some(expected), "{line}");
        }
    }

    #[test]
    fn the_man_page_has_the_same_options_as_the_help() {
        let page = include_str!("../autopkgtest-virt-rocbed.1").replace('\\', "");
        let options: Vec<&str> = HELP.split_whitespace().filter(|word| word.starts_with("--")).collect();
        assert!(options.contains(&"--copy-limit"), "{options:?}");
        let missing: Vec<_> = options.iter().filter(|option| !page.contains(**option)).collect();
        assert!(missing.is_empty(), "the man page has no {missing:?}");
    }

    #[test]
    fn has_defaults() {
        let options = parse("--root /r").unwrap().unwrap();
        assert_eq!(options.storage, Storage::Memory { size: Memory::Percent(50) });
        assert_eq!((options.network, options.gpus, options.user), (Network::Host, vec![], None));
        assert_eq!((options.copy_limit, options.processes, options.containers), (None, None, false));
        assert_eq!(parse("--help").unwrap(), None);
    }

    #[test]
    fn says_what_is_wrong() {
        for (line, message) in [
            ("", "--root is missing"),
            ("--root", "--root wants a value"),
            ("--root / --x", "unknown argument --x"),
            ("--root / --network nat", "--network wants host, none or proxy"),
            ("--root / --network proxy", "--network proxy and --allow want each other"),
            ("--root / --allow a", "--network proxy and --allow want each other"),
            (
                "--root / --network proxy --allow a/b",
                "a/b is not a host; write one as ftp.debian.org or mirror.lab:8080",
            ),
            ("--root / --overlay-size 0", "0 is not a size; write 512M, 4G or 25%"),
            ("--root / --overlay-size 5X", "5X is not a size; write 512M, 4G or 25%"),
            ("--root / --copy-limit 5%", "5% is not a size; write 512M, 4G or 25%"),
            ("--root / --processes 2", "2 is not a number of processes; write one from 64 to 4194304"),
            ("--root / --cgroup /c --memory 0%", "0% is not a size; write 512M, 4G or 25%"),
            ("--root / --cgroup /c --cpu-weight 0", "0 is not a share of the processors; write one from 1 to 10000"),
            ("--root / --cpu-weight 9", "--cpu-weight wants --cgroup: only a control group has one"),
            ("--root / --processors 5-3", "5-3 is not a list of processors; write them as 0-15,64-79"),
            (
                "--root / --run-kernels",
                "--run-kernels wants --simulate: only simulated GPUs have their kernels interpreted",
            ),
            // To skip kernels is for looking at a program, not for tests.
            ("--root / --simulate gfx1030 --skip-kernels", "unknown argument --skip-kernels"),
            ("--root / --memory 4G", "--memory wants --cgroup: only a control group limits memory"),
            ("--root / --overlay-size 101%", "101% is not a size; write 512M, 4G or 25%"),
            ("--root / --overlay-size 1G --overlay-dir /d", "--overlay-size and --overlay-dir exclude each other"),
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.in_one_line(), format!("{message}; see --help"), "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_size_is_a_number_or_an_error(text in "[0-9]{0,22}[a-zA-Z%]{0,3}") {
            if let Ok(size) = parse_memory(&text) {
                prop_assert!(size.of(1 << 50) > 0);
            }
        }
    }
}
