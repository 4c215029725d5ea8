//! What the kernel's log says while GPUs work: faults, hangs and resets.
//!
//! As with [`crate::kernel_log`], messages are no interface: each is known by a few constant words, the same ones in
//! all kernels that the image may have, and what is not known says nothing.

use crate::address::PciAddress;
use crate::kernel_log::message;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// A command did not end: `ring gfx_0.0.0 timeout`, a hung queue.
    Hang,
    /// The GPU was reset, or it was tried.
    Reset,
    /// The GPU wanted memory that it may not have: a page fault, a VM protection fault.
    PageFault,
    /// Its memory or its connections are damaged: RAS, poison, uncorrectable errors.
    Hardware,
    /// It does not answer any more: gone from the bus, or its firmware is.
    Lost,
    /// The kernel itself went wrong (an oops): whatever it had locked stays so.
    Kernel,
    /// The machine's memory was used up and a process was killed: no fault of the GPU's.
    OutOfMemory,
}

impl FaultKind {
    /// Whether it says that the GPU, or its driver, is not as it was.
    pub fn is_of_gpu(self) -> bool {
        self != Self::OutOfMemory
    }

    /// Whether it ends the process that did it and leaves the GPU as it was: the test's own doing.
    pub fn is_contained(self) -> bool {
        matches!(self, Self::PageFault | Self::OutOfMemory)
    }

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hang => "hang",
            Self::Reset => "reset",
            Self::PageFault => "page fault",
            Self::Hardware => "hardware error",
            Self::Lost => "GPU lost",
            Self::Kernel => "kernel bug",
            Self::OutOfMemory => "out of memory",
        }
    }
}

/// A line of the log that tells of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What went wrong.
    pub kind: FaultKind,
    /// The device that the line names.
    pub address: Option<PciAddress>,
    /// The message, without time and priority, and without what a terminal must not be given.
    pub line: String,
}

/// Words that the driver's messages of a kind have; a line of another driver's that has them too does not count.
const OF_DRIVER: [(FaultKind, &[&str]); 5] = [
    (FaultKind::Reset, &["GPU reset", "GPU Recovery", "MODE1 reset", "MODE2 reset", "BACO reset", "GPU mode1 reset"]),
    (
        FaultKind::Hang,
        &["timeout, signaled seq", "timeout, but soft recovered", "is hung", "GPU hang", "HIQ is hanging"],
    ),
    (FaultKind::PageFault, &["page fault", "PROTECTION_FAULT", "VM fault", "no-retry page"]),
    (
        FaultKind::Hardware,
        &["uncorrectable", "poison", "RAS controller interrupt", "fatal error", "bad page threshold"],
    ),
    (FaultKind::Lost, &["device lost", "lost from bus", "SMU is in hanged state", "failed to halt", "GPU is dead"]),
];

/// How the kernel begins to tell of a bug of its own; which driver's it was comes lines later, if at all. Programs that
/// did something similar stand behind `traps:` or their name.
const OF_KERNEL: [&str; 6] = [
    "BUG: kernel NULL pointer dereference",
    "BUG: unable to handle page fault",
    "BUG: unable to handle kernel",
    "kernel BUG at ",
    "Oops: ",
    "general protection fault, ",
];

/// What a line of the log says, in the form of `/dev/kmsg`, dmesg(1) or `journalctl -k`; `None` for all that is usual.
pub fn fault(line: &str) -> Option<Fault> {
    let line = message(line);
    let kind = kind(line)?;
    let text = line.chars().filter(|char| !char.is_control()).collect();
    Some(Fault { kind, address: PciAddress::find(line), line: text })
}

fn kind(line: &str) -> Option<FaultKind> {
    if line.starts_with("Out of memory: Killed process") || line.contains("invoked oom-killer") {
        return Some(FaultKind::OutOfMemory);
    }
    if OF_KERNEL.iter().any(|start| line.starts_with(start)) {
        return Some(FaultKind::Kernel);
    }
    let of_driver = ["amdgpu", "[drm", "kfd"].iter().any(|name| line.contains(name));
    if !of_driver || is_announcement(line) {
        return None;
    }
    if line.contains("ring ") && line.contains(" timeout") {
        return Some(FaultKind::Hang);
    }
    let known = OF_DRIVER.iter().find(|(_, words)| words.iter().any(|words| line.contains(words)));
    known.map(|(kind, _)| *kind)
}

