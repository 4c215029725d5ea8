//! Tests of the booted appliance at work: `rocbed boot --jobs` with real autopkgtest in real testbeds, and its
//! behaviour in case of errors. Packages of the archive are tested by `worker.rs`, as their indexes take minutes here.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rocbed_tests::{Call, Output, Victims, command_tree, rocbed, smoke_image, source_tree, tool};
use serde_json::Value;
use tempfile::TempDir;

/// A run of an appliance, with its results.
struct Ran {
    output: Output,
    results: Value,
    directory: TempDir,
}

/// A job for a source tree of `fixtures/trees`, with additional settings.
fn job(tree: &str, more: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/trees").join(tree);
    format!("[[job]]\npath = {:?}\n{more}\n", path.display().to_string())
}

/// Boots the image with these jobs.
fn run_jobs(image: &Path, jobs: &str, words: &[&str]) -> Ran {
    run_jobs_on(|call| call, image, jobs, words)
}

/// Like `run_jobs`, on a machine with additional options.
fn run_jobs_on(machine: impl FnOnce(Call) -> Call, image: &Path, jobs: &str, words: &[&str]) -> Ran {
    let directory = tempfile::tempdir().expect("a directory");
    let list = directory.path().join("jobs.toml");
    fs::write(&list, jobs).expect("a job list");
    let call = rocbed(["boot", "--json", "--jobs"]).arg(&list).arg("--results").arg(directory.path().join("results"));
    let output = words.iter().fold(machine(call).arg(image), Call::arg).run();
    let results = serde_json::from_str(&output.stdout)
        .unwrap_or_else(|error| panic!("no results ({error}): {:?}\n{}", output.code, output.stderr));
    Ran { output, results, directory }
}

impl Ran {
    /// The result of a job.
    fn job(&self, id: &str) -> &Value {
        let all = self.results.as_array().expect("a list of results");
        let found = all.iter().find(|result| result["job"] == id);
        found.unwrap_or_else(|| panic!("no result of {id}: {}\n{}", self.results, self.output.stderr))
    }

    fn verdict(&self, id: &str) -> &str {
        self.job(id)["verdict"].as_str().expect("a verdict")
    }

    /// Name and outcome of each test of a job.
    fn outcomes(&self, id: &str) -> Vec<(&str, &str)> {
        let tests = self.job(id)["result"]["runs"][0]["tests"].as_array().expect("tests");
        tests.iter().filter_map(|test| Some((test["name"].as_str()?, test["outcome"].as_str()?))).collect()
    }

    /// A file of a job's bundle.
    fn bundled(&self, id: &str, name: &str) -> String {
        let bundle = PathBuf::from(self.job(id)["bundle"].as_str().expect("a bundle"));
        let file = fs::File::open(&bundle).unwrap_or_else(|error| panic!("{}: {error}", bundle.display()));
        let bytes = bundle::file(file, name, 1 << 20).expect("a bundle");
        String::from_utf8_lossy(&bytes.unwrap_or_else(|| panic!("no {name} in the bundle of {id}"))).into_owned()
    }

    fn console(&self) -> String {
        fs::read_to_string(self.directory.path().join("results/console.log")).expect("the console's log")
    }
}

