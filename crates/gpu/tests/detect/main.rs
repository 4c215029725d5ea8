//! Tests with whole machines, from a laptop to one with eight accelerators.

mod boards;
mod machine;
mod starts;

use std::collections::BTreeSet;

use gpu::{Inventory, KfdProbe, Names, ReasonKind, detect};
use machine::Machine;
use proptest::prelude::*;

const GIB: u64 = 1 << 30;

/// Properties that a Navi 21 has, at bus 3.
const NAVI_21: [(&str, u64); 9] = [
    ("cpu_cores_count", 0),
    ("simd_count", 160),
    ("simd_per_cu", 2),
    ("gfx_target_version", 100_300),
    ("vendor_id", 4098),
    ("device_id", 0x73bf),
    ("location_id", 0x0300),
    ("domain", 0),
    ("drm_render_minor", 128),
];

fn targets(inventory: &Inventory) -> Vec<String> {
    inventory.gpus.iter().map(|gpu| gpu.target.to_string()).collect()
}

fn reasons(inventory: &Inventory) -> Vec<ReasonKind> {
    inventory.unusable.iter().flat_map(|gpu| &gpu.reasons).map(|reason| reason.kind).collect()
}

#[test]
fn a_processor_with_graphics_and_a_card() {
    let machine = Machine::with_amdgpu();
    machine.node(1, &NAVI_21);
    machine.memory(1, 16 * GIB);
    machine.node(
        2,
        &[
            ("simd_count", 4),
            ("simd_per_cu", 2),
            ("gfx_target_version", 100_306),
            ("device_id", 0x164e),
            ("location_id", 0x0f00),
            ("drm_render_minor", 129),
        ],
    );
    machine.card(
        "0000:03:00.0",
        0x73bf,
        &[
            ("fw_version/mec_fw_version", "0x0000005c"),
            ("fw_version/sos_fw_version", "0x00210f62"),
            ("fw_version/uvd_fw_version", "0x00000000"),
            ("vbios_version", "113-D4120500-101"),
            ("unique_id", "0a1b2c3d4e5f6071"),
            ("mem_info_gtt_total", "16000000000"),
            ("current_link_speed", "2.5 GT/s PCIe"),
            ("max_link_speed", "16.0 GT/s PCIe"),
            ("current_link_width", "8"),
            ("max_link_width", "16"),
        ],
    );
    machine.card("0000:0f:00.0", 0x164e, &[("mem_info_vram_total", "536870912")]);
    // Its sound: same card, no GPU.
    machine.device("0000:03:00.1", "0x040300", 0x1002, 0xab28, Some("snd_hda_intel"), &[]);

    let inventory = machine.detect();
    assert_eq!(targets(&inventory), ["gfx1030", "gfx1036"]);
    assert!(inventory.unusable.is_empty() && inventory.notes.is_empty() && !inventory.simulated);
    let (card, processor) = (&inventory.gpus[0], &inventory.gpus[1]);
    assert_eq!((card.integrated, card.memory, card.compute_units), (false, 16 * GIB, 80));
    assert_eq!((processor.integrated, processor.memory, processor.compute_units), (true, GIB / 2, 2));
    assert_eq!((card.id.as_str(), card.name.as_str()), ("0000:03:00.0", "AMD Navi 21"));
    assert_eq!(card.render_node.as_deref(), Some("/dev/dri/renderD128"));
    assert_eq!(card.pci_id.as_deref(), Some("1002:73bf"));
    assert_eq!(card.subsystem.as_deref(), Some("1da2:0e3a"));
    assert_eq!(card.unique_id.as_deref(), Some("0a1b2c3d4e5f6071"));
    let firmware: Vec<_> = card.firmware.iter().map(|(name, version)| format!("{name} {version}")).collect();
    assert_eq!(firmware, ["mec 0x0000005c", "sos 0x00210f62", "vbios 113-D4120500-101"]);
    assert!(card.hints[0].starts_with("only 8 of its 16 PCIe lanes"), "{:?}", card.hints);
    assert_eq!(inventory.matching("gfx10-3-generic".parse().unwrap()).count(), 2);
    assert_eq!(inventory.matching("gfx1030".parse().unwrap()).count(), 1);
}

