//! [`Places`]: the GPUs of a machine and the ports above them.

use std::collections::BTreeMap;
use std::fs;

use crate::address::PciAddress;
use crate::pci::{DEVICES, PciGpu};
use crate::sysfs::Sysfs;

/// The most devices that are searched in a log.
const MOST: usize = 256;

/// GPUs, and the ports between each and the processor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    gpus: BTreeMap<PciAddress, Vec<PciAddress>>,
}

impl Places {
    /// These GPUs, each with the ports above it.
    pub fn new(gpus: impl IntoIterator<Item = (PciAddress, Vec<PciAddress>)>) -> Self {
        Self { gpus: gpus.into_iter().collect() }
    }

    /// The AMD GPUs of a machine. The ports are known from a device's place in sysfs's tree.
    pub fn of_machine(sysfs: &Sysfs) -> Self {
        let gpus = PciGpu::read_all(sysfs).into_iter().filter(PciGpu::is_amd);
        Self::new(gpus.map(|gpu| (gpu.address, above(sysfs, gpu.address))))
    }

    /// The GPUs in a log: devices of the driver, and the buses that the PCI core found behind bridges.
    pub fn of_log(text: &str) -> Self {
        let mut places = Self::default();
        let mut bridges: Vec<(PciAddress, (u8, u8))> = Vec::new();
        for at in memchr::memmem::find_iter(text.as_bytes(), b"amdgpu ") {
            let found = text.get(at + 7..).and_then(|rest| rest.split_once(": ")?.0.parse().ok());
            if let Some(address) = found.filter(|_| places.gpus.len() < MOST) {
                places.gpus.entry(address).or_default();
            }
        }
        // Devices that the PCI core found: `pci 0000:03:00.0: [1002:73bf] type 00 class 0x030000`.
        for at in memchr::memmem::find_iter(text.as_bytes(), b": [1002:") {
            let found = || {
                let line = text.get(at..)?.lines().next()?;
                let is_gpu = ["class 0x0300", "class 0x0302", "class 0x0380", "class 0x1200"]
                    .iter()
                    .any(|class| line.contains(class));
                let before = text.get(..at)?;
                let address = before.get(before.rfind(char::is_whitespace)? + 1..)?;
                is_gpu.then(|| address.parse().ok())?
            };
            if let Some(address) = found().filter(|_| places.gpus.len() < MOST) {
                places.gpus.entry(address).or_default();
            }
        }
        for at in memchr::memmem::find_iter(text.as_bytes(), b": PCI bridge to [bus ") {
            let bridge = || {
                let before = text.get(..at)?;
                let address = before.get(before.rfind(char::is_whitespace)? + 1..)?.parse().ok()?;
                let (buses, _) = text.get(at + 21..)?.split_once(']')?;
                let (first, last) = buses.split_once('-').unwrap_or((buses, buses));
                Some((address, (u8::from_str_radix(first, 16).ok()?, u8::from_str_radix(last, 16).ok()?)))
            };
            if let Some(bridge) = bridge().filter(|_| bridges.len() < MOST) {
                bridges.push(bridge);
            }
        }
        for (gpu, ports) in &mut places.gpus {
            let is_above = |(port, (first, last)): &&(PciAddress, (u8, u8))| {
                port.domain == gpu.domain && (*first..=*last).contains(&gpu.bus)
            };
            ports.extend(bridges.iter().filter(is_above).map(|(port, _)| *port));
        }
        places
    }

    /// The GPU at an address, or the one that has another function there, such as sound.
    pub(crate) fn gpu_at(&self, address: PciAddress) -> Option<PciAddress> {
        let first = address.first_function();
        self.gpus.keys().copied().find(|gpu| *gpu == address || gpu.first_function() == first)
    }

    /// The GPUs below a port.
    pub fn below(&self, port: PciAddress) -> Vec<PciAddress> {
        self.gpus.iter().filter(|(_, ports)| ports.contains(&port)).map(|(gpu, _)| *gpu).collect()
    }

    /// Whether the ports above any GPU are known.
    pub(crate) fn knows_ports(&self) -> bool {
        self.gpus.values().any(|ports| !ports.is_empty())
    }

    /// The GPUs.
    pub fn gpus(&self) -> impl Iterator<Item = PciAddress> + '_ {
        self.gpus.keys().copied()
    }
}

/// The bridges above a device, the nearest to the processor first.
fn above(sysfs: &Sysfs, address: PciAddress) -> Vec<PciAddress> {
    let Ok(path) = fs::canonicalize(sysfs.root().join(DEVICES).join(address.to_string())) else { return Vec::new() };
    let parts = path.iter().filter_map(|part| part.to_str()?.parse().ok());
    parts.filter(|other| *other != address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> PciAddress {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_above_a_gpu_stands_in_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().join("devices/pci0000:00/0000:00:03.1/0000:08:00.0/0000:0a:00.0");
        fs::create_dir_all(&real).unwrap();
        for (name, value) in [("class", "0x030000"), ("vendor", "0x1002"), ("device", "0x73bf")] {
            fs::write(real.join(name), value).unwrap();
        }
        fs::create_dir_all(directory.path().join(DEVICES)).unwrap();
        std::os::unix::fs::symlink(&real, directory.path().join(DEVICES).join("0000:0a:00.0")).unwrap();
        let places = Places::of_machine(&Sysfs::new(directory.path()));
        assert_eq!(places.below(address("0000:00:03.1")), [address("0000:0a:00.0")]);
        assert_eq!(places.below(address("0000:08:00.0")).len(), 1);
        assert_eq!(places.below(address("0000:00:01.0")).len(), 0);
        assert_eq!(places.gpu_at(address("0000:0a:00.1")), Some(address("0000:0a:00.0")), "its sound");
    }

    #[test]
    fn a_log_tells_what_is_behind_bridges() {
        let text = "[ 1.0] pci 0000:40:01.1: PCI bridge to [bus 41-43]\n[ 1.0] pci 0000:40:02.1: PCI bridge to [bus 44]\n\
            [ 9.0] amdgpu 0000:43:00.0: amdgpu: x\n";
        let places = Places::of_log(text);
        assert_eq!(places.below(address("0000:40:01.1")), [address("0000:43:00.0")]);
        assert!(places.below(address("0000:40:02.1")).is_empty());
    }
}
