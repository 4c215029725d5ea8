//! [`detect`]: combines the information from KFD, the PCI buses and the kernel's log.

use std::collections::BTreeMap;
use std::fmt;

use crate::address::PciAddress;
use crate::chips::Chip;
use crate::diagnose::{HostState, asleep_for_good, diagnose};
use crate::hints::hints;
use crate::inventory::{Gpu, Inventory, Link, Partition, UnusableGpu, Xgmi};
use crate::kernel_log::KernelLog;
use crate::kmsg::read_kernel_log;
use crate::lockdown::Lockdown;
use crate::names::Names;
use crate::pci::{AMD, PciGpu};
use crate::probe::{self, DevKfd, KfdProbe};
use crate::reason::{Reason, ReasonKind};
use crate::sysfs::Sysfs;
use crate::target::Target;
use crate::topology::{Node, Topology};

/// The sources of information for [`detect`].
pub struct Sources {
    /// The kernel's sysfs or a copy of it.
    pub sysfs: Sysfs,
    /// Text of the kernel's log, in any form that [`KernelLog::parse`] reads; empty if there is none.
    pub kernel_log: String,
    /// The names of PCI devices.
    pub names: Names,
    /// Opens `/dev/kfd`; `None` for a copy of another machine's sysfs.
    pub kfd: Option<Box<dyn KfdProbe>>,
    /// Earlier problems; they become part of [`Inventory::notes`].
    pub notes: Vec<String>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("sysfs", &self.sysfs).field("notes", &self.notes).finish_non_exhaustive()
    }
}

impl Sources {
    /// The sources of this machine. If the kernel's log can't be read, that becomes a note; on a machine without any
    /// GPU neither the log nor the names are read.
    pub fn of_this_machine() -> Self {
        let sysfs = Sysfs::default();
        if PciGpu::read_all(&sysfs).is_empty() && Topology::read(&sysfs).gpus().next().is_none() {
            return Self { sysfs, kernel_log: String::new(), names: Names::default(), kfd: None, notes: Vec::new() };
        }
        let mut sources = Self::copy(sysfs, String::new());
        sources.kfd = Some(Box::new(DevKfd));
        match read_kernel_log() {
            Ok(log) => sources.kernel_log = log,
            Err(error) => sources.notes.push(format!(
                "the kernel's log can't be read ({error}), so reasons may be missing: run as root, or set \
                 kernel.dmesg_restrict=0"
            )),
        }
        sources
    }

    /// A copy of another machine's sysfs and kernel log.
    pub fn copy(sysfs: Sysfs, kernel_log: String) -> Self {
        Self { sysfs, kernel_log, names: Names::of_this_machine(), kfd: None, notes: Vec::new() }
    }
}

/// Finds all GPUs. Never fails: what can't be determined is left out or becomes a reason or a note.
pub fn detect(sources: &Sources) -> Inventory {
    let topology = Topology::read(&sources.sysfs);
    let on_bus = PciGpu::read_all(&sources.sysfs);
    let host = HostState::read(&sources.sysfs, &topology, KernelLog::parse(&sources.kernel_log));
    let mut inventory = Inventory { notes: sources.notes.clone(), ..Inventory::default() };
    let nodes: Vec<Placed<'_>> = topology.gpus().map(|node| Placed::new(node, &on_bus)).collect();
    for placed in &nodes {
        let asleep = placed.pci.and_then(|gpu| asleep_for_good(gpu, &host));
        match asleep.map_or_else(|| target(placed), Err) {
            Ok(target) => inventory.gpus.push(describe(placed, target, &nodes, &sources.names)),
            Err(reason) => inventory.unusable.push(unusable_node(placed, reason, &sources.names)),
        }
    }
    for gpu in on_bus.iter().filter(|gpu| !nodes.iter().any(|placed| placed.address == Some(gpu.address))) {
        inventory.unusable.push(UnusableGpu {
            name: sources.names.gpu(gpu),
            pci_address: Some(gpu.address),
            pci_id: Some(pci_id(gpu.vendor, gpu.device)),
            driver: gpu.driver.clone(),
            likely_target: if gpu.is_amd() { Chip::find(gpu.device).and_then(Chip::target) } else { None },
            reasons: diagnose(gpu, &host),
        });
    }
    inventory.unusable.sort_by_key(|gpu| gpu.pci_address);
    inventory.notes.extend(notes(&topology, &on_bus));
    if let Some(mode) = host.lockdown.filter(|_| on_bus.iter().any(PciGpu::is_amd)) {
        inventory.notes.push(format!(
            "the kernel is locked down ({mode}), as with Secure Boot: there is no {}; what needs amdgpu's files in \
             debugfs, such as umr or a reset through amdgpu_gpu_recover, needs Secure Boot off",
            Lockdown::TAKES_AWAY
        ));
    }
    if let Some(Err(error)) = sources.kfd.as_ref().map(|kfd| kfd.open()) {
        inventory.notes.extend(probe::explain(&error, !inventory.gpus.is_empty()));
    }
    inventory
}