#[test]
fn eight_accelerators_in_two_hives() {
    let machine = Machine::with_amdgpu();
    machine.node(1, &[("cpu_cores_count", 16), ("simd_count", 0), ("gfx_target_version", 0)]);
    for index in 0..8_u32 {
        let bus = 0x10 + index;
        let hive = if index < 4 { 0xaaaa_0000_0000_0001 } else { 0xbbbb_0000_0000_0002 };
        machine.node(
            2 + index,
            &[
                ("simd_count", 416),
                ("simd_per_cu", 4),
                ("gfx_target_version", 90_010),
                ("device_id", 0x740f),
                ("location_id", u64::from(bus) << 8),
                ("drm_render_minor", u64::from(128 + index)),
                ("hive_id", hive),
                ("capability", 1 << 26),
                ("unique_id", 0x1900_0000_0000_0000 + u64::from(index)),
                ("fw_version", 92),
                ("sdma_fw_version", 9),
            ],
        );
        machine.memory(2 + index, 64 * GIB);
        let socket = if index < 4 { "0" } else { "1" };
        machine.card(&format!("0000:{bus:02x}:00.0"), 0x740f, &[("numa_node", socket)]);
    }

    let inventory = machine.detect();
    assert_eq!(targets(&inventory), ["gfx90a:sramecc+"; 8]);
    assert_eq!(inventory.gpus.iter().map(|gpu| gpu.numa_node).collect::<Vec<_>>()[3..5], [Some(0), Some(1)]);
    let third = &inventory.gpus[2];
    let xgmi = third.xgmi.as_ref().unwrap();
    assert_eq!(xgmi.hive.as_deref(), Some("aaaa000000000001"));
    assert_eq!(xgmi.siblings, ["0000:10:00.0", "0000:11:00.0", "0000:13:00.0"]);
    assert_eq!(third.unique_id.as_deref(), Some("1900000000000002"));
    assert_eq!(third.compute_units, 104);
    assert_eq!(third.firmware["mec"], "0x0000005c");
    assert_eq!(third.partition, None);
    assert_eq!(inventory.gpus[7].render_node.as_deref(), Some("/dev/dri/renderD135"));
}

#[test]
fn links_tell_of_hives_that_have_no_number() {
    let machine = Machine::with_amdgpu();
    for (node, bus) in [(1, 0x0300), (2, 0x0400), (3, 0x0500)] {
        let properties = [("simd_count", 4), ("simd_per_cu", 4), ("gfx_target_version", 90_006), ("location_id", bus)];
        machine.node(node, &properties);
    }
    machine.link(1, 0, 0, 2);
    machine.link(1, 1, 2, 11);
    machine.link(2, 1, 1, 11);
    let inventory = machine.detect();
    assert_eq!(inventory.gpus[0].xgmi.as_ref().unwrap().siblings, ["0000:04:00.0"]);
    assert_eq!(inventory.gpus[2].xgmi, None);
}

#[test]
fn two_nodes_in_the_same_place_still_have_names_of_their_own() {
    let machine = Machine::with_amdgpu();
    machine.node(1, &NAVI_21);
    machine.node(2, &NAVI_21);
    let inventory = machine.detect();
    let ids: Vec<_> = inventory.gpus.iter().map(|gpu| gpu.id.as_str()).collect();
    assert_eq!(ids, ["0000:03:00.0+node1", "0000:03:00.0+node2"]);
    assert_eq!(inventory.gpus[0].partition, None);
}

/// Partitions with these locations, which have the partition's number in one of two ways.
fn partitions(locations: &[u64]) -> Inventory {
    let machine = Machine::with_amdgpu();
    for (index, location) in (1..).zip(locations) {
        machine.node(
            index,
            &[
                ("simd_count", 152),
                ("simd_per_cu", 4),
                ("gfx_target_version", 90_402),
                ("device_id", 0x74a1),
                ("location_id", *location),
                ("drm_render_minor", u64::from(127 + index)),
                ("hive_id", 7),
            ],
        );
    }
    let attributes = [("current_compute_partition", "DPX"), ("current_memory_partition", "NPS1")];
    machine.device("0000:c1:00.0", "0x120000", 0x1002, 0x74a1, Some("amdgpu"), &attributes);
    machine.detect()
}

#[test]
fn partitions_are_told_apart_and_know_each_other() {
    for locations in [[0xc100, 0x1000_c100], [0xc100, 0xc101]] {
        let inventory = partitions(&locations);
        assert!(inventory.unusable.is_empty(), "{inventory}");
        let ids: Vec<_> = inventory.gpus.iter().map(|gpu| gpu.id.as_str()).collect();
        assert_eq!(ids, ["0000:c1:00.0/0", "0000:c1:00.0/1"]);
        let second = inventory.gpus[1].partition.as_ref().unwrap();
        assert_eq!((second.index, second.compute.as_deref(), second.memory.as_deref()), (1, Some("DPX"), Some("NPS1")));
        assert_eq!(second.siblings, ["0000:c1:00.0/0"]);
        // They are in one hive, but that is no link between GPUs.
        assert_eq!(inventory.gpus[1].xgmi, None);
        assert_eq!(inventory.gpus[1].render_node.as_deref(), Some("/dev/dri/renderD129"));
    }
    assert_eq!(partitions(&[0xc100]).gpus[0].partition, None);
}

