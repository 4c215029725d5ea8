//! Simulated GPUs for programs: `gpusim` answers, and this brings the questions to it.
//!
//! A program's requests to `/dev/kfd` and `/dev/dri/*` are sent to a supervisor by a seccomp filter; every other system
//! call runs as always. No library is replaced and nothing is preloaded.

mod host;
mod listener;
mod nodes;
mod program;
mod supervisor;

use std::cell::Cell;
use std::fs;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use gpusim::{Kernels, Machine, Simulator};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, socketpair,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Error;
use crate::detach::detach_from_the_server;
use crate::process::{self, fork};

pub(crate) use host::main;
pub(crate) use nodes::{devices, mount_sys};

/// Environment of programs. HIP copies little memory with a kernel; like this it leaves all copies to the engines for them.
pub(crate) const ENVIRONMENT: [(&str, &str); 1] = [("GPU_FORCE_BLIT_COPY_SIZE", "0")];
/// Options for what comes of kernels that are not refused: they count as done, or are interpreted.
const KERNEL_OPTIONS: [(&str, Kernels); 2] = [("--skip-kernels", Kernels::Skip), ("--run-kernels", Kernels::Run)];
/// Most bytes of an inventory.
const MOST: u64 = 4 << 20;
/// Bytes of memory of a machine that does not tell.
const USUAL_MEMORY: u64 = 4 << 30;

/// What is simulated for the commands of testbeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulateOptions {
    /// The GPUs, as [`machine`] reads them.
    pub gpus: String,
    /// What happens to kernels that commands launch.
    pub kernels: Kernels,
    /// File that gets a line about each command.
    pub report: Option<PathBuf>,
}

/// The option for what comes of kernels; none if they are refused.
pub(crate) fn kernels_option(kernels: Kernels) -> Option<&'static str> {
    KERNEL_OPTIONS.iter().find(|(_, of)| *of == kernels).map(|(option, _)| *option)
}

/// What comes of kernels with an option.
pub(crate) fn option_kernels(option: &str) -> Option<Kernels> {
    KERNEL_OPTIONS.iter().find(|(name, _)| *name == option).map(|(_, kernels)| *kernels)
}

/// The GPUs that a text names: targets with commas between them (`gfx1030,gfx942`), or the file of an inventory, as
/// `rocbed-init detect --json` prints it.
pub fn machine(text: &str) -> Result<Machine, Error> {
    let inventory = if text.contains('/') || text.ends_with(".json") {
        let mut bytes = Vec::new();
        let reading = |source| Error::Read { path: format!("the inventory {text}"), source };
        fs::File::open(text).and_then(|file| file.take(MOST).read_to_end(&mut bytes)).map_err(reading)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::Usage(format!("simulating {text}: it is not an inventory of GPUs: {error}")))?
    } else {
        gpu::simulate(text)?
    };
    let processors = std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1));
    let memory = machineinfo::Memory::read().map_or(USUAL_MEMORY, |memory| memory.total);
    Ok(Machine::new(&inventory, memory, processors)?)
}

/// What came of the programs, in words and whether anything was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// One line for people.
    pub(crate) text: String,
    /// Whether a kernel was launched, or something else that is not simulated: whatever the programs say then counts for
    /// nothing.
    pub(crate) refused: bool,
}

/// The line to a supervisor.
#[derive(Debug)]
pub(crate) struct Simulation {
    line: OwnedFd,
}

