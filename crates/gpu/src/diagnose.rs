//! Diagnoses why a GPU on the bus is not in KFD's topology.

use crate::address::PciAddress;
use crate::chips::Chip;
use crate::kernel_log::{KernelEvent, KernelLog, LogEntry};
use crate::lockdown::Lockdown;
use crate::pci::PciGpu;
use crate::reason::{Reason, ReasonKind};
use crate::sysfs::Sysfs;
use crate::topology::Topology;

/// The state of the host on which the reasons depend.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostState {
    /// Whether `/sys/module/amdgpu` exists.
    pub amdgpu_loaded: bool,
    /// Whether the topology exists.
    pub kfd_present: bool,
    /// Whether nodes of the topology could not be read.
    pub nodes_denied: bool,
    /// GPUs that are in the topology.
    pub working: Vec<PciAddress>,
    /// Lockdown mode of the kernel.
    pub lockdown: Option<Lockdown>,
    /// The events in the kernel's log.
    pub log: KernelLog,
}

impl HostState {
    /// Reads the state from this sysfs tree and log.
    pub fn read(sysfs: &Sysfs, topology: &Topology, log: KernelLog) -> Self {
        Self {
            amdgpu_loaded: sysfs.has("module/amdgpu"),
            kfd_present: topology.present,
            nodes_denied: topology.nodes.iter().any(|node| node.error.is_some()),
            working: topology.gpus().filter_map(|node| Some(node.address()?.first_function())).collect(),
            lockdown: Lockdown::read(sysfs),
            log,
        }
    }

    fn seen(&self, mut reason: Reason, is_it: impl Fn(&LogEntry) -> bool) -> Option<Reason> {
        let before = reason.evidence.len();
        for entry in self.log.entries.iter().filter(|entry| is_it(entry)) {
            reason = reason.seen_in(&entry.line);
        }
        (reason.evidence.len() > before).then_some(reason)
    }
}

/// The reasons why this GPU has no node in the topology, the most helpful first; never empty.
pub fn diagnose(gpu: &PciGpu, host: &HostState) -> Vec<Reason> {
    if !gpu.is_amd() {
        return vec![Reason::new(
            ReasonKind::OtherVendor,
            "it is not an AMD GPU, and ROCm runs on no others",
            "nothing is wrong with it; to run GPU tests here, add an AMD GPU or pass one through to this virtual machine",
        )];
    }
    let mut reasons = Vec::new();
    reasons.extend(power(gpu, host));
    match gpu.driver.as_deref() {
        None => reasons.extend(without_driver(gpu, host)),
        Some("amdgpu") => reasons.extend(without_node(gpu, host)),
        Some(driver) => reasons.push(other_driver(driver)),
    }
    reasons
}

fn power(gpu: &PciGpu, host: &HostState) -> Option<Reason> {
    let state = gpu.power_state.as_deref().filter(|state| state.starts_with("D3")).unwrap_or("D3cold");
    let reason = Reason::new(
        ReasonKind::StuckInD3cold,
        format!("it is switched off (power state {state}) and does not wake up"),
        "switch the machine off at the mains, wait half a minute and start it again; if it comes back, add \
         pcie_port_pm=off or amdgpu.runpm=0 to the kernel command line, or update the firmware of the mainboard",
    );
    let about = |entry: &LogEntry| is_asleep(entry, gpu);
    // A GPU that amdgpu has sent to sleep is in D3cold too, but then it has a node.
    let cold = gpu.power_state.as_deref() == Some("D3cold");
    host.seen(reason.clone(), about).or(cold.then_some(reason))
}

fn is_asleep(entry: &LogEntry, gpu: &PciGpu) -> bool {
    entry.event == KernelEvent::StuckInD3cold && entry.address == Some(gpu.address)
}

/// The reason why a GPU in the topology can't be used: the kernel has tried to wake it up and failed, and it still
/// sleeps.
pub fn asleep_for_good(gpu: &PciGpu, host: &HostState) -> Option<Reason> {
    let sleeps = gpu.power_state.as_deref().is_some_and(|state| state != "D0");
    let no_link = gpu.link.as_ref().is_some_and(|link| link.speed.starts_with("Unknown") || link.width >= 63);
    let told = host.log.entries.iter().any(|entry| is_asleep(entry, gpu));
    if told && (sleeps || no_link) { power(gpu, host) } else { None }
}

