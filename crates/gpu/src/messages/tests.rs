//! Tests with every kind of message in the wordings of several kernels.

use std::collections::BTreeSet;

use super::pattern::Pattern;
use super::*;
use crate::fault_kind::FaultKind::{self, DmaRefused, Hang, Hardware, Kernel, Lost, OutOfMemory, PageFault, Reset};

/// The kinds of faults in a log, and whether each is contained.
fn told(log: &str) -> Vec<(&'static str, bool)> {
    let findings = Findings::of_log(log, Trust::Text, None);
    findings.0.iter().map(|finding| (finding.kind, finding.contained)).collect()
}

fn device(line: &str) -> String {
    format!("[ 98.765432] amdgpu 0000:03:00.0: {line}")
}

/// Faults that affect the GPU, as the driver of the GPU at 03:00.0 reports them.
const OF_DRIVER: &[(FaultKind, &[&str])] = &[
    (
        Lost,
        &[
            "amdgpu: device lost from bus!",
            "[drm] device wedged, needs recovery",
            "amdgpu: resume of IP block <smu> failed -5",
            "[drm:amdgpu_device_ip_resume_phase2 [amdgpu]] *ERROR* resume of IP block <gfx_v11_0> failed -110",
            "amdgpu: amdgpu_device_ip_resume failed (-62).",
            "amdgpu: SMC is not ready",
            "amdgpu: SMU is in hanged state, failed to send smu message!",
            "amdgpu: GPU reset(2) failed",
            "amdgpu: GPU reset end with ret = -19",
            "amdgpu: ASIC reset failed with error, -19 for drm dev, 0000:03:00.0",
            "[drm] PCI error: detected callback, state(3)!!",
            "amdgpu: pci_channel_io_perm_failure: state(3)!!",
            "Unable to change power state from D3hot to D0, device inaccessible",
            "Unable to change power state from unknown to D0, device inaccessible",
            "can't change power state from D3cold to D0 (config space inaccessible)",
            "not ready 65535ms after resume; giving up",
            "not ready 1023ms after bus reset; giving up",
            "amdgpu: SMU: bus error for message: ArmD3(29) response:0xFFFFFFFF ",
            "amdgpu: smu reset failed, ret = -62",
            "amdgpu: last message was failed ret is 65535",
            "amdgpu: \\x0alast message was failed ret is 65535",
            "amdgpu: Failed to send message 0x26, response 0xffffffff",
            "amdgpu: GPU link reset failed",
            "amdgpu: amdgpu_device_ip_resume_phase2 failed during unwind: -110",
        ],
    ),
    (
        Hang,
        &[
            "amdgpu: ring gfx_0.0.0 timeout, signaled seq=14, emitted seq=16",
            "[drm:amdgpu_job_timedout [amdgpu]] *ERROR* ring comp_1.0.0 timeout, signaled seq=1, emitted seq=3",
            "amdgpu: qcm fence wait loop timeout expired",
            "qcm fence wait loop timeout expired",
            "amdgpu: HIQ MQD's queue_doorbell_id0 is not 0, Queue preemption time out",
            "amdgpu: Queue preemption failed for queue with doorbell_id: 8004",
            "amdgpu: XCC 1: Queue preemption failed for queue with doorbell_id: 8004",
            "amdgpu: MES failed to respond to msg=REMOVE_QUEUE",
            "amdgpu: MES(1) failed to respond to msg=MISC (INV_GART)",
            "amdgpu: MES might be in unrecoverable state, issue a GPU reset",
            "amdgpu: Ring gfx_0.0.0 reset failed",
            "amdgpu: Ring comp_1.0.0 reset failure",
            "amdgpu: Timeout waiting for VM flush ACK!",
            "[drm:gmc_v11_0_flush_gpu_tlb [amdgpu]] *ERROR* Timeout waiting for sem acquire in VM flush!",
            "amdgpu: SMU: No response msg_reg: 29 resp_reg: 0",
            "amdgpu: Failed to detect and reset hung queues",
            "amdgpu: Failed to detect and reset queues, err (-62)",
            "[drm:mes_userq_unmap [amdgpu]] *ERROR* Failed to unmap queue in HW, err (-110)",
            "amdgpu: MES(0, 1) ring buffer is full.",
            "amdgpu: Restore process pid 4711 failed during resume",
            "amdgpu: failed to flush HDP via KIQ timeout",
            "amdgpu: Failed to reset SDMA logical instance 3",
            "amdgpu: timed out waiting for SDMA3 unhalt after reset",
            "[drm] *ERROR* AMDGPU: Error waiting for fence in ctx 00000000a1b2c3d4",
            "[drm:amdgpu_ib_ring_tests [amdgpu]] *ERROR* IB test failed on comp_1.0.0 (-110).",
            "amdgpu: ib ring test failed (-110).",
            "amdgpu: \\x0afailed to send message 148 ret is 0 ",
            "amdgpu: timeout: rlcg faled to program reg: 0x0a1b2",
            "amdgpu: failed to write reg:1a",
            "amdgpu: failed to read reg:1a",
            "amdgpu: fail to wait on hqd deactive",
            "amdgpu: fail to wait on hqd deactivate",
            "amdgpu: fail to remap queue",
        ],
    ),
    (
        Reset,
        &[
            "amdgpu: GPU reset begin!",
            "amdgpu: GPU reset begin!. Source:  1",
            "amdgpu: MODE1 reset",
            "[drm] device wedged, but recovered through reset",
            "amdgpu: Link reset",
            "amdgpu: PCI reset",
        ],
    ),
    (
        PageFault,
        &[
            "amdgpu: [gfxhub] page fault (src_id:0 ring:153 vmid:0 pasid:0, for process  pid 0 thread  pid 0)",
            "amdgpu: [gfxhub0] no-retry page fault (src_id:0 ring:24 vmid:0 pasid:0, for process  pid 0 thread  pid 0)",
            "amdgpu: [mmhub] page fault (src_id:0 ring:40 vmid:0 pasid:0)",
        ],
    ),
    (
        Hardware,
        &[
            "{1}uncorrectable hardware error(ERREVENT_ATHUB_INTERRUPT) detected!",
            "amdgpu: uncorrectable hardware error(ERREVENT_ATHUB_INTERRUPT) detected!",
            "amdgpu: socket: 0, die: 2, 1 new uncorrectable hardware errors detected in umc block",
            "amdgpu: socket: 4, die: 0 1 uncorrectable hardware errors detected in total in gfx block",
            "{3}socket: 0, die: 2, 1 new deferred hardware errors detected in umc block",
            "amdgpu: 2 deferred hardware errors detected in umc block",
            "{15}Poison is created",
            "{14}poison is consumed by client 12, kick off gpu reset flow",
            "amdgpu: poison is consumed by source 2, kick off gpu reset flow",
            "amdgpu: VF is in an unrecoverable state. Runtime Services are halted.",
            "amdgpu: socket: 0, aid: 1, fw_status: 0x4, firmware load failed at boot time",
            "amdgpu: socket: 0, aid: 1, fw_status: 0x4, data abort exception",
            "amdgpu: socket: 0, aid: 1, fw_status: 0x4, unknown boot time errors",
            "amdgpu: socket: 0, aid: 1, fw_status: 0x4, Boot Controller Generic Error",
            "amdgpu: RAS poison consumption handling: client 27",
            "{1}[Hardware Error]: aca entry[00].STATUS=0x98000800003e0000",
            "{1}[Hardware Error]: ACA[01/01].STATUS=0xb000000000020405",
            "amdgpu: Saved bad pages 150 reaches threshold value 128",
            "amdgpu: This GPU is in BAD status.",
            "amdgpu: XGMI PCS DataLossErr detected",
            "amdgpu: WAFL PCS CRCErr detected",
            "amdgpu: ERROR: GPU over temperature range(SW CTF) detected!",
            "amdgpu: ERROR: GPU HW Critical Temperature Fault(aka CTF) detected!",
            "[drm] PCI error: detected callback, state(2)!!",
            "amdgpu: pci_channel_io_frozen: state(2)!!",
            "AER: PCIe Bus Error: severity=Uncorrectable (Fatal), type=Transaction Layer, (Receiver ID)",
        ],
    ),
    (
        DmaRefused,
        &[
            "AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x000f address=0x517e012f100 flags=0x0010]",
            "AMD-Vi: Event logged [RMP_PAGE_FAULT vmg_tag=0x0000, gpa=0x1000, flags_rmp=0x0, flags=0x0]",
        ],
    ),
];

