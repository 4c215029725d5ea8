//! [`Machine`]: the simulated GPUs and the machine that they are in.

use advice::{Advise, Help};
use gpu::{Feature, Gpu, Inventory, PciAddress, Processor, Target};

use crate::chip::Chip;
use crate::request::Node;

/// Bytes of memory of a GPU of which the inventory says nothing.
const USUAL_MEMORY: u64 = 16 << 30;
/// Number of the first render node (DRM, `drm_file.h`).
pub(crate) const FIRST_RENDER_NODE: u32 = 128;
/// The largest number of GPUs: DRM has as many render nodes, and KFD's own limit is lower.
const MAX_GPUS: usize = 64;

/// The reason why an inventory's GPUs can't be simulated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MachineError {
    /// There are none.
    #[error("the inventory has no GPU that ROCm can use, so there is none to simulate")]
    Empty,
    /// There are too many.
    #[error("can't simulate {0} GPUs; {MAX_GPUS} are the most")]
    TooMany(usize),
    /// One has a target that no single chip has.
    #[error("can't simulate {0}: a GPU is of one kind, not of a whole family")]
    Generic(Target),
}

impl Advise for MachineError {
    fn help(&self) -> Help {
        match self {
            Self::Empty => "name targets, such as gfx1030, or the inventory of a machine with GPUs".into(),
            Self::Generic(_) => "give one of the family, such as gfx1030".into(),
            Self::TooMany(_) => Help::none(),
        }
    }
}

/// A GPU as programs see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// What code for it is compiled for.
    pub target: Target,
    /// Its chip.
    pub chip: Chip,
    /// What people call it.
    pub name: String,
    /// Number of KFD for it, not 0.
    pub gpu_id: u32,
    /// Number of its node in KFD's topology; the processor is node 0.
    pub node: u32,
    /// Minor number of the render node, from 128.
    pub render: u32,
    /// Number of the card's node, from 0.
    pub card: u32,
    /// Where it is.
    pub address: PciAddress,
    /// PCI device number.
    pub device_id: u16,
    /// PCI vendor and device of the card.
    pub subsystem: (u16, u16),
    /// Whether it is part of a processor.
    pub integrated: bool,
    /// Bytes of its own memory.
    pub memory: u64,
    /// Bytes of the system's memory that it may use.
    pub shared_memory: u64,
    /// Compute units.
    pub compute_units: u32,
    /// Serial number, not 0.
    pub unique_id: u64,
    /// Number of its XGMI hive, 0 for none.
    pub hive: u64,
}

/// The GPUs, in ROCm's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    devices: Vec<Device>,
    /// Bytes of the system's memory.
    pub system_memory: u64,
    /// Processors.
    pub processors: u32,
}

impl Machine {
    /// The GPUs of an inventory, whether it is of a real machine or made by [`gpu::simulate`]. `system_memory` are the
    /// bytes of the machine's memory, `processors` how many there are.
    pub fn new(inventory: &Inventory, system_memory: u64, processors: u32) -> Result<Self, MachineError> {
        match inventory.gpus.len() {
            0 => return Err(MachineError::Empty),
            many @ (MAX_GPUS..) if many > MAX_GPUS => return Err(MachineError::TooMany(many)),
            _ => {}
        }
        let devices = (0_u32..).zip(&inventory.gpus);
        let devices = devices.map(|(index, gpu)| Device::new(index, gpu, system_memory)).collect::<Result<_, _>>()?;
        Ok(Self { devices, system_memory, processors: processors.max(1) })
    }

    /// The GPUs.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// The file of which this is the path: `/dev/kfd`, `/dev/dri/renderD128`, `/dev/dri/card0`.
    pub fn node(&self, path: &str) -> Option<Node> {
        if path == "/dev/kfd" {
            return Some(Node::Kfd);
        }
        let name = path.strip_prefix("/dev/dri/")?;
        let is_it = |device: &Device| {
            name.strip_prefix("renderD").and_then(|number| number.parse().ok()) == Some(device.render)
                || name.strip_prefix("card").and_then(|number| number.parse().ok()) == Some(device.card)
        };
        self.devices.iter().position(is_it).map(Node::Dri)
    }

    /// Index of the GPU with KFD's number.
    pub(crate) fn index_of(&self, gpu_id: u32) -> Option<usize> {
        self.devices.iter().position(|device| device.gpu_id == gpu_id)
    }
}

