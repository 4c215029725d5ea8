//! Tests of the complete system: a hub, a booted appliance as its worker, and results that agree with autopkgtest's
//! files. Also the cases that the hub or the worker dies meanwhile.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rocbed_tests::{Hub, Trees, smoke_image};
use serde_json::Value;
use tempfile::TempDir;

/// Time limit for anything that must happen in the end.
const PATIENCE: Duration = Duration::from_secs(600);

/// An appliance with a simulated GPU that takes jobs from a hub. It is killed with QEMU when this is dropped.
struct Worker {
    process: Child,
    console: PathBuf,
    _directory: TempDir,
}

impl Worker {
    fn boot(hub: &Hub, words: &[&str]) -> Self {
        let image = smoke_image();
        let directory = tempfile::tempdir().expect("a directory");
        let console = directory.path().join("console.log");
        let out = File::create(&console).expect("a file for the console");
        let mut command = hub.call(&["boot"]).into_command();
        command.arg(image).args(["--hub", hub.address(), "--gpu", "gfx1030", "--ignore-valid-until"]).args(words);
        // In a separate process group, so that a power cut also ends QEMU.
        let process = command.stdout(out).stderr(Stdio::null()).process_group(0).spawn().expect("a machine");
        Self { process, console, _directory: directory }
    }

    fn console(&self) -> String {
        fs::read_to_string(&self.console).unwrap_or_default()
    }

    /// Waits until the appliance has powered off.
    fn end(mut self) -> Option<i32> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.process.try_wait().expect("waiting") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("the machine is still there:\n{}", self.console());
    }

    fn cut_power(self) {
        drop(self);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // After a normal end there is nothing to kill.
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.process.wait();
    }
}

/// Adds a job; returns its id.
fn add(hub: &Hub, words: &[&str]) -> String {
    let added = hub.json(&[&["jobs", "add"], words].concat());
    added["jobs"][0].as_str().unwrap_or_else(|| panic!("{added}")).to_owned()
}

fn job(hub: &Hub, id: &str) -> Value {
    hub.json(&["jobs", "show", id])
}