#[test]
fn what_the_driver_says_at_work() {
    for (kind, lines) in OF_DRIVER {
        for line in *lines {
            assert_eq!(told(&device(line)), [(kind.slug(), false)], "{line}");
            let findings = Findings::of_log(&device(line), Trust::Text, None);
            assert_eq!(findings.0[0].device.unwrap().to_string(), "0000:03:00.0");
            assert!(!findings.0[0].advice.is_empty());
        }
    }
}

#[test]
fn what_ends_only_the_process_that_did_it() {
    for (kind, line) in [
        (PageFault, "amdgpu: [gfxhub] page fault (src_id:0 ring:24 vmid:8 pasid:32771)"),
        (
            PageFault,
            "amdgpu: [gfxhub0] retry page fault (src_id:0 ring:0 vmid:3 pasid:32770, for process a pid 1 thread b pid 2)",
        ),
        (PageFault, "amdgpu: [gfxhub] VMC page fault (src_id:0 ring:158 vmid:1 pasid:32768)"),
        (PageFault, "GPU fault detected: 146 0x0c48480c"),
        (PageFault, "amdgpu: GCVM_L2_PROTECTION_FAULT_STATUS:0x00801031"),
        (Hang, "amdgpu: queue id 0x0 at pasid 0x8005 is reset"),
        (Hang, "amdgpu: Queues reset on process rocblas-test tid 4711 thread rocblas-test pid 4711"),
        (Hang, "amdgpu: ring gfx_0.0.0 timeout, but soft recovered"),
        (Hang, "amdgpu: Ring comp_1.0.0 reset succeeded"),
        (Hang, "amdgpu: Hang detected doorbell 1002 pipe 1 queue 2 type 0"),
        (Hang, "amdgpu: reset sdma queue (1:0:2)"),
        (Hang, "amdgpu: fail to wait on hqd deactive and will try pipe reset"),
        (Hang, "amdgpu: reset via MES failed and try pipe reset -110"),
        (PageFault, "amdgpu: Process pid 4711 got unhandled exception"),
    ] {
        assert_eq!(told(&device(line)), [(kind.slug(), true)], "{line}");
    }
    assert_eq!(told("Out of memory: Killed process 812 (test) total-vm:1kB"), [(OutOfMemory.slug(), true)]);
    assert_eq!(told("[ 1.0] test invoked oom-killer: gfp_mask=0x1, order=0"), [(OutOfMemory.slug(), true)]);
}

