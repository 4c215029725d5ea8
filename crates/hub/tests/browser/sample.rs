//! A sample hub of a lab: many packages, several GPUs, and all kinds of failures.

use std::time::Duration;

use advice::Advice;
use gpu::{Reason, ReasonKind, UnusableGpu};
use hub::{ArchiveState, Clock, ReadArchive, WatchOptions, WatchedPackage, Webhook, WebhookOptions};
use protocol::api::{Claimed, Complete, GiveBack, GiveBackReason, Health, Heartbeat, TestState, WorkerReport};
use protocol::{Cases, GpuNeed, InstalledPackage, JobResult, Machine, PackageList, TestOutcome, TestResult, Verdict};
use safetext::Secret;
use sha256::Digest;

use crate::support::{Outcome, Running, Worker, archive, start_with};

const PACKAGES: [&str; 18] = [
    "composable-kernel",
    "ggml",
    "hipblas",
    "hipblaslt",
    "hipcub",
    "hipfft",
    "hiprand",
    "miopen",
    "rccl",
    "rocblas",
    "rocfft",
    "rocm-hipamd",
    "rocprim",
    "rocrand",
    "rocsolver",
    "rocsparse",
    "rocthrust",
    "rocwmma-a-name-that-is-as-long-as-names-of-source-packages-ever-get",
];

/// Id, GPU targets, GPU name, and whether the GPUs are simulated.
const MACHINES: [(&str, &str, &str, bool); 7] = [
    ("lab-mi210", "gfx90a", "AMD Instinct MI210", false),
    (
        "lab-mi300x",
        "gfx942,gfx942,gfx942,gfx942,gfx942,gfx942,gfx942,gfx942",
        "AMD Instinct MI300X OAM accelerator",
        false,
    ),
    ("desk-navi21", "gfx1030", "Radeon RX 6900 XT", false),
    ("desk-7900xtx", "gfx1100", "Radeon RX 7900 XTX", false),
    ("new-9070xt", "gfx1201", "Radeon RX 9070 XT", false),
    ("qemu-ci", "gfx1036", "simulated gfx1036 GPU", true),
    ("ci-without-gpu", "", "", false),
];

const LOG: &str = "autopkgtest [10:00:00]: test upstream: preparing testbed\n\
    Get:1 http://deb.debian.org/debian unstable/main amd64 librocrand1-tests amd64 6.4.3-2 [8,412 kB]\n\
    autopkgtest [10:00:09]: test upstream: [-----------------------\n\
    \x1b[0;32m[==========] \x1b[mRunning 1284 tests from 41 test suites.\n\
    \x1b[0;32m[ RUN      ] \x1b[mSuite/normal_tests.float/3\n\
    \x1b[0;31m[  FAILED  ] \x1b[mSuite/normal_tests.float/3 (12 ms)\n\
    \x1b[0;32m[       OK ] \x1b[mSuite/normal_tests.float/4 (3 ms)\n\
    \x1b[1;33mwarning:\x1b[0m 2 of 14 devices are \x1b[4mskipped\x1b[0m & not counted\n\
    autopkgtest [10:04:31]: test upstream: -----------------------]\n\
    autopkgtest [10:04:31]: test upstream:  - - - - - - - - - - results - - - - - - - - - -\n";

/// Fills a hub. Workers have completed jobs, one still has a job, and some jobs are queued.
pub fn lab() -> (Running, Vec<Worker>) {
    let hub = start_with(|config| config.webhooks = vec![webhook("ci", &[]), webhook("chat", &[TestState::Stopped])]);
    let workers = fill(&hub).expect("a hub");
    watch(&hub);
    (hub, workers)
}

/// A receiver of changes that is away: nothing listens at its port.
fn webhook(name: &str, states: &[TestState]) -> Webhook {
    let (address, secret) = (Secret::new("http://127.0.0.1:9/"), Secret::new("not to be guessed"));
    let (name, states) = (Some(name.to_owned()), states.to_vec());
    Webhook::new(WebhookOptions { name, address, secret, states, authorities: None, hub: None }).expect("a webhook")
}

/// An archive in which two packages have changed.
struct Archive;

