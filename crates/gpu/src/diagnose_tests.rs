use super::*;

fn gpu() -> PciGpu {
    PciGpu {
        address: "0000:03:00.0".parse().unwrap(),
        class: 0x03_0000,
        vendor: 0x1002,
        device: 0x73bf,
        subsystem: None,
        driver: None,
        power_state: Some("D0".into()),
        link: None,
        errors: None,
        atomics: None,
        memory: None,
        shared_memory: None,
        firmware: std::collections::BTreeMap::new(),
        product: None,
        unique_id: None,
        xgmi_id: None,
        hive: None,
        partitioning: None,
        render_nodes: Vec::new(),
        numa_node: None,
    }
}

fn bound() -> PciGpu {
    PciGpu { driver: Some("amdgpu".into()), ..gpu() }
}

/// amdgpu is loaded and KFD has no GPU.
fn host(log: &str) -> HostState {
    HostState { amdgpu_loaded: true, kfd_present: true, log: KernelLog::parse(log), ..HostState::default() }
}

fn kinds(gpu: &PciGpu, host: &HostState) -> Vec<ReasonKind> {
    diagnose(gpu, host).iter().map(|reason| reason.kind).collect()
}

#[test]
fn a_card_of_another_vendor_is_no_fault() {
    let reasons = diagnose(&PciGpu { vendor: 0x10de, driver: Some("nouveau".into()), ..gpu() }, &host(""));
    assert_eq!(reasons.len(), 1);
    assert_eq!(reasons[0].kind, ReasonKind::OtherVendor);
    assert!(reasons[0].remedy.starts_with("nothing is wrong with it"));
}

#[test]
fn no_driver_and_no_word_about_it() {
    let reasons = diagnose(&gpu(), &HostState::default());
    assert_eq!(reasons[0].message, "no driver has it, and amdgpu is not loaded");
    assert!(reasons[0].remedy.contains("modprobe amdgpu"));
    let reasons = diagnose(&gpu(), &host(""));
    assert_eq!(reasons[0].message, "no driver has it, although amdgpu is loaded");
    assert!(reasons[0].remedy.contains("Navi 21"));
}

#[test]
fn missing_firmware_is_listed_once_and_explains_the_failed_probe() {
    let log = "\
amdgpu 0000:03:00.0: Direct firmware load for amdgpu/sienna_cichlid_ta.bin failed with error -2
amdgpu 0000:03:00.0: Direct firmware load for amdgpu/sienna_cichlid_sos.bin failed with error -2
amdgpu 0000:03:00.0: amdgpu: fail to load psp firmware \"amdgpu/sienna_cichlid_sos.bin\" failed
amdgpu 0000:03:00.0: amdgpu: Fatal error during GPU init
amdgpu 0000:03:00.0: probe with driver amdgpu failed with error -2
amdgpu 0000:0a:00.0: Direct firmware load for amdgpu/other_card.bin failed with error -2
";
    let reasons = diagnose(&gpu(), &host(log));
    assert_eq!(reasons.len(), 1);
    assert_eq!(
        reasons[0].message, "its firmware amdgpu/sienna_cichlid_sos.bin is missing",
        "the driver does without the other one"
    );
    assert!(reasons[0].remedy.contains("firmware-amd-graphics"));
    assert_eq!(reasons[0].evidence.len(), 2);
}

#[test]
fn a_probe_that_fails_is_explained_by_its_number() {
    let log = "amdgpu 0000:03:00.0: probe with driver amdgpu failed with error -110";
    let reasons = diagnose(&gpu(), &host(log));
    assert_eq!(reasons[0].message, "amdgpu could not start it (error -110): it did not answer in time");
    assert_eq!(reasons[0].evidence, [log]);
    let log = "pci 0000:03:00.0: BAR 0 [mem size 0x400000000 64bit pref]: can't assign; no space\n\
               amdgpu 0000:03:00.0: Fatal error during GPU init";
    assert_eq!(kinds(&gpu(), &host(log)), [ReasonKind::NoAddressSpace]);
    let log = "amdgpu 0000:03:00.0: [drm:amdgpu_get_bios [amdgpu]] *ERROR* Unable to locate a BIOS ROM\n\
               amdgpu 0000:03:00.0: Fatal error during GPU init";
    assert_eq!(kinds(&gpu(), &host(log)), [ReasonKind::NoVideoBios]);
}

