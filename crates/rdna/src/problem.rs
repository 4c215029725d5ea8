//! [`Problem`]: why a kernel can't go on.

use crate::memory::Fault;

/// The reason why a kernel ended before it was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// An instruction that the interpreter doesn't know.
    #[error("the interpreter does not know {name} ({words}) at {address:#x}")]
    UnknownInstruction {
        /// Its name, or its encoding and number where it has no name that is known here.
        name: String,
        /// The first bytes, as words with digits.
        words: String,
        /// Where it is.
        address: u64,
    },
    /// An instruction that is known, but not used like this.
    #[error("the interpreter does not know {name} with {what}, at {address:#x}")]
    Unsupported {
        /// Its name.
        name: &'static str,
        /// What isn't known of it.
        what: &'static str,
        /// Where it is.
        address: u64,
    },
    /// The kernel accessed memory that it hasn't.
    #[error("{fault}, which {name} at {address:#x} does")]
    Fault {
        /// The access.
        fault: Fault,
        /// The instruction.
        name: &'static str,
        /// The instruction's address.
        address: u64,
    },
    /// There is no code.
    #[error("there is no code at {address:#x}")]
    NoCode {
        /// Where it was looked for.
        address: u64,
    },
    /// The kernel ended itself, as `abort` and failed assertions do.
    #[error("the kernel has trapped with number {number} at {address:#x}")]
    Trap {
        /// Which trap: 2 is `llvm.trap`.
        number: u8,
        /// Address of the instruction.
        address: u64,
    },
    /// The kernel took longer than it may.
    #[error("the kernel did not end within {limit} instructions")]
    TooLong {
        /// How many it was given.
        limit: u64,
    },
    /// The packet or the kernel's descriptor says something that no GPU would run.
    #[error("the kernel cannot be launched: {0}")]
    Launch(&'static str),
}

/// What an instruction can meet, without where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    Fault(Fault),
    Unsupported(&'static str),
    Trap(u8),
}

impl From<Fault> for Obstacle {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Obstacle {
    pub(crate) fn at(self, name: &'static str, address: u64) -> Problem {
        match self {
            Self::Fault(fault) => Problem::Fault { fault, name, address },
            Self::Unsupported(what) => Problem::Unsupported { name, what, address },
            Self::Trap(number) => Problem::Trap { number, address },
        }
    }
}