fn other_driver(driver: &str) -> Reason {
    let (message, remedy) = match driver {
        "vfio-pci" | "pci-stub" | "xen-pciback" => (
            format!("the driver {driver} holds it for a virtual machine"),
            "run rocbed in that virtual machine, or take the device from the driver: remove vfio-pci.ids= from the \
             kernel command line and restart"
                .to_owned(),
        ),
        "radeon" => (
            "the driver radeon has it, which is for chips that are too old for ROCm".to_owned(),
            "use another GPU; only for Hawaii (R9 290/390) radeon.cik_support=0 amdgpu.cik_support=1 \
             amdgpu.exp_hw_support=1 on the kernel command line may help"
                .to_owned(),
        ),
        _ => (
            format!("the driver {driver} has it, not amdgpu"),
            format!("keep {driver} from loading: module_blacklist={driver} on the kernel command line"),
        ),
    };
    Reason::new(ReasonKind::OtherDriver, message, remedy)
}

fn without_driver(gpu: &PciGpu, host: &HostState) -> Vec<Reason> {
    let mut reasons = Vec::new();
    reasons.extend(host.seen(
        Reason::new(
            ReasonKind::ModesettingOff,
            "the kernel was told not to start display drivers, and amdgpu is one",
            "remove nomodeset and amdgpu.modeset=0 from the kernel command line and restart",
        ),
        |entry| entry.event == KernelEvent::ModesettingOff,
    ));
    if !host.amdgpu_loaded {
        let mode = host.lockdown.map_or(String::new(), |mode| format!(" (lockdown: {mode})"));
        reasons.extend(host.seen(
            Reason::new(
                ReasonKind::Lockdown,
                format!("the kernel refuses modules without a valid signature{mode}, and amdgpu is not loaded"),
                "use the distribution's own signed kernel and modules, enrol the key that your modules are signed \
                 with, or switch off Secure Boot in the firmware",
            ),
            |entry| entry.event == KernelEvent::ModuleRefused,
        ));
    }
    reasons.extend(missing_firmware(gpu, host));
    let mine = |entry: &LogEntry| entry.address == Some(gpu.address);
    reasons.extend(host.seen(
        Reason::new(
            ReasonKind::NoVideoBios,
            "amdgpu found no video BIOS of it",
            "in a virtual machine, give the device a copy of its BIOS (QEMU: romfile=); on a real one, put the card \
             into the first slot or update the firmware of the mainboard",
        ),
        |entry| mine(entry) && entry.event == KernelEvent::NoVideoBios,
    ));
    let failures: Vec<_> = host.log.about(gpu.address).filter(|entry| probe_failed(entry)).collect();
    if !failures.is_empty() {
        reasons.extend(host.seen(
            Reason::new(
                ReasonKind::NoAddressSpace,
                "no addresses were left for its memory",
                "switch on \"Above 4G decoding\" and \"Resizable BAR\" in the firmware of the machine; in a virtual \
                 machine use UEFI and a larger 64-bit PCI window",
            ),
            |entry| mine(entry) && entry.event == KernelEvent::NoAddressSpace,
        ));
    }
    let number = error_number(&failures);
    let causes: Vec<Reason> =
        CAUSES.iter().filter_map(|(kind, event)| cause(*kind, event, number, gpu, host)).collect();
    if !causes.is_empty() && number.is_some_and(|number| number != -2) {
        // With a missing file it would have ended with error -2.
        reasons.retain(|reason| reason.kind != ReasonKind::MissingFirmware);
    }
    reasons.extend(causes);
    if reasons.is_empty() && !failures.is_empty() {
        reasons.push(probe_failure(&failures, number));
    }
    if reasons.is_empty()
        && let Some(chip) = Chip::find(gpu.device).filter(|chip| chip.is_too_old())
    {
        reasons.push(too_old(chip));
    }
    // Sleeping explains it already.
    if reasons.is_empty() && gpu.power_state.as_deref() != Some("D3cold") {
        reasons.push(if host.amdgpu_loaded {
            let chip = Chip::find(gpu.device).map_or("this chip", |chip| chip.name);
            Reason::new(
                ReasonKind::NoDriver,
                "no driver has it, although amdgpu is loaded",
                format!(
                    "use a newer kernel: this one's amdgpu may not know {chip}; else look for {} in the kernel's log",
                    gpu.address
                ),
            )
        } else {
            Reason::new(
                ReasonKind::NoDriver,
                "no driver has it, and amdgpu is not loaded",
                "load it (modprobe amdgpu); if there is no such module, use a kernel that has it (Debian's cloud \
                 kernels may not), and remove it from module_blacklist= if it stands there",
            )
        });
    }
    reasons
}

