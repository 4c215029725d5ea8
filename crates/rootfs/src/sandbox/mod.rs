//! Runs a root directory's own programs, isolated from the host.
//!
//! [`Sandbox::run`] gives a command its own mounts, processes, network (only a loopback that is down), IPC and host
//! name, with the directory as its root. [`become_root`] makes an unprivileged caller root in a user namespace first,
//! so that everything else has one code path. Root's sandboxes have a user namespace and ids of their own, so that a
//! package's script has no more rights if root builds. When the command ends, so do all processes it started; nothing
//! stays mounted.

mod containers;
mod error;
mod ids;
mod mounts;
mod namespace;
mod owners;
mod probe;
mod process;
mod refused;
mod seccomp;
mod shift;
mod steps;

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

pub use error::SandboxError;
use mounts::Mounts;
pub use namespace::{become_root, is_inside};
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags};
use seccomp::Filters;
use shift::Ids;
use steps::{Step, StepError};

/// Host name in the sandbox.
pub const HOSTNAME: &str = "localhost";

/// Capabilities of dpkg and maintainer scripts: those of podman's containers, and no way to gain more. They apply in
/// the sandbox's user namespace only.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SYS_CHROOT);

/// A command to run in the sandbox, with its complete environment.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// Path of the program in the root.
    pub program: String,
    /// Arguments, without the program name.
    pub arguments: Vec<OsString>,
    /// Complete environment.
    pub environment: Vec<(String, String)>,
    /// Standard input; nothing if empty.
    pub input: Vec<u8>,
}

/// Result of a command.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Exit status.
    pub status: ExitStatus,
    /// Whether the host's /proc was used, because a new one was not allowed (in containers that cover parts of /proc):
    /// the host's processes were visible then, though not accessible from a user namespace.
    pub foreign_proc: bool,
}

/// A root directory to run commands in. Needs root: the host's own, or that of a user namespace.
#[derive(Debug)]
pub struct Sandbox {
    root: PathBuf,
    ids: Ids,
}

impl Sandbox {
    /// Makes a sandbox in this directory, which has `dev`, `proc`, `sys`, `run` and `tmp`. Until [`Self::finish`] its
    /// files may have temporary owners.
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
        let ids = Ids::of_sandbox(&root)?;
        Ok(Self { root, ids })
    }

    /// Ends the use of the sandbox: the files in the root directory get their owners back.
    pub fn finish(self) -> Result<(), SandboxError> {
        self.ids.give_back(&self.root)
    }

    /// Runs a command to its end. Its stdout and stderr go to `output` piece by piece, in the order they were written.
    pub fn run(&self, command: &Command, output: &mut dyn FnMut(&[u8])) -> Result<Outcome, SandboxError> {
        let tree = self.ids.tree(&self.root)?;
        let inside = Inside {
            mounts: Mounts::prepare(&self.root, tree, self.ids.base())
                .map_err(SandboxError::step("preparing mounts"))?,
            filters: Filters::make().map_err(SandboxError::step("making seccomp filters"))?,
            namespace: self.ids.namespace()?,
        };
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
            let result = rustix::process::setsid().map_err(Step::Namespaces.failed()).and_then(|_| inside.enter());
            match result {
                Ok(true) => note.write_all(&[b'p', 0]),
                Ok(false) => Ok(()),
                Err(StepError { step, source }) => {
                    note.write_all(&[b'f', step as u8])?;
                    Err(source)
                }
            }
        });
        let spawned = child.spawn();
        // The command holds the write ends; they have to be closed here for the reads below to end.
        drop(child);
        let mut said = Vec::new();
        notes.read_to_end(&mut said).map_err(SandboxError::step("reading the set-up's notes"))?;
        let failed = said.chunks_exact(2).find(|note| note[0] == b'f').and_then(|note| Step::named(note[1]));
        let mut running = spawned.map_err(|source| match failed {
            // Creating namespaces failed, or the first operation in them.
            Some((Step::Namespaces | Step::PrivateMounts, _))
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                SandboxError::NoNamespaces
            }
            Some((Step::HostName, _)) => SandboxError::HostName(source),
            Some((_, step)) => SandboxError::Step { step, source },
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

/// Setup of a command's process, prepared before the fork.
struct Inside {
    mounts: Mounts,
    filters: Filters,
    /// User namespace to join; `None` if this process is in the right one.
    namespace: Option<OwnedFd>,
}

impl Inside {
    /// Runs in the child, before the command is executed.
    fn enter(&self) -> Result<bool, StepError> {
        process::die_with_parent().map_err(Step::Namespaces.failed())?;
        confine::process::unblock_signals().map_err(Step::Namespaces.failed())?;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let namespaces = UnshareFlags::NEWNS
            | UnshareFlags::NEWPID
            | UnshareFlags::NEWNET
            | UnshareFlags::NEWIPC
            | UnshareFlags::NEWUTS;
        confine::process::unshare(namespaces).map_err(Step::Namespaces.failed())?;
        process::become_first_process().map_err(Step::FirstProcess.failed())?;
        process::die_with_parent().map_err(Step::FirstProcess.failed())?;
        let foreign_proc = self.mounts.enter()?;
        name_host().map_err(Step::HostName.failed())?;
        if let Some(namespace) = &self.namespace {
            shift::join(namespace).map_err(Step::Ids.failed())?;
        }
        // If it stays, its keys are of no use inside: the filter that is applied below forbids all use of keys.
        let _ = confine::process::leave_session_keyring();
        drop_rights().map_err(Step::Rights.failed())?;
        self.filters.apply().map_err(Step::Filter.failed())?;
        Ok(foreign_proc)
    }
}

/// Gives the sandbox its host name. Podman's seccomp profile forbids that; a container may have been given the same name.
fn name_host() -> Result<(), rustix::io::Errno> {
    match rustix::system::sethostname(HOSTNAME.as_bytes()) {
        Err(_) if rustix::system::uname().nodename().to_bytes() == HOSTNAME.as_bytes() => Ok(()),
        other => other,
    }
}

/// Reduces the capabilities to [`KEPT`], and marks all but the standard files as close-on-exec.
fn drop_rights() -> std::io::Result<()> {
    confine::process::limit_capabilities(KEPT)?;
    // Root gets inheritable capabilities regardless of the bounding set.
    let now = rustix::thread::capabilities(None)?;
    rustix::thread::set_capabilities(None, CapabilitySets { inheritable: CapabilitySet::empty(), ..now })?;
    match confine::process::close_inherited_on_exec() {
        // Linux before 5.11. Files opened by this program are close-on-exec; the caller's may not be.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => Ok(()),
        other => other,
    }
}

/// A file in memory: unlike a pipe it needs no writer while the command reads.
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