/// What the driver says about faults to come when it starts, on a healthy machine.
fn is_announcement(line: &str) -> bool {
    let harmless = ["RAS: optional", "ras ta ucode is not available", "page fault is enabled", "reset method", "Using"];
    harmless.iter().any(|words| line.contains(words)) || line.contains("poison") && line.contains("mode")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn faults_are_known_by_their_words() {
        let table = [
            (
                "[drm:amdgpu_job_timedout [amdgpu]] *ERROR* ring gfx_0.0.0 timeout, signaled seq=14, emitted seq=16",
                FaultKind::Hang,
            ),
            ("amdgpu 0000:03:00.0: amdgpu: ring comp_1.0.0 timeout, signaled seq=1, emitted seq=3", FaultKind::Hang),
            ("amdgpu 0000:03:00.0: amdgpu: GPU reset begin!", FaultKind::Reset),
            ("amdgpu 0000:03:00.0: amdgpu: MODE1 reset", FaultKind::Reset),
            (
                "amdgpu 0000:03:00.0: amdgpu: [gfxhub] page fault (src_id:0 ring:24 vmid:8 pasid:32770)",
                FaultKind::PageFault,
            ),
            ("amdgpu 0000:03:00.0: amdgpu:   VM_L2_PROTECTION_FAULT_STATUS:0x00801031", FaultKind::PageFault),
            (
                "amdgpu 0000:03:00.0: amdgpu: uncorrectable hardware error(ERREVENT_ATHUB_INTERRUPT) detected!",
                FaultKind::Hardware,
            ),
            ("amdgpu: HIQ is hanging", FaultKind::Hang),
            ("BUG: kernel NULL pointer dereference, address: 0000000000000008", FaultKind::Kernel),
            ("Oops: Oops: 0000 [#1] SMP NOPTI", FaultKind::Kernel),
            (
                "general protection fault, probably for non-canonical address 0xdead000000000122: 0000 [#1]",
                FaultKind::Kernel,
            ),
            ("kernel BUG at drivers/gpu/drm/ttm/ttm_bo.c:205!", FaultKind::Kernel),
            ("Out of memory: Killed process 812 (rocblas-test) total-vm:9000kB", FaultKind::OutOfMemory),
            ("cc1plus invoked oom-killer: gfp_mask=0x140cca", FaultKind::OutOfMemory),
        ];
        for (line, kind) in table {
            let found = fault(line).unwrap_or_else(|| panic!("nothing: {line}"));
            assert_eq!(found.kind, kind, "{line}");
            assert_eq!(fault(&format!("3,1207,98765432,-;{line}")).map(|fault| fault.line), Some(line.to_owned()));
        }
    }

    #[test]
    fn the_device_is_named() {
        let found = fault("[  98.7] amdgpu 0000:03:00.0: amdgpu: GPU reset begin!").unwrap();
        assert_eq!(found.address.map(|address| address.to_string()).as_deref(), Some("0000:03:00.0"));
        assert!(found.kind.is_of_gpu() && !FaultKind::OutOfMemory.is_of_gpu());
    }

    #[test]
    fn what_is_usual_says_nothing() {
        for line in [
            "amdgpu 0000:03:00.0: amdgpu: RAS: optional ras ta ucode is not available",
            "amdgpu 0000:03:00.0: amdgpu: reset method: MODE1 reset",
            "amdgpu 0000:03:00.0: amdgpu: ring gfx_0.0.0 uses VM inv eng 0 on hub 0",
            "usb 1-1: reset high-speed USB device number 2 using xhci_hcd",
            "traps: rocfft[12] general protection fault ip:7f sp:7f error:0",
            "iwlwifi: page fault",
            "",
        ] {
            assert_eq!(fault(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read(line: String) {
            let _ = fault(&line);
        }
    }
}