#[test]
fn a_laptop_without_amdgpu() {
    let machine = Machine::new();
    machine.device("0000:00:02.0", "0x030000", 0x8086, 0x9a49, Some("i915"), &[]);
    machine.device("0000:01:00.0", "0x030200", 0x10de, 0x2684, None, &[]);
    let mut sources = machine.sources();
    sources.names = Names::new("10de  NVIDIA Corporation\n\t2684  AD102 [GeForce RTX 4090]\n");
    let inventory = detect(&sources);
    assert!(inventory.gpus.is_empty());
    assert_eq!(reasons(&inventory), [ReasonKind::OtherVendor, ReasonKind::OtherVendor]);
    assert_eq!(inventory.unusable[0].name, "Intel GPU [8086:9a49]");
    assert_eq!(inventory.unusable[1].name, "NVIDIA Corporation AD102 [GeForce RTX 4090] [10de:2684]");
    assert_eq!(inventory.unusable[0].likely_target, None);
}

#[test]
fn a_machine_without_anything() {
    let inventory = Machine::new().detect();
    assert_eq!(inventory.notes, ["there is no GPU on the PCI buses of this machine"]);
    assert!(inventory.to_string().starts_with("No GPU that ROCm can use.\n"));
}

#[test]
fn kfd_is_there_but_not_the_gpu() {
    let mut machine = Machine::with_amdgpu();
    machine.card("0000:03:00.0", 0x7341, &[]);
    machine.log("kfd kfd: amdgpu: skipped device 1002:7341, PCI rejects atomics 123<145\n");
    let inventory = machine.detect();
    assert_eq!(reasons(&inventory), [ReasonKind::NoPcieAtomics]);
    let text = inventory.to_string();
    assert!(text.contains("0000:03:00.0  AMD Navi 14, probably gfx1012"), "{text}");
    assert!(text.contains("| kfd kfd: amdgpu: skipped device"), "{text}");
}

#[test]
fn amdgpu_in_a_kernel_without_kfd() {
    let machine = Machine::new();
    machine.file("module/amdgpu/initstate", "live\n");
    machine.card("0000:03:00.0", 0x73bf, &[]);
    assert_eq!(reasons(&machine.detect()), [ReasonKind::NoKfd]);
}

#[test]
fn one_card_works_and_its_twin_does_not_start() {
    let mut machine = Machine::with_amdgpu();
    machine.node(1, &NAVI_21);
    machine.card("0000:03:00.0", 0x73bf, &[]);
    machine.device("0000:0a:00.0", "0x030000", 0x1002, 0x73bf, None, &[("power_state", "D3cold")]);
    machine.log("6,1,1,-;amdgpu 0000:0a:00.0: Unable to change power state from D3cold to D0, device inaccessible\n");
    let inventory = machine.detect();
    assert_eq!(targets(&inventory), ["gfx1030"]);
    assert_eq!(reasons(&inventory), [ReasonKind::StuckInD3cold]);
    assert_eq!(inventory.unusable[0].likely_target.unwrap().to_string(), "gfx1030");
}

#[test]
fn a_gpu_that_amdgpu_has_sent_to_sleep_is_usable() {
    let machine = Machine::with_amdgpu();
    machine.node(1, &NAVI_21);
    machine.card("0000:03:00.0", 0x73bf, &[("power_state", "D3cold")]);
    let inventory = machine.detect();
    assert_eq!((targets(&inventory), reasons(&inventory)), (vec!["gfx1030".to_owned()], vec![]));
}

#[test]
fn old_kernels_do_not_tell_targets_but_chips_have_numbers() {
    let machine = Machine::with_amdgpu();
    let vega = [("simd_count", 256), ("simd_per_cu", 4), ("location_id", 0x2600), ("local_mem_size", 16 * GIB)];
    machine.node(1, &[&vega[..], &[("device_id", 0x6860)]].concat());
    machine.node(2, &[("simd_count", 8), ("simd_per_cu", 4), ("device_id", 0x9999), ("location_id", 0x2700)]);
    let inventory = machine.detect();
    assert_eq!(targets(&inventory), ["gfx900"]);
    assert_eq!(inventory.gpus[0].memory, 16 * GIB);
    assert_eq!(reasons(&inventory), [ReasonKind::UnknownTarget]);
    assert!(inventory.unusable[0].reasons[0].message.contains("too old"));
}

