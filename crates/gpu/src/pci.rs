//! GPUs on the PCI buses, of any vendor and with any driver: `/sys/bus/pci/devices` (kernel
//! Documentation/ABI/testing/sysfs-bus-pci, Documentation/gpu/amdgpu).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::address::PciAddress;
use crate::config_space::atomics_enabled;
use crate::sysfs::Sysfs;

/// The directory of the devices in sysfs.
pub const DEVICES: &str = "bus/pci/devices";
/// AMD's vendor number for GPUs.
pub const AMD: u16 = 0x1002;
/// Class and subclass of a bridge between PCI buses.
const BRIDGE: u64 = 0x0604;

/// A display controller (class 03) or processing accelerator (class 12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PciGpu {
    /// PCI address.
    pub address: PciAddress,
    /// Class, subclass and programming interface: 0x030000 is a VGA controller.
    pub class: u32,
    /// Vendor number of the chip.
    pub vendor: u16,
    /// Device number of the chip, assigned by the vendor.
    pub device: u16,
    /// Vendor and device numbers of the card.
    pub subsystem: Option<(u16, u16)>,
    /// Name of the driver that is bound to it.
    pub driver: Option<String>,
    /// `D0` to `D3cold`, `unknown` or `error`.
    pub power_state: Option<String>,
    /// The PCIe link to the slot.
    pub link: Option<PciLink>,
    /// Errors that PCIe Advanced Error Reporting has counted since the start.
    pub errors: Option<PciErrors>,
    /// Whether it may use PCIe atomics; see [`atomics_enabled`].
    pub atomics: Option<bool>,
    /// Bytes of its own memory: `mem_info_vram_total`.
    pub memory: Option<u64>,
    /// Bytes of system memory that it may use: `mem_info_gtt_total`.
    pub shared_memory: Option<u64>,
    /// Firmware versions by name, as the kernel writes them: `mec` is `0x0000005c`.
    pub firmware: BTreeMap<String, String>,
    /// The vendor's product name, if the card stores one.
    pub product: Option<String>,
    /// Serial number of the chip, 16 hexadecimal digits.
    pub unique_id: Option<String>,
    /// This GPU's number in its hive.
    pub xgmi_id: Option<u64>,
    /// The XGMI hive that it is in.
    pub hive: Option<u64>,
    /// How its compute units are divided, `SPX` or `CPX`, and its memory, `NPS1` or `NPS4`.
    pub partitioning: Option<(String, Option<String>)>,
    /// Render nodes: `renderD128`.
    pub render_nodes: Vec<String>,
    /// The NUMA node that it is connected to.
    pub numa_node: Option<u32>,
}

/// Speed and width of a PCIe link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PciLink {
    /// As the kernel writes it: `16.0 GT/s PCIe`.
    pub speed: String,
    /// The device's highest speed.
    pub max_speed: String,
    /// Lanes in use.
    pub width: u8,
    /// Lanes that the device has.
    pub max_width: u8,
}

/// Counts of PCIe errors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PciErrors {
    /// Corrected by sending again.
    pub correctable: u64,
    /// Lost transactions.
    pub nonfatal: u64,
    /// Lost links.
    pub fatal: u64,
}

impl PciGpu {
    /// Whether its vendor is AMD.
    pub(crate) fn is_amd(&self) -> bool {
        self.vendor == AMD
    }

    /// Lists all GPUs, by address. A device whose class or numbers can't be read is left out.
    pub fn read_all(sysfs: &Sysfs) -> Vec<Self> {
        let mut gpus: Vec<Self> = sysfs
            .list(DEVICES)
            .iter()
            .filter_map(|name| read(sysfs, name.parse().ok()?, &format!("{DEVICES}/{name}")))
            .collect();
        gpus.sort_by_key(|gpu| gpu.address);
        gpus
    }
}

fn read(sysfs: &Sysfs, address: PciAddress, at: &str) -> Option<PciGpu> {
    let number = |name: &str| u16::try_from(sysfs.hexadecimal(&format!("{at}/{name}"))?).ok();
    let value = |name: &str| sysfs.value(&format!("{at}/{name}"));
    let class = u32::try_from(sysfs.hexadecimal(&format!("{at}/class"))?).ok()?;
    if !matches!(class >> 16, 0x03 | 0x12) {
        return None;
    }
    let (vendor, device) = (number("vendor")?, number("device")?);
    let hive = value("xgmi_hive_info/xgmi_hive_id").and_then(|hive| hive.parse().ok());
    Some(PciGpu {
        address,
        class,
        vendor,
        device,
        subsystem: number("subsystem_vendor").zip(number("subsystem_device")),
        driver: sysfs.link_name(&format!("{at}/driver")),
        power_state: value("power_state"),
        link: slot_link(sysfs, at).or_else(|| read_link(sysfs, at)),
        errors: read_errors(sysfs, at),
        atomics: sysfs.bytes(&format!("{at}/config")).ok().and_then(|config| atomics_enabled(&config)),
        memory: sysfs.decimal(&format!("{at}/mem_info_vram_total")).filter(|bytes| *bytes > 0),
        shared_memory: sysfs.decimal(&format!("{at}/mem_info_gtt_total")).filter(|bytes| *bytes > 0),
        firmware: read_firmware(sysfs, at),
        product: value("product_name"),
        unique_id: value("unique_id").filter(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit())),
        xgmi_id: sysfs.decimal(&format!("{at}/xgmi_device_id")),
        hive: hive.filter(|hive| *hive != 0),
        partitioning: value("current_compute_partition").map(|compute| (compute, value("current_memory_partition"))),
        render_nodes: sysfs.list(&format!("{at}/drm")).into_iter().filter(|name| name.starts_with("renderD")).collect(),
        // -1 on a machine with one node, or with firmware that does not tell.
        numa_node: value("numa_node").and_then(|node| node.parse().ok()),
    })
}