/// Causes of a failed start that have a remedy of their own.
const CAUSES: [(ReasonKind, KernelEvent); 5] = [
    (ReasonKind::BadMemory, KernelEvent::BadMemory),
    (ReasonKind::InvalidDiscovery, KernelEvent::InvalidDiscovery),
    (ReasonKind::PspRefused, KernelEvent::PspRefused),
    (ReasonKind::AtomBiosStuck, KernelEvent::AtomBiosStuck),
    (ReasonKind::TooOld, KernelEvent::TooOld),
];

fn cause(kind: ReasonKind, event: &KernelEvent, number: Option<i32>, gpu: &PciGpu, host: &HostState) -> Option<Reason> {
    let (what, remedy) = event.explain();
    let message = match number {
        Some(number) => format!("amdgpu could not start it (error {number}): {what}"),
        None => what,
    };
    let mine = |entry: &LogEntry| entry.address == Some(gpu.address);
    let seen = host.seen(Reason::new(kind, message, remedy), |entry| mine(entry) && entry.event == *event)?;
    Some(with_last_words(seen, host.log.about(gpu.address).filter(|entry| probe_failed(entry))))
}

/// Adds the driver's last messages before it gave up.
fn with_last_words<'a>(reason: Reason, failures: impl Iterator<Item = &'a LogEntry>) -> Reason {
    failures.fold(reason, |reason, entry| {
        entry.before.iter().chain([&entry.line]).fold(reason, |reason, line| reason.seen_in(line))
    })
}

/// The most specific error number: that of the part which failed, else that of the whole start.
fn error_number(failures: &[&LogEntry]) -> Option<i32> {
    let of_part = failures.iter().find_map(|entry| match entry.event {
        KernelEvent::BlockFailed { error, .. } => error,
        _ => None,
    });
    of_part.or_else(|| {
        failures.iter().rev().find_map(|entry| match entry.event {
            KernelEvent::ProbeFailed(number) => number,
            _ => None,
        })
    })
}

fn too_old(chip: Chip) -> Reason {
    Reason::new(
        ReasonKind::TooOld,
        format!("the chip ({}) is older than what ROCm runs on", chip.name),
        "use another GPU: ROCm runs on none before Polaris and Vega, apart from a few that old versions supported",
    )
}

/// Endings of the names of firmware files that the driver can do without.
const OPTIONAL_FIRMWARE: [&str; 11] = [
    "_cap.bin",
    "_ta.bin",
    "ip_discovery.bin",
    "_dmcu.bin",
    "_mec2.bin",
    "_mes_2.bin",
    "_mes1.bin",
    "_uni_mes.bin",
    "_kicker.bin",
    "_isp.bin",
    "_wks.bin",
];

fn missing_firmware(gpu: &PciGpu, host: &HostState) -> Option<Reason> {
    let mut files: Vec<&str> = host
        .log
        .about(gpu.address)
        .filter_map(|entry| match &entry.event {
            KernelEvent::FirmwareMissing(file) => Some(file.as_str()),
            _ => None,
        })
        .filter(|file| !is_optional(file))
        .collect();
    files.sort_unstable();
    files.dedup();
    let list = files.join(", ");
    let message = match files.as_slice() {
        [_] => format!("its firmware {list} is missing"),
        _ => format!("its firmware is missing: {list}"),
    };
    let remedy = "install the package firmware-amd-graphics (section non-free-firmware), or a newer version of it if \
                  it is there; an image has to be built again with it, because amdgpu reads it when it starts";
    host.seen(Reason::new(ReasonKind::MissingFirmware, message, remedy), |entry| {
        let needed = matches!(&entry.event, KernelEvent::FirmwareMissing(file) if !is_optional(file));
        entry.address == Some(gpu.address) && needed
    })
}

fn is_optional(file: &str) -> bool {
    OPTIONAL_FIRMWARE.iter().any(|end| file.ends_with(end))
}

fn probe_failed(entry: &LogEntry) -> bool {
    entry.event.is_end_of_start()
}