impl Simulation {
    /// Starts a supervisor, with this process's view of `/proc`. `outer` is a user namespace that it has to join to have
    /// rights over the programs.
    pub(crate) fn start(machine: Machine, kernels: Kernels, outer: Option<&OwnedFd>) -> Result<Self, Error> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(Error::step("making a socket"))?;
        let ours = Cell::new(Some(ours));
        fork(|| {
            // The line closes for the supervisor only if it does not hold the other end itself.
            drop(ours.take());
            let ended = supervise(Simulator::new(machine, kernels), outer, &theirs);
            if let Err(error) = &ended {
                // Whoever asks for a summary gets this; if it does not arrive, the line closes.
                let text = format!("!{error}");
                let _ = rustix::net::send(&theirs, text.as_bytes(), SendFlags::NOSIGNAL);
            }
            u8::from(ended.is_err())
        })
        .map_err(Error::step("starting the supervisor of the simulated GPUs"))?;
        let line = ours.take().ok_or_else(|| Error::Inside("there is no line to the supervisor".into()))?;
        Ok(Self { line })
    }

    /// Sends this process's requests to the supervisor, and those of all that it starts.
    pub(crate) fn apply(&self) -> Result<(), Error> {
        let step = "sending requests to the simulated GPUs";
        let listener = listener::install().map_err(|error| match error.raw_os_error() {
            Some(libc::EBUSY) => Error::Supervised,
            _ => Error::step(step)(error),
        })?;
        let borrowed = [listener.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fits = control.push(SendAncillaryMessage::ScmRights(&borrowed));
        debug_assert!(fits);
        rustix::net::sendmsg(&self.line, &[IoSlice::new(b"l")], &mut control, SendFlags::NOSIGNAL)
            .map_err(Error::step(step))?;
        Ok(())
    }

    /// Asks what was done until now. The supervisor goes on as long as processes have the filter.
    pub(crate) fn summary(&self) -> io::Result<Summary> {
        rustix::net::send(&self.line, b"r", SendFlags::NOSIGNAL)?;
        let mut bytes = [0; 4096];
        let (length, _) = rustix::net::recv(&self.line, &mut bytes, RecvFlags::empty())?;
        let text = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned();
        match text.split_at_checked(1) {
            Some((mark @ ("+" | "-"), text)) => Ok(Summary { text: text.to_owned(), refused: mark == "-" }),
            Some(("!", error)) => Err(io::Error::other(error.to_owned())),
            _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the supervisor of the simulated GPUs has ended")),
        }
    }
}

/// The supervisor's process.
fn supervise(simulator: Simulator, outer: Option<&OwnedFd>, line: &OwnedFd) -> Result<(), Error> {
    if let Some(outer) = outer {
        rustix::thread::move_into_link_name_space(outer.as_fd(), None)
            .map_err(Error::step("joining the user namespace"))?;
    }
    // Programs must not look into it: its files are the host's.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(Error::step("shielding the supervisor"))?;
    // In a session of its own, so that Ctrl-C ends the programs and not what answers them; and without the programs'
    // output, whose readers wait until all have closed it.
    detach_from_the_server()?;
    process::close_all_but(line).map_err(Error::step("closing files"))?;
    let files = raise_limit();
    let Some(listener) = receive(line).map_err(Error::step("receiving the filter's listener"))? else { return Ok(()) };
    let mut supervisor = supervisor::Supervisor::new(listener, simulator, files);
    let mut has_asker = true;
    while supervisor.serve(has_asker.then_some(line)).map_err(Error::step("answering for the simulated GPUs"))? {
        has_asker = answer(line, &supervisor)?;
    }
    // All programs have ended; the summary may not have been asked for yet.
    while has_asker {
        has_asker = answer(line, &supervisor)?;
    }
    Ok(())
}

/// Lets this process have as many files open as it may, and returns how many; `None` if there is no limit. The supervisor
/// has two of each program's.
fn raise_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    // If it cannot be raised, there is room for hundreds of programs; requests of further ones are refused.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    getrlimit(Resource::Nofile).current
}

/// Answers who asks what was done; `false` if nobody is there to ask any more.
fn answer(line: &OwnedFd, supervisor: &supervisor::Supervisor) -> Result<bool, Error> {
    let (length, _) =
        rustix::net::recv(line, &mut [0], RecvFlags::empty()).map_err(Error::step("hearing who asks for a summary"))?;
    if length == 0 {
        return Ok(false);
    }
    let report = supervisor.report();
    let mark = if report.refused() { '-' } else { '+' };
    let refusal = supervisor.refusal().map(|refusal| format!("; {refusal}")).unwrap_or_default();
    let text = format!("{mark}{report}{refusal}");
    rustix::net::send(line, text.as_bytes(), SendFlags::NOSIGNAL).map_err(Error::step("reporting"))?;
    Ok(true)
}

/// Receives the listener; `None` if the other end is gone.
fn receive(line: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    rustix::net::recvmsg(line, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    Ok(descriptors.next().and_then(|mut fds| fds.next()))
}
