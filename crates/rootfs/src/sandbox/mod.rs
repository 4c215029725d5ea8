//! Running a root directory's own programs without letting them at the host.
//!
//! [`Sandbox::run`] gives a command its own mounts, processes, network (only a loopback that is down), IPC and host
//! name, with the directory as its root. [`become_root`] makes an unprivileged caller root in a user namespace first,
//! so that everything else has one code path. When the command ends, so does all it started; nothing stays mounted.

mod error;
mod ids;
mod mounts;
mod namespace;
mod probe;
mod process;
mod refused;
mod seccomp;

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

pub use error::SandboxError;
use mounts::{Mounts, STEPS, StepError, at};
pub use namespace::{become_root, is_inside};
use rustix::thread::{CapabilitySet, UnshareFlags};

/// The host name inside.
pub const HOSTNAME: &str = "localhost";

/// What maintainer scripts have no use for, and what would let a bad one out of the directory as the host's root.
const DROPPED: CapabilitySet = CapabilitySet::SYS_ADMIN
    .union(CapabilitySet::SYS_MODULE)
    .union(CapabilitySet::SYS_RAWIO)
    .union(CapabilitySet::SYS_BOOT)
    .union(CapabilitySet::SYS_TIME)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::SYS_TTY_CONFIG)
    .union(CapabilitySet::SYSLOG)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::MAC_ADMIN)
    .union(CapabilitySet::MAC_OVERRIDE)
    .union(CapabilitySet::LINUX_IMMUTABLE)
    .union(CapabilitySet::BPF)
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::WAKE_ALARM)
    .union(CapabilitySet::AUDIT_CONTROL)
    .union(CapabilitySet::DAC_READ_SEARCH);

/// A command to run inside; its environment is what is given here and nothing else.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// The program, as a path inside the root.
    pub program: String,
    /// Its arguments, without its own name.
    pub arguments: Vec<OsString>,
    /// All of its environment.
    pub environment: Vec<(String, String)>,
    /// What it reads from standard input; nothing if empty.
    pub input: Vec<u8>,
}

/// How a command ended.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Its exit status.
    pub status: ExitStatus,
    /// Whether the host's /proc had to stand in, because a new one was not allowed (containers that cover parts of
    /// /proc): the host's processes were visible then, though not touchable from a user namespace.
    pub foreign_proc: bool,
}

/// A root directory to run commands in. Needs root: the host's own, or that of a user namespace.
#[derive(Debug, Clone)]
pub struct Sandbox {
    root: PathBuf,
}

impl Sandbox {
    /// A sandbox in this directory, which has `dev`, `proc`, `sys`, `run` and `tmp`.
    pub fn new(root: &Path) -> Result<Self, SandboxError> {
        let root = root.canonicalize().map_err(SandboxError::step("finding the root directory"))?;
        for name in ["dev", "proc", "sys", "run", "tmp"] {
            match root.join(name).symlink_metadata() {
                Ok(metadata) if metadata.is_dir() => {}
                // A link there could lead mounts out of the directory.
                Ok(_) => {
                    let source = std::io::Error::from(std::io::ErrorKind::NotADirectory);
                    return Err(SandboxError::Step { step: "looking at dev, proc, sys, run and tmp", source });
                }
                Err(source) => {
                    return Err(SandboxError::Step { step: "looking for dev, proc, sys, run and tmp", source });
                }
            }
        }
        Ok(Self { root })
    }

    /// Runs a command to its end. Both its outputs go to `output`, piece by piece, in the order they were written.
    pub fn run(&self, command: &Command, output: &mut dyn FnMut(&[u8])) -> Result<Outcome, SandboxError> {
        let mounts = Mounts::prepare(&self.root).map_err(SandboxError::step("preparing mounts"))?;
        let filter = seccomp::without_sync();
        let pipe = || std::io::pipe().map_err(SandboxError::step("making a pipe"));
        let (mut from_command, to_us) = pipe()?;
        let (mut notes, mut note) = pipe()?;

        let mut child = std::process::Command::new(&command.program);
        child.args(&command.arguments).env_clear();
        child.envs(command.environment.iter().map(|(name, value)| (name, value)));
        child.stdin(input(&command.input)?);
        child.stdout(to_us.try_clone().map_err(SandboxError::step("making a pipe"))?).stderr(to_us);
        // Its own session: no controlling terminal, so nothing inside can type into the caller's.
        process::before_exec(&mut child, move || {
            let result = rustix::process::setsid().map_err(at(0)).and_then(|_| enter(&mounts, filter.as_ref()));
            match result {
                Ok(true) => note.write_all(&[b'p', 0]),
                Ok(false) => Ok(()),
                Err((step, error)) => {
                    note.write_all(&[b'f', step])?;
                    Err(error)
                }
            }
        });
        let spawned = child.spawn();
        // The command holds the writing ends; they have to be closed here for the reads below to end.
        drop(child);
        let mut said = Vec::new();
        notes.read_to_end(&mut said).map_err(SandboxError::step("reading the set-up's notes"))?;
        let mut running = spawned.map_err(|source| match said.chunks_exact(2).find(|note| note[0] == b'f') {
            // Making namespaces, or the first thing done in them.
            Some(&[_, 0 | 2]) if source.kind() == std::io::ErrorKind::PermissionDenied => SandboxError::NoNamespaces,
            Some(note) => {
                SandboxError::Step { step: STEPS.get(usize::from(note[1])).copied().unwrap_or("setting up"), source }
            }
            None => SandboxError::Start { program: command.program.clone(), source },
        })?;

        let mut buffer = [0; 8192];
        loop {
            match from_command.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => output(&buffer[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(SandboxError::step("reading the command's output")(error)),
            }
        }
        let status = running.wait().map_err(SandboxError::step("waiting for the command"))?;
        Ok(Outcome { status, foreign_proc: said.first() == Some(&b'p') })
    }
}

/// Runs in the child, before the command is executed.
fn enter(mounts: &Mounts, filter: Option<&seccompiler::BpfProgram>) -> Result<bool, StepError> {
    process::die_with_parent().map_err(at(0))?;
    process::unblock_signals().map_err(at(0))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let namespaces =
        UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWNET | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    process::unshare(namespaces).map_err(at(0))?;
    process::become_first_process().map_err(at(1))?;
    process::die_with_parent().map_err(at(1))?;
    let foreign_proc = mounts.enter()?;
    rustix::system::sethostname(HOSTNAME.as_bytes()).map_err(at(9))?;
    for capability in DROPPED.iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // An older kernel does not know it, so there is nothing to drop.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(at(10)(error)),
        }
    }
    if let Some(filter) = filter {
        seccomp::apply(filter).map_err(at(11))?;
    }
    Ok(foreign_proc)
}

/// A file in memory: unlike a pipe it needs nobody to write while the command reads.
fn input(bytes: &[u8]) -> Result<Stdio, SandboxError> {
    if bytes.is_empty() {
        return Ok(Stdio::null());
    }
    let step = "preparing standard input";
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::memfd_create("stdin", flags).map_err(SandboxError::step(step))?);
    file.write_all(bytes).map_err(SandboxError::step(step))?;
    file.rewind().map_err(SandboxError::step(step))?;
    Ok(file.into())
}