#[test]
fn every_kind_of_ending_is_reported_and_other_disks_cannot_be_written_to() {
    let jobs = [
        job("attacks", "as = [\"root\"]"),
        job("passes", "as = [\"user\", \"root\"]"),
        job("fails", ""),
        job("hangs", "timeout = \"80s\""),
        job("skips", "gpu = [\"gfx1030\"]"),
        job("passes", "id = \"elsewhere\"\ngpu = [\"gfx942\"]"),
    ];
    let directory = tempfile::tempdir().expect("a directory");
    let faults: Vec<String> = SIMULATED
        .iter()
        .map(|(id, command, lines)| {
            let path = command_tree(directory.path(), id, command).display().to_string();
            let env = format!("env = {{ ROCBED_SIMULATE_FAULT = {lines:?} }}");
            format!("[[job]]\npath = {path:?}\nid = {id:?}\ntimeout = \"10m\"\n{env}\n")
        })
        .collect();
    let jobs = [&jobs[..], &faults, &[job("forges", ""), job("asks", "gpu = [\"gfx1030\"]")]].concat();
    let screen = directory.path().join("screen.png");
    let words = ["--gpu", "gfx1030", "--network", "none", "--screenshot", &screen.to_string_lossy()];
    let victims = Victims::default();
    let words = [&words[..], &["--append", "rocbed.simulate-faults=yes"]].concat();
    let ran = run_jobs_on(|call| victims.plugged_in(call), &smoke_image(), &jobs.concat(), &words);
    // Some failed and some were skipped, as reported by autopkgtest's exit status.
    assert_eq!(ran.output.code, Some(6), "{}", ran.output.stderr);

    // PNG (second edition, 5.2 and 11.2.2): its signature, and a readable width and height.
    let picture = fs::read(&screen).expect("a picture of the display");
    assert_eq!(picture.get(..8), Some(&b"\x89PNG\r\n\x1a\n"[..]));
    assert!(picture.get(18..20).is_some_and(|width| u16::from_be_bytes([width[0], width[1]]) >= 640));

    // The kernel can see the disks, and a job tried everything as root.
    let log = ran.bundled("attacks", "log");
    for disk in ["nvme0n1", "vdb", "sda"] {
        assert!(log.contains(&format!("attacking {disk}")), "{disk}:\n{log}");
    }
    victims.are_untouched();
    // The kernel took the program that keeps testbeds from devices.
    assert!(!log.contains("only /dev keeps testbeds from devices"), "{log}");

    assert_eq!(ran.verdict("passes"), "pass");
    let result = &ran.job("passes")["result"];
    assert_eq!(result["runs"].as_array().map(Vec::len), Some(2));
    assert_eq!((&result["simulated"], &result["gpus"][0]), (&Value::Bool(true), &Value::from("simulated-0")));
    assert_eq!(result["machine"]["image"]["name"], "smoke");
    assert!(ran.bundled("passes", "log").contains("running as tester"));

    assert_eq!(ran.verdict("fails"), "fail");
    assert!(ran.outcomes("fails").contains(&("exit-status", "fail")), "{:?}", ran.outcomes("fails"));

    // After the deadline there are the results so far: the earlier test, and the output of the hanging one.
    assert_eq!(ran.verdict("hangs"), "timeout");
    assert_eq!(ran.outcomes("hangs")[0], ("first", "pass"));
    assert!(ran.bundled("hangs", "log").contains("this much was done"));

    // A machine with the right GPU on which all tests were skipped is unusual enough for a warning.
    assert_eq!(ran.verdict("skips"), "neutral");
    let warnings = ran.job("skips")["result"]["warnings"].to_string();
    assert!(warnings.contains("skipped"), "{warnings}");

    assert_eq!(ran.verdict("elsewhere"), "neutral");
    let why = ran.job("elsewhere")["summary"].as_str().unwrap_or_default();
    assert_eq!(why, "not run: it needs gfx942, and this machine has gfx1030");

    for (id, _, lines) in SIMULATED {
        assert_eq!(ran.verdict(id), "gpu-fault", "{id}: {}\n{}", ran.job(id), ran.console());
        let log = ran.job(id)["result"]["kernel_log"].to_string() + &ran.job(id)["result"]["kernel-log"].to_string();
        let first = lines.split('|').next_back().unwrap_or_default();
        assert!(log.contains(first), "{id}: {log}");
    }
    // A serious GPU fault ends the job at once; otherwise its test would run for ever.
    let problem = ran.job("lost")["result"]["problem"].to_string();
    assert!(problem.contains("the job was ended for it"), "{problem}");
    // A fault that ends only the process that caused it does not end the job.
    assert_eq!(ran.outcomes("page-fault").len(), 1);
    // Text written by a test is not taken for the kernel's.
    assert_eq!(ran.verdict("forges"), "pass", "{}", ran.job("forges"));
    // Of the ways that the test tries, the kernel writes down the names of processes that crash.
    assert!(ran.bundled("forges", "kernel.log").contains("amdgpu is hung["), "the kernel did quote them");
    // After all of that, a job still runs, and its testbed has the simulated GPU inside.
    assert_eq!(ran.verdict("asks"), "pass");
    let log = ran.bundled("asks", "log");
    assert!(log.contains("KFD 1.") && log.contains("gfx_target_version 100300"), "{log}");
    let result = &ran.job("asks")["result"];
    assert_eq!((&result["simulated"], &result["gpus"][0]), (&Value::Bool(true), &Value::from("simulated-0")));
    let warnings = result["warnings"].to_string();
    assert!(warnings.contains("test kfd as user: on the simulated GPU it opened the GPU"), "{warnings}");
}

