//! KFD's topology, `/sys/class/kfd/kfd/topology`: the nodes that ROCm sees (kernel
//! `drivers/gpu/drm/amd/amdkfd/kfd_topology.c`).
//!
//! A kernel with amdgpu loaded has it whether or not there is a GPU: CPUs are nodes too.

use std::collections::BTreeMap;
use std::io;

use crate::address::PciAddress;
use crate::feature::Feature;
use crate::sysfs::Sysfs;
use crate::target::Target;

/// Its directory in sysfs.
pub const TOPOLOGY: &str = "class/kfd/kfd/topology";

/// `HSA_MEM_HEAP_TYPE_FB_PUBLIC` and `_PRIVATE`: the GPU's own memory, visible to the CPU or not.
const HEAPS_OF_GPU: [u64; 2] = [1, 2];
/// `HSA_CAP_SRAM_EDCSUPPORTED` in `capability`.
const SRAM_ECC: u64 = 1 << 26;
/// `HSA_IOLINKTYPE_XGMI`.
const XGMI: u64 = 11;

/// A `properties` file: lines with a name, a blank and a decimal number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    values: BTreeMap<String, u64>,
    /// Whether lines were left out, because they don't have that form or because the last one has no line end: its
    /// number could be truncated.
    pub damaged: bool,
}

impl Properties {
    /// Parses any text. If a name occurs twice the last one counts.
    pub fn parse(text: &str) -> Self {
        let mut properties = Self::default();
        for line in text.split_inclusive('\n') {
            let Some(whole) = line.strip_suffix('\n') else {
                properties.damaged = true;
                break;
            };
            if whole.trim().is_empty() {
                continue;
            }
            let pair = whole.split_once(' ').and_then(|(name, value)| Some((name, value.trim().parse().ok()?)));
            match pair {
                Some((name, value)) => {
                    properties.values.insert(name.to_owned(), value);
                }
                None => properties.damaged = true,
            }
        }
        properties
    }

    /// The value of a property; `None` if the kernel is too old for it.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.values.get(name).copied()
    }

    /// The value of a property, 0 if it isn't there.
    pub fn number(&self, name: &str) -> u64 {
        self.get(name).unwrap_or(0)
    }

    fn small<N: TryFrom<u64>>(&self, name: &str) -> Option<N> {
        N::try_from(self.get(name)?).ok()
    }
}

/// A connection from one node to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Number of the node at the other end.
    pub to: u32,
    /// Whether it is XGMI (Infinity Fabric) and not PCI Express.
    pub xgmi: bool,
}

impl Link {
    /// Parses the properties of an I/O or peer-to-peer link; `None` if they lack the other end.
    pub fn new(properties: &Properties) -> Option<Self> {
        Some(Self { to: properties.small("node_to")?, xgmi: properties.number("type") == XGMI })
    }
}

/// A node: a CPU, a GPU, a partition of a GPU, or in old kernels an APU of both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub index: u32,
    /// `gpu_id`; `None` if it is 0, as for CPUs, or unreadable.
    pub gpu_id: Option<u64>,
    /// `name`: the chip's code name in lower case, `navi21`; empty for some kernels.
    pub name: Option<String>,
    /// Its properties.
    pub properties: Properties,
    /// Bytes of the GPU's own memory, from `mem_banks`, or from `local_mem_size` in kernels that don't report 0
    /// there.
    pub memory: u64,
    /// I/O links and peer-to-peer links.
    pub links: Vec<Link>,
    /// The error, if the properties could not be read.
    pub error: Option<String>,
}

impl Node {
    /// Whether it is a GPU: code can run on its SIMD units.
    pub fn is_gpu(&self) -> bool {
        self.gpu_id.is_some() || self.properties.number("simd_count") > 0 || self.version() > 0
    }

    fn version(&self) -> u64 {
        self.properties.number("gfx_target_version")
    }

    /// The target that the kernel reports; `None` for old kernels, which don't report it, and for CPUs. It includes
    /// error correction for chips that have it as a target feature; the kernel does not report xnack.
    pub fn target(&self) -> Option<Target> {
        let target = Target::from_gfx_target_version(self.version())?;
        Some(self.with_ecc(target))
    }

    /// Adds the error correction from the node's capabilities to a target that was found by other means.
    pub fn with_ecc(&self, target: Target) -> Target {
        match self.properties.get("capability") {
            Some(capability) => target.with(Feature::Sramecc, capability & SRAM_ECC != 0),
            None => target,
        }
    }

    /// The PCI address in `domain` and `location_id`, unchanged.
    ///
    /// Partitions have their number in it: bits 28 to 31 in some kernels, added to the function in others; see
    /// [`Node::partition`].
    pub fn address(&self) -> Option<PciAddress> {
        let location = self.properties.get("location_id")?;
        let domain = self.properties.small("domain").unwrap_or(0);
        let low = u16::try_from(location & 0xffff).ok()?;
        // 0 is the address of the processor's own bridge, and what CPUs have; in a domain of its own, as Hyper-V's
        // virtual machines have for each passed-through device, a GPU can be there.
        let is_there = location != 0 || domain != 0 && self.is_gpu();
        is_there.then(|| PciAddress::from_location(domain, low))
    }

    /// The partition's number in bits 28 to 31 of `location_id`.
    pub fn partition(&self) -> u64 {
        self.properties.number("location_id") >> 28 & 0xf
    }

