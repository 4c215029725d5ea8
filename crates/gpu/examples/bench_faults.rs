//! Measures how long reading a long kernel log takes: `cargo run --release -p gpu --example bench_faults`.

use std::time::Instant;

use gpu::messages::{Findings, Trust};

const LINES: usize = 200_000;

fn main() {
    let usual = [
        "amdgpu 0000:03:00.0: amdgpu: ring gfx_0.0.0 uses VM inv eng 0 on hub 0",
        "usb 1-1: new high-speed USB device number 2 using xhci_hcd",
        "audit: type=1400 audit(1704636055.456:2): apparmor=\"STATUS\" operation=\"profile_load\"",
        "pci 0000:00:01.0: PCI bridge to [bus 01-03]",
        "amdgpu 0000:03:00.0: amdgpu:   in page starting at address 0x0000000000001000 from client 10",
    ];
    let faults = ["amdgpu 0000:03:00.0: amdgpu: [gfxhub] page fault (src_id:0 ring:24 vmid:8 pasid:32771)"];
    for (what, lines) in [("usual lines", &usual[..]), ("a flood of page faults", &faults[..])] {
        let log: String =
            (0..LINES).map(|number| format!("[{number:>5}.123456] {}\n", lines[number % lines.len()])).collect();
        let mut times: Vec<f64> = (0..5)
            .map(|_| {
                let began = Instant::now();
                let findings = Findings::of_log(&log, Trust::Text, None);
                assert!(findings.0.len() <= 1, "{findings}");
                began.elapsed().as_secs_f64()
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("{LINES} lines, {what}: {:.3} s (best of 5 {:.3} s)", times[2], times[0]);
    }
}
