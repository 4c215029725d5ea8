//! GPUs that did not start, and what the driver said before it gave up.

use super::*;

fn unusable(device: u16, log: &str) -> gpu::UnusableGpu {
    let mut machine = Machine::with_amdgpu();
    machine.device("0000:05:00.0", "0x030000", 0x1002, device, None, &[]);
    machine.log(&log.replace("GPU: ", "amdgpu 0000:05:00.0: amdgpu: "));
    machine.detect().unusable.remove(0)
}

#[test]
fn each_cause_has_a_reason_of_its_own() {
    let end = "GPU: Fatal error during GPU init\namdgpu: probe of 0000:05:00.0 failed with error -22\n";
    for (kind, lines) in [
        (
            ReasonKind::InvalidDiscovery,
            "GPU: get invalid ip discovery binary signature\n\
             [drm:amdgpu_discovery_set_ip_blocks [amdgpu]] *ERROR* amdgpu_discovery_init failed\n",
        ),
        (
            ReasonKind::PspRefused,
            "GPU: Failed to load toc\nGPU: PSP tmr init failed!\nGPU: PSP firmware loading failed\n\
             [drm:amdgpu_device_fw_loading [amdgpu]] *ERROR* hw_init of IP block <psp> failed -22\n",
        ),
        (
            ReasonKind::BadMemory,
            "GPU: RAS records:272 exceed threshold:256, GPU will not be initialized. Replace this GPU or increase the \
             threshold\n",
        ),
        (
            ReasonKind::AtomBiosStuck,
            "[drm:amdgpu_atom_execute_table_locked [amdgpu]] *ERROR* atombios stuck in loop for more than 20secs aborting\n\
             GPU: gpu post error!\n",
        ),
    ] {
        let gpu = unusable(0x74a1, &format!("{lines}{end}"));
        assert_eq!(gpu.reasons[0].kind, kind, "{gpu:?}");
        assert!(gpu.reasons[0].message.contains("(error -22)"), "{}", gpu.reasons[0].message);
        assert!(gpu.reasons[0].evidence.len() >= 2, "{:?}", gpu.reasons[0].evidence);
        assert!(!gpu.reasons[0].remedy.contains("look for amdgpu in the kernel's log"));
    }
}

#[test]
fn the_drivers_last_words_are_the_evidence_and_the_part_is_named() {
    let gpu = unusable(
        0x73bf,
        "GPU: SMU: I'm not done with your previous command\n\
         GPU: hw_init of IP block <smu> failed -62\nGPU: amdgpu_device_ip_init failed\nGPU: Fatal error during GPU init\n",
    );
    let reason = &gpu.reasons[0];
    assert_eq!(reason.message, "amdgpu could not start it (error -62), its part smu failed: it did not answer in time");
    assert!(reason.evidence.iter().any(|line| line.contains("amdgpu_device_ip_init failed")), "{reason:?}");
}

#[test]
fn optional_firmware_is_not_blamed() {
    let log = "amdgpu 0000:05:00.0: Direct firmware load for amdgpu/navi21_cap.bin failed with error -2\n\
        GPU: Fatal error during GPU init\namdgpu 0000:05:00.0: probe with driver amdgpu failed with error -110\n";
    assert_eq!(unusable(0x73bf, log).reasons[0].kind, ReasonKind::ProbeFailed);
}

#[test]
fn chips_that_are_too_old_are_told_from_those_that_are_too_new() {
    assert_eq!(unusable(0x6798, "").reasons[0].kind, ReasonKind::TooOld);
    let new = unusable(0xfff0, "");
    assert_eq!(new.reasons[0].kind, ReasonKind::NoDriver);
    assert!(new.reasons[0].remedy.contains("newer kernel"));
}

#[test]
fn a_gpu_that_does_not_wake_up_from_d3hot() {
    let mut machine = Machine::with_amdgpu();
    machine.device("0000:05:00.0", "0x030000", 0x1002, 0x745e, None, &[("power_state", "D3hot")]);
    machine.log(
        "amdgpu 0000:05:00.0: Unable to change power state from D3hot to D0, device inaccessible\n\
         amdgpu 0000:05:00.0: probe with driver amdgpu failed with error -19\n",
    );
    let reasons = &machine.detect().unusable[0].reasons;
    assert_eq!(reasons[0].kind, ReasonKind::StuckInD3cold);
    assert!(reasons[0].message.contains("D3hot"));
}