fn notes(topology: &Topology, on_bus: &[PciGpu]) -> Vec<String> {
    let mut notes = Vec::new();
    if on_bus.is_empty() && topology.gpus().next().is_none() {
        notes.push("there is no GPU on the PCI buses of this machine".to_owned());
    }
    for node in &topology.nodes {
        if let Some(error) = &node.error {
            notes.push(format!("node {} of KFD's topology can't be read: {error}", node.index));
        } else if node.properties.damaged {
            notes.push(format!("some of what node {} of KFD's topology says is damaged and was left out", node.index));
        }
    }
    notes
}

/// A node of the topology with its PCI device.
struct Placed<'a> {
    node: &'a Node,
    pci: Option<&'a PciGpu>,
    address: Option<PciAddress>,
    /// The partition's number, if it is a partition.
    partition: u32,
}

impl<'a> Placed<'a> {
    /// Finds the node's PCI device. Partitions of a GPU have their number in bits 28 to 31 of the location, or added
    /// to the function: then no device on the bus has that address, but its first function is there.
    fn new(node: &'a Node, on_bus: &'a [PciGpu]) -> Self {
        let find = |address: PciAddress| on_bus.iter().find(|gpu| gpu.address == address);
        let stated = node.address();
        let exact = stated.and_then(find);
        let first = stated.map(PciAddress::first_function).and_then(find);
        let function = stated.map_or(0, |address| u32::from(address.function));
        let number = u32::try_from(node.partition()).unwrap_or(0);
        match (exact, first) {
            (Some(gpu), _) => Self { node, pci: Some(gpu), address: stated, partition: number },
            (None, Some(gpu)) => {
                Self { node, pci: Some(gpu), address: Some(gpu.address), partition: function.max(number) }
            }
            (None, None) => Self { node, pci: None, address: stated, partition: number },
        }
    }

    /// The chip's AMD device number.
    fn device(&self) -> Option<u16> {
        self.pci.map(|gpu| gpu.device).or_else(|| self.node.device_id())
    }

    fn chip(&self) -> Option<Chip> {
        Chip::find(self.device()?)
    }

    /// Whether both are parts of the same GPU.
    fn same_gpu(&self, other: &Self) -> bool {
        self.address.is_some() && self.address == other.address
    }

    /// An id that is unique, even if two nodes claim the same address.
    fn id(&self, all: &[Self]) -> String {
        let Some(address) = self.address else { return format!("node{}", self.node.index) };
        let mut id = address.to_string();
        if self.is_partition(all) {
            id = format!("{id}/{}", self.partition);
        }
        if all.iter().filter(|other| self.same_gpu(other) && self.partition == other.partition).count() > 1 {
            id = format!("{id}+node{}", self.node.index);
        }
        id
    }

    fn is_partition(&self, all: &[Self]) -> bool {
        self.partition > 0 || all.iter().any(|other| self.same_gpu(other) && self.partition != other.partition)
    }

    fn name(&self, names: &Names) -> String {
        if let Some(gpu) = self.pci {
            return names.gpu(gpu);
        }
        let by_number = self.device().and_then(|device| names.amd(device));
        let by_node = || self.node.name.as_ref().map(|name| format!("AMD {name}"));
        by_number.or_else(by_node).unwrap_or_else(|| "AMD GPU".to_owned())
    }
}

fn target(placed: &Placed<'_>) -> Result<Target, Reason> {
    let node = placed.node;
    if let Some(target) = node.target() {
        return Ok(target);
    }
    if let Some(error) = &node.error {
        return Err(Reason::new(
            ReasonKind::AccessDenied,
            format!("KFD has it, but what it says about it can't be read: {error}"),
            "run this outside of the container, or give the container /dev/kfd and /dev/dri/renderD*",
        ));
    }
    let stated = node.properties.get("gfx_target_version");
    if stated.is_none() && node.properties.damaged {
        return Err(Reason::new(
            ReasonKind::BrokenTopology,
            "what KFD says about it is damaged or was cut",
            "try again; if it stays so, it is not a copy of a real machine's topology, or a bug of the kernel",
        ));
    }
    if let (None, Some(target)) = (stated, placed.chip().and_then(Chip::target)) {
        return Ok(node.with_ecc(target));
    }
    let message = match stated {
        None => "this kernel is too old to tell its target, and its PCI device number is not known here".to_owned(),
        Some(number) => format!("KFD has it, but gives it no target (gfx_target_version is {number})"),
    };
    Err(Reason::new(ReasonKind::UnknownTarget, message, "use a newer kernel"))
}

