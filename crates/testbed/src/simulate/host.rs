//! Runs a command of the machine, or one in a root directory, with simulated GPUs.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::rc::Rc;

use gpusim::{Kernels, Machine};
use rustix::fs::{CWD, MemfdFlags};
use rustix::mount::{self, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags};
use rustix::process::Signal;
use rustix::thread::UnshareFlags;

use super::{ENVIRONMENT, SimulateOptions, Simulation, Summary, devices, machine, mount_sys, option_kernels};
use crate::enter::REFUSED;
use crate::options::{Network, Storage, TestbedOptions};
use crate::process::{Child, Event, Signals, fork};
use crate::server::Testbed;
use crate::{Error, testbed};

/// Exit status of shells for a command that does not exist or cannot be executed.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;
/// Exit status for failures of this program.
const FAILED: u8 = 125;

const PASSED_ON: [(i32, Signal); 4] = [
    (libc::SIGHUP, Signal::HUP),
    (libc::SIGINT, Signal::INT),
    (libc::SIGQUIT, Signal::QUIT),
    (libc::SIGTERM, Signal::TERM),
];

/// What is to be run.
#[derive(Debug, Default)]
struct Wanted {
    /// The GPUs: targets with commas between them, or the file of an inventory.
    gpus: String,
    /// A root directory, which is not written to; `None` for the machine's own.
    root: Option<PathBuf>,
    /// What happens to kernels that commands launch.
    kernels: Kernels,
    /// Whether not to say how far it came.
    quiet: bool,
    /// The program and its arguments.
    command: Vec<OsString>,
}

impl Wanted {
    /// Reads `GPUS [--root DIR] [--skip-kernels|--run-kernels] [--quiet] -- COMMAND`.
    fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, Error> {
        let usage = |message: &str| Error::Usage(format!("simulate: {message}"));
        let gpus = arguments.next().and_then(|word| word.into_string().ok());
        let mut wanted = Self { gpus: gpus.ok_or_else(|| usage("which GPUs?"))?, ..Self::default() };
        while let Some(word) = arguments.next() {
            match word.to_str() {
                Some("--root") => {
                    wanted.root = Some(arguments.next().ok_or_else(|| usage("--root wants a directory"))?.into());
                }
                Some("--quiet") => wanted.quiet = true,
                Some("--") => break,
                other => {
                    let kernels = other.and_then(option_kernels);
                    wanted.kernels = kernels.ok_or_else(|| usage(&format!("unknown argument {}", word.display())))?;
                }
            }
        }
        wanted.command = arguments.collect();
        if wanted.command.is_empty() { Err(usage("which command?")) } else { Ok(wanted) }
    }
}

/// Runs a command; `arguments` are those after `simulate`. The exit status is the command's, 128 and the signal that ended
/// it, 1 instead of 0 for one to which something was refused, or 125 if it could not be run.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let ran = Wanted::parse(arguments).and_then(|wanted| run(&wanted).map(|(code, summary)| (wanted, code, summary)));
    match ran {
        Ok((wanted, code, summary)) => {
            if !wanted.quiet {
                eprintln!("rocbed: on the simulated GPU ({}), the command {}", wanted.gpus, summary.text);
            }
            if summary.refused && code == 0 {
                eprintln!(
                    "rocbed: its status was 0, but nothing that launched a kernel which did not run has succeeded"
                );
            }
            ExitCode::from(if summary.refused && code == 0 { REFUSED } else { code })
        }
        Err(error) => {
            eprintln!("rocbed: {}", error.in_one_line());
            ExitCode::from(FAILED)
        }
    }
}

/// Runs the command.
fn run(wanted: &Wanted) -> Result<(u8, Summary), Error> {
    let machine = machine(&wanted.gpus)?;
    let signals = Signals::block(&PASSED_ON.map(|(number, _)| number)).map_err(Error::step("blocking signals"))?;
    match &wanted.root {
        Some(root) => inside(wanted, root, signals),
        None => here(wanted, &machine, &signals),
    }
}