#[test]
fn a_page_fault_and_what_is_said_about_it_is_one_fault() {
    let log = [
        "amdgpu: [gfxhub] page fault (src_id:0 ring:153 vmid:0 pasid:0, for process  pid 0 thread  pid 0)",
        "amdgpu:   in page starting at address 0x0000000000001000 from client 10",
        "amdgpu: GCVM_L2_PROTECTION_FAULT_STATUS:0x00000B32",
        "amdgpu: \t WALKER_ERROR: 0x1",
    ];
    let log: Vec<_> = log.iter().map(|line| device(line)).collect();
    let findings = Findings::of_log(&log.join("\n"), Trust::Text, None);
    assert_eq!((findings.0.len(), findings.0[0].count, findings.0[0].contained), (1, 4, false));
}

#[test]
fn what_the_driver_says_without_a_name_is_about_the_device_it_spoke_of_last() {
    let log = "[1.0] amdgpu 0000:0e:00.0: amdgpu: something\n\
        [2.0] [drm:mes_v11_0_submit_pkt_and_poll_completion.constprop.0 [amdgpu]] *ERROR* MES failed to response msg=3\n\
        [2.1] [drm:amdgpu_mes_unmap_legacy_queue [amdgpu]] *ERROR* failed to unmap legacy queue\n\
        [2.2] amdgpu: Failed to evict process queues\n\
        [2.3] amdgpu: amdgpu_amdkfd_restore_userptr_worker: Failed to resume KFD\n";
    let findings = Findings::of_log(log, Trust::Text, None);
    assert_eq!((findings.0.len(), findings.0[0].kind, findings.0[0].count), (1, "hang", 4));
    assert_eq!(findings.0[0].device.unwrap().to_string(), "0000:0e:00.0");
}

