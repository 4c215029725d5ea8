//! [`VmError`]: why a machine could not be started or watched to its end.

use std::io;
use std::path::PathBuf;

use advice::{Advise, Help};

/// A machine could not be started, or not be watched to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VmError {
    /// QEMU is not installed.
    #[error("qemu-system-x86_64 is not on PATH")]
    MissingQemu,

    /// UEFI firmware for QEMU is not installed.
    #[error("there is no UEFI firmware for QEMU; looked for {}", .0.join(", "))]
    MissingFirmware(Vec<String>),

    /// An environment variable has an invalid value.
    #[error("{variable}={value:?} is not understood")]
    BadSetting {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// The valid values.
        takes: &'static str,
    },

    /// SIGKILL did not end QEMU.
    #[error("SIGKILL did not end QEMU, process {pid}; the kernel holds it, as a device that hangs does")]
    Stuck {
        /// Its process id.
        pid: u32,
    },

    /// The operating system reported an error.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// The action, as a gerund ("opening").
        action: &'static str,
        /// The path that it was about.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl VmError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

impl Advise for VmError {
    fn help(&self) -> Help {
        match self {
            Self::MissingQemu => "apt install qemu-system-x86".into(),
            Self::MissingFirmware(_) => "apt install ovmf".into(),
            Self::BadSetting { takes, .. } => format!("it takes {takes}").into(),
            Self::Stuck { .. } => "restart the machine".into(),
            Self::Io { .. } => Help::none(),
        }
    }
}
