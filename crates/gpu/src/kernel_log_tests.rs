use proptest::prelude::*;

use super::*;

fn only(line: &str) -> LogEntry {
    let mut entries = KernelLog::parse(line).entries;
    assert_eq!(entries.len(), 1, "{line}: {entries:?}");
    entries.remove(0)
}

fn address() -> PciAddress {
    "0000:03:00.0".parse().unwrap()
}

#[test]
fn a_missing_firmware_file_is_one_event_in_each_line() {
    for line in [
        "[    4.825127] amdgpu 0000:03:00.0: Direct firmware load for amdgpu/navi21_sos.bin failed with error -2",
        "amdgpu 0000:03:00.0: amdgpu: Failed to load gpu_info firmware \"amdgpu/navi21_sos.bin\"",
        "3,1187,4825152,-;amdgpu 0000:03:00.0: gfx8: Failed to load firmware \"amdgpu/navi21_sos.bin\"",
        "Nov 23 21:00:00 worker kernel: amdgpu 0000:03:00.0: firmware: failed to load amdgpu/navi21_sos.bin (-2)",
    ] {
        let entry = only(line);
        assert_eq!(entry.event, KernelEvent::FirmwareMissing("amdgpu/navi21_sos.bin".into()), "{line}");
        assert_eq!(entry.address, Some(address()), "{line}");
        assert!(entry.line.starts_with("amdgpu 0000"), "{}", entry.line);
    }
}

#[test]
fn firmware_that_was_loaded_is_no_event() {
    let line = "amdgpu 0000:03:00.0: amdgpu: Loading DMUB firmware amdgpu/dcn_3_0.bin: version=0x02020020";
    assert_eq!(KernelLog::parse(line).entries, []);
}

#[test]
fn kfd_speaks_of_the_device_that_amdgpu_spoke_of_before() {
    let log = KernelLog::parse(
        "[   13.9] amdgpu 0000:02:00.0: enabling device (0006 -> 0007)\n\
         [   13.9] kfd kfd: amdgpu: TAHITI  not supported in kfd\n\
         [   14.2] amdgpu 0000:03:00.0: enabling device (0006 -> 0007)\n\
         [   14.3] kfd kfd: amdgpu: GC IP 090100 not supported in kfd\n",
    );
    let told: Vec<_> =
        log.entries.iter().map(|entry| (entry.event.clone(), entry.address.unwrap().to_string())).collect();
    assert_eq!(
        told,
        [
            (KernelEvent::UnsupportedByKfd("TAHITI".into()), "0000:02:00.0".into()),
            (KernelEvent::UnsupportedByKfd("GC IP 090100".into()), "0000:03:00.0".into()),
        ]
    );
}

#[test]
fn atomics_come_with_numbers_and_sometimes_with_firmware_versions() {
    let no_atomics = |firmware| KernelEvent::NoAtomics { ids: (0x1002, 0x7341), firmware };
    assert_eq!(
        only("kfd kfd: amdgpu: skipped device 1002:7341, PCI rejects atomics 123<145").event,
        no_atomics(Some((123, 145)))
    );
    assert_eq!(only("kfd kfd: skipped device 1002:7341, PCI rejects atomics").event, no_atomics(None));
}

#[test]
fn probes_that_fail_say_why_by_number() {
    for line in [
        "amdgpu 0000:03:00.0: probe with driver amdgpu failed with error -110",
        "amdgpu: probe of 0000:03:00.0 failed with error -110",
    ] {
        let entry = only(line);
        assert_eq!((entry.event, entry.address), (KernelEvent::ProbeFailed(Some(-110)), Some(address())), "{line}");
    }
    assert_eq!(only("amdgpu 0000:03:00.0: amdgpu: Fatal error during GPU init").event, KernelEvent::ProbeFailed(None));
    assert_eq!(KernelLog::parse("panfrost ff9a0000.gpu: Fatal error during GPU init").entries, []);
}

#[test]
fn the_other_messages() {
    for (line, event) in [
        (
            "amdgpu 0000:03:00.0: Unable to change power state from D3cold to D0, device inaccessible",
            KernelEvent::StuckInD3cold,
        ),
        ("amdgpu 0000:03:00.0: Refused to change power state from D3cold to D0", KernelEvent::StuckInD3cold),
        (
            "amdgpu 0000:03:00.0: can't change power state from D3cold to D0 (config space inaccessible)",
            KernelEvent::StuckInD3cold,
        ),
        ("pci 0000:03:00.0: BAR 0: no space for [mem size 0x10000000 64bit pref]", KernelEvent::NoAddressSpace),
        (
            "Booted with the nomodeset parameter. Only the system framebuffer will be available",
            KernelEvent::ModesettingOff,
        ),
        ("[drm:amdgpu_get_bios [amdgpu]] *ERROR* Unable to locate a BIOS ROM", KernelEvent::NoVideoBios),
        (
            "pci 0000:03:00.0: BAR 0 [mem size 0x400000000 64bit pref]: can't assign; no space",
            KernelEvent::NoAddressSpace,
        ),
        (
            "[    0.811873] [drm:amdgpu_init [amdgpu]] *ERROR* VGACON disables amdgpu kernel modesetting.",
            KernelEvent::ModesettingOff,
        ),
        ("[    0.0] Command line: BOOT_IMAGE=/vmlinuz nomodeset quiet", KernelEvent::ModesettingOff),
        ("[    0.0] Kernel command line: amdgpu.modeset=0", KernelEvent::ModesettingOff),
        (
            "Lockdown: modprobe: unsigned module loading is restricted; see man kernel_lockdown.7",
            KernelEvent::ModuleRefused,
        ),
        ("Loading of unsigned module is rejected", KernelEvent::ModuleRefused),
        ("Loading of module with unavailable key is rejected", KernelEvent::ModuleRefused),
    ] {
        assert_eq!(only(line).event, event, "{line}");
    }
}

#[test]
fn what_is_told_can_be_shown_on_a_terminal() {
    let entry = only("kfd kfd: amdgpu: HAI\u{1b}[2JNAN not supported in kfd");
    assert_eq!(entry.event, KernelEvent::UnsupportedByKfd("HAI[2JNAN".to_owned()));
}

#[test]
fn records_of_kmsg_have_fields_of_their_own() {
    let text = "6,339,5140900,-;amdgpu 0000:03:00.0: amdgpu: Fatal error during GPU init\n \
                SUBSYSTEM=pci failed firmware amdgpu/x.bin\n DEVICE=+pci:0000:03:00.0\n";
    assert_eq!(KernelLog::parse(text).entries.len(), 1);
}

proptest! {
    #[test]
    fn no_text_panics(text in "[\\x00-\\x7f]{0,80} failed firmware amdgpu/a\\.bin|\\PC{0,80}\n\\PC{0,80}|([;\\[\\]<:, ]|kernel: |PCI rejects atomics|skipped device |not supported in kfd|failed with error |amdgpu/|\\.bin|firmware|[0-9a-f:.]{1,12}|\n){0,24}") {
        let log = KernelLog::parse(&text);
        prop_assert!(log.entries.iter().all(|entry| !entry.line.contains(char::is_control)));
    }
}
