//! Machines from public reports, in the form of their own sysfs.

use super::*;

fn node(
    target: u64,
    device: u64,
    location: u64,
    domain: u64,
    more: &[(&'static str, u64)],
) -> Vec<(&'static str, u64)> {
    let mut properties = vec![
        ("cpu_cores_count", 0),
        ("simd_count", 48),
        ("simd_per_cu", 2),
        ("gfx_target_version", target),
        ("device_id", device),
        ("location_id", location),
        ("domain", domain),
        ("drm_render_minor", 128),
    ];
    properties.extend(more);
    properties
}

#[test]
fn a_gpu_alone_in_its_domain_is_one_gpu() {
    let machine = Machine::with_amdgpu();
    machine.node(1, &node(110_001, 0x7461, 0, 2, &[]));
    machine.card("0002:00:00.0", 0x7461, &[]);
    machine.device("0000:00:08.0", "0x030000", 0x1414, 0x5353, Some("hyperv_drm"), &[]);
    let inventory = machine.detect();
    assert_eq!(targets(&inventory), ["gfx1101"]);
    assert_eq!(inventory.gpus[0].id, "0002:00:00.0");
    assert_eq!(reasons(&inventory), [ReasonKind::OtherVendor]);
}

#[test]
fn the_link_is_the_slots_and_not_the_one_inside_the_card() {
    let machine = Machine::with_amdgpu();
    machine.node(1, &node(100_302, 0x73ff, 0x1200, 0, &[]));
    machine.card(
        "0000:12:00.0",
        0x73ff,
        &[
            ("current_link_speed", "16.0 GT/s PCIe"),
            ("max_link_speed", "16.0 GT/s PCIe"),
            ("current_link_width", "16"),
            ("max_link_width", "16"),
            ("pp_dpm_pcie", "0: 2.5GT/s, x1 81Mhz \n1: 8.0GT/s, x8 619Mhz *"),
        ],
    );
    let link = machine.detect().gpus.remove(0).link.unwrap();
    assert_eq!((link.width, link.max_width, link.speed.as_str()), (8, 8, "8.0 GT/s PCIe"));
}

#[test]
fn processors_are_known_as_such_with_and_without_a_row_in_the_table() {
    for (target, device, name) in
        [(100_103, 0x13fe, "gfx1013"), (100_303, 0x1435, "gfx1033"), (110_504, 0xfff0, "gfx1154")]
    {
        let machine = Machine::with_amdgpu();
        machine.node(1, &node(target, device, 0x0400, 0, &[]));
        machine.memory(1, 32 * GIB);
        machine.card(
            "0000:04:00.0",
            u16::try_from(device).unwrap(),
            &[
                ("mem_info_vram_total", "536870912"),
                ("current_link_speed", "8.0 GT/s PCIe"),
                ("max_link_speed", "16.0 GT/s PCIe"),
                ("current_link_width", "8"),
                ("max_link_width", "16"),
            ],
        );
        let gpu = machine.detect().gpus.remove(0);
        assert_eq!((gpu.target.to_string().as_str(), gpu.integrated, gpu.compute_units), (name, true, 24));
        assert!(gpu.hints.is_empty(), "{:?}", gpu.hints);
        assert_eq!((gpu.memory, gpu.shared_memory), (GIB / 2, Some(32 * GIB)), "{name}: what it shares is not its own");
    }
}

#[test]
fn an_old_kernel_names_no_target_but_the_chip_is_known() {
    let machine = Machine::with_amdgpu();
    machine.node(
        0,
        &[("cpu_cores_count", 4), ("simd_count", 32), ("simd_per_cu", 4), ("device_id", 0x9874), ("location_id", 8)],
    );
    machine.card("0000:00:01.0", 0x9874, &[]);
    let gpu = machine.detect().gpus.remove(0);
    assert_eq!((gpu.target.to_string().as_str(), gpu.integrated, gpu.compute_units), ("gfx801", true, 8));
}

#[test]
fn a_copy_without_links_has_them_as_text() {
    let mut machine = Machine::with_amdgpu();
    machine.device("0000:02:00.0", "0x030000", 0x1002, 0x67ff, None, &[("driver", "../../drivers/amdgpu")]);
    machine.log("[ 2.7] amdgpu 0000:02:00.0: kfd not supported on this ASIC\n");
    assert_eq!(reasons(&machine.detect()), [ReasonKind::UnsupportedByKfd]);
}

#[test]
fn a_gpu_that_sleeps_for_good_is_of_no_use_though_kfd_has_it() {
    let sleeping = |state: &str, log: &str| {
        let mut machine = Machine::with_amdgpu();
        machine.node(1, &node(110_000, 0x745e, 0x0a00, 0, &[]));
        machine.card("0000:0a:00.0", 0x745e, &[("power_state", state)]);
        machine.log(log);
        machine.detect()
    };
    let log = "[13908.0] amdgpu 0000:0a:00.0: Unable to change power state from D3cold to D0, device inaccessible\n";
    let inventory = sleeping("D3cold", log);
    assert!(inventory.gpus.is_empty());
    assert_eq!(reasons(&inventory), [ReasonKind::StuckInD3cold]);
    assert_eq!(inventory.unusable[0].reasons[0].evidence.len(), 1);
    assert_eq!(sleeping("D3cold", "").gpus.len(), 1, "the driver let it sleep");
    assert_eq!(sleeping("D0", log).gpus.len(), 1, "it woke up after all");
}