#[test]
fn a_kernel_that_has_no_target_for_a_gpu() {
    let machine = Machine::with_amdgpu();
    machine.node(1, &[("simd_count", 8), ("gfx_target_version", 0), ("device_id", 0x73bf), ("location_id", 0x300)]);
    let inventory = machine.detect();
    assert_eq!(reasons(&inventory), [ReasonKind::UnknownTarget]);
    assert_eq!(inventory.unusable[0].likely_target.unwrap().to_string(), "gfx1030");
}

#[test]
fn a_processor_and_its_graphics_in_one_node() {
    let machine = Machine::new();
    machine.node(
        0,
        &[
            ("cpu_cores_count", 8),
            ("simd_count", 40),
            ("simd_per_cu", 4),
            ("gfx_target_version", 90_002),
            ("location_id", 0x0600),
        ],
    );
    let inventory = machine.detect();
    assert_eq!(targets(&inventory), ["gfx902"]);
    assert!(inventory.gpus[0].integrated);
}

#[test]
fn half_written_and_hostile_files() {
    let mut machine = Machine::with_amdgpu();
    let at = "class/kfd/kfd/topology/nodes";
    // Cut in the number that matters; the target must not become gfx103.
    machine.node(1, &NAVI_21);
    machine.file(&format!("{at}/1/properties"), "simd_count 160\nsimd_per_cu 2\ngfx_target_version 1003");
    // Cut elsewhere.
    machine.node(2, &NAVI_21);
    machine
        .file(&format!("{at}/2/properties"), "simd_count 8\ngfx_target_version 110000\nsimd_per_cu 4\nlocation_id 10");
    // Without properties.
    machine.file(&format!("{at}/3/gpu_id"), "20003\n");
    // Nothing but noise, and numbers that are too large.
    machine.file(&format!("{at}/4/properties"), "\0\u{1}\u{2}\u{1b}[2Jsimd_count\n\n= = =\n");
    machine.file(&format!("{at}/5/properties"), "simd_count 18446744073709551615\nsimd_per_cu 0\nlocation_id 18446744073709551615\ndomain 99999999999\ndrm_render_minor 4294967296\ngfx_target_version 110001\ndevice_id 70000\n");
    machine.file(&format!("{at}/x/properties"), "simd_count 8\n");
    // A directory and a pipe where files should be.
    std::fs::create_dir_all(machine.path(&format!("{at}/6/properties"))).unwrap();
    machine.file(&format!("{at}/7/gpu_id"), "0\n");
    let pipe = machine.path(&format!("{at}/7/properties"));
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    // A GPU whose name and driver try to write to the terminal.
    machine.card("0000:0b:00.0", 0x0001, &[("product_name", "Evil\u{1b}[2J card"), ("unique_id", "../../etc")]);
    machine.file("bus/pci/devices/nonsense/class", "0x030000\n");
    machine.log("amdgpu 0000:0b:00.0: \u{1b}[2J firmware amdgpu/a.bin failed\n");

    let inventory = machine.detect();
    assert_eq!(targets(&inventory), ["gfx1100", "gfx1101"]);
    assert_eq!(inventory.gpus[1].compute_units, 0);
    let mut kinds = reasons(&inventory);
    kinds.sort_by_key(|kind| format!("{kind:?}"));
    assert_eq!(kinds, [ReasonKind::AccessDenied, ReasonKind::AccessDenied, ReasonKind::BrokenTopology]);
    let text = inventory.to_string();
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert!(text.contains("note: node 7 of KFD's topology can't be read: not a regular file"), "{text}");
    assert!(text.contains("note: some of what node 1 of KFD's topology says is damaged"), "{text}");
}

struct Refuses(std::io::ErrorKind);

impl KfdProbe for Refuses {
    fn open(&self) -> std::io::Result<()> {
        Err(self.0.into())
    }
}

#[test]
fn dev_kfd_is_opened_to_see_who_may_use_it() {
    let machine = Machine::with_amdgpu();
    let notes = |kind| {
        let mut sources = machine.sources();
        sources.kfd = Some(Box::new(Refuses(kind)));
        detect(&sources).notes.join("\n")
    };
    // Without a GPU the kernel refuses, as expected.
    assert!(!notes(std::io::ErrorKind::InvalidInput).contains("/dev/kfd"));
    machine.node(1, &NAVI_21);
    assert!(notes(std::io::ErrorKind::PermissionDenied).contains("add the user to the group render"));
    assert!(notes(std::io::ErrorKind::WouldBlock).contains("reset"));
    assert!(notes(std::io::ErrorKind::NotFound).contains("devtmpfs"));
}

