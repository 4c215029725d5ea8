//! [`FaultKind`]: the kinds of faults that the kernel's log reports while GPUs work.

use serde::{Deserialize, Serialize};

/// The kind of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FaultKind {
    /// A command did not end: `ring gfx_0.0.0 timeout`, a hung queue.
    Hang,
    /// The GPU was reset, or a reset was tried.
    Reset,
    /// The GPU accessed memory that it may not use: a page fault, a VM protection fault.
    PageFault,
    /// Its memory or its connections are damaged: RAS, poison, uncorrectable errors.
    #[serde(rename = "hardware-error")]
    Hardware,
    /// The IOMMU refused an access of the GPU to system memory.
    DmaRefused,
    /// It does not answer any more: it, or its firmware, is gone.
    #[serde(rename = "gpu-lost")]
    Lost,
    /// A bug or failure in the kernel itself: an oops, corrupted data, a stuck processor.
    #[serde(rename = "kernel-bug")]
    Kernel,
    /// The machine ran out of memory and a process was killed: not a fault of the GPU.
    OutOfMemory,
}

impl FaultKind {
    /// All kinds.
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

    /// Whether it means that the GPU, or its driver, may no longer work correctly.
    pub fn is_of_gpu(self) -> bool {
        self != Self::OutOfMemory
    }

    /// The name for people.
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

    /// The name in JSON.
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

    /// Advice for people: sentences without a full stop.
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