/// A test that does not end by itself.
const ENDLESS: &str = "while :; do sleep 1; done";

/// Fault messages that are written to the kernel's log during a job: the job's id, its only test, and the lines.
const SIMULATED: [(&str, &str, &str); 5] = [
    ("lost", ENDLESS, "amdgpu 0000:03:00.0: amdgpu: device lost from bus!"),
    ("wedged", ENDLESS, "amdgpu 0000:03:00.0: [drm] device wedged, needs recovery"),
    ("kfd-hang", ENDLESS, "amdgpu: qcm fence wait loop timeout expired|amdgpu: Failed to evict process queues"),
    (
        "vmid-0",
        ENDLESS,
        "amdgpu 0000:03:00.0: amdgpu: [gfxhub] page fault (src_id:0 ring:153 vmid:0 pasid:0, for process  pid 0 thread  pid 0)",
    ),
    ("page-fault", "true", "amdgpu 0000:03:00.0: amdgpu: [gfxhub] page fault (src_id:0 ring:24 vmid:8 pasid:32771)"),
];

#[test]
fn a_full_overlay_used_up_memory_and_no_network_are_the_tests_problem_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let own_tree = |name: &str, command: &str| {
        let tree = command_tree(directory.path(), name, command);
        format!("[[job]]\nid = {name:?}\npath = {:?}\n", tree.display().to_string())
    };
    // What is in memory has limits below that of the memory, so that the kernel need not end anything.
    let fills =
        own_tree("fills", "head -c 400M /dev/zero > /dev/shm/big || true; head -c 200M /dev/zero > /var/tmp/big");
    // tail(1) keeps what has no line break in memory.
    let hogs = own_tree("hogs", "head -c 400M /dev/zero | tail -n 1 > /dev/null");
    // The rows about memory of crates/testbed/tests/server/accidents.rs that the other two do not have.
    let exhausts = source_tree(directory.path(), "exhausts", &[("tests/control", EXHAUSTS)]);
    let exhausts = format!("[[job]]\nid = \"exhausts\"\npath = {:?}\n", exhausts.display().to_string());
    let append = "rocbed.overlay-size=64M rocbed.testbed-memory=256M rocbed.jobs-at-once=2 rocbed.test-network=archive";
    let words = ["--network", "none", "--gpu", "gfx1030", "--gpu", "gfx90a", "--append", append];
    let passes = own_tree("passes", "true");
    let ran = run_jobs(&smoke_image(), &format!("{fills}{hogs}{passes}{exhausts}"), &words);
    two_at_once(&ran, ["fills", "hogs"]);
    assert_eq!(ran.output.code, Some(4), "{}", ran.output.stderr);
    let log = ran.bundled("fills", "log");
    assert!(log.contains("the testbed is full") && log.contains("--overlay-size"), "{log}");
    let said = |id: &str, of: &str| {
        let result = &ran.job(id)["result"];
        if of == "warnings" { result[of].to_string() } else { result["runs"][0]["tests"][0][of].to_string() }
    };
    for (id, of, what) in [
        ("hogs", "warnings", "ended 1 process at its limit of 256 MiB"),
        ("hogs", "reason", "the memory of the testbed was used up"),
        ("fills", "warnings", "the testbed is full: it has written 64 MiB"),
        ("fills", "reason", "; the testbed is full"),
    ] {
        assert!(said(id, of).contains(what), "{id}: {}\n{}", said(id, of), ran.bundled(id, "log"));
    }
    // Nobody has a part in what the other used up.
    assert!(!said("fills", "warnings").contains("memory"), "{}", said("fills", "warnings"));
    assert!(!said("passes", "warnings").contains("memory"), "{}", said("passes", "warnings"));
    assert_eq!(["fills", "hogs", "passes"].map(|id| ran.verdict(id)), ["fail", "fail", "pass"]);
    let outcomes = [
        ("many-processes", "pass"),
        ("file-without-a-name", "fail"),
        ("run", "fail"),
        ("shared-memory", "fail"),
        ("pipes", "pass"),
    ];
    assert_eq!(ran.outcomes("exhausts"), outcomes, "{}", ran.bundled("exhausts", "log"));
    let killed = &ran.job("exhausts")["result"]["runs"][0]["tests"][1]["reason"].to_string();
    assert!(killed.contains("the memory of the testbed was used up"), "{killed}");
}

