//! KFD's topology: node 0 is the processor, and each GPU has one of its own (kernel `kfd_topology.c`, `kfd_crat.c`).

use super::{Tree, file, link};
use crate::device::{Device, Machine};

/// `HSA_CAP_*` that all GPUs have: watch points (4 of them, as the logarithm in bits 8 to 11), doorbells of version 2, and
/// access to the program's own memory (`HSA_CAP_SVMAPI_SUPPORTED`).
const CAPABILITY: u64 = 1 << 7 | 2 << 8 | 2 << 12 | 1 << 27;
/// `HSA_CAP_SRAM_EDCSUPPORTED`.
const ECC: u64 = 1 << 26;
/// `HSA_CAP_ASIC_REVISION`: bits 22 to 25.
const REVISION_SHIFT: u32 = 22;
/// `CRAT_LINK_FLAGS` as they are in `/sys`: in use, and as it was found.
const LINK_FLAGS: u32 = 1;
/// `HSA_IOLINKTYPE_PCIEXPRESS` and `_XGMI`.
const PCIE: u32 = 2;
const XGMI: u32 = 11;
/// `HSA_MEM_HEAP_TYPE_SYSTEM` and `_FB_PUBLIC`.
const SYSTEM: u32 = 0;
const PUBLIC: u32 = 1;
/// `HSA_CACHE_TYPE_DATA`, `_INSTRUCTION` and `_HSACU`.
const DATA: u32 = 1 | 8;
const INSTRUCTION: u32 = 2 | 8;

const ROOT: &str = "devices/virtual/kfd/kfd";

/// Adds the topology.
pub(super) fn write(machine: &Machine, tree: &mut Tree) {
    link(tree, "class/kfd/kfd", ROOT);
    let topology = format!("{ROOT}/topology");
    file(tree, format!("{topology}/generation_id"), machine.devices().len() + 1);
    lines(
        tree,
        &format!("{topology}/system_properties"),
        &[("platform_oem", 0), ("platform_id", 0), ("platform_rev", 0)],
    );
    processor(machine, tree, &format!("{topology}/nodes/0"));
    for device in machine.devices() {
        gpu(machine, device, tree, &format!("{topology}/nodes/{}", device.node));
    }
}

/// Adds a file of names and numbers.
fn lines(tree: &mut Tree, path: &str, values: &[(&str, u64)]) {
    let text: Vec<String> = values.iter().map(|(name, value)| format!("{name} {value}")).collect();
    file(tree, path, text.join("\n"));
}

fn processor(machine: &Machine, tree: &mut Tree, at: &str) {
    let gpus = machine.devices().len() as u64;
    file(tree, format!("{at}/gpu_id"), 0);
    file(tree, format!("{at}/name"), "");
    lines(
        tree,
        &format!("{at}/properties"),
        &[
            ("cpu_cores_count", machine.processors.into()),
            ("simd_count", 0),
            ("mem_banks_count", 1),
            ("caches_count", 0),
            ("io_links_count", gpus),
            ("p2p_links_count", 0),
            ("cpu_core_id_base", 0),
            ("simd_id_base", 0),
            ("max_waves_per_simd", 0),
            ("lds_size_in_kb", 0),
            ("gds_size_in_kb", 0),
            ("num_gws", 0),
            ("wave_front_size", 0),
            ("array_count", 0),
            ("simd_arrays_per_engine", 0),
            ("cu_per_simd_array", 0),
            ("simd_per_cu", 0),
            ("max_slots_scratch_cu", 0),
            ("gfx_target_version", 0),
            ("vendor_id", 0),
            ("device_id", 0),
            ("location_id", 0),
            ("domain", 0),
            ("drm_render_minor", 0),
            ("hive_id", 0),
            ("num_sdma_engines", 0),
            ("num_sdma_xgmi_engines", 0),
            ("num_sdma_queues_per_engine", 0),
            ("num_cp_queues", 0),
            ("max_engine_clk_ccompute", 3000),
        ],
    );
    bank(tree, at, SYSTEM, machine.system_memory, 64, 3200);
    for (index, device) in machine.devices().iter().enumerate() {
        connection(tree, &format!("{at}/io_links/{index}"), 0, device.node, PCIE);
    }
}

