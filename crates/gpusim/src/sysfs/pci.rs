//! A GPU on the PCI bus, and what its driver says about it: identity, memory, clocks, sensors (kernel
//! `Documentation/gpu/amdgpu`).

use super::{Entry, Tree, file, link};
use crate::device::Device;

/// Adds the GPU with the links to it.
pub(super) fn write(device: &Device, tree: &mut Tree) {
    let address = device.address.to_string();
    let bus = address.get(..7).unwrap_or(&address);
    let at = format!("devices/pci{bus}/{address}");
    let (card, render) = (format!("card{}", device.card), format!("renderD{}", device.render));
    identity(device, tree, &at, &address);
    state(device, tree, &at);
    sensors(device, tree, &at);
    for (name, minor) in [(&card, device.card), (&render, device.render)] {
        let node = format!("{at}/drm/{name}");
        file(tree, format!("{node}/dev"), format_args!("226:{minor}"));
        file(
            tree,
            format!("{node}/uevent"),
            format_args!("MAJOR=226\nMINOR={minor}\nDEVNAME=dri/{name}\nDEVTYPE=drm_minor"),
        );
        link(tree, &format!("{node}/device"), &at);
        link(tree, &format!("{node}/subsystem"), "class/drm");
        link(tree, &format!("class/drm/{name}"), &node);
        link(tree, &format!("dev/char/226:{minor}"), &node);
    }
    link(tree, &format!("bus/pci/devices/{address}"), &at);
    link(tree, &format!("bus/pci/drivers/amdgpu/{address}"), &at);
    link(tree, &format!("{at}/driver"), "bus/pci/drivers/amdgpu");
    link(tree, &format!("{at}/subsystem"), "bus/pci");
}

fn identity(device: &Device, tree: &mut Tree, at: &str, address: &str) {
    let (vendor, card) = device.subsystem;
    let (id, revision) = (device.device_id, device.chip.revision);
    // A display controller, as far as the real ones have displays: accelerators are `processing accelerators`.
    let class = if matches!(device.version(), (9, 0, 8 | 10) | (9, 4 | 5, _)) { 0x12_0000 } else { 0x03_0000 };
    let mut config = vec![0_u8; 256];
    let fields = [
        (0, 0x1002_u16.to_le_bytes()),
        (2, id.to_le_bytes()),
        (4, 7_u16.to_le_bytes()),
        (8, [revision, 0]),
        (0x2c, vendor.to_le_bytes()),
        (0x2e, card.to_le_bytes()),
    ];
    for (offset, bytes) in fields {
        for (to, from) in config.iter_mut().skip(offset).zip(bytes) {
            *to = from;
        }
    }
    for (to, from) in config.iter_mut().skip(9).zip(class_bytes(class)) {
        *to = from;
    }
    tree.insert(format!("{at}/config"), Entry::File(config));
    file(tree, format!("{at}/vendor"), "0x1002");
    file(tree, format!("{at}/device"), format_args!("0x{id:04x}"));
    file(tree, format!("{at}/revision"), format_args!("0x{revision:02x}"));
    file(tree, format!("{at}/class"), format_args!("0x{class:06x}"));
    file(tree, format!("{at}/subsystem_vendor"), format_args!("0x{vendor:04x}"));
    file(tree, format!("{at}/subsystem_device"), format_args!("0x{card:04x}"));
    file(tree, format!("{at}/modalias"), modalias(device, class));
    file(
        tree,
        format!("{at}/uevent"),
        format_args!(
            "DRIVER=amdgpu\nPCI_CLASS={class:X}\nPCI_ID=1002:{id:04X}\nPCI_SUBSYS_ID={vendor:04X}:{card:04X}\nPCI_SLOT_NAME={address}\n\
             MODALIAS={}",
            modalias(device, class)
        ),
    );
    file(tree, format!("{at}/unique_id"), format_args!("{:016x}", device.unique_id));
    file(tree, format!("{at}/serial_number"), format_args!("{:016x}", device.unique_id));
    file(tree, format!("{at}/product_name"), &device.name);
    file(tree, format!("{at}/vbios_version"), "simulated");
    file(tree, format!("{at}/numa_node"), -1);
    file(tree, format!("{at}/local_cpulist"), 0);
    file(tree, format!("{at}/enable"), 1);
    for (name, value) in [("current_link_speed", "16.0 GT/s PCIe"), ("max_link_speed", "16.0 GT/s PCIe")] {
        file(tree, format!("{at}/{name}"), value);
    }
    for name in ["current_link_width", "max_link_width"] {
        file(tree, format!("{at}/{name}"), 16);
    }
}

fn class_bytes(class: u32) -> [u8; 3] {
    let [low, middle, high, _] = class.to_le_bytes();
    [low, middle, high]
}

