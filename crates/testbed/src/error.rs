//! Errors of making, using and removing testbeds.

use std::io;
use std::path::PathBuf;

use advice::{Advice, Advise, Help};

/// Errors, with the failed step and its object.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// A file that the user named cannot be read.
    #[error("reading {path}: {source}")]
    Read {
        /// The path.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// GPUs with these targets cannot be simulated.
    #[error("simulating GPUs: {0}")]
    Simulate(#[from] gpu::SimulateError),
    /// The GPUs of an inventory cannot be simulated.
    #[error("simulating GPUs: {0}")]
    SimulateMachine(#[from] gpusim::MachineError),
    /// System calls of programs can have only one supervisor.
    #[error(
        "sending requests to the simulated GPUs: a supervisor of system calls is there already, as in another \
         simulation and some containers"
    )]
    Supervised,
    /// A step outside of the testbed failed.
    #[error("{step}: {source}")]
    Step {
        /// The step, as a gerund.
        step: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A step of the setup inside the testbed's namespaces failed.
    #[error("making the testbed: {0}")]
    Inside(String),
    /// The root directory is not suitable for a testbed.
    #[error("{} is not a root directory: {reason}", root.display())]
    Root {
        /// The root directory.
        root: PathBuf,
        /// The missing part.
        reason: String,
    },
    /// The tests' user is not in the root directory's passwd(5).
    #[error("there is no user {0} in the testbed's /etc/passwd")]
    NoUser(String),
    /// The calling user has no subordinate ids.
    #[error("{user} has no 65535 subordinate ids in {file}")]
    NoSubordinateIds {
        /// Name of the user.
        user: String,
        /// `/etc/subuid` or `/etc/subgid`.
        file: &'static str,
    },
    /// Ids cannot be mapped.
    #[error("mapping subordinate ids: {0}")]
    Mapping(String),
    /// Something did not happen in time.
    #[error("{what} took more than {seconds} s")]
    TimedOut {
        /// The expected event.
        what: String,
        /// The time limit in seconds.
        seconds: u64,
    },
    /// Processes that SIGKILL did not end.
    #[error(
        "the testbed cannot be closed: SIGKILL did not end {0}; the kernel holds them, as a driver that hangs does"
    )]
    Stuck(String),
    /// A signal requested the end.
    #[error("ended by signal {0}")]
    Signal(i32),
    /// The directory does not have a complete image.
    #[error("{} is not an image that a machine can be started from: {reason}", image.display())]
    Image {
        /// Its directory.
        image: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The image does not know what this program asks for.
    #[error("the image is older than this program: it cannot be a testbed of its own")]
    OldImage,
    /// The image's program speaks another version of the protocol.
    #[error("the image's program speaks version {image} of the protocol for testbeds, and this one version {program}")]
    ImageVersion {
        /// The image's version.
        image: u32,
        /// This program's.
        program: u32,
    },
    /// There is not enough memory for the machine.
    #[error(
        "a machine with {} MiB of memory was asked for, and {} MiB are available; it needs 512 MiB",
        wanted >> 20,
        available >> 20
    )]
    NoMemory {
        /// Bytes that were asked for.
        wanted: u64,
        /// Bytes that are available.
        available: u64,
    },
    /// QEMU cannot be used.
    #[error(transparent)]
    Vm(#[from] vm::VmError),
    /// A device cannot be given to the machine.
    #[error("--gpu: {0}")]
    Vfio(#[from] vm::vfio::VfioError),
    /// The machine does not do what it should.
    #[error("the virtual machine {what}{}", told(qemu.as_deref(), console))]
    VirtualMachine {
        /// What it does.
        what: &'static str,
        /// What QEMU said last.
        qemu: Option<String>,
        /// What was last on its serial console.
        console: Vec<String>,
    },
    /// A copy failed; the failed process has logged the reason.
    #[error("copying failed")]
    Copy,
}

impl Advise for Error {
    fn help(&self) -> Help {
        match self {
            Self::Usage(_) => "see --help".into(),
            Self::Read { source, .. } => Help::of_path(source),
            Self::Supervised => "run it outside of that".into(),
            Self::NoUser(_) => "name one that is, or leave --user out".into(),
            Self::NoSubordinateIds { user, .. } => {
                format!("as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}").into()
            }
            Self::Stuck(_) => "restart the machine".into(),
            Self::Image { .. } => "make one with `rocbed build RECIPE`, and name its directory: images/RECIPE".into(),
            Self::OldImage | Self::ImageVersion { .. } => {
                "build the image again, with the rocbed that this is of".into()
            }
            Self::NoMemory { .. } => {
                "say with --memory how much it gets, as bytes or a part of what is available".into()
            }
            Self::Simulate(error) => error.help(),
            Self::SimulateMachine(error) => error.help(),
            Self::Vm(error) => error.help(),
            Self::Vfio(error) => error.help(),
            Self::VirtualMachine { .. } => "--console FILE keeps all that the machine says".into(),
            _ => Help::none(),
        }
    }
}

/// What QEMU and the machine said last, for a message.
fn told(qemu: Option<&str>, console: &[String]) -> String {
    let qemu = qemu.filter(|line| !line.is_empty()).map(|line| format!("; QEMU says: {line}"));
    let console = (!console.is_empty()).then(|| format!("; last on its console: {}", console.join(" | ")));
    qemu.into_iter().chain(console).collect()
}

impl Error {
    /// The error with its help, on the one line that autopkgtest and its log have for it.
    pub(crate) fn in_one_line(&self) -> String {
        Advice::of(self).in_one_line()
    }

    /// Turns an error of the operating system into the error of a step.
    pub(crate) fn step<E: Into<io::Error>>(step: impl Into<String>) -> impl FnOnce(E) -> Self {
        move |source| Self::Step { step: step.into(), source: source.into() }
    }
}
