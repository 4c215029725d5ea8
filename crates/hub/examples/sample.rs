//! A hub with made-up jobs, results and workers, to look at its pages: prints its address and serves until it is ended.
//!
//! ```text
//! cargo run -p hub --example sample
//! ```

#![allow(dead_code)]

#[path = "../tests/hub/support.rs"]
mod support;

use std::sync::Arc;

use hub::SystemClock;
use protocol::Verdict;
use protocol::api::{Complete, GiveBack, GiveBackReason, Health, Heartbeat, WorkerReport};
use support::{Outcome, Running, Worker, bundle, start_with};

const LOG: &str = "\x1b[1mautopkgtest [10:00:00]: starting\x1b[0m date and time\n\
    Get:1 http://deb.debian.org/debian sid/main amd64 rocrand 6.4.3-2 [1,234 kB]\n\
    \x1b[32m[       OK ]\x1b[0m RocRand.Uniform (12 ms)\n\x1b[31m[  FAILED  ]\x1b[0m RocRand.Normal <float> (3 ms)\n\
    \x1b[33mwarning:\x1b[0m 2 of 14 cases are skipped & not counted\n";

fn main() -> Outcome {
    let hub = start_with(|config| config.clock = Arc::new(SystemClock));
    fill(&hub)?;
    println!("{}", hub.address);
    loop {
        std::thread::park();
    }
}

fn fill(hub: &Running) -> Outcome {
    let verdicts = [Verdict::Pass, Verdict::Fail, Verdict::Pass, Verdict::Neutral, Verdict::GpuFault, Verdict::Timeout];
    let machines = [("lab-navi21", "gfx1030"), ("lab-mi210", "gfx90a"), ("desk-7900xtx", "gfx1100"), ("ci-none", "")];
    let mut turn = 0;
    for (name, gpus) in machines {
        let mut worker = hub.worker(name, gpus);
        worker.machine.gpus.simulated = name == "lab-mi210";
        for package in ["hipcub", "rocblas", "rocfft", "rocrand", "rocthrust"] {
            turn += 1;
            let need = if gpus.is_empty() { "gpu = \"none\"".to_owned() } else { format!("gpu = [\"{gpus}\"]") };
            if turn % 7 != 0 {
                hub.add(&format!("[[job]]\npackage = \"{package}\"\n{need}\n"));
                finish(&worker, verdicts[turn % verdicts.len()])?;
            }
        }
    }
    let unfit = hub.worker("attic-rx580", "gfx803");
    let message = "rocminfo does not answer; power the machine off and on".to_owned();
    unfit.client.report("attic-rx580", &WorkerReport { health: Health::Unfit, message })?;
    hub.add(
        "[[job]]\npackage = \"miopen\"\ngpu = [\"gfx942\"]\n[[job]]\npackage = \"rocsparse\"\ngpu = [\"gfx1030\"]\n",
    );
    let worker = hub.worker("lab-navi21", "gfx1030");
    let claimed = worker.begin();
    let reason = GiveBack { reason: GiveBackReason::ShuttingDown, message: "kernel update".into() };
    worker.client.give_back(&claimed.lease, &reason)?;
    let claimed = worker.begin();
    worker.client.heartbeat(&claimed.lease, &Heartbeat { phase: "running upstream".into() })?;
    worker.client.append_log(&claimed.lease, 0, LOG.repeat(5).as_bytes())?;
    Ok(())
}

fn finish(worker: &Worker, verdict: Verdict) -> Outcome {
    let claimed = worker.begin();
    worker.client.append_log(&claimed.lease, 0, LOG.repeat(40).as_bytes())?;
    let mut result = worker.result(&claimed.job, verdict);
    result.simulated = worker.machine.gpus.simulated;
    result.runs[0].tests[1].name = "build".into();
    result.runs[0].tests[1].reason = "exit status 1".into();
    if verdict == Verdict::GpuFault {
        result.problem = Some("the GPU was reset while the test ran".into());
        result.kernel_log = vec!["amdgpu 0000:03:00.0: amdgpu: GPU reset begin!".into()];
    }
    let bundle = worker.upload(&bundle(&result))?;
    worker.client.complete(&claimed.lease, &Complete { bundle, verdict, summary: "1 of 2 tests passed".into() })?;
    Ok(())
}
