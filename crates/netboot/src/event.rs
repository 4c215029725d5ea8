//! What a machine does as it starts, for people and for programs.

use std::fmt;

use serde::Serialize;

/// A machine has come to another step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Its hardware address, or where that is not known its IP address.
    pub host: String,
    /// What it does.
    #[serde(flatten)]
    pub step: Step,
}

/// What a machine does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// Its firmware or loader asks for an address.
    Dhcp {
        /// What it says that it is.
        what: String,
    },
    /// It takes a loader.
    Loader {
        /// Which.
        file: String,
    },
    /// It takes what iPXE is to do.
    Script,
    /// It takes the kernel.
    Kernel,
    /// It takes the initramfs.
    Initramfs,
    /// It takes the root.
    Root {
        /// How much of it has been sent, in percent.
        percent: u64,
    },
    /// It takes the root from somewhere on, after its connection was cut.
    Resumed {
        /// From where, in percent.
        percent: u64,
    },
    /// Its agent is ready.
    Ready {
        /// Its own words.
        text: String,
    },
    /// It cannot start.
    Failed {
        /// Its own words: what failed, and what to do.
        text: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.host)?;
        match &self.step {
            Step::Dhcp { what } => write!(f, "DHCP ({what})"),
            Step::Loader { file } => write!(f, "loader {file}"),
            Step::Script => f.write_str("iPXE asks what to do"),
            Step::Kernel => f.write_str("kernel"),
            Step::Initramfs => f.write_str("initramfs"),
            Step::Root { percent } => write!(f, "root {percent} %"),
            Step::Resumed { percent } => write!(f, "root goes on at {percent} %"),
            Step::Ready { text } => f.write_str(text),
            Step::Failed { text } => write!(f, "cannot start: {}", text.trim_end().replace('\n', "\n    ")),
        }
    }
}
