//! Events of machines during their start, for people and for programs.

use std::fmt;

use serde::Serialize;

/// A machine has reached another step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetbootEvent {
    /// Its hardware address, or its IP address if that is not known.
    pub host: String,
    /// The step.
    #[serde(flatten)]
    pub step: Step,
}

/// A step of a machine's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// Its firmware or boot loader asks for an address.
    Dhcp {
        /// The client type that it reports.
        what: String,
    },
    /// It downloads a boot loader.
    Loader {
        /// The file's name.
        file: String,
    },
    /// It downloads the iPXE script.
    Script,
    /// It downloads the kernel.
    Kernel,
    /// It downloads the initramfs.
    Initramfs,
    /// It downloads the index of the root, to read the root when it is needed.
    RootIndex,
    /// It downloads the root.
    Root {
        /// How much of it has been sent, in percent.
        percent: u64,
    },
    /// It resumes the download of the root, after its connection was cut.
    Resumed {
        /// The position, in percent.
        percent: u64,
    },
    /// Its agent is ready.
    Ready {
        /// Its own message.
        text: String,
    },
    /// It cannot start.
    Failed {
        /// Its own message: what failed, and what to do.
        text: String,
    },
}

impl fmt::Display for NetbootEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.host)?;
        match &self.step {
            Step::Dhcp { what } => write!(f, "DHCP ({what})"),
            Step::Loader { file } => write!(f, "loader {file}"),
            Step::Script => f.write_str("iPXE asks what to do"),
            Step::Kernel => f.write_str("kernel"),
            Step::Initramfs => f.write_str("initramfs"),
            Step::RootIndex => f.write_str("index of the root, which is read when needed"),
            Step::Root { percent } => write!(f, "root {percent} %"),
            Step::Resumed { percent } => write!(f, "root goes on at {percent} %"),
            Step::Ready { text } => f.write_str(text),
            Step::Failed { text } => write!(f, "cannot start: {}", text.trim_end().replace('\n', "\n    ")),
        }
    }
}