impl ReadArchive for Archive {
    fn read(&self, known: Option<Digest>) -> Result<Option<ArchiveState>, Advice> {
        let package = |name: &str| WatchedPackage {
            package: name.to_owned(),
            version: "7.3.0-1".into(),
            need: GpuNeed::Any,
            tested_with: [("rocr-runtime".to_owned(), "7.3.0-1".to_owned())].into(),
        };
        let state = ArchiveState {
            suite: "sid".into(),
            date: jiff::Timestamp::from_second(1_790_000_000).expect("a time"),
            release: Digest::of("the Release file"),
            packages: ["rocalution", "rocrand"].map(package).into(),
        };
        Ok(Some(state).filter(|state| known != Some(state.release)))
    }
}

/// Has the hub watch the archive. The budget is for one of the packages on each target; the other one waits.
fn watch(hub: &Running) {
    let every = Duration::from_secs(3600);
    hub.hub.watch_archive(WatchOptions { archive: std::sync::Arc::new(Archive), every, budget: 1, priority: -10 });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        hub.hub.read_archive().await;
        hub.hub.make_watch_jobs().await
    });
}

fn machine(id: &str, gpus: &str, name: &str, simulated: bool) -> Machine {
    let mut inventory = if gpus.is_empty() { gpu::Inventory::default() } else { gpu::simulate(gpus).expect("targets") };
    inventory.simulated = simulated;
    for (number, gpu) in inventory.gpus.iter_mut().enumerate().filter(|_| !simulated) {
        gpu.simulated = false;
        gpu.name = name.into();
        gpu.id = format!("0000:{:02x}:00.0", 3 + number * 0x20);
    }
    if !simulated {
        inventory.notes.clear();
    }
    Machine {
        name: id.into(),
        kernel: "6.17.7+deb14-amd64".into(),
        processor: Some("AMD EPYC 7713P 64-Core Processor".into()),
        processors: 64,
        memory: 256 << 10,
        rocbed: "0.1.0".into(),
        gpus: inventory,
        ..Machine::default()
    }
}

fn fill(hub: &Running) -> Result<Vec<Worker>, Box<dyn std::error::Error>> {
    let joining = hub.client().with_token(hub.hub.join_token());
    let join = |id: &str, machine| Worker::with_machine(&joining, id, "first", machine, &[]);
    join("attic-vega20", machine("attic-vega20", "gfx906", "Radeon VII", false));
    let workers: Vec<_> =
        MACHINES.map(|(id, gpus, name, simulated)| join(id, machine(id, gpus, name, simulated))).into();
    history(hub, &workers[2])?;
    let mut turn = 0_usize;
    for package in PACKAGES {
        for worker in &workers {
            turn += 1;
            let skipped = turn.is_multiple_of(11) || (worker.id == "ci-without-gpu" && !turn.is_multiple_of(5));
            if skipped {
                continue;
            }
            let target = worker.machine.gpus.gpus.first().map(|gpu| gpu.target.to_string());
            let need = target.map_or_else(|| "gpu = \"none\"".to_owned(), |target| format!("gpu = [\"{target}\"]"));
            hub.add(&format!("[[job]]\npackage = \"{package}\"\n{need}\n"));
            finish(hub, worker, verdict(turn))?;
            hub.clock.advance(Duration::from_secs(1_900));
        }
    }
    unfit(&join("attic-rx580", broken()))?;
    now(hub, &workers)?;
    Ok(workers)
}

/// Daily runs of a package that becomes flaky, and of one that fails since two uploads.
fn history(hub: &Running, worker: &Worker) -> Outcome {
    for day in 0..40_u32 {
        for (package, fails) in [("rocalution", day >= 34), ("hipfft", matches!(day, 9 | 10 | 17 | 26 | 33))] {
            hub.add(&format!("[[job]]\npackage = \"{package}\"\ngpu = [\"gfx1030\"]\n"));
            let claimed = worker.begin();
            let verdict = if fails { Verdict::Fail } else { Verdict::Pass };
            let finished = jiff::Timestamp::from_millisecond(hub.clock.millis())?;
            let mut result = result(worker, &claimed, verdict, finished);
            if day < 20 {
                result.machine.kernel = "7.2.9+deb14-amd64".into();
            }
            let digest = result.installed.add(&installed(package, day));
            let run = &mut result.runs[0];
            run.tested = Some(format!("7.2.{}-1", day / 12));
            run.tests.iter_mut().for_each(|test| test.installed.clone_from(&digest));
            worker.deliver_result(&claimed, &result)?;
            hub.clock.advance(Duration::from_secs(if day == 14 { 5 * 43_200 } else { 43_200 }));
        }
    }
    Ok(())
}