impl Device {
    fn new(index: u32, gpu: &Gpu, system_memory: u64) -> Result<Self, MachineError> {
        if gpu.target.is_generic() {
            return Err(MachineError::Generic(gpu.target));
        }
        let chip = Chip::of(gpu.target);
        let second = |text: &String| u16::from_str_radix(text.split_once(':')?.1, 16).ok();
        let first = |text: &String| u16::from_str_radix(text.split_once(':')?.0, 16).ok();
        let device_id = gpu.pci_id.as_ref().and_then(second).unwrap_or(chip.device);
        let subsystem = gpu.subsystem.as_ref().and_then(|text| Some((first(text)?, second(text)?)));
        let number = |text: &String| u64::from_str_radix(text, 16).ok().filter(|number| *number != 0);
        // Partitions of a GPU have its address, so they only keep it if nothing else is there.
        let own_address = gpu.pci_address.filter(|_| gpu.partition.is_none());
        // As many addresses as there can be GPUs, each on a bus of its own as behind a bridge.
        let bus = u8::try_from(index.saturating_add(3)).unwrap_or(u8::MAX);
        Ok(Self {
            target: gpu.target,
            chip,
            name: gpu.name.clone(),
            // KFD's numbers have 16 bits and look like that.
            gpu_id: 20_001 + index * 613,
            node: index + 1,
            render: FIRST_RENDER_NODE + index,
            card: index,
            address: own_address.unwrap_or(PciAddress { domain: 0, bus, device: 0, function: 0 }),
            device_id,
            subsystem: subsystem.unwrap_or((0x1002, device_id)),
            integrated: gpu.integrated,
            memory: if gpu.memory == 0 { USUAL_MEMORY } else { gpu.memory },
            shared_memory: gpu.shared_memory.unwrap_or(system_memory / 2),
            compute_units: if gpu.compute_units == 0 { 32 } else { gpu.compute_units },
            unique_id: gpu.unique_id.as_ref().and_then(number).unwrap_or(0x51a7_ed00_0000_0000 + u64::from(index) + 1),
            hive: gpu.xgmi.as_ref().and_then(|xgmi| xgmi.hive.as_ref()).and_then(number).unwrap_or(0),
        })
    }

    /// Major version of the instruction set.
    pub(crate) fn major(&self) -> u8 {
        self.version().0
    }

    pub(crate) fn version(&self) -> (u8, u8, u8) {
        match self.target.processor() {
            Processor::Version { major, minor, stepping } => (major, minor, stepping),
            Processor::Generic(_) => (0, 0, 0),
        }
    }

    /// `gfx_target_version` of KFD: 100300 for gfx1030.
    pub(crate) fn gfx_target_version(&self) -> u32 {
        let (major, minor, stepping) = self.version();
        u32::from(major) * 10_000 + u32::from(minor) * 100 + u32::from(stepping)
    }

    /// Lanes of a wavefront.
    pub(crate) fn wavefront(&self) -> u32 {
        if self.major() < 10 { 64 } else { 32 }
    }

    /// SIMD units of a compute unit.
    pub(crate) fn simds(&self) -> u32 {
        if self.major() < 10 { 4 } else { 2 }
    }

    /// Wavefronts that a SIMD unit holds.
    pub(crate) fn waves(&self) -> u32 {
        match self.version() {
            (9, 0, 10) | (9, 4 | 5, _) => 8,
            (9, ..) => 10,
            (10, 1, _) => 20,
            _ => 16,
        }
    }

    /// Shader arrays of the whole GPU.
    pub(crate) fn arrays(&self) -> u32 {
        let (engines, arrays) = self.chip.engines;
        engines.saturating_mul(arrays).max(1)
    }

    /// Compute units that the largest shader array has.
    pub(crate) fn units_per_array(&self) -> u32 {
        self.compute_units.div_ceil(self.arrays()).max(1)
    }

    /// Whether its static memories have error correction.
    pub(crate) fn has_ecc(&self) -> bool {
        self.target.feature(Feature::Sramecc).unwrap_or_else(|| self.target.processor().has(Feature::Sramecc))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulated_gpus_have_everything_that_the_kernel_reports() {
        let machine = Machine::new(&gpu::simulate("gfx1030,gfx90a").unwrap(), 8 << 30, 4).unwrap();
        let [first, second] = machine.devices() else { panic!() };
        assert_eq!((first.device_id, first.gfx_target_version(), first.wavefront()), (0x73bf, 100_300, 32));
        assert_eq!((second.device_id, second.gfx_target_version(), second.waves()), (0x740f, 90_010, 8));
        assert_ne!(first.gpu_id, second.gpu_id);
        assert_ne!(first.address, second.address);
        assert_eq!(second.units_per_array(), 13);
    }

    #[test]
    fn a_real_gpu_keeps_what_the_inventory_says() {
        let mut inventory = gpu::simulate("gfx906").unwrap();
        inventory.gpus[0].pci_id = Some("1002:66af".into());
        inventory.gpus[0].pci_address = Some("0000:83:00.0".parse().unwrap());
        inventory.gpus[0].unique_id = Some("00000000000000ab".into());
        let machine = Machine::new(&inventory, 1 << 30, 1).unwrap();
        let device = &machine.devices()[0];
        assert_eq!((device.device_id, device.unique_id), (0x66af, 0xab));
        assert_eq!(device.address.to_string(), "0000:83:00.0");
    }

    #[test]
    fn without_a_gpu_there_is_nothing_to_simulate() {
        assert_eq!(Machine::new(&Inventory::default(), 1, 1), Err(MachineError::Empty));
    }
}
