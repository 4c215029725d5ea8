//! [`Fault`]: what the kernel's log says went wrong while GPUs work.

use serde::{Deserialize, Serialize};

use crate::address::PciAddress;
use crate::messages::{Entry, Places, Reader, Trust};

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FaultKind {
    /// A command did not end: `ring gfx_0.0.0 timeout`, a hung queue.
    Hang,
    /// The GPU was reset, or it was tried.
    Reset,
    /// The GPU wanted memory that it may not have: a page fault, a VM protection fault.
    PageFault,
    /// Its memory or its connections are damaged: RAS, poison, uncorrectable errors.
    #[serde(rename = "hardware-error")]
    Hardware,
    /// The IOMMU refused it an access to the machine's memory.
    DmaRefused,
    /// It does not answer any more: gone from the bus, or its firmware is.
    #[serde(rename = "gpu-lost")]
    Lost,
    /// The kernel itself went wrong: an oops, damaged data, a processor that is stuck.
    #[serde(rename = "kernel-bug")]
    Kernel,
    /// The machine's memory was used up and a process was killed: not a fault of the GPU.
    OutOfMemory,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Hang,
        Self::Reset,
        Self::PageFault,
        Self::Hardware,
        Self::DmaRefused,
        Self::Lost,
        Self::Kernel,
        Self::OutOfMemory,
    ];

    /// Whether it says that the GPU, or its driver, is not as it was.
    pub fn is_of_gpu(self) -> bool {
        self != Self::OutOfMemory
    }

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hang => "hang",
            Self::Reset => "reset",
            Self::PageFault => "page fault",
            Self::Hardware => "hardware error",
            Self::DmaRefused => "DMA refused",
            Self::Lost => "GPU lost",
            Self::Kernel => "kernel bug",
            Self::OutOfMemory => "out of memory",
        }
    }

    /// As JSON has it.
    pub fn slug(self) -> &'static str {
        match self {
            Self::Hang => "hang",
            Self::Reset => "reset",
            Self::PageFault => "page-fault",
            Self::Hardware => "hardware-error",
            Self::DmaRefused => "dma-refused",
            Self::Lost => "gpu-lost",
            Self::Kernel => "kernel-bug",
            Self::OutOfMemory => "out-of-memory",
        }
    }

    /// What to do about it: sentences without a full stop.
    pub fn advice(self, contained: bool) -> &'static str {
        match (self, contained) {
            (Self::PageFault, true) => {
                "the program asked the GPU for memory that it does not have: look for a bug in the program, its library or \
                 the compiler; the GPU itself is as it was"
            }
            (Self::PageFault, false) => {
                "the driver's own accesses failed, which no program can cause: restart the machine; if it comes back, use \
                 another kernel or newer firmware-amd-graphics, then suspect the GPU's memory"
            }
            (Self::Hang, true) => "the driver ended what hung, and the GPU works on: look for a bug in the program",
            (Self::Hang, false) => {
                "restart the machine; if the same test does it again, report it with these lines, else use newer \
                 firmware-amd-graphics or another kernel"
            }
            (Self::Reset, _) => {
                "programs that used the GPU have lost what was in its memory: restart the machine, and look at what stands \
                 before the reset"
            }
            (Self::Hardware, _) => {
                "restart the machine; if it comes back, check power, cooling and the slot, and replace the GPU where its \
                 memory is damaged"
            }
            (Self::DmaRefused, _) => {
                "restart the machine; if it comes back, update the mainboard's firmware, or try iommu=pt on the kernel \
                 command line"
            }
            (Self::Lost, _) => {
                "switch the machine off at the mains and start it again; if it comes back, check power, slot and riser, and \
                 try amdgpu.runpm=0 or pcie_port_pm=off on the kernel command line"
            }
            (Self::Kernel, _) => {
                "restart the machine; report it to the distribution's kernel maintainers with these lines"
            }
            (Self::OutOfMemory, _) => "give the machine more memory, or the test less work",
        }
    }
}

/// A line of the log that tells of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What went wrong.
    pub kind: FaultKind,
    /// Whether it ended only the process that did it: the test's own doing.
    pub contained: bool,
    /// The GPU; `None` if the line does not tell, and the driver spoke of none before.
    pub address: Option<PciAddress>,
    /// The port above it that told of it.
    pub port: Option<PciAddress>,
    /// Whether it only says more about a fault of the same kind that was told before.
    pub detail: bool,
    /// The message, without time and priority, and without what a terminal must not be given.
    pub line: String,
    /// What it was known by.
    pub entry: &'static Entry,
}

/// What a single line of a log says, in any form; `None` for all that is usual. A [`Reader`] knows more: what a line is
/// about can stand in those before it.
pub fn fault(line: &str) -> Option<Fault> {
    let mut reader = Reader::new(Trust::Text, Places::of_log(line));
    reader.take(line).into_iter().next()
}