/// What is installed on a day: the runtime and the compiler are uploaded on day 34.
fn installed(package: &str, day: u32) -> PackageList {
    let after = day >= 34;
    [
        (package, format!("7.2.{}-1", day / 12)),
        ("rocr-runtime", if after { "7.2.4-1" } else { "6.4.3+dfsg-5" }.to_owned()),
        ("llvm-toolchain-21", if after { "1:21.1.5-1" } else { "1:21.1.4-1" }.to_owned()),
        ("glibc", format!("2.42-{}", day / 10)),
    ]
    .into_iter()
    .map(|(source, version)| InstalledPackage {
        name: source.to_owned(),
        architecture: "amd64".into(),
        version: version.clone(),
        source: source.to_owned(),
        source_version: version,
    })
    .collect()
}

fn verdict(turn: usize) -> Verdict {
    match turn % 23 {
        3 | 16 => Verdict::Fail,
        7 => Verdict::Neutral,
        12 => Verdict::GpuFault,
        18 => Verdict::Timeout,
        21 => Verdict::TestbedFailed,
        _ => Verdict::Pass,
    }
}

/// A machine whose GPU is unusable.
fn broken() -> Machine {
    let mut machine = machine("attic-rx580", "", "", false);
    let mut gpu: UnusableGpu = serde_json::from_value(serde_json::json!({
        "pci-address": "0000:01:00.0", "pci-id": "1002:67df", "name": "Radeon RX 580",
        "reasons": [],
    }))
    .expect("a GPU");
    gpu.reasons.push(Reason::new(
        ReasonKind::NoPcieAtomics,
        "the slot cannot do PCIe atomics, which KFD wants of this GPU",
        "put the card into a slot that is connected to the processor",
    ));
    machine.gpus.unusable.push(gpu);
    machine
}

fn unfit(worker: &Worker) -> Outcome {
    let message = "no GPU answers: rocminfo did not end within 30 s; power the machine off and on".to_owned();
    worker.client.report(&worker.id, &WorkerReport { health: Health::Unfit, message })?;
    Ok(())
}

/// Jobs that are still running or queued at the end.
fn now(hub: &Running, workers: &[Worker]) -> Outcome {
    for worker in workers {
        worker.client.report(&worker.id, &WorkerReport { health: Health::Ready, message: String::new() })?;
    }
    hub.add("[[job]]\npackage = \"rocrand\"\ngpu = [\"gfx90a\"]\npriority = 5\n");
    let mi210 = &workers[0];
    let claimed = mi210.begin();
    let reason = GiveBackReason::ShuttingDown;
    mi210.client.give_back(&claimed.lease, &GiveBack { reason, message: "the machine gets a new kernel".into() })?;
    let claimed = mi210.begin();
    mi210.client.heartbeat(&claimed.lease, &Heartbeat { phase: "test upstream".into() })?;
    mi210.client.append_log(&claimed.lease, 0, LOG.as_bytes())?;
    hub.add("[[job]]\npackage = \"rccl\"\ngpu = [\"gfx942\"]\ngpus = 8\n");
    let claimed = workers[1].begin();
    workers[1].client.heartbeat(&claimed.lease, &Heartbeat { phase: "installing what tests need".into() })?;
    hub.add(
        "[[job]]\npackage = \"miopen\"\ngpu = [\"gfx950\"]\n[[job]]\npackage = \"rocsparse\"\ngpu = [\"gfx90a\"]\n\
         [[job]]\npackage = \"pytorch-rocm\"\ngpu = [\"gfx906\"]\n[[job]]\npackage = \"hipfft\"\ngpu = [\"gfx90a\"]\n",
    );
    let jobs = hub.people().jobs(&client::JobQuery { limit: Some(1), ..client::JobQuery::default() })?.jobs;
    hub.people().cancel(&jobs[0].id)?;
    Ok(())
}