fn gpu(machine: &Machine, device: &Device, tree: &mut Tree, at: &str) {
    let chip = &device.chip;
    // Links of XGMI are beside the one to the processor; those through PCI Express to other GPUs have a place of their own.
    let in_hive = |other: &&Device| device.hive != 0 && device.hive == other.hive;
    let others = || machine.devices().iter().filter(|other| other.node != device.node);
    let (hive, peers): (Vec<&Device>, Vec<&Device>) = others().partition(in_hive);
    let caches = caches(device);
    let location =
        u64::from(device.address.bus) << 8 | u64::from(device.address.device) << 3 | u64::from(device.address.function);
    let capability =
        CAPABILITY | if device.has_ecc() { ECC } else { 0 } | u64::from(chip.revision & 0xf) << REVISION_SHIFT;
    file(tree, format!("{at}/gpu_id"), device.gpu_id);
    file(tree, format!("{at}/name"), chip.name);
    lines(
        tree,
        &format!("{at}/properties"),
        &[
            ("cpu_cores_count", 0),
            ("simd_count", (device.compute_units * device.simds()).into()),
            ("mem_banks_count", 1),
            ("caches_count", caches.len() as u64),
            ("io_links_count", 1 + hive.len() as u64),
            ("p2p_links_count", peers.len() as u64),
            ("cpu_core_id_base", 0),
            ("simd_id_base", 0x8000_0000 + 0x1000 * u64::from(device.card)),
            ("max_waves_per_simd", device.waves().into()),
            ("lds_size_in_kb", if device.version() == (9, 5, 0) { 160 } else { 64 }),
            ("gds_size_in_kb", 0),
            ("num_gws", 64),
            ("wave_front_size", device.wavefront().into()),
            ("array_count", device.arrays().into()),
            ("simd_arrays_per_engine", chip.engines.1.into()),
            ("cu_per_simd_array", device.units_per_array().into()),
            ("simd_per_cu", device.simds().into()),
            ("max_slots_scratch_cu", 32),
            ("gfx_target_version", device.gfx_target_version().into()),
            ("vendor_id", 0x1002),
            ("device_id", device.device_id.into()),
            ("location_id", location),
            ("domain", device.address.domain.into()),
            ("drm_render_minor", device.render.into()),
            ("hive_id", device.hive),
            ("num_sdma_engines", if device.integrated { 1 } else { 2 }),
            ("num_sdma_xgmi_engines", 0),
            ("num_sdma_queues_per_engine", 8),
            ("num_cp_queues", 24),
            ("max_engine_clk_fcompute", chip.clock.into()),
            ("local_mem_size", 0),
            ("fw_version", 500),
            ("capability", capability),
            ("debug_prop", 1511),
            ("sdma_fw_version", 500),
            ("unique_id", device.unique_id),
            ("num_xcc", chip.dies.into()),
            ("max_engine_clk_ccompute", 3000),
        ],
    );
    bank(tree, at, PUBLIC, device.memory, chip.memory.1, chip.memory.0);
    for (index, cache) in caches.iter().enumerate() {
        lines(
            tree,
            &format!("{at}/caches/{index}/properties"),
            &[
                ("processor_id_low", cache.unit.into()),
                ("level", cache.level.into()),
                ("size", cache.size.into()),
                ("cache_line_size", if device.major() < 10 { 64 } else { 128 }),
                ("cache_lines_per_tag", 1),
                ("association", 16),
                ("latency", 1),
                ("type", cache.kind.into()),
                ("sibling_map", 1),
            ],
        );
    }
    connection(tree, &format!("{at}/io_links/0"), device.node, 0, PCIE);
    for (index, peer) in (1..).zip(&hive) {
        connection(tree, &format!("{at}/io_links/{index}"), device.node, peer.node, XGMI);
    }
    for (index, peer) in peers.iter().enumerate() {
        connection(tree, &format!("{at}/p2p_links/{index}"), device.node, peer.node, PCIE);
    }
}

/// Adds a node's memory, in bytes; the width of its bus in bits and its clock in MHz.
fn bank(tree: &mut Tree, at: &str, heap: u32, size: u64, width: u32, clock: u32) {
    lines(
        tree,
        &format!("{at}/mem_banks/0/properties"),
        &[
            ("heap_type", heap.into()),
            ("size_in_bytes", size),
            ("flags", 0),
            ("width", width.into()),
            ("mem_clk_max", clock.into()),
        ],
    );
}

fn connection(tree: &mut Tree, at: &str, from: u32, to: u32, kind: u32) {
    lines(
        tree,
        &format!("{at}/properties"),
        &[
            ("type", kind.into()),
            ("version_major", 0),
            ("version_minor", 0),
            ("node_from", from.into()),
            ("node_to", to.into()),
            ("weight", if kind == XGMI { 15 } else { 20 }),
            ("min_latency", 0),
            ("max_latency", 0),
            ("min_bandwidth", 312),
            ("max_bandwidth", 32_000),
            ("recommended_transfer_size", 0),
            ("recommended_sdma_engine_id_mask", 0),
            ("flags", LINK_FLAGS.into()),
        ],
    );
}

struct Cache {
    /// Number of the first compute unit that has it.
    unit: u32,
    level: u32,
    /// In KiB.
    size: u32,
    kind: u32,
}

/// The caches of a GPU: two small ones for each compute unit or pair, and those that all share.
fn caches(device: &Device) -> Vec<Cache> {
    let (first, second, third) = device.chip.caches;
    let base = 0x8000_0000 + 0x1000 * device.card;
    let units = (0..device.compute_units).map(|unit| base + unit * device.simds());
    let mut caches: Vec<Cache> = units.map(|unit| Cache { unit, level: 1, size: first, kind: DATA }).collect();
    let pairs = (0..device.compute_units).step_by(2).map(|unit| base + unit * device.simds());
    caches.extend(pairs.map(|unit| Cache { unit, level: 1, size: 32, kind: INSTRUCTION }));
    caches.push(Cache { unit: base, level: 2, size: second, kind: DATA });
    if third > 0 {
        caches.push(Cache { unit: base, level: 3, size: third, kind: DATA });
    }
    caches
}
