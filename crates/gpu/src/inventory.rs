//! [`Inventory`]: the GPUs of a machine. Its JSON has these field names in kebab-case; they are kept stable, fields
//! may be added. What a kernel or a GPU does not tell is left out.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address::PciAddress;
use crate::reason::Reason;
use crate::target::Target;

/// All GPUs of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Inventory {
    /// Those that ROCm can use, in ROCm's order (that of KFD's nodes).
    pub gpus: Vec<Gpu>,
    /// The others, by PCI address.
    pub unusable: Vec<UnusableGpu>,
    /// Whether the GPUs are made up: nothing that is said about them says anything about real ones.
    pub simulated: bool,
    /// What else whoever has the machine should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Inventory {
    /// The GPUs that run code for a target.
    pub fn matching(&self, wanted: Target) -> impl Iterator<Item = &Gpu> {
        self.gpus.iter().filter(move |gpu| gpu.target.satisfies(&wanted))
    }
}

/// A GPU, or a partition of one, that ROCm can use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Gpu {
    /// Tells it from the others: its PCI address, with `/` and the number of the partition after it if it is one;
    /// `simulated-0` and so on for simulated ones.
    pub id: String,
    /// What code for it is compiled for.
    pub target: Target,
    /// What people call it.
    pub name: String,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci_address: Option<PciAddress>,
    /// PCI vendor and device: `1002:73bf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci_id: Option<String>,
    /// PCI vendor and device of the card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subsystem: Option<String>,
    /// Whether it is part of a processor.
    pub integrated: bool,
    /// Bytes of its own memory.
    pub memory: u64,
    /// Bytes of the system's memory that it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_memory: Option<u64>,
    /// Compute units.
    pub compute_units: u32,
    /// Device file: `/dev/dri/renderD128`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub render_node: Option<String>,
    /// Number of the node in KFD's topology.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kfd_node: Option<u32>,
    /// Number of the NUMA node that it is connected to: of processors and memory that are near.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numa_node: Option<u32>,
    /// Serial number of the chip, 16 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique_id: Option<String>,
    /// Versions of its firmware, as the kernel writes them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub firmware: BTreeMap<String, String>,
    /// The PCIe link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
    /// The XGMI hive that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xgmi: Option<Xgmi>,
    /// Which partition it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
    /// Whether it is made up.
    pub simulated: bool,
    /// What is not as it should be, though it can be used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

/// A PCIe link as it is and as the GPU could have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Link {
    /// `16.0 GT/s PCIe`; less while the GPU has nothing to do.
    pub speed: String,
    /// What the GPU could do.
    pub max_speed: String,
    /// Lanes in use.
    pub width: u8,
    /// Lanes of the GPU.
    pub max_width: u8,
}

/// GPUs connected by XGMI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Xgmi {
    /// The hive, 16 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hive: Option<String>,
    /// This GPU's number in it, 16 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Ids of the other GPUs in it.
    pub siblings: Vec<String>,
}

impl Gpu {
    /// Bytes of memory that programs may use: its own, and for one that is part of a processor the system's if that is
    /// more.
    pub fn usable_memory(&self) -> u64 {
        let shared = self.shared_memory.filter(|_| self.integrated);
        self.memory.max(shared.unwrap_or(0))
    }
}

/// A partition of a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Partition {
    /// Its number, from 0.
    pub index: u32,
    /// How the compute units are divided: `SPX` is not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute: Option<String>,
    /// How the memory is divided: `NPS1` is not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Ids of the other partitions of the same GPU.
    pub siblings: Vec<String>,
}

/// A GPU that ROCm can't use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct UnusableGpu {
    /// What people call it.
    pub name: String,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci_address: Option<PciAddress>,
    /// PCI vendor and device: `1002:73bf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci_id: Option<String>,
    /// The driver that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// What its target would be, going by its PCI numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub likely_target: Option<Target>,
    /// What keeps it from being used, the most likely first; never empty.
    pub reasons: Vec<Reason>,
}