#[test]
fn what_a_port_says_is_about_the_gpu_below_it() {
    let below = "[ 0.1] pci 0000:40:01.1: PCI bridge to [bus 41-43]\n[ 0.2] amdgpu 0000:43:00.0: amdgpu: x\n\
        [ 0.3] nvme 0000:05:00.0: pci function\n";
    for (kind, line) in [
        (Lost, "pcieport 0000:40:01.1: pciehp: Slot(12): Link Down"),
        (Lost, "pcieport 0000:40:01.1: pciehp: Slot(0-1): Card not present"),
        (Lost, "pciehp 0000:40:01.1:pcie004: Slot(12): Card not present"),
        (Lost, "pcieport 0000:40:01.1: Unable to change power state from D3hot to D0, device inaccessible"),
        (Lost, "pcieport 0000:40:01.1: AER: device recovery failed"),
        (Hardware, "pcieport 0000:40:01.1: AER: Multiple Uncorrected (Fatal) error received: id=0000"),
        (Hardware, "pcieport 0000:40:01.1: AER: Uncorrectable (Fatal) error message received from 0000:43:00.0"),
        (
            Hardware,
            "pcieport 0000:40:01.1: PCIe Bus Error: severity=Uncorrected (Fatal), type=Transaction Layer, id=0019",
        ),
        (Hardware, "pcieport 0000:40:01.1: DPC: containment event, status:0x1f01 source:0x0000"),
    ] {
        let findings = Findings::of_log(&format!("{below}[ 9.0] {line}"), Trust::Text, None);
        assert_eq!(findings.0.len(), 1, "{line}: {findings:?}");
        assert_eq!(
            (findings.0[0].kind, findings.0[0].device.unwrap().to_string()),
            (kind.slug(), "0000:43:00.0".to_owned())
        );
        assert_eq!(findings.0[0].port.unwrap().to_string(), "0000:40:01.1");
    }
    // Another device's port, another device, and what probing causes.
    for line in [
        "pcieport 0000:00:02.1: pciehp: Slot(3): Link Down",
        "nvme 0000:05:00.0: Unable to change power state from D3cold to D0, device inaccessible",
        "pcieport 0000:40:01.1: AER: Uncorrected (Non-Fatal) error received: 0000:43:00.0",
        "pcieport 0000:40:01.1: AER: Corrected error received: 0000:43:00.0",
        "AMD-Vi: Event logged [IO_PAGE_FAULT device=0000:05:00.0 domain=0x0000 address=0x0 flags=0x0010]",
        "iommu ivhd0: AMD-Vi: Event logged [IOTLB_INV_TIMEOUT device=0000:05:00.0 address=0x100]",
        "iommu ivhd0: AMD-Vi: Event logged [ILLEGAL_COMMAND_ERROR address=0x0]",
    ] {
        assert_eq!(told(&format!("{below}[ 9.0] {line}")), [], "{line}");
    }
    for line in [
        "arm-smmu-v3 arm-smmu-v3.0.auto: event: F_TRANSLATION client: 0000:43:00.0 sid: 0x4300 ssid: 0x0 iova: 0x1 ipa: 0x0",
        "AMD-Vi: Event logged [IO_PAGE_FAULT device=0000:43:00.0 domain=0x0000 address=0x0 flags=0x0010]",
        "AMD-Vi: Event logged [IO_PAGE_FAULT device=43:00.0 domain=0x0000 address=0x0 flags=0x0010]",
        "AMD-Vi: Event logged [RMP_HW_ERROR device=0000:43:00.0, vmg_tag=0x0000, spa=0x0, flags=0x0000]",
        "iommu ivhd0: AMD-Vi: Event logged [IOTLB_INV_TIMEOUT device=0000:43:00.0 address=0x100]",
        "iommu ivhd0: AMD-Vi: Event logged [IOTLB_INV_TIMEOUT device=43:00.0 address=0x42b5b01a0]",
        "iommu ivhd12: AMD-Vi: Event logged [ILLEGAL_DEV_TABLE_ENTRY device=0000:43:00.0 pasid=0x00000 address=0x0 flags=0x0]",
        "iommu ivhd0: AMD-Vi: Event logged [INVALID_DEVICE_REQUEST device=0000:43:00.0 pasid=0x00000 address=0x0 flags=0x0]",
        "iommu ivhd0: AMD-Vi: Event logged [DEV_TAB_HARDWARE_ERROR device=0000:43:00.0 address=0x0 flags=0x0]",
        "iommu ivhd0: AMD-Vi: Event logged [PAGE_TAB_HARDWARE_ERROR device=0000:43:00.0 pasid=0x0000 address=0x0 flags=0x0]",
        "AMD-Vi: Completion-Wait loop timed out",
        "AMD-Vi: IOMMU 0000:00:00.2: Completion-Wait loop timed out",
        "DMAR: [DMA Read NO_PASID] Request device [43:00.0] fault addr 0x0 [fault reason 0x06] PTE Read access is not set",
    ] {
        assert_eq!(told(&format!("{below}[ 9.0] {line}")), [("dma-refused", false)], "{line}");
    }
}