fn modalias(device: &Device, class: u32) -> String {
    let (vendor, card) = device.subsystem;
    let [interface, sub, base] = class_bytes(class);
    format!("pci:v00001002d{:08X}sv{vendor:08X}sd{card:08X}bc{base:02X}sc{sub:02X}i{interface:02X}", device.device_id)
}

fn state(device: &Device, tree: &mut Tree, at: &str) {
    let chip = &device.chip;
    file(tree, format!("{at}/power_state"), "D0");
    file(tree, format!("{at}/power/runtime_status"), "active");
    file(tree, format!("{at}/power/control"), "on");
    file(tree, format!("{at}/gpu_busy_percent"), 0);
    file(tree, format!("{at}/mem_busy_percent"), 0);
    for (name, bytes) in [
        ("vram_total", device.memory),
        ("vram_used", 0),
        ("vis_vram_total", device.memory),
        ("vis_vram_used", 0),
        ("gtt_total", device.shared_memory),
        ("gtt_used", 0),
    ] {
        file(tree, format!("{at}/mem_info_{name}"), bytes);
    }
    file(tree, format!("{at}/mem_info_vram_vendor"), "simulated");
    file(tree, format!("{at}/power_dpm_force_performance_level"), "auto");
    file(tree, format!("{at}/power_dpm_state"), "performance");
    file(tree, format!("{at}/pp_dpm_sclk"), format_args!("0: 500Mhz *\n1: {}Mhz", chip.clock));
    file(tree, format!("{at}/pp_dpm_mclk"), format_args!("0: 96Mhz *\n1: {}Mhz", chip.memory.0));
    file(tree, format!("{at}/pp_dpm_socclk"), "0: 480Mhz *\n1: 1200Mhz");
    file(tree, format!("{at}/pp_dpm_fclk"), "0: 551Mhz *\n1: 1940Mhz");
    file(tree, format!("{at}/pp_dpm_pcie"), "0: 16.0GT/s, x16 *");
    file(tree, format!("{at}/pcie_replay_count"), 0);
    file(tree, format!("{at}/thermal_throttling_logging"), "0000:00:00.0: thermal throttling logging disabled");
    for block in ["asd", "ce", "mc", "me", "mec", "pfp", "rlc", "sdma", "smc", "sos", "vcn"] {
        file(tree, format!("{at}/fw_version/{block}_fw_version"), "0x00000001");
    }
    if device.chip.dies > 1 {
        file(tree, format!("{at}/current_compute_partition"), "SPX");
        file(tree, format!("{at}/available_compute_partition"), "SPX");
        file(tree, format!("{at}/current_memory_partition"), "NPS1");
    }
    if device.hive != 0 {
        file(tree, format!("{at}/xgmi_hive_info/xgmi_hive_id"), device.hive);
        file(tree, format!("{at}/xgmi_device_id"), device.unique_id);
    }
}

/// Sensors as of a card at rest: temperatures in thousandths of a degree, power in millionths of a watt.
fn sensors(device: &Device, tree: &mut Tree, at: &str) {
    let name = format!("hwmon{}", device.card);
    let sensors = format!("{at}/hwmon/{name}");
    let temperatures = [("edge", 35_000), ("junction", 38_000), ("mem", 36_000)];
    let values = [
        ("name", "amdgpu".to_owned()),
        ("power1_average", "8000000".to_owned()),
        ("power1_cap", "203000000".to_owned()),
        ("power1_cap_max", "233000000".to_owned()),
        ("power1_cap_min", "0".to_owned()),
        ("power1_cap_default", "203000000".to_owned()),
        ("fan1_input", "0".to_owned()),
        ("pwm1", "0".to_owned()),
        ("pwm1_max", "255".to_owned()),
        ("in0_input", "750".to_owned()),
        ("in0_label", "vddgfx".to_owned()),
        ("freq1_input", "500000000".to_owned()),
        ("freq1_label", "sclk".to_owned()),
    ];
    for (file_name, value) in values {
        file(tree, format!("{sensors}/{file_name}"), value);
    }
    for (index, (label, degrees)) in (1..).zip(temperatures) {
        file(tree, format!("{sensors}/temp{index}_label"), label);
        file(tree, format!("{sensors}/temp{index}_input"), degrees);
        file(tree, format!("{sensors}/temp{index}_crit"), 100_000);
        file(tree, format!("{sensors}/temp{index}_emergency"), 105_000);
    }
    link(tree, &format!("{sensors}/device"), at);
    link(tree, &format!("{sensors}/subsystem"), "class/hwmon");
    link(tree, &format!("class/hwmon/{name}"), &sensors);
}