fn describe(placed: &Placed<'_>, target: Target, all: &[Placed<'_>], names: &Names) -> Gpu {
    let (node, pci) = (placed.node, placed.pci);
    let partition = placed.is_partition(all).then(|| Partition {
        index: placed.partition,
        compute: pci.and_then(|gpu| gpu.partitioning.as_ref()).map(|(compute, _)| compute.clone()),
        memory: pci.and_then(|gpu| gpu.partitioning.as_ref()).and_then(|(_, memory)| memory.clone()),
        siblings: ids(all, |other| placed.same_gpu(other) && other.partition != placed.partition),
    });
    let firmware = pci.map(|gpu| gpu.firmware.clone()).filter(|firmware| !firmware.is_empty());
    let render_node = node.render_minor().map(|minor| format!("renderD{minor}"));
    let integrated = placed.chip().map_or_else(
        || node.properties.number("cpu_cores_count") > 0 || Chip::is_of_processors(target),
        |chip| chip.integrated,
    );
    let (memory, shared_memory) = memory(node, pci, integrated);
    Gpu {
        id: placed.id(all),
        target,
        name: placed.name(names),
        pci_address: placed.address,
        pci_id: pci.map(|gpu| pci_id(gpu.vendor, gpu.device)).or_else(|| Some(pci_id(AMD, node.device_id()?))),
        subsystem: pci.and_then(|gpu| gpu.subsystem).map(|(vendor, device)| pci_id(vendor, device)),
        integrated,
        memory,
        shared_memory,
        compute_units: node.compute_units(),
        render_node: render_node.or_else(|| pci?.render_nodes.first().cloned()).map(|name| format!("/dev/dri/{name}")),
        kfd_node: Some(node.index),
        numa_node: pci.and_then(|gpu| gpu.numa_node),
        unique_id: node.unique_id().map(|id| format!("{id:016x}")).or_else(|| pci?.unique_id.clone()),
        firmware: firmware.unwrap_or_else(|| kfd_firmware(node)),
        link: pci.and_then(|gpu| gpu.link.as_ref()).map(|link| Link {
            speed: link.speed.clone(),
            max_speed: link.max_speed.clone(),
            width: link.width,
            max_width: link.max_width,
        }),
        xgmi: xgmi(placed, all),
        partition,
        simulated: false,
        hints: hints(integrated, pci),
    }
}

/// Bytes of the GPU's own memory, and of system memory that it may use. The memory that KFD reports for an integrated
/// GPU can be system memory: the driver knows the GPU's own.
fn memory(node: &Node, pci: Option<&PciGpu>, integrated: bool) -> (u64, Option<u64>) {
    let of_driver = pci.and_then(|gpu| gpu.memory);
    let shared = pci.and_then(|gpu| gpu.shared_memory);
    match of_driver.filter(|own| integrated && *own < node.memory) {
        Some(own) => (own, shared.or(Some(node.memory))),
        None if node.memory > 0 => (node.memory, shared),
        None => (of_driver.unwrap_or(0), shared),
    }
}

/// A hive is recognized by its number, or by XGMI links to other GPUs.
fn xgmi(placed: &Placed<'_>, all: &[Placed<'_>]) -> Option<Xgmi> {
    let hive = |placed: &Placed<'_>| placed.node.hive().or_else(|| placed.pci?.hive);
    let ours = hive(placed);
    let linked = |other: &Placed<'_>| placed.node.links.iter().any(|link| link.xgmi && link.to == other.node.index);
    let siblings = ids(all, |other| {
        other.node.index != placed.node.index
            && !placed.same_gpu(other)
            && (ours.is_some() && ours == hive(other) || linked(other))
    });
    // A single GPU with a hive number has no usable sibling.
    let hexadecimal = |number: u64| format!("{number:016x}");
    (!siblings.is_empty()).then(|| Xgmi {
        hive: ours.map(hexadecimal),
        device: placed.pci.and_then(|gpu| gpu.xgmi_id).map(hexadecimal),
        siblings,
    })
}

fn ids(all: &[Placed<'_>], which: impl Fn(&Placed<'_>) -> bool) -> Vec<String> {
    all.iter().filter(|placed| which(placed)).map(|placed| placed.id(all)).collect()
}

/// The two firmware versions that KFD reports.
fn kfd_firmware(node: &Node) -> BTreeMap<String, String> {
    [("mec", "fw_version"), ("sdma", "sdma_fw_version")]
        .into_iter()
        .filter_map(|(name, property)| Some((name, node.properties.get(property).filter(|version| *version > 0)?)))
        .map(|(name, version)| (name.to_owned(), format!("0x{version:08x}")))
        .collect()
}

fn unusable_node(placed: &Placed<'_>, reason: Reason, names: &Names) -> UnusableGpu {
    UnusableGpu {
        name: placed.name(names),
        pci_address: placed.address,
        pci_id: placed.device().map(|device| pci_id(AMD, device)),
        driver: placed.pci.and_then(|gpu| gpu.driver.clone()),
        likely_target: placed.chip().and_then(Chip::target),
        reasons: vec![reason],
    }
}

fn pci_id(vendor: u16, device: u16) -> String {
    format!("{vendor:04x}:{device:04x}")
}