    /// AMD's PCI device number.
    pub fn device_id(&self) -> Option<u16> {
        self.properties.small("device_id").filter(|id| *id != 0)
    }

    /// Compute units: SIMD units divided by those of a compute unit.
    pub fn compute_units(&self) -> u32 {
        let per_unit = self.properties.number("simd_per_cu");
        let units = self.properties.number("simd_count").checked_div(per_unit).unwrap_or(0);
        u32::try_from(units).unwrap_or(0)
    }

    /// Minor number of the DRM render node.
    pub fn render_minor(&self) -> Option<u32> {
        self.properties.small("drm_render_minor").filter(|minor| *minor >= 128)
    }

    /// The number of its XGMI hive.
    pub fn hive(&self) -> Option<u64> {
        self.properties.get("hive_id").filter(|hive| *hive != 0)
    }

    /// The chip's serial number, if it has one.
    pub fn unique_id(&self) -> Option<u64> {
        self.properties.get("unique_id").filter(|id| *id != 0)
    }
}

/// The whole topology.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    /// Whether there is one: amdgpu is loaded and includes KFD.
    pub present: bool,
    /// The nodes, by number.
    pub nodes: Vec<Node>,
}

impl Topology {
    /// Reads the topology. Errors are in [`Node::error`].
    pub fn read(sysfs: &Sysfs) -> Self {
        let nodes = format!("{TOPOLOGY}/nodes");
        Self {
            present: sysfs.has(TOPOLOGY),
            nodes: sysfs.numbered(&nodes).into_iter().map(|index| read_node(sysfs, &nodes, index)).collect(),
        }
    }

    /// Nodes that are GPUs.
    pub fn gpus(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is_gpu())
    }
}

fn read_node(sysfs: &Sysfs, nodes: &str, index: u32) -> Node {
    let at = format!("{nodes}/{index}");
    let (properties, error) = match sysfs.text(&format!("{at}/properties")) {
        Ok(text) => (Properties::parse(&text), None),
        Err(error) => (Properties::default(), Some(explain(&error))),
    };
    let below = |kind: &str| {
        let directory = format!("{at}/{kind}");
        let numbers = sysfs.numbered(&directory).into_iter();
        // A bank or link that vanishes while it is read counts as missing.
        let texts = numbers.filter_map(|number| sysfs.text(&format!("{directory}/{number}/properties")).ok());
        texts.map(|text| Properties::parse(&text)).collect::<Vec<_>>()
    };
    let banks = below("mem_banks")
        .iter()
        .filter(|bank| HEAPS_OF_GPU.contains(&bank.number("heap_type")))
        .fold(0_u64, |sum, bank| sum.saturating_add(bank.number("size_in_bytes")));
    Node {
        index,
        gpu_id: sysfs.decimal(&format!("{at}/gpu_id")).filter(|id| *id != 0),
        name: sysfs.value(&format!("{at}/name")),
        memory: if banks > 0 { banks } else { properties.number("local_mem_size") },
        links: below("io_links").iter().chain(&below("p2p_links")).filter_map(Link::new).collect(),
        properties,
        error,
    }
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "permission denied: this process may not use the GPU (device cgroup)".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_cut_in_a_number_loses_that_number() {
        let properties = Properties::parse("simd_count 80\nsimd_per_cu 2\ngfx_target_version 1003");
        assert!(properties.damaged);
        assert_eq!(properties.get("gfx_target_version"), None);
        let node = Node { properties, ..Node::default() };
        assert_eq!((node.is_gpu(), node.compute_units(), node.target()), (true, 40, None));
    }

    #[test]
    fn lines_that_are_no_properties_are_left_out() {
        let properties =
            Properties::parse("simd_count eight\n\nsimd_per_cu -2\nx\ndomain 3\nlarge 18446744073709551616\n");
        assert!(properties.damaged);
        assert_eq!((properties.get("simd_count"), properties.get("domain")), (None, Some(3)));
    }

    #[test]
    fn error_correction_is_part_of_the_target_of_chips_that_have_it() {
        let node = |text: &str| Node { properties: Properties::parse(text), ..Node::default() };
        let target = |text: &str| node(text).target().unwrap().to_string();
        assert_eq!(target("gfx_target_version 90010\ncapability 67108864\n"), "gfx90a:sramecc+");
        assert_eq!(target("gfx_target_version 90010\ncapability 0\n"), "gfx90a:sramecc-");
        assert_eq!(target("gfx_target_version 90010\n"), "gfx90a");
        assert_eq!(target("gfx_target_version 110000\ncapability 67108864\n"), "gfx1100");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "([a-z_]{1,20} ?[0-9]{0,22}\n?){0,8}|(location_id|domain|simd_count|simd_per_cu|capability|drm_render_minor|gfx_target_version|device_id) [0-9]{1,20}\n|\\PC*") {
            let node = Node { properties: Properties::parse(&text), ..Node::default() };
            let _ = (node.is_gpu(), node.target(), node.address(), node.compute_units(), node.render_minor());
            let _ = (node.device_id(), node.partition(), Link::new(&node.properties));
        }

        #[test]
        fn whole_files_keep_every_value(values in prop::collection::btree_map("[a-z_]{1,12}", any::<u64>(), 0..12)) {
            let text = values.iter().fold(String::new(), |text, (name, value)| text + &format!("{name} {value}\n"));
            let properties = Properties::parse(&text);
            prop_assert!(!properties.damaged);
            prop_assert_eq!(properties.values, values);
        }
    }
}
