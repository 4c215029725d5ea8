//! Builds the sysfs of a machine, in the formats that the kernel's documentation and `kfd_topology.c` describe.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use gpu::{Inventory, Names, Sources, Sysfs, detect};
use tempfile::TempDir;

/// A simulated machine; everything is written at once.
pub struct Machine {
    directory: TempDir,
    log: String,
}

impl Machine {
    /// An empty machine.
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), log: String::new() }
    }

    /// With amdgpu loaded, which brings KFD with a node for the processor: number 0.
    pub fn with_amdgpu() -> Self {
        let machine = Self::new();
        machine.file("module/amdgpu/initstate", "live\n");
        machine.file("class/kfd/kfd/topology/generation_id", "1\n");
        machine.node(0, &[("cpu_cores_count", 16), ("simd_count", 0), ("gfx_target_version", 0), ("location_id", 0)]);
        machine
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    pub fn file(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A node of the topology; GPUs (those with SIMD units) get an id.
    pub fn node(&self, index: u32, properties: &[(&str, u64)]) {
        let mut text = String::new();
        for (name, value) in properties {
            writeln!(text, "{name} {value}").unwrap();
        }
        let at = format!("class/kfd/kfd/topology/nodes/{index}");
        self.file(&format!("{at}/properties"), &text);
        let is_gpu = properties.iter().any(|(name, value)| *name == "simd_count" && *value > 0);
        self.file(&format!("{at}/gpu_id"), &format!("{}\n", if is_gpu { 20_000 + index } else { 0 }));
        self.file(&format!("{at}/name"), "\n");
    }

    /// A bank of the GPU's own memory, as its only one.
    pub fn memory(&self, node: u32, bytes: u64) {
        let at = format!("class/kfd/kfd/topology/nodes/{node}/mem_banks/0/properties");
        self.file(&at, &format!("heap_type 1\nsize_in_bytes {bytes}\nflags 0\nwidth 256\nmem_clk_max 1000\n"));
    }

    /// A link between nodes; type 2 is PCIe, 11 is XGMI.
    pub fn link(&self, from: u32, number: u32, to: u32, kind: u32) {
        let at = format!("class/kfd/kfd/topology/nodes/{from}/io_links/{number}/properties");
        self.file(&at, &format!("type {kind}\nnode_from {from}\nnode_to {to}\nweight 15\nflags 1\n"));
    }

    /// A display controller of AMD's that amdgpu drives.
    pub fn card(&self, address: &str, device: u16, attributes: &[(&str, &str)]) {
        self.device(address, "0x030000", 0x1002, device, Some("amdgpu"), attributes);
    }

    pub fn device(
        &self,
        address: &str,
        class: &str,
        vendor: u16,
        device: u16,
        driver: Option<&str>,
        attributes: &[(&str, &str)],
    ) {
        let at = format!("bus/pci/devices/{address}");
        self.file(&format!("{at}/class"), &format!("{class}\n"));
        self.file(&format!("{at}/vendor"), &format!("{vendor:#06x}\n"));
        self.file(&format!("{at}/device"), &format!("{device:#06x}\n"));
        self.file(&format!("{at}/subsystem_vendor"), "0x1da2\n");
        self.file(&format!("{at}/subsystem_device"), "0x0e3a\n");
        self.file(&format!("{at}/power_state"), "D0\n");
        for (name, value) in attributes {
            self.file(&format!("{at}/{name}"), &format!("{value}\n"));
        }
        if let Some(driver) = driver {
            fs::create_dir_all(self.path(&format!("bus/pci/drivers/{driver}"))).unwrap();
            symlink(format!("../../drivers/{driver}"), self.path(&format!("{at}/driver"))).unwrap();
        }
    }

    /// Lines of the kernel's log.
    pub fn log(&mut self, lines: &str) {
        self.log.push_str(lines);
    }

    /// The sources for detection; with an empty `pci.ids`, whatever the machine under the test has.
    pub fn sources(&self) -> Sources {
        let mut sources = Sources::copy(Sysfs::new(self.directory.path()), self.log.clone());
        sources.names = Names::default();
        sources
    }

    pub fn detect(&self) -> Inventory {
        detect(&self.sources())
    }
}