#[test]
fn a_gpu_that_no_driver_spoke_of_is_known_by_its_class() {
    let log = "pci 0000:03:00.0: [1002:73bf] type 00 class 0x030000\npci 0000:03:00.0: Unable to change power state from D3cold \
        to D0, device inaccessible\npci 0000:05:00.0: Unable to change power state from D3cold to D0, device inaccessible\n";
    let findings = Findings::of_log(log, Trust::Text, None);
    assert_eq!((findings.0.len(), findings.0[0].device.unwrap().to_string()), (1, "0000:03:00.0".to_owned()));
}

#[test]
fn in_a_log_without_its_start_the_drivers_next_word_tells_which_gpu_is_below_a_port() {
    let log = "pcieport 0000:40:01.1: pciehp: Slot(12): Link Down\npcieport 0000:40:01.1: pciehp: Slot(12): Card not present\n\
        amdgpu 0000:43:00.0: amdgpu: amdgpu: finishing device.\n";
    assert_eq!(told(log), [("gpu-lost", false)]);
    assert_eq!(told("pcieport 0000:00:02.1: pciehp: Slot(3): Link Down\nigc 0000:05:00.0 eth0: PCIe link lost\n"), []);
}

#[test]
fn errors_that_the_firmware_reports_take_several_lines() {
    let log = |severity: &str| {
        format!(
            "{{1}}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 1\n\
             {{1}}[Hardware Error]: event severity: {severity}\n\
             {{1}}[Hardware Error]:   section_type: PCIe error\n\
             {{1}}[Hardware Error]:   device_id: 0000:11:01.0\n\
             {{1}}[Hardware Error]:   vendor_id: 0x1002, device_id: 0x74a1\n"
        )
    };
    assert_eq!(told(&log("recoverable")), [("hardware-error", false)]);
    assert_eq!(told(&log("fatal")), [("hardware-error", false)]);
    assert_eq!(told(&log("corrected")), []);
}

#[test]
fn a_kernel_that_goes_wrong() {
    for line in [
        "BUG: kernel NULL pointer dereference, address: 0000000000000000",
        "BUG: unable to handle page fault for address: ffffffffffffffd8",
        "BUG: unable to handle kernel paging request at ffffffffffffffd8",
        "Oops: 0000 [#1] PREEMPT SMP NOPTI",
        "Oops: Oops: 0000 [#1] SMP NOPTI",
        "general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] PREEMPT SMP",
        "Oops: general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] SMP",
        "kernel BUG at drivers/gpu/drm/ttm/ttm_bo.c:190!",
        "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000008",
        "Unable to handle kernel paging request at virtual address dead000000000108",
        "Internal error: Oops: 0000000096000004 [#1] PREEMPT SMP",
        "list_del corruption, ffff8881->next is LIST_POISON1 (dead000000000100)",
        "list_add corruption. prev->next should be next (ffff), but was 0000. (prev=ffff).",
        "BUG: KASAN: slab-use-after-free in amdgpu_vm_pt_free+0x1/0x2 [amdgpu]",
        "watchdog: BUG: soft lockup - CPU#2 stuck for 22s! [prog:3811]",
        "NMI watchdog: BUG: soft lockup - CPU#2 stuck for 22s! [prog:3811]",
        "NMI watchdog: Watchdog detected hard LOCKUP on cpu 3",
        "watchdog: Watchdog detected hard LOCKUP on cpu 3",
        "rcu: INFO: rcu_preempt self-detected stall on CPU",
        "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
        "INFO: rcu_sched detected stalls on CPUs/tasks:",
    ] {
        assert_eq!(told(&format!("[  1.0] {line}")), [(Kernel.slug(), false)], "{line}");
    }
}

#[test]
fn a_blocked_task_counts_if_it_is_blocked_in_the_driver() {
    let blocked = |function: &str| {
        format!(
            "INFO: task kworker/3:1:213 blocked for more than 120 seconds.\n      Not tainted 6.12.1 #1\n\
             task:kworker/3:1     state:D stack:0     pid:213\nCall Trace:\n <TASK>\n __schedule+0x3/0x4\n {function}\n"
        )
    };
    assert_eq!(told(&blocked("amdgpu_fence_wait_empty+0x3/0x4 [amdgpu]")), [("hang", false)]);
    assert_eq!(told(&blocked("ttm_bo_wait_ctx+0x3/0x4 [ttm]")), [("hang", false)]);
    assert_eq!(told(&blocked("kfd_process_destroy+0x1/0x2")), [("hang", false)]);
    assert_eq!(told(&blocked("nfs_wait_on_request+0x3/0x4 [nfs]")), []);
}