/// Waits until a condition is true.
fn until(what: &str, hub: &Hub, worker: &Worker, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(
            began.elapsed() < PATIENCE,
            "never: {what}\n{}\n{}",
            hub.call(&["jobs", "list"]).run().stdout,
            worker.console()
        );
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// Compares a result with autopkgtest's files, which the bundle contains unchanged.
fn compare_with_autopkgtest(hub: &Hub, id: &str, directory: &Path) -> Value {
    hub.call(&["results", "fetch", id, "--unpack", "--output", &directory.to_string_lossy()]).ok();
    let unpacked = directory.join(id);
    let read = |name: &str| fs::read_to_string(unpacked.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let result: Value = serde_json::from_str(&read("result.json")).expect("JSON");
    let shown = hub.json(&["results", "show", id]);
    // The hub keeps the lists of installed packages once for all results.
    let mut without_lists = result.clone();
    let lists = without_lists.as_object_mut().and_then(|result| result.remove("installed")).expect("lists of packages");
    assert_eq!(shown["result"], without_lists, "the hub shows what is in the bundle");
    for test in result["runs"].as_array().into_iter().flatten().filter_map(|run| run["tests"].as_array()).flatten() {
        let known = lists["lists"].as_array().expect("lists").iter().any(|list| list["sha256"] == test["installed"]);
        assert!(test["installed"].is_null() || known, "{test}");
    }
    assert_eq!((&shown["info"]["job"], &shown["info"]["verdict"]), (&Value::from(id), &result["verdict"]));
    for run in result["runs"].as_array().expect("runs") {
        let output = run["directory"].as_str().expect("a directory");
        // `name   PASS`, `name   FAIL reason` (README.running-tests, summary).
        let summary = read(&format!("{output}/summary"));
        let lines = summary.lines().map(|line| {
            let (name, rest) = line.split_once(' ').expect("a name and more");
            let (outcome, reason) = rest.trim().split_once(' ').unwrap_or((rest.trim(), ""));
            // The pass of a superficial test is followed by that word in parentheses.
            (name.to_owned(), outcome.to_lowercase(), reason.trim_matches([' ', '(', ')']).to_owned())
        });
        // autopkgtest reads the control file twice, and writes a line for each skipped test both times.
        let mut lines: Vec<_> = lines.collect();
        lines.dedup();
        let text = |test: &Value, name: &str| test[name].as_str().unwrap_or_default().to_owned();
        let tests = run["tests"].as_array().expect("tests").iter();
        let told: Vec<_> =
            tests.map(|test| (text(test, "name"), text(test, "outcome"), text(test, "reason"))).collect();
        assert_eq!(told, lines);
        let version = read(&format!("{output}/testpkg-version"));
        let package = &run["package"];
        assert_eq!(version.trim(), format!("{} {}", text(package, "name"), text(package, "version")));
    }
    result
}

#[test]
fn jobs_run_and_their_results_are_what_autopkgtest_wrote() {
    let (hub, trees) = (Hub::start(&[]), Trees::new());
    let gzip = add(&hub, &["gzip", "--gpu", "gfx1030,gfx11-generic"]);
    let passes = add(&hub, &[&trees.command("passes", "true"), "--as", "user,root"]);
    let fails = add(&hub, &[&trees.fixture("fails"), "--gpu", "gfx10-3-generic"]);
    let elsewhere = add(&hub, &["rocfft", "--gpu", "gfx942"]);
    let worker = Worker::boot(&hub, &["--when-done", "power-off", "--memory", "2GiB"]);
    assert_eq!(worker.end(), Some(0));

    let directory = tempfile::tempdir().expect("a directory");
    let results = hub.json(&["results", "list"]);
    assert_eq!(results.as_array().map(Vec::len), Some(3), "{results}");
    let of = |id: &str| compare_with_autopkgtest(&hub, id, directory.path());
    let result = of(&gzip);
    assert_eq!((&result["verdict"], &result["simulated"]), (&Value::from("pass"), &Value::from(true)));
    let tests = result["runs"][0]["tests"].as_array().expect("tests");
    let outcomes: Vec<_> =
        tests.iter().filter_map(|test| Some((test["name"].as_str()?, test["outcome"].as_str()?))).collect();
    assert_eq!(outcomes, [("simple-gzip", "pass"), ("advanced-usage-gzip", "pass")]);
    assert_eq!(result["machine"]["image"]["name"], "smoke");
    let result = of(&passes);
    assert_eq!((&result["verdict"], result["runs"].as_array().map(Vec::len)), (&Value::from("pass"), Some(2)));
    assert_eq!(of(&fails)["verdict"], "fail");

    // The job that no worker can run waits, and its reason is shown.
    let waiting = job(&hub, &elsewhere);
    assert_eq!(waiting["state"], "queued", "{waiting}");
    assert!(waiting["why"].as_str().is_some_and(|why| why.contains("gfx942")), "{waiting}");
    // The exit status is for scripts: some tests failed, in autopkgtest's own numbers.
    let watched = hub.call(&["jobs", "watch", &gzip, &passes, &fails]).run();
    assert_eq!(watched.code.map(|code| code & 4), Some(4), "{}", watched.stdout);
    // The log that was sent during the job is the same as in the bundle.
    let streamed = hub.call(&["jobs", "show", &fails]).ok();
    assert!(streamed.contains("fail"), "{streamed}");
}

#[test]
fn power_cuts_killed_hubs_and_cancelled_jobs_lose_nothing() {
    let (hub, trees) = (Hub::start(&["--lease", "5s"]), Trees::new());
    let slow = trees.command("slow", "echo begun; sleep 15; echo done");
    let id = add(&hub, &[&slow]);
    let is_running = |hub: &Hub| job(hub, &id)["phase"].as_str().is_some_and(|phase| phase.contains("test only"));

    // The machine disappears in the middle of the test: the hub gives the job to the next one.
    let worker = Worker::boot(&hub, &[]);
    until("the test runs", &hub, &worker, || is_running(&hub));
    worker.cut_power();
    let worker = Worker::boot(&hub, &["--append", "rocbed.simulate-faults=yes"]);
    until("the test runs again", &hub, &worker, || is_running(&hub));

    // The hub is killed, and restarts on the same port long after the test has ended.
    let listen = hub.address().trim_start_matches("http://").to_owned();
    let (_, _, home) = hub.end("-KILL");
    std::thread::sleep(Duration::from_secs(20));
    let hub = Hub::start_in(home, &["--listen", &listen, "--min-free", "0", "--lease", "5s"]);
    until("the result is there", &hub, &worker, || job(&hub, &id)["state"] == "finished");

    let shown = job(&hub, &id);
    let attempts: Vec<_> = shown["attempts"].as_array().expect("attempts").iter().map(|one| &one["state"]).collect();
    assert_eq!(attempts, ["lost", "completed"], "{shown}");
    let directory = tempfile::tempdir().expect("a directory");
    assert_eq!(compare_with_autopkgtest(&hub, &id, directory.path())["verdict"], "pass");
    let log = fs::read_to_string(directory.path().join(&id).join("log")).expect("a log");
    assert_eq!((log.matches("\nbegun\n").count(), log.matches("\ndone\n").count()), (1, 1), "{log}");
    assert_eq!(hub.json(&["results", "list"]).as_array().map(Vec::len), Some(1));
    // The same machine serves the next test, for a start of its own would take as long as the test.
    cancels_and_restarts(&hub, &worker, &trees);
}

/// Cancels a job in the middle of its test, and has a GPU fail: the machine goes on, and restarts.
fn cancels_and_restarts(hub: &Hub, worker: &Worker, trees: &Trees) {
    let id = add(hub, &[&trees.command("endless", "while :; do sleep 1; done")]);
    until("the test runs", hub, worker, || job(hub, &id)["phase"].as_str().is_some_and(|it| it.contains("test only")));
    hub.call(&["jobs", "cancel", &id]).ok();
    let next = add(hub, &[&trees.command("next", "true")]);
    until("the next job is done", hub, worker, || job(hub, &next)["state"] == "finished");
    assert_eq!(job(hub, &id)["state"], "cancelled");
    assert_eq!(job(hub, &next)["result"]["verdict"], "pass");

    // A lost GPU ends the job at once; its result is delivered, and the machine restarts.
    let fault = "ROCBED_SIMULATE_FAULT=amdgpu 0000:03:00.0: amdgpu: device lost from bus!";
    let lost = add(hub, &[&trees.command("hung", "while :; do sleep 1; done"), "--env", fault]);
    until("the fault is reported", hub, worker, || job(hub, &lost)["state"] == "finished");
    assert_eq!(job(hub, &lost)["result"]["verdict"], "gpu-fault");
    let rebooting = || {
        let workers = hub.json(&["workers", "list"]);
        workers.as_array().and_then(|all| all.iter().find(|worker| worker["health"] == "rebooting").cloned())
    };
    until("the machine restarts", hub, worker, || rebooting().is_some());
    let message = rebooting().map(|worker| worker["message"].to_string()).unwrap_or_default();
    assert!(message.contains("GPU simulated-0 had a fault (GPU lost)"), "{message}");
}
