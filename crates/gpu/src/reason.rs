//! [`Reason`]: why a GPU can't be used, and what to do about it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that keeps a GPU from being used, in words for whoever has the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Reason {
    /// Which kind, for programs.
    pub kind: ReasonKind,
    /// What is wrong: a sentence without a full stop.
    pub message: String,
    /// What to do about it: another one.
    pub remedy: String,
    /// Lines of the kernel's log that it was seen from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
}

/// Kinds of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReasonKind {
    /// Not an AMD GPU.
    OtherVendor,
    /// No driver has taken it.
    NoDriver,
    /// A driver that is not amdgpu has it.
    OtherDriver,
    /// `nomodeset` or the like.
    ModesettingOff,
    /// The kernel does not load unsigned modules.
    Lockdown,
    /// Firmware files are missing.
    MissingFirmware,
    /// It sleeps and does not wake up.
    StuckInD3cold,
    /// No addresses for its memory.
    NoAddressSpace,
    /// No video BIOS.
    NoVideoBios,
    /// Too many pages of its memory are bad.
    BadMemory,
    /// The table of its parts (IP discovery) cannot be read.
    InvalidDiscovery,
    /// Its security processor (PSP) did not take the firmware.
    PspRefused,
    /// The program in its video BIOS did not end.
    AtomBiosStuck,
    /// The chip is older than what amdgpu or KFD is for.
    TooOld,
    /// An operator has left it out.
    LeftOut,
    /// It had too many faults at work and gets no jobs.
    Quarantined,
    /// amdgpu gave up on it for another reason.
    ProbeFailed,
    /// The kernel has no KFD.
    NoKfd,
    /// KFD does not know the chip.
    UnsupportedByKfd,
    /// KFD wants PCIe atomics.
    NoPcieAtomics,
    /// KFD has it, but not for this process.
    AccessDenied,
    /// KFD has no node for it, for no reason that is known.
    NotInTopology,
    /// The topology could not be read.
    BrokenTopology,
    /// Nothing says which target it has.
    UnknownTarget,
}

impl Reason {
    /// A reason without evidence.
    pub fn new(kind: ReasonKind, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { kind, message: message.into(), remedy: remedy.into(), evidence: Vec::new() }
    }

    /// Adds a line of the log as evidence, unless it is there already.
    #[must_use]
    pub fn seen_in(mut self, line: &str) -> Self {
        if !self.evidence.iter().any(|other| other == line) {
            self.evidence.push(line.to_owned());
        }
        self
    }
}