#[test]
fn a_fallback_timer_counts_if_it_expires_again_and_again() {
    let line = device("[drm] Fence fallback timer expired on ring sdma0");
    assert_eq!(told(&line), []);
    assert_eq!(told(&vec![line; 10].join("\n")), [("hang", false)]);
}

#[test]
fn a_failed_test_of_a_media_ring_or_one_that_a_reset_cancelled_is_no_fault() {
    let failed = |ring: &str, error: i32| {
        let test = format!("[drm:amdgpu_ib_ring_tests [amdgpu]] *ERROR* IB test failed on {ring} ({error}).");
        let summary = "[  99.0] [drm:amdgpu_device_delayed_init_work_handler [amdgpu]] *ERROR* ib ring test failed";
        format!("{}\n{summary} ({error}).\n", device(&test))
    };
    for ring in ["uvd_enc0", "vce0", "vcn_unified_0", "vcn_dec_0", "jpeg_dec", "vpe"] {
        assert_eq!(told(&failed(ring, -110)), [], "{ring}");
    }
    assert_eq!(told(&failed("comp_1.0.0", -125)), []);
    assert_eq!(told(&failed("gfx", -110)), [("hang", false)]);
    let log = failed("vcn_dec_0", -110) + &failed("sdma0", -110);
    assert_eq!(told(&log), [("hang", false)]);
}

/// The driver for Polaris begins its messages about the SMU with a line break. The forms are those of public logs.
#[test]
fn a_message_whose_words_dmesg_shows_on_the_next_line_is_one() {
    for (log, expected) in [
        ("[40190.1] amdgpu: [powerplay]\n                last message was failed ret is 65535\n", "gpu-lost"),
        ("[ 166.1] amdgpu:\n                failed to send message 145 ret is 65535\n", "gpu-lost"),
        ("[ 6.1] amdgpu: [powerplay] \n[ 6.1]  last message was failed ret is 65535\n", "gpu-lost"),
        (
            "Jun 02 09:54:05 h kernel: amdgpu: [powerplay] \n              failed to send message 15b ret is 0 \n",
            "hang",
        ),
        ("[11090.1] amdgpu 0000:02:00.0: amdgpu: \n               last message was failed ret is 65535\n", "gpu-lost"),
        ("[11090.1] amdgpu 0000:02:00.0: amdgpu:\n               last message was failed ret is 0\n", "hang"),
        (
            "Jun  2 09:54:05 h kernel: [ 6.1] amdgpu: [powerplay] #012 last message was failed ret is 65535\n",
            "gpu-lost",
        ),
    ] {
        assert_eq!(told(log), [(expected, false)], "{log}");
    }
    for log in [
        "[ 1.0] amdgpu: [powerplay]\n    last message was failed ret is 254\n",
        "[ 1.0] amdgpu: [powerplay]\n    failed to send message 15b ret is 255\n",
        "[ 1.0] amdgpu: [powerplay]\n[ 1.1] usb 1-1: x\n[ 1.2] last message was failed ret is 65535\n",
        "[ 1.0] last message was failed ret is 65535\n",
    ] {
        assert_eq!(told(log), [], "{log}");
    }
    let record = "6,1,2,-;amdgpu: [powerplay] \\x0a last message was failed ret is 65535";
    assert_eq!(Reader::new(Trust::Record, Places::default()).take(record).len(), 1);
}