fn probe_failure(failures: &[&LogEntry], number: Option<i32>) -> Reason {
    let part = failures.iter().find_map(|entry| match &entry.event {
        KernelEvent::BlockFailed { block, .. } => Some(block.as_str()),
        _ => None,
    });
    let (why, remedy) = match number {
        Some(-2) => ("a file was missing", "install or update the package firmware-amd-graphics"),
        Some(-12) => (
            "there was no room for its memory",
            "switch on \"Above 4G decoding\" in the firmware of the machine; in a virtual machine use UEFI and a \
             larger 64-bit PCI window",
        ),
        Some(-62 | -110) => (
            "it did not answer in time",
            "switch the machine off at the mains and start it again; if it comes back, try another slot, power cable \
             or kernel",
        ),
        Some(-19 | -95) => ("this kernel does not support it", "use a newer kernel and newer firmware-amd-graphics"),
        _ => (
            "the kernel's log says more",
            "look for amdgpu in the kernel's log; a newer kernel, newer firmware-amd-graphics and switching the \
             machine off at the mains are worth a try",
        ),
    };
    let number = number.map_or(String::new(), |number| format!(" (error {number})"));
    let part = part.map_or(String::new(), |part| format!(", its part {part} failed"));
    let reason =
        Reason::new(ReasonKind::ProbeFailed, format!("amdgpu could not start it{number}{part}: {why}"), remedy);
    with_last_words(reason, failures.iter().copied())
}

fn without_node(gpu: &PciGpu, host: &HostState) -> Vec<Reason> {
    if !host.kfd_present {
        return vec![Reason::new(
            ReasonKind::NoKfd,
            "amdgpu runs it, but this kernel was built without KFD, its interface for computing",
            "use a kernel with CONFIG_HSA_AMD=y; Debian's have it on amd64 and arm64",
        )];
    }
    let mut reasons = Vec::new();
    // The message has no address, and devices may start at the same time: a message that seems to be about a GPU that
    // KFD has is about another one.
    let mine = |entry: &&LogEntry| {
        entry.address.is_none_or(|address| address == gpu.address || host.working.contains(&address))
    };
    for entry in host.log.entries.iter().filter(mine) {
        if let KernelEvent::UnsupportedByKfd(chip) = &entry.event {
            reasons.push(unsupported(chip, gpu).seen_in(&entry.line));
            break;
        }
    }
    reasons.extend(atomics(gpu, host));
    if !reasons.is_empty() {
        return reasons;
    }
    vec![if host.nodes_denied {
        Reason::new(
            ReasonKind::AccessDenied,
            "KFD's topology has nodes that this process may not read",
            "run it outside of the container or give the container the GPU's devices (/dev/kfd, /dev/dri/renderD*)",
        )
    } else {
        let others = if host.working.is_empty() { "has only CPUs" } else { "has other GPUs, but not this one" };
        Reason::new(
            ReasonKind::NotInTopology,
            format!("amdgpu runs it, but KFD's topology {others}"),
            "look for kfd in the kernel's log (dmesg); KFD does without chips that are older than Polaris or newer \
             than the kernel",
        )
    }]
}

fn unsupported(chip: &str, gpu: &PciGpu) -> Reason {
    let chip = chip.strip_suffix(" VF").unwrap_or(chip).trim();
    let known = Chip::find(gpu.device);
    if let Some(old) = known.filter(|chip| chip.is_too_old()) {
        return too_old(old);
    }
    Reason::new(
        ReasonKind::UnsupportedByKfd,
        format!("KFD, the kernel's interface for computing, does not support this chip ({chip})"),
        "use a newer kernel if the chip is new; chips before Polaris and some of the first APUs can't be used at all",
    )
}

fn atomics(gpu: &PciGpu, host: &HostState) -> Option<Reason> {
    let skipped = |entry: &LogEntry| match entry.event {
        // The message has no address. Of several of the kind, this one is not in the topology.
        KernelEvent::NoAtomics { ids, firmware } if ids == (gpu.vendor, gpu.device) => Some(firmware),
        _ => None,
    };
    let needed = host.log.entries.iter().rev().find_map(skipped);
    let remedy = match needed {
        Some(Some((there, needed))) if needed > 0 => format!(
            "update firmware-amd-graphics: with firmware (MEC) {needed} or newer KFD does without atomics, and this is \
             {there}; or put the card into a slot that is connected to the processor and not to the chipset"
        ),
        _ => "put the card into a slot that is connected to the processor and not to the chipset, or use a mainboard \
              whose slots have PCIe 3.0 with atomics"
            .to_owned(),
    };
    let reason = |message: &str| Reason::new(ReasonKind::NoPcieAtomics, message, remedy.clone());
    let seen = reason("KFD left it out, because the way to it has no PCIe atomics");
    host.seen(seen, |entry| skipped(entry).is_some()).or_else(|| {
        (gpu.atomics == Some(false))
            .then(|| reason("KFD has probably left it out, because PCIe atomics are off for it"))
    })
}

#[cfg(test)]
#[path = "diagnose_tests.rs"]
mod tests;