fn finish(hub: &Running, worker: &Worker, verdict: Verdict) -> Outcome {
    let claimed = worker.begin();
    worker.client.append_log(&claimed.lease, 0, LOG.as_bytes())?;
    let result = result(worker, &claimed, verdict, jiff::Timestamp::from_millisecond(hub.clock.millis())?);
    let junit = if verdict == Verdict::Neutral { String::new() } else { junit(&result) };
    let mut files = vec![("result.json", serde_json::to_vec(&result)?), ("log", LOG.into())];
    if !junit.is_empty() {
        files.insert(1, ("junit.xml", junit.clone().into_bytes()));
        files.push((
            "user/artifacts/gtest-results/Suite/normal_tests.float/report-of-a-test-with-a-name-that-is-long.xml",
            junit.into(),
        ));
        files.push(("user/artifacts/plot.png", include_bytes!("../../../../docs/images/display-small.png").into()));
    }
    let files: Vec<_> = files.iter().map(|(name, content)| (*name, &content[..])).collect();
    let bundle = worker.upload(&archive(&files))?;
    let summary = match verdict {
        Verdict::Pass => "2 of 2 tests passed",
        Verdict::Neutral => "all tests were skipped",
        _ => "1 of 2 tests passed",
    };
    worker.client.complete(&claimed.lease, &Complete { bundle, verdict, summary: summary.into() })?;
    Ok(())
}

fn result(worker: &Worker, claimed: &Claimed, verdict: Verdict, finished: jiff::Timestamp) -> JobResult {
    let mut result = worker.result(&claimed.job, verdict);
    let test = |name: &str, outcome, reason: &str, seconds, cases| TestResult {
        name: name.into(),
        outcome,
        reason: reason.into(),
        seconds: Some(seconds),
        cases,
        installed: None,
    };
    let cases = |failed| Some(Cases { total: 1284, failed, skipped: 12 });
    let (outcome, reason, failed) = match verdict {
        Verdict::Pass => (TestOutcome::Pass, "", 0),
        Verdict::Neutral => (TestOutcome::Skip, "exit status 77 and marked as skippable", 0),
        Verdict::Timeout => (TestOutcome::Unfinished, "the job's deadline came first", 0),
        Verdict::TestbedFailed => (TestOutcome::Unfinished, "the testbed went away", 0),
        _ => (TestOutcome::Fail, "non-zero exit status 1", 2),
    };
    result.runs[0].tests = vec![
        test("upstream", outcome, reason, 262.4, cases(failed)),
        test("build-and-link", if outcome == TestOutcome::Skip { outcome } else { TestOutcome::Pass }, "", 8.25, None),
        test("benchmark", TestOutcome::Flaky, "non-zero exit status 3", 41.0, None),
    ];
    result.simulated = worker.machine.gpus.simulated;
    result.finished = finished;
    result.started = finished - jiff::SignedDuration::from_secs(317);
    match verdict {
        Verdict::GpuFault => {
            result.problem = Some("The GPU was reset while the test ran.".into());
            result.kernel_log = vec![
                "[ 812.104215] amdgpu 0000:03:00.0: amdgpu: [gfxhub] page fault (src_id:0 ring:24 vmid:8 pasid:32770)"
                    .into(),
                "[ 812.330016] amdgpu 0000:03:00.0: amdgpu: GPU reset begin!".into(),
                "[ 815.021947] amdgpu 0000:03:00.0: amdgpu: GPU reset(1) succeeded!".into(),
            ];
        }
        Verdict::Neutral => {
            result.warnings = vec!["All tests were skipped although the machine has a matching GPU.".into()];
        }
        Verdict::Timeout => result.problem = Some("The deadline of 4 h came before the tests had ended.".into()),
        Verdict::TestbedFailed => result.problem = Some("autopkgtest ended with status 16: the testbed failed.".into()),
        _ => {}
    }
    result
}

/// A report of test cases in the format of `GoogleTest`, as the runner repeats it.
fn junit(result: &JobResult) -> String {
    let cases: String = (0..60)
        .map(|number| match (result.verdict, number) {
            (Verdict::Fail | Verdict::GpuFault, 17 | 31) => format!(
                "<testcase classname=\"Suite/normal_tests\" name=\"float/{number}\"><failure>normal_tests.cpp:211: Failure\n\
                 The difference between mean and expected is 0.0314, which exceeds 0.01, where\nmean evaluates to \
                 0.5314,\nexpected evaluates to 0.5.\n</failure></testcase>"
            ),
            (_, 40..43) => {
                format!("<testcase classname=\"Suite/graph_tests\" name=\"capture/{number}\"><skipped/></testcase>")
            }
            _ => format!("<testcase classname=\"Suite/normal_tests\" name=\"float/{number}\" time=\"0.012\"/>"),
        })
        .collect();
    let package = result.job.source.name();
    format!(
        "<testsuites><testsuite name=\"{package}.user\"><testcase classname=\"{package}.user\" name=\"upstream\"/></testsuite>\
         <testsuite name=\"user.upstream: artifacts/{package}-test.xml\">{cases}</testsuite></testsuites>"
    )
}