#[test]
fn a_healthy_start_says_nothing() {
    let log = "\
[    0.0] Command line: BOOT_IMAGE=/boot/vmlinuz root=UUID=a1b2c3d4 ro quiet
[    0.9] pci 0000:00:01.0: BAR 0: failed to assign [mem size 0x01000000]
[    9.0] amdgpu: Virtual CRAT table created for CPU
[    9.1] amdgpu 0000:03:00.0: enabling device (0006 -> 0007)
[    9.1] amdgpu 0000:03:00.0: amdgpu: detected ip block number 0 <soc21_common>
[    9.1] amdgpu 0000:03:00.0: Direct firmware load for amdgpu/navi21_cap.bin failed with error -2
[    9.1] amdgpu 0000:03:00.0: amdgpu: cap microcode does not exist, skip
[    9.2] amdgpu 0000:03:00.0: amdgpu: MODE1 reset
[    9.2] amdgpu 0000:03:00.0: amdgpu: GPU mode1 reset
[    9.2] amdgpu 0000:03:00.0: amdgpu: GPU smu mode1 reset
[    9.3] amdgpu 0000:03:00.0: amdgpu: RAS: optional ras ta ucode is not available
[    9.3] amdgpu 0000:03:00.0: amdgpu: RAS Init Status: 0x0
[    9.3] amdgpu 0000:03:00.0: amdgpu: RAS poison mode is enabled
[    9.3] amdgpu 0000:03:00.0: amdgpu: DF poison setting is inconsistent(1:0:0:0)!
[    9.4] [drm] reset method: MODE1 reset
[    9.4] amdgpu 0000:03:00.0: amdgpu: reset method: MODE1 reset
[    9.4] amdgpu 0000:03:00.0: amdgpu: ring gfx_0.0.0 uses VM inv eng 0 on hub 0
[    9.5] [drm] *ERROR* Timeout waiting for DMCUB auto-load
[    9.5] WARNING: CPU: 0 PID: 1 at drivers/gpu/drm/amd/amdgpu/../display/dc/core/dc.c:12 dc_init+0x1/0x2 [amdgpu]
[    9.6] amdgpu: Topology: Add dGPU node [0x164e:0x1002]
[    9.6] kfd kfd: amdgpu: added device 1002:164e
[    9.7] [drm] Initialized amdgpu 3.64.0 for 0000:03:00.0 on minor 0
[  100.0] amdgpu 0000:03:00.0: amdgpu: Disabling VM faults because of PRT request!
[  200.0] amdgpu 0000:03:00.0: amdgpu: socket: 4, die: 0 1 correctable hardware errors detected in total in gfx block, no user action is needed.
[  200.1] amdgpu 0000:03:00.0: amdgpu: socket: 0, die: 1, 3 new correctable hardware errors detected in umc block
[  200.2] amdgpu 0000:03:00.0: {2}[Hardware Error]: ACA[01/01].STATUS=0x9c2040000000011b
[  300.0] amdgpu 0000:03:00.0: amdgpu: PSP is resuming...
[  300.1] amdgpu 0000:03:00.0: amdgpu: SMU is resumed successfully!
[  400.0] traps: rocfft[12] general protection fault ip:7f sp:7f error:0
[  400.1] rocfft[12]: segfault at 0 ip 00007f sp 00007f error 4 in libc.so.6
[  500.0] usb 1-1: reset high-speed USB device number 2 using xhci_hcd
[  600.0] iwlwifi: page fault
";
    assert_eq!(told(log), []);
}

#[test]
fn messages_that_only_look_like_faults_are_no_faults() {
    for entry in catalogue() {
        let Meaning::Harmless(why) = entry.meaning else { continue };
        assert!(!why.is_empty());
        let line = entry.words.replace("{n+}", "3").replace("{n}", "1").replace("{w}", "word").replace("{}", " ");
        assert_eq!(told(&device(&format!("amdgpu: {line}"))), [], "{line}");
    }
}

#[test]
fn every_entry_is_found_by_its_own_words() {
    let mut mistaken = Vec::new();
    for entry in catalogue() {
        let words = entry.words.replace("{n+}", "3").replace("{n}", "1").replace("{mca}", "0xb400000000000000");
        let words = words.replace("{w}", "word").replace("{}", " ");
        let by = match entry.speaker {
            speaker if speaker.is_driver() => By::Driver,
            Speaker::Watchdog | Speaker::Kernel | Speaker::Memory => By::Kernel,
            _ if entry.words.starts_with("AMD-Vi") || entry.words.starts_with("DMAR") => By::Kernel,
            _ => By::Apei,
        };
        let (found, _) = find(by, &words).unwrap_or_else(|| panic!("{}", entry.words));
        let same_meaning = match (found.meaning, entry.meaning) {
            (Meaning::Fault(one, scope), Meaning::Fault(other, wanted)) => one == other && scope == wanted,
            (one, other) => one == other,
        };
        if !same_meaning {
            mistaken.push(format!("`{words}` is taken for `{}`", found.words));
        }
        assert!(!entry.source.is_empty() && !entry.since.is_empty());
    }
    assert!(mistaken.is_empty(), "{mistaken:#?}");
    let words: Vec<_> = catalogue().map(|entry| (entry.speaker, entry.words)).collect();
    assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len(), "an entry stands there twice");
}