/// Tests that use up memory in other ways than by one program.
const EXHAUSTS: &str = "\
Test-Command: for n in 1 2 3 4 5 6; do perl -e '$x = q(x) x (100 << 20); sleep 2' & done; wait
Features: test-name=many-processes
Depends:
Restrictions: breaks-testbed, allow-stderr

Test-Command: perl -e 'my $n = q(x); my $f = syscall(319, $n, 0); open F, qq(>&=$f); my $x = q(x) x (1 << 20); for (1..400) { syswrite F, $x or die }'
Features: test-name=file-without-a-name
Depends:
Restrictions: breaks-testbed, allow-stderr

Test-Command: head -c 400M /dev/zero > /run/large
Features: test-name=run
Depends:
Restrictions: breaks-testbed, needs-root, allow-stderr

Test-Command: head -c 400M /dev/zero > /dev/shm/large
Features: test-name=shared-memory
Depends:
Restrictions: breaks-testbed, allow-stderr

Test-Command: perl -e 'for (1..400) { pipe $r[$_], $w[$_] or exit; fcntl $w[$_], 1031, 1 << 20; fcntl $w[$_], 4, 2048; syswrite $w[$_], q(x) x (1 << 20) }'
Features: test-name=pipes
Depends:
Restrictions: breaks-testbed, allow-stderr
";

/// Checks that these two jobs began before any ended, each with a GPU of its own.
fn two_at_once(ran: &Ran, jobs: [&str; 2]) {
    let console = ran.console();
    let line = |text: String| console.find(&text).unwrap_or_else(|| panic!("no line {text:?}:\n{console}"));
    let begun = [0, 1].map(|number| {
        let job = jobs[number];
        line(format!("job {job} ({} of 4), with simulated-{number}", number + 1))
    });
    let ended = jobs.map(|job| line(format!("{} {job} ", ran.verdict(job))));
    assert!(begun.iter().max() < ended.iter().min(), "{begun:?} {ended:?}:\n{console}");
    let gpus = jobs.map(|job| ran.job(job)["result"]["gpus"].clone());
    assert_eq!(gpus, [serde_json::json!(["simulated-0"]), serde_json::json!(["simulated-1"])]);
}

#[test]
fn settings_of_the_stick_are_read_and_corrupt_ones_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let image = directory.path().join("smoke");
    fs::create_dir(&image).expect("a directory");
    for name in ["disk.img", "SHA256SUMS", "cmdline"] {
        let (from, to) = (smoke_image().join(name), image.join(name));
        tool("cp", ["--sparse=always", &from.to_string_lossy(), &to.to_string_lossy()]);
    }
    let disk = image.join("disk.img");
    // The ESP is the first partition, at 1 MiB.
    let esp = format!("{}@@1M", disk.display());
    for (settings, said) in [
        ("name = \"from-the-stick\"\nwatchdog = \"90s\"\n", "host name from-the-stick"),
        ("name = \"x\"\nwatch", "rocbed.toml on the stick: line 2: "),
    ] {
        let file = directory.path().join("rocbed.toml");
        fs::write(&file, settings).expect("a file of settings");
        tool("mcopy", ["-o", "-i", &esp, &file.to_string_lossy(), "::rocbed.toml"]);
        let output = rocbed(["boot", &image.to_string_lossy(), "--firmware", "uefi", "--disk", "usb"]).run();
        assert_eq!(output.code, Some(0), "{}\n{}", output.stdout, output.stderr);
        assert!(output.stdout.contains(said), "{said}:\n{}", output.stdout);
    }
}