#[test]
fn a_gpu_that_sleeps_for_ever() {
    let asleep = PciGpu { power_state: Some("D3cold".into()), ..gpu() };
    assert_eq!(kinds(&asleep, &host("")), [ReasonKind::StuckInD3cold]);
    let log = "amdgpu 0000:03:00.0: Unable to change power state from D3cold to D0, device inaccessible\n\
               amdgpu 0000:03:00.0: probe with driver amdgpu failed with error -22";
    let reasons = diagnose(&gpu(), &host(log));
    assert_eq!(reasons[0].kind, ReasonKind::StuckInD3cold);
    assert_eq!(reasons[0].evidence.len(), 1);
    assert!(reasons[0].remedy.contains("mains"));
}

#[test]
fn lockdown_counts_only_if_a_module_was_refused_and_amdgpu_is_not_there() {
    let locked =
        |log: &str, amdgpu_loaded| HostState { amdgpu_loaded, lockdown: Some(Lockdown::Integrity), ..host(log) };
    let log = "Lockdown: modprobe: unsigned module loading is restricted; see man kernel_lockdown.7";
    let reasons = diagnose(&gpu(), &locked(log, false));
    assert_eq!(reasons.len(), 1);
    assert!(reasons[0].message.contains("(lockdown: integrity)"), "{}", reasons[0].message);
    assert_eq!(kinds(&gpu(), &locked(log, true)), [ReasonKind::NoDriver]);
    assert_eq!(kinds(&gpu(), &locked("", false)), [ReasonKind::NoDriver]);
}

#[test]
fn nomodeset() {
    let log = "[    0.000000] Command line: BOOT_IMAGE=/vmlinuz root=/dev/sda1 nomodeset";
    assert_eq!(kinds(&gpu(), &host(log)), [ReasonKind::ModesettingOff]);
}

#[test]
fn other_drivers_are_named_with_the_way_to_be_rid_of_them() {
    let with = |driver: &str| diagnose(&PciGpu { driver: Some(driver.into()), ..gpu() }, &host("")).remove(0);
    assert!(with("vfio-pci").remedy.contains("vfio-pci.ids="));
    assert!(with("radeon").message.contains("too old"));
    assert!(with("bochs-drm").remedy.contains("module_blacklist=bochs-drm"));
}

#[test]
fn kfd_says_which_chips_it_does_not_support() {
    let log = "amdgpu 0000:03:00.0: enabling device (0006 -> 0007)\nkfd kfd: amdgpu: TAHITI  not supported in kfd";
    let reasons = diagnose(&bound(), &host(log));
    assert_eq!(reasons.len(), 1);
    assert!(reasons[0].message.contains("(TAHITI)"));
}

#[test]
fn what_kfd_says_right_after_a_working_gpu_is_about_the_other_one() {
    let log = "amdgpu 0000:0a:00.0: enabling device\nkfd kfd: amdgpu: TAHITI  not supported in kfd";
    let working = vec!["0000:0a:00.0".parse().unwrap()];
    assert_eq!(kinds(&bound(), &HostState { working, ..host(log) }), [ReasonKind::UnsupportedByKfd]);
    assert_eq!(kinds(&bound(), &host(log)), [ReasonKind::NotInTopology]);
}

#[test]
fn missing_atomics_with_and_without_firmware_that_helps() {
    let reasons = diagnose(&bound(), &host("kfd kfd: amdgpu: skipped device 1002:73bf, PCI rejects atomics 60<92"));
    assert_eq!(reasons[0].kind, ReasonKind::NoPcieAtomics);
    assert!(reasons[0].remedy.contains("firmware (MEC) 92 or newer"), "{}", reasons[0].remedy);
    let reasons = diagnose(&bound(), &host("kfd kfd: amdgpu: skipped device 1002:73bf, PCI rejects atomics 730<0"));
    assert!(reasons[0].remedy.starts_with("put the card into a slot"));
    // Nothing in the log, but the register shows it.
    let reasons = diagnose(&PciGpu { atomics: Some(false), ..bound() }, &host(""));
    assert!(reasons[0].message.contains("probably"));
}

#[test]
fn amdgpu_without_kfd_and_kfd_without_the_gpu() {
    assert_eq!(kinds(&bound(), &HostState { kfd_present: false, ..host("") }), [ReasonKind::NoKfd]);
    let reasons = diagnose(&bound(), &host(""));
    assert_eq!(reasons[0].message, "amdgpu runs it, but KFD's topology has only CPUs");
    let reasons = diagnose(&bound(), &HostState { working: vec!["0000:0a:00.0".parse().unwrap()], ..host("") });
    assert_eq!(reasons[0].message, "amdgpu runs it, but KFD's topology has other GPUs, but not this one");
    assert_eq!(kinds(&bound(), &HostState { nodes_denied: true, ..host("") }), [ReasonKind::AccessDenied]);
}
