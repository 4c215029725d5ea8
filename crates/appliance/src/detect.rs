//! `rocbed-init detect`: shows the machine's GPUs to people and programs; `docs/rocbed-init.md` says how to use it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use advice::{Advise, Help, Report, help_of};
use gpu::{Inventory, SimulateError, Sources, Sysfs};

use crate::cmdline::CommandLine;

/// The largest kernel log that is read, in bytes.
const MAX_LOG: u64 = 64 << 20;

const USAGE: &str = "\
Shows the GPUs of this machine: those that ROCm can use, and what is wrong with the others.

Usage: rocbed-init detect [--json] [--simulate TARGETS | --sysfs DIR [--kernel-log FILE]]

  --json              print JSON instead of a table
  --sysfs DIR         look at a copy of a machine's /sys instead of this machine
  --kernel-log FILE   the kernel's log, as dmesg or journalctl -k print it
  --simulate TARGETS  make GPUs up: gfx1030,gfx942

Exits with 0 if there is a GPU to use, with 1 if there is none, with 2 if it could not look.
";

/// The reason why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// An unknown option, or one without its value.
    #[error("{0}")]
    Usage(String),
    /// A given file or directory can't be read.
    #[error("can't read {path}: {source}")]
    Read {
        /// Its path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The GPUs can't be simulated.
    #[error(transparent)]
    Simulate(#[from] SimulateError),
    /// The result could not be written.
    #[error("can't write the result: {0}")]
    Write(#[from] io::Error),
}

impl Advise for DetectError {
    fn help(&self) -> Help {
        match self {
            Self::Usage(_) => "see rocbed-init detect --help".into(),
            Self::Simulate(error) => error.help(),
            Self::Read { .. } | Self::Write(_) => Help::none(),
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    help: bool,
    json: bool,
    sysfs: Option<PathBuf>,
    kernel_log: Option<PathBuf>,
    simulate: Option<String>,
}

impl Options {
    fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, DetectError> {
        let mut options = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let argument = argument.to_string_lossy().into_owned();
            // An option's value is joined on, `--sysfs=DIR`, or the next argument.
            let (name, joined) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(OsString::from(value))),
                None => (argument.as_str(), None),
            };
            let mut value = || {
                let missing = || DetectError::Usage(format!("{name} needs a value"));
                joined.clone().or_else(|| arguments.next()).ok_or_else(missing)
            };
            match name {
                "--help" | "-h" if joined.is_none() => options.help = true,
                "--json" if joined.is_none() => options.json = true,
                "--sysfs" => options.sysfs = Some(value()?.into()),
                "--kernel-log" => options.kernel_log = Some(value()?.into()),
                "--simulate" => options.simulate = Some(value()?.to_string_lossy().into_owned()),
                _ => return Err(DetectError::Usage(format!("there is no option {argument}"))),
            }
        }
        if options.simulate.is_some() && (options.sysfs.is_some() || options.kernel_log.is_some()) {
            return Err(DetectError::Usage(
                "--simulate looks at nothing, so it takes no --sysfs or --kernel-log".into(),
            ));
        }
        Ok(options)
    }
}

/// Detects the GPUs of this machine, or simulates some with these targets.
pub fn of_this_machine(simulated: Option<&str>) -> Result<Inventory, SimulateError> {
    match simulated {
        Some(targets) => gpu::simulate(targets),
        None => Ok(gpu::detect(&Sources::of_this_machine())),
    }
}

/// Runs the command with the arguments after its name. Returns the exit status.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> i32 {
    match run(arguments, &mut io::stdout().lock()) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("rocbed-init: {}", Report::of(&error, help_of::<DetectError>));
            2
        }
    }
}

fn run(arguments: impl IntoIterator<Item = OsString>, output: &mut impl Write) -> Result<i32, DetectError> {
    let options = Options::parse(arguments)?;
    if options.help {
        output.write_all(USAGE.as_bytes())?;
        return Ok(0);
    }
    let inventory = look(&options)?;
    if options.json {
        serde_json::to_writer_pretty(&mut *output, &inventory).map_err(io::Error::from)?;
        writeln!(output)?;
    } else {
        write!(output, "{inventory}")?;
    }
    output.flush()?;
    Ok(i32::from(inventory.gpus.is_empty()))
}