/// Runs it in a testbed over a root directory.
fn inside(wanted: &Wanted, root: &Path, signals: Signals) -> Result<(u8, Summary), Error> {
    // In memory, so that nothing is left of it however this process ends; who runs the command opens it by this path.
    let memory =
        rustix::fs::memfd_create("report", MemfdFlags::CLOEXEC).map_err(Error::step("making a file in memory"))?;
    let report = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), memory.as_raw_fd()));
    let options = TestbedOptions {
        root: root.to_owned(),
        layers: Vec::new(),
        storage: Storage::Memory { size: crate::Memory::Percent(50) },
        copy_limit: None,
        processes: None,
        control_group: None,
        cpu_weight: None,
        processor_list: None,
        memory: None,
        containers: false,
        gpus: Vec::new(),
        simulate: Some(SimulateOptions { gpus: wanted.gpus.clone(), kernels: wanted.kernels, report: Some(report) }),
        network: Network::Host,
        hosts: crate::proxy::AllowedHosts::default(),
        user: None,
        debug: false,
    };
    let signals = Rc::new(signals);
    let mut bed = testbed::Machine::new(options, Rc::clone(&signals))?;
    bed.open(None)?;
    let code = (|| {
        let words = bed.execute_command()?;
        let (program, arguments) = words.split_first().ok_or_else(|| Error::Inside("there is no command".into()))?;
        let child = fork(|| {
            let mut command = Command::new(program);
            let error = command.args(arguments).args(&wanted.command).exec();
            eprintln!("rocbed: {}: {error}", program.display());
            FAILED
        })
        .map_err(Error::step("starting the command"))?;
        wait(&child, &signals)
    })();
    bed.close()?;
    let code = code?;
    let mut text = String::new();
    let mut memory = fs::File::from(memory);
    memory
        .rewind()
        .and_then(|()| memory.read_to_string(&mut text))
        .map_err(Error::step("reading what was done on the simulated GPUs"))?;
    // The command's status is already that of one to which something was refused.
    Ok((code, Summary { text: text.trim().to_owned(), refused: false }))
}

/// Runs it on the machine itself, with a `/dev` and `/sys` of its own.
fn here(wanted: &Wanted, machine: &Machine, signals: &Signals) -> Result<(u8, Summary), Error> {
    let simulation = Simulation::start(machine.clone(), wanted.kernels, None)?;
    let child = fork(|| execute(wanted, machine, &simulation)).map_err(Error::step("starting the command"))?;
    let code = wait(&child, signals)?;
    let summary = simulation.summary().map_err(Error::step("asking what was done on the simulated GPUs"))?;
    Ok((code, summary))
}

/// Waits for a process; passes signals on.
fn wait(child: &Child, signals: &Signals) -> Result<u8, Error> {
    let step = "waiting for the command";
    while let Event::Signal(number) = signals.wait(child.as_fd(), None).map_err(Error::step(step))? {
        for (_, signal) in PASSED_ON.into_iter().filter(|(passed, _)| *passed == number) {
            // If it has just ended, the next wait notices. From a terminal it has the signal already.
            let _ = child.signal(signal);
        }
    }
    let status = child.wait().map_err(Error::step(step))?;
    let code = status.and_then(|status| {
        status.exit_status().or_else(|| status.terminating_signal().map(|signal| signal.saturating_add(128)))
    });
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED))
}

/// Executes the command; returns only if that fails.
fn execute(wanted: &Wanted, machine: &Machine, simulation: &Simulation) -> u8 {
    let prepared = (|| {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(Error::step("asking to end with this process"))?;
        leave_mounts()?;
        mount_dev(machine).map_err(Error::step("mounting /dev with the simulated GPUs"))?;
        mount_sys(Path::new("/sys"), machine).map_err(Error::step("mounting /sys with the simulated GPUs"))?;
        simulation.apply()
    })();
    if let Err(error) = prepared {
        eprintln!("rocbed: simulating GPUs: {}", error.in_one_line());
        return FAILED;
    }
    let Some((program, arguments)) = wanted.command.split_first() else { return FAILED };
    let unset = ENVIRONMENT.into_iter().filter(|(name, _)| std::env::var_os(name).is_none());
    let error = Command::new(program).args(arguments).envs(unset).exec();
    eprintln!("rocbed: {}: {error}", program.display());
    if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE }
}