/// The link to the slot, if it is not the GPU's own: AMD's cards have a switch between the two, and the link within
/// the card says nothing about the slot. It is that of the card's topmost bridge, or what the power management
/// reports.
fn slot_link(sysfs: &Sysfs, at: &str) -> Option<PciLink> {
    bridge_link(sysfs, at)
        .or_else(|| managed_link(&sysfs.text(&format!("{at}/pp_dpm_pcie")).ok()?, &read_link(sysfs, at)?))
}

fn bridge_link(sysfs: &Sysfs, at: &str) -> Option<PciLink> {
    let root = fs::canonicalize(sysfs.root()).ok()?;
    let device = fs::canonicalize(sysfs.root().join(at)).ok()?;
    let below = device.strip_prefix(&root).ok()?;
    let is_of_card = |path: &&Path| {
        let number = |name: &str| sysfs.hexadecimal(path.join(name).to_str()?);
        number("vendor") == Some(u64::from(AMD)) && number("class").is_some_and(|class| class >> 8 == BRIDGE)
    };
    let topmost = below.ancestors().skip(1).take_while(is_of_card).last()?;
    read_link(sysfs, topmost.to_str()?)
}

/// Parses `1: 8.0GT/s, x8 619Mhz *`: the starred row of `pp_dpm_pcie` is in use. It counts if it has fewer lanes than
/// the function reports.
fn managed_link(table: &str, function: &PciLink) -> Option<PciLink> {
    let rows: Vec<(&str, u8, bool)> = table
        .lines()
        .filter_map(|line| {
            let (_, row) = line.split_once(": ")?;
            let (speed, rest) = row.split_once(", x")?;
            let lanes = rest.split(|char: char| !char.is_ascii_digit()).next()?.parse().ok()?;
            Some((speed.trim(), lanes, line.trim_end().ends_with('*')))
        })
        .collect();
    let (speed, width, _) = rows.iter().find(|(.., starred)| *starred)?;
    let (max_speed, ..) = rows.last()?;
    let max_width = rows.iter().map(|(_, lanes, _)| *lanes).max()?;
    let kernels = |speed: &str| format!("{} GT/s PCIe", speed.trim_end_matches("GT/s").trim());
    (max_width < function.max_width).then(|| PciLink {
        speed: kernels(speed),
        max_speed: kernels(max_speed),
        width: *width,
        max_width,
    })
}

fn read_link(sysfs: &Sysfs, at: &str) -> Option<PciLink> {
    let lanes = |name: &str| u8::try_from(sysfs.decimal(&format!("{at}/{name}"))?).ok().filter(|lanes| *lanes > 0);
    Some(PciLink {
        speed: sysfs.value(&format!("{at}/current_link_speed"))?,
        max_speed: sysfs.value(&format!("{at}/max_link_speed"))?,
        width: lanes("current_link_width")?,
        max_width: lanes("max_link_width")?,
    })
}

/// The last lines of the `aer_dev_` files are `TOTAL_ERR_FATAL 0`.
fn read_errors(sysfs: &Sysfs, at: &str) -> Option<PciErrors> {
    let total = |kind: &str| {
        let text = sysfs.text(&format!("{at}/aer_dev_{kind}")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("TOTAL_ERR_")?.split_once(' ')?.1.trim().parse().ok())
    };
    Some(PciErrors { correctable: total("correctable")?, nonfatal: total("nonfatal")?, fatal: total("fatal")? })
}

fn read_firmware(sysfs: &Sysfs, at: &str) -> BTreeMap<String, String> {
    let directory = format!("{at}/fw_version");
    let mut firmware: BTreeMap<String, String> = sysfs
        .list(&directory)
        .iter()
        .filter_map(|file| {
            let name = file.strip_suffix("_fw_version").unwrap_or(file);
            Some((name.to_owned(), sysfs.value(&format!("{directory}/{file}"))?))
        })
        // Parts that the chip doesn't have count as version 0.
        .filter(|(_, version)| version.bytes().any(|byte| !matches!(byte, b'0' | b'x' | b'.')))
        .collect();
    firmware.extend(sysfs.value(&format!("{at}/vbios_version")).map(|version| ("vbios".to_owned(), version)));
    firmware
}