#[test]
fn what_programs_choose_is_not_taken_for_the_kernels_words() {
    let running = |record: &str| !Reader::new(Trust::Record, Places::default()).take(record).is_empty();
    let fault = "amdgpu 0000:03:00.0: amdgpu: GPU reset begin!";
    let fields = "\n SUBSYSTEM=pci\n DEVICE=+pci:0000:03:00.0";
    assert!(running(&format!("3,1,2,-;{fault}{fields}")));
    assert!(running("3,1,2,-;[drm:amdgpu_job_timedout [amdgpu]] *ERROR* ring gfx_0.0.0 timeout, signaled seq=1"));
    for forged in [
        format!("12,1,2,-;{fault}"),
        format!("12,1,2,-;{fault}{fields}"),
        format!("11,1,2,-;{fault}\\x0a SUBSYSTEM=pci"),
        format!("3,1,2,-;{fault}"),
        format!("3,1,2,-;{fault}\n SUBSYSTEM=pci\n DEVICE=+pci:0000:04:00.0"),
        format!("3,1,2,-;tmpfs: Unknown parameter '{fault}'"),
        format!("6,1,2,-;overlayfs: failed to resolve '{fault}': -2"),
        "6,1,2,-;amdgpu is hung[123]: segfault at 0 ip 0 sp 0 error 6 in sleep[1,2]".into(),
        "6,1,2,-;Oops: 0000 [#1][123]: segfault at 0 ip 0 sp 0 error 6".into(),
        "6,1,2,-;BUG: spinlock x[123]: segfault at 0 ip 0 sp 0 error 6".into(),
        "4,1,2,-;BUG: spinlock x: page allocation failure: order:4".into(),
        "6,1,2,-;kfd: GPU hang[123]: segfault at 0".into(),
        "6,1,2,-;traps: amdgpu is hung[1] trap invalid opcode ip:0".into(),
        "6,1,2,-;kfd: GPU hang: potentially unexpected fatal signal 11.".into(),
        "6,1,2,-;amdgpu: ring gfx_0.0.0 timeout: sh: potentially unexpected fatal signal 11.".into(),
        "6,1,2,-;kfd: BACO reset (4711) used greatest stack depth: 9000 bytes left".into(),
        "6,1,2,-;kfd: GPU hang/4711: reached RLIMIT_SIGPENDING, dropped signal 10".into(),
        "6,1,2,-;kfd: GPU hang\\x0a\\x0a[123]: segfault at 0 ip 0 sp 0 error 6".into(),
        "3,1,2,-;amdgpu 0000:03:00.0: amdgpu:  in process GPU reset begin pid 4 thread x pid 5".into(),
        format!("[ 1.0] {fault}"),
        format!("12,1,2,-;{SIMULATED}{fault}"),
    ] {
        assert!(!running(&forged), "{forged}");
    }
    // The kernel's own words after the name count.
    for name in ["kfd: GPU hang", "[drm] GPU hang", "kfd: BACO reset", "Oops: 0 [#1] x", "BUG: KASAN: x", "sh\\x0a"] {
        let record = format!("4,1,2,-;{name} invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE), order=0");
        let faults = Reader::new(Trust::Record, Places::default()).take(&record);
        assert_eq!((faults.len(), faults[0].kind), (1, OutOfMemory), "{record}");
    }
    let mut simulated = Reader::new(Trust::Simulated, Places::default());
    assert_eq!(simulated.take(&format!("12,1,2,-;{SIMULATED}{fault}")).len(), 1);
    assert_eq!(simulated.take(&format!("12,1,2,-;{fault}")).len(), 0);
}

/// A process can choose 15 bytes at the beginning of a message: an entry with fewer constant bytes must continue in a
/// way in which no message with a process name continues.
#[test]
fn no_entry_is_known_by_a_name_alone() {
    for entry in catalogue() {
        if entry.speaker.is_driver() || !entry.speaker.is_kernel() || matches!(entry.meaning, Meaning::Start(_)) {
            continue;
        }
        let pattern = Pattern::new(entry.words);
        let name: String = entry.words.chars().take(15).collect();
        for after in
            ["[12]: segfault at 0", " (12) used greatest stack depth", ": potentially unexpected fatal signal 11."]
        {
            let line = format!("6,1,2,-;{name}{after}");
            let taken = Reader::new(Trust::Record, Places::default()).take(&line);
            assert!(taken.is_empty(), "{line} ({} bytes are constant)", pattern.anchored());
        }
    }
}

#[test]
fn a_long_log_is_read_to_its_end() {
    let line = "[  98.765432] amdgpu 0000:03:00.0: amdgpu: ring gfx_0.0.0 uses VM inv eng 0 on hub 0\n";
    let log = format!("{}{}\n", line.repeat(200_000), device("amdgpu: GPU reset begin!"));
    assert_eq!(told(&log), [("reset", false)]);
}