/// Makes a mount namespace; for a user in a user namespace that has the user's own ids.
fn leave_mounts() -> Result<(), Error> {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    let write = |file: &str, text: String| {
        fs::write(format!("/proc/self/{file}"), text).map_err(Error::step(format!("writing /proc/self/{file}")))
    };
    if user.is_root() {
        ::confine::process::unshare(UnshareFlags::NEWNS).map_err(Error::step("making a mount namespace"))?;
    } else {
        ::confine::process::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS).map_err(Error::step(
            "making a user namespace (the machine may forbid it to users: see kernel.unprivileged_userns_clone)",
        ))?;
        write("setgroups", "deny".into())?;
        write("uid_map", format!("{0} {0} 1", user.as_raw()))?;
        write("gid_map", format!("{0} {0} 1", group.as_raw()))?;
    }
    mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(Error::step("making mounts private"))
}

/// Mounts a `/dev` with what the machine's has but its GPUs, and the simulated ones.
fn mount_dev(machine: &Machine) -> io::Result<()> {
    let dev = Path::new("/dev");
    let mut links: Vec<(PathBuf, PathBuf)> = Vec::new();
    let mut pieces: Vec<(PathBuf, bool, OwnedFd)> = Vec::new();
    for entry in fs::read_dir(dev)? {
        let entry = entry?;
        let path = entry.path();
        let kind = entry.file_type()?;
        if entry.file_name() == "kfd" || entry.file_name() == "dri" {
            continue;
        }
        if kind.is_symlink() {
            links.push((path.clone(), fs::read_link(&path)?));
        } else {
            pieces.push((path.clone(), kind.is_dir(), clone(&path)?));
        }
    }
    let nodes = devices(machine)?;
    let nodes: Vec<(PathBuf, bool, OwnedFd)> =
        nodes.iter().map(|node| Ok((dev.join(&node.inside), false, clone(&node.host)?))).collect::<io::Result<_>>()?;
    mount::mount(c"dev", dev, c"tmpfs", MountFlags::NOSUID | MountFlags::NOEXEC, c"mode=0755,size=1m")?;
    for (path, is_directory, tree) in pieces.iter().chain(&nodes) {
        if *is_directory {
            fs::create_dir(path)?;
        } else {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::File::create(path)?;
        }
        mount::move_mount(tree, c"", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    }
    links.iter().try_for_each(|(path, target)| std::os::unix::fs::symlink(target, path))
}

fn clone(path: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    Ok(mount::open_tree(CWD, path, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Wanted, Error> {
        Wanted::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn reads_what_is_to_be_run() {
        assert_eq!(parse("gfx1030 --run-kernels -- true").unwrap().kernels, Kernels::Run);
        let wanted = parse("gfx1030,gfx942 --root /r --skip-kernels --quiet -- rocminfo --root").unwrap();
        assert_eq!(wanted.kernels, Kernels::Skip);
        assert_eq!((wanted.gpus.as_str(), wanted.root, wanted.quiet), ("gfx1030,gfx942", Some("/r".into()), true));
        assert_eq!(wanted.command, ["rocminfo", "--root"]);
    }

    #[test]
    fn wants_gpus_and_a_command() {
        for line in ["", "gfx1030", "gfx1030 --", "gfx1030 --dance -- true", "gfx1030 --root"] {
            assert!(matches!(parse(line), Err(Error::Usage(_))), "{line}");
        }
        let error = crate::simulate::machine("radeon").unwrap_err().to_string();
        assert!(error.contains("`radeon` is not a GPU target"), "{error}");
        assert!(crate::simulate::machine("/nowhere.json").unwrap_err().to_string().contains("reading the inventory"));
    }
}