#[test]
fn json_keeps_its_field_names_and_is_read_again() {
    let machine = Machine::with_amdgpu();
    machine.node(1, &NAVI_21);
    machine.card("0000:03:00.0", 0x73bf, &[]);
    machine.device("0000:04:00.0", "0x038000", 0x1002, 0x7550, None, &[]);
    let inventory = machine.detect();
    let json = serde_json::to_value(&inventory).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "gpus": [{
                "id": "0000:03:00.0",
                "target": "gfx1030",
                "name": "AMD Navi 21",
                "pci-address": "0000:03:00.0",
                "pci-id": "1002:73bf",
                "subsystem": "1da2:0e3a",
                "integrated": false,
                "memory": 0,
                "compute-units": 80,
                "render-node": "/dev/dri/renderD128",
                "kfd-node": 1,
                "simulated": false,
            }],
            "unusable": [{
                "name": "AMD Navi 48",
                "pci-address": "0000:04:00.0",
                "pci-id": "1002:7550",
                "likely-target": "gfx1201",
                "reasons": [{
                    "kind": "no-driver",
                    "message": "no driver has it, although amdgpu is loaded",
                    "remedy": "use a newer kernel: this one's amdgpu may not know Navi 48; else look for 0000:04:00.0 in the kernel's log",
                }],
            }],
            "simulated": false,
        })
    );
    assert_eq!(serde_json::from_value::<Inventory>(json).unwrap(), inventory);
}

/// Properties that a kernel could write, or almost.
fn properties() -> impl Strategy<Value = String> {
    let names = [
        "simd_count",
        "simd_per_cu",
        "gfx_target_version",
        "device_id",
        "location_id",
        "domain",
        "drm_render_minor",
        "hive_id",
        "unique_id",
        "capability",
        "local_mem_size",
        "fw_version",
        "cpu_cores_count",
    ];
    let values = prop_oneof![
        Just("0".to_owned()),
        any::<u64>().prop_map(|value| value.to_string()),
        prop::sample::select(&["100300", "90402", "29857", "768", "49408", "49409", "268484864"][..])
            .prop_map(str::to_owned),
        "\\PC{0,6}",
    ];
    let line = (prop::sample::select(names.to_vec()), values).prop_map(|(name, value)| format!("{name} {value}\n"));
    (prop::collection::vec(line, 0..14), "|\\PC{0,9}").prop_map(|(lines, tail)| lines.concat() + &tail)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_machine_says_gpus_have_ids_and_unusable_ones_have_reasons(
        nodes in prop::collection::vec(properties(), 0..5),
        devices in prop::collection::vec((0..4_u8, "0x0[0-9]0[0-9]00|0x120000|\\PC{0,9}", "0x1002|0x10de|\\PC{0,9}", "\\PC{0,9}"), 0..4),
        log in "(amdgpu 0000:c1:00\\.0: |firmware amdgpu/x\\.bin |failed with error -2|D3cold|probe|[0-9]{1,3}|\n){0,12}",
    ) {
        let mut machine = Machine::new();
        for (index, text) in nodes.iter().enumerate() {
            machine.file(&format!("class/kfd/kfd/topology/nodes/{index}/properties"), text);
        }
        for (function, class, vendor, attribute) in &devices {
            let address = format!("0000:c1:00.{function}");
            machine.device(&address, class, 0x1002, 0x74a1, None, &[
                ("vendor", vendor),
                ("product_name", attribute),
                ("current_link_width", attribute),
                ("aer_dev_fatal", attribute),
                ("config", attribute),
            ]);
        }
        machine.log(&log);

        let inventory = machine.detect();
        let ids: BTreeSet<_> = inventory.gpus.iter().map(|gpu| &gpu.id).collect();
        prop_assert_eq!(ids.len(), inventory.gpus.len());
        prop_assert!(inventory.unusable.iter().all(|gpu| !gpu.reasons.is_empty()));
        let text = inventory.to_string();
        prop_assert!(!text.contains(|char: char| char.is_control() && char != '\n'), "{:?}", text);
        let json = serde_json::to_string(&inventory).unwrap();
        prop_assert_eq!(serde_json::from_str::<Inventory>(&json).unwrap(), inventory);
    }
}