#[test]
fn the_power_button_switches_off_in_order() {
    let image = smoke_image();
    let text = |name: &str| fs::read_to_string(image.join(name)).expect("a file of the image");
    let directory = tempfile::tempdir().expect("a directory");
    let (monitor, console) = (directory.path().join("monitor"), directory.path().join("console"));
    let mut qemu = Command::new("qemu-system-x86_64")
        .args(["-machine", "q35", "-nodefaults", "-no-reboot", "-display", "none", "-nic", "none", "-m", "1024M"])
        .args(["-accel", "tcg,thread=multi", "-cpu", "max,la57=off", "-smp", "1"])
        .args(["-serial", &format!("file:{}", console.display())])
        .args(["-monitor", &format!("unix:{},server=on,wait=off", monitor.display())])
        .args(["-kernel", &image.join("vmlinuz").to_string_lossy()])
        .args(["-initrd", &image.join("initrd.img").to_string_lossy()])
        .args(["-append", text("cmdline").trim()])
        .args(["-drive", &format!("if=virtio,format=raw,snapshot=on,file={}", image.join("root.img").display())])
        .spawn()
        .expect("starting QEMU");
    let said = || fs::read_to_string(&console).unwrap_or_default();
    // The watchdog is the last driver to be loaded, after the button's.
    let began = Instant::now();
    while !said().contains("rocbed-init: watchdog: ") && began.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(200));
    }
    let mut wire = UnixStream::connect(&monitor).expect("QEMU's monitor");
    wire.write_all(b"system_powerdown\n").expect("pressing the button");
    let began = Instant::now();
    while qemu.try_wait().expect("QEMU's end").is_none() && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(200));
    }
    // Whatever the outcome, no process stays behind; a QEMU that has ended cannot be killed.
    let _ = qemu.kill();
    let _ = qemu.wait();
    assert!(said().contains("going to power off: the power button was pressed"), "{}", said());
    assert!(said().contains("rocbed-init: powering off"), "{}", said());
    assert!(!said().contains("did not end in time"), "{}", said());
}

#[test]
fn a_machine_that_dies_is_the_testbeds_failure() {
    // Enough time for the job to start, beside other busy jobs, but not for it to end.
    let words = ["--network", "none", "--memory", "2GiB", "--timeout", "60"];
    let ran = run_jobs(&smoke_image(), &job("hangs", "timeout = \"10m\""), &words);
    assert_eq!(ran.output.code, Some(16), "{}", ran.output.stderr);
    assert!(ran.output.stderr.contains("--timeout gives it longer"), "{}", ran.output.stderr);
    assert!(ran.console().contains("rocbed-init: job hangs"), "{}", ran.console());
}

#[test]
fn a_job_list_that_makes_no_sense_starts_no_machine() {
    let directory = tempfile::tempdir().expect("a directory");
    let list = directory.path().join("jobs.toml");
    for (text, says) in [
        ("[[job]]\npackage = \"gzip\"\ntimeout = \"soon\"\n", "not a time span"),
        ("[[job]]\npath = \"nowhere\"\n", "nowhere"),
        ("", "no job in the list"),
    ] {
        fs::write(&list, text).expect("a job list");
        let output = rocbed(["boot", &smoke_image().to_string_lossy(), "--jobs"]).arg(&list).run();
        assert_eq!(output.code, Some(20), "{}", output.stderr);
        assert!(output.stderr.contains(says), "{}", output.stderr);
    }
    let output = rocbed(["boot", &smoke_image().to_string_lossy(), "--gpu", "radeon"]).run();
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains("--gpu") && output.stderr.contains("gfx1030"), "{}", output.stderr);
}