fn look(options: &Options) -> Result<Inventory, DetectError> {
    if let Some(targets) = &options.simulate {
        return Ok(gpu::simulate(targets)?);
    }
    let log = options.kernel_log.as_deref().map(read_log).transpose()?;
    let sources = match (&options.sysfs, log) {
        (None, None) => return Ok(of_this_machine(CommandLine::of_kernel().setting("gpu"))?),
        (None, Some(kernel_log)) => Sources { kernel_log, notes: Vec::new(), ..Sources::of_this_machine() },
        (Some(sysfs), log) => {
            std::fs::read_dir(sysfs).map_err(|source| DetectError::Read { path: sysfs.clone(), source })?;
            Sources::copy(Sysfs::new(sysfs), log.unwrap_or_default())
        }
    };
    Ok(gpu::detect(&sources))
}

fn read_log(path: &Path) -> Result<String, DetectError> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_LOG).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().map_err(|source| DetectError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn detect(arguments: &[&str]) -> (i32, String) {
        let mut output = Vec::new();
        let status = run(arguments.iter().map(OsString::from), &mut output).unwrap();
        (status, String::from_utf8(output).unwrap())
    }

    fn error(arguments: &[&str]) -> String {
        run(arguments.iter().map(OsString::from), &mut Vec::new()).unwrap_err().to_string()
    }

    /// A simulated machine with a Navi 21 whose firmware is missing.
    fn machine() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let device = directory.path().join("sys/bus/pci/devices/0000:03:00.0");
        fs::create_dir_all(&device).unwrap();
        for (name, value) in [("class", "0x030000\n"), ("vendor", "0x1002\n"), ("device", "0x73bf\n")] {
            fs::write(device.join(name), value).unwrap();
        }
        let log = "amdgpu 0000:03:00.0: Direct firmware load for amdgpu/sienna_cichlid_sos.bin failed with error -2\n";
        fs::write(directory.path().join("log"), log).unwrap();
        directory
    }

    #[test]
    fn simulated_gpus_are_gpus() {
        let (status, table) = detect(&["--simulate", "gfx1030,gfx942"]);
        assert_eq!(status, 0);
        assert!(table.starts_with("TARGET ") && table.contains("gfx942") && table.contains("note: "), "{table}");
        let (_, json) = detect(&["--json", "--simulate=gfx1030"]);
        assert_eq!(serde_json::from_str::<Inventory>(&json).unwrap().gpus[0].target.to_string(), "gfx1030");
    }

    #[test]
    fn a_copy_of_another_machine_with_its_log() {
        let machine = machine();
        let path = |name: &str| machine.path().join(name).to_str().unwrap().to_owned();
        let (status, table) = detect(&["--sysfs", &path("sys"), "--kernel-log", &path("log")]);
        assert_eq!(status, 1);
        assert!(table.starts_with("No GPU that ROCm can use."), "{table}");
        assert!(table.contains("its firmware amdgpu/sienna_cichlid_sos.bin is missing"), "{table}");
    }

    #[test]
    fn this_machine_can_be_looked_at_whatever_it_is() {
        let (status, json) = detect(&["--json"]);
        let inventory: Inventory = serde_json::from_str(&json).unwrap();
        assert_eq!(status, i32::from(inventory.gpus.is_empty()));
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(error(&["--jsno"]), "there is no option --jsno");
        assert_eq!(error(&["--sysfs"]), "--sysfs needs a value");
        assert!(error(&["--sysfs", "/nonexistent"]).starts_with("can't read /nonexistent: "));
        assert!(error(&["--simulate", "radeon"]).contains("`radeon` is not a GPU target"));
        assert!(error(&["--simulate", "gfx900", "--sysfs", "/sys"]).contains("--simulate looks at nothing"));
    }
}
