//! What can go wrong with a virtual machine.

use std::io;
use std::path::PathBuf;

/// A machine that could not be started, or watched to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VmError {
    /// QEMU is not installed.
    #[error("qemu-system-x86_64 is not on PATH; install it (Debian: apt install qemu-system-x86)")]
    MissingQemu,

    /// UEFI firmware for QEMU is not installed.
    #[error("no UEFI firmware for QEMU found; install it (Debian: apt install ovmf). Looked for {}", .0.join(", "))]
    MissingFirmware(Vec<String>),

    /// An environment variable with a value that means nothing.
    #[error("{variable}={value:?} is not understood; it takes {takes}")]
    BadSetting {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What it could be.
        takes: &'static str,
    },

    /// The operating system refused something.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried, a gerund ("opening").
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl VmError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
