//! [`CatalogueEntry`]: a kernel message in the catalogue.

use crate::fault_kind::FaultKind;

/// A kernel message and its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatalogueEntry {
    /// The part of the kernel that prints it.
    pub speaker: Speaker,
    /// Its constant words, and placeholders: `{n}` a number, `{n+}` one that is not 0, `{w}` a word, `{}` any text,
    /// `{mca}` a machine check status of an error that was not corrected.
    pub words: &'static str,
    /// Its meaning.
    pub meaning: Meaning,
    /// The first kernel version with this wording; `4.x` means all before 5.0, and `6.13-7.2` one of these.
    pub since: &'static str,
    /// The source file of the kernel with the message, below `drivers/gpu/drm/amd` if no directory is given.
    pub source: &'static str,
}

/// The part of the kernel that prints a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Speaker {
    /// amdgpu, and the DRM core for it.
    Driver,
    /// KFD, the driver's compute part.
    Kfd,
    /// amdgpu's power management.
    Power,
    /// amdgpu's part for hardware errors of memory and links (RAS).
    Ras,
    /// The PCI core, about a GPU or a port above it.
    Pci,
    /// PCIe Advanced Error Reporting.
    Aer,
    /// PCIe Downstream Port Containment.
    Dpc,
    /// PCIe hot plug.
    Hotplug,
    /// The IOMMU.
    Iommu,
    /// The firmware loader.
    Firmware,
    /// The watchdogs for locked-up processors and blocked tasks, and RCU.
    Watchdog,
    /// The kernel's core: oopses and checks of its own data.
    Kernel,
    /// Memory management.
    Memory,
}

impl Speaker {
    /// All speakers.
    pub const ALL: [Self; 13] = [
        Self::Driver,
        Self::Kfd,
        Self::Power,
        Self::Ras,
        Self::Pci,
        Self::Aer,
        Self::Dpc,
        Self::Hotplug,
        Self::Iommu,
        Self::Firmware,
        Self::Watchdog,
        Self::Kernel,
        Self::Memory,
    ];

    /// The name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Driver => "amdgpu",
            Self::Kfd => "KFD",
            Self::Power => "power management",
            Self::Ras => "RAS",
            Self::Pci => "PCI core",
            Self::Aer => "AER",
            Self::Dpc => "DPC",
            Self::Hotplug => "pciehp",
            Self::Iommu => "IOMMU",
            Self::Firmware => "firmware loader",
            Self::Watchdog => "watchdog",
            Self::Kernel => "kernel core",
            Self::Memory => "memory management",
        }
    }

    /// Describes how the message's device is determined.
    pub fn device(self) -> &'static str {
        match self {
            Self::Driver | Self::Kfd | Self::Power | Self::Ras => {
                "named in the line, or the one the driver spoke of last"
            }
            Self::Pci => "named in the line, or the GPU below the port that is named",
            Self::Aer | Self::Dpc | Self::Hotplug => "the GPU below the port that is named",
            Self::Iommu => "named in the line; none, so the whole machine, if the IOMMU itself does not answer",
            Self::Firmware => "named in the line",
            Self::Watchdog | Self::Kernel | Self::Memory => "none: the whole machine",
        }
    }

    /// Whether it is the GPU driver, or one of its parts.
    pub(crate) fn is_driver(self) -> bool {
        matches!(self, Self::Driver | Self::Kfd | Self::Power | Self::Ras)
    }

    /// Whether its messages may be about any device on the PCI buses.
    pub(crate) fn is_bus(self) -> bool {
        matches!(self, Self::Pci | Self::Aer | Self::Dpc | Self::Hotplug | Self::Iommu | Self::Firmware)
    }

    /// Whether its messages may begin without a device.
    pub(crate) fn is_kernel(self) -> bool {
        matches!(self, Self::Iommu | Self::Firmware | Self::Watchdog | Self::Kernel | Self::Memory)
    }
}

/// The meaning of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// A fault during work.
    Fault(FaultKind, Scope),
    /// A fault if the message occurs this many times for one device.
    Repeated(FaultKind, u32),
    /// Details of an earlier fault of this kind; the fault itself if there was none.
    Detail(FaultKind),
    /// A fault if the following stack trace leads through the GPU's driver.
    IfInDriver(FaultKind),
    /// The reason why a GPU did not start.
    Start(Start),
    /// Looks like a fault but is not one; the text says why.
    Harmless(&'static str),
}

/// The scope of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// It ends the process that caused it, and does not affect the GPU.
    Process,
    /// The GPU, its driver or the machine may no longer work correctly.
    Machine,
}

/// The reason why a GPU did not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// A firmware file could not be loaded.
    FirmwareMissing,
    /// The device did not wake up.
    Asleep,
    /// The driver gave up; the error number is the last placeholder.
    ProbeFailed,
    /// A part of the GPU did not start; the placeholders are its name and the error.
    BlockFailed,
    /// No video BIOS was found.
    NoVideoBios,
    /// No addresses were left for the GPU's memory.
    NoAddressSpace,
    /// KFD does not know the chip.
    UnsupportedByKfd,
    /// KFD left the device out because it lacks PCIe atomics.
    NoAtomics,
    /// Display drivers are switched off.
    ModesettingOff,
    /// A module without a valid signature was refused.
    ModuleRefused,
    /// Too many pages of the GPU's memory are bad.
    BadMemory,
    /// The table of the GPU's parts cannot be read.
    InvalidDiscovery,
    /// The security processor did not take the firmware.
    PspRefused,
    /// The program in the video BIOS did not end.
    AtomBiosStuck,
    /// The chip is older than those that this driver supports.
    TooOld,
}

impl Start {
    /// The name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::FirmwareMissing => "firmware missing",
            Self::Asleep => "does not wake up",
            Self::ProbeFailed => "driver gave up",
            Self::BlockFailed => "part of the GPU failed",
            Self::NoVideoBios => "no video BIOS",
            Self::NoAddressSpace => "no address space",
            Self::UnsupportedByKfd => "not supported by KFD",
            Self::NoAtomics => "no PCIe atomics",
            Self::ModesettingOff => "modesetting off",
            Self::ModuleRefused => "module refused",
            Self::BadMemory => "bad memory pages",
            Self::InvalidDiscovery => "IP discovery unreadable",
            Self::PspRefused => "firmware refused by the PSP",
            Self::AtomBiosStuck => "video BIOS stuck",
            Self::TooOld => "chip too old",
        }
    }
}
