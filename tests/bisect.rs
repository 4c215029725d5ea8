//! Tests of `rocbed bisect`: which upgrade of an archive of five dates made a test fail.

#[path = "bisect/here.rs"]
mod here;
#[path = "bisect/images.rs"]
mod images;

use std::fs::{self, File};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use protocol::api::{AskKept, Claimed, KeptUse, PackageVersion};
use protocol::{InstalledLists, JobResult, Verdict};
use rocbed_tests::{Call, DATES, DatedArchive, Hub, MadeUpWorker, tool};
use serde_json::{Value, json};

/// A worker that runs the real tests of `app` with the archive's packages of a date, without testbeds.
struct Worker {
    date: AtomicUsize,
    /// Whether it takes jobs.
    takes: AtomicBool,
    /// Its kernel, and the version of its GPU's firmware.
    booted: Mutex<(&'static str, &'static str)>,
    /// The verdict of the next run, in place of what its tests say.
    next: Mutex<Option<Verdict>>,
}

impl Worker {
    /// Starts one for a hub.
    fn start(hub: &Hub, archive: Arc<DatedArchive>) -> Arc<Self> {
        let worker = MadeUpWorker::register_real(hub, "lab-1", "gfx1030");
        let state = Arc::new(Self {
            date: AtomicUsize::new(0),
            takes: AtomicBool::new(true),
            booted: Mutex::new(("7.2", "0x50")),
            next: Mutex::default(),
        });
        let own = Arc::clone(&state);
        thread::spawn(move || {
            // It ends with the program.
            loop {
                if !own.takes.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(20));
                    continue;
                }
                if let Some(claimed) = worker.begin_within(1) {
                    let result = own.run(&archive, &claimed, &worker);
                    worker.deliver_result(&claimed, &result);
                }
            }
        });
        state
    }

    fn run(&self, archive: &DatedArchive, claimed: &Claimed, worker: &MadeUpWorker) -> JobResult {
        let own = tempfile::tempdir().expect("a directory");
        let mut wanted = claimed.job.versions.clone();
        for package in &claimed.job.packages {
            let content = package.content.expect("its digest");
            let mut file = File::create(own.path().join(package.name())).expect("a file");
            worker.client().package(&claimed.lease, &content.sha256, 0, &mut file).expect("the package");
            // NAME_VERSION_ARCHITECTURE.deb
            let mut words = package.name().split('_').map(str::to_owned);
            wanted.extend(words.next().zip(words.next()));
        }
        let versions = DatedArchive::versions(self.date.load(Ordering::SeqCst), &wanted);
        let mut installed = InstalledLists::default();
        let digest = installed.add(&DatedArchive::list(&versions));
        let (kernel, firmware) = *self.booted.lock().expect("no panic");
        let variables = [("KERNEL", kernel), ("FIRMWARE", firmware)];
        let ran = archive.run_tests(&versions, own.path(), &claimed.job.tests, &variables);
        let mut machine = worker.machine().clone();
        machine.kernel = kernel.into();
        machine.gpus.gpus[0].firmware.insert("MEC".into(), firmware.into());
        let outcomes = ran.clone().unwrap_or_default();
        let tests: Vec<Value> = outcomes
            .iter()
            .map(|(name, passed)| {
                json!({ "name": name, "installed": digest, "seconds": 600.0, "outcome": if *passed { "pass" } else { "fail" },
                    "reason": if *passed { "" } else { "non-zero exit status 1" } })
            })
            .collect();
        let verdict = match (self.next.lock().expect("no panic").take(), ran) {
            (Some(verdict), _) => verdict,
            (None, None) => Verdict::TestbedFailed,
            (None, Some(outcomes)) if outcomes.iter().all(|(_, passed)| *passed) => Verdict::Pass,
            _ => Verdict::Fail,
        };
        let run = json!({ "as": "user", "verdict": verdict, "seconds": 700.0, "directory": "user", "tests": tests,
            "archives": [{ "origin": "Debian", "suite": "unstable", "date": "Fri, 30 Oct 2026 08:08:01 UTC" }] });
        serde_json::from_value(json!({
            "version": 1, "job": claimed.job, "verdict": verdict, "simulated": false, "runs": [run],
            "started": "2026-10-30T10:00:00Z", "finished": "2026-10-30T10:12:00Z", "machine": machine,
            "gpus": [machine.gpus.gpus[0].id], "installed": installed,
        }))
        .expect("a result")
    }
}

/// A hub with a worker, and what the history says of five dates.
struct Lab {
    hub: Hub,
    archive: Arc<DatedArchive>,
    recipe: String,
    worker: Arc<Worker>,
    server: rocbed_tests::Server,
    /// A job of each date.
    jobs: Vec<String>,
}

impl Lab {
    fn new() -> Self {
        let hub = Hub::start(&[]);
        let archive = Arc::new(DatedArchive::new());
        let server = archive.signed().serve();
        let recipe = archive.signed().recipe(&server.url(""), "greeter", "").display().to_string();
        let worker = Worker::start(&hub, Arc::clone(&archive));
        let mut lab = Self { hub, archive, recipe, worker, server, jobs: Vec::new() };
        for date in 0..DATES {
            lab.worker.date.store(date, Ordering::SeqCst);
            lab.jobs.push(lab.test());
        }
        lab
    }

    /// Has the tests run once; returns the job.
    fn test(&self) -> String {
        self.wait(&["jobs", "add", "app", "--gpu", "gfx1030"])
    }

    /// Waits for the job that a command adds; returns its id.
    fn wait(&self, words: &[&str]) -> String {
        wait(&self.hub, words)
    }

    fn state(&self, name: &str) -> String {
        self.archive.signed().path().join(name).display().to_string()
    }

    /// Searches for the upgrade that a test fails with.
    fn bisect(&self, test: &str) -> Value {
        let words =
            ["bisect", "app", "--target", "gfx1030", "--test", test, "--yes", "--recipe", &self.recipe, "--state"];
        let output = self.hub.call(&words).arg(self.state(&format!("{test}.json"))).arg("--json").run();
        assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output.stdout))
    }
}

/// Waits for the job that a command adds; returns its id.
fn wait(hub: &Hub, words: &[&str]) -> String {
    let id = hub.call(words).ok().trim().to_owned();
    while hub.json(&["jobs", "show", &id])["state"] != "finished" {
        thread::sleep(Duration::from_millis(20));
    }
    id
}

/// The sources that were found, and that the search took no more runs than planned.
fn found(outcome: &Value) -> Vec<&str> {
    assert_eq!(outcome["outcome"], "found", "{outcome:#}");
    assert!(outcome["runs"].as_u64() <= outcome["most-runs"].as_u64(), "{outcome:#}");
    let groups = outcome["groups"].as_array().expect("groups").iter();
    groups.filter_map(|group| group["sources"][0]["source"].as_str()).collect()
}

/// What a command says that refuses to begin.
fn refusal(call: Call) -> String {
    let output = call.run();
    assert_eq!(output.code, Some(20), "{}{}", output.stdout, output.stderr);
    output.stderr
}

/// The history of a test.
fn history(lab: &Lab, test: &str) -> Value {
    lab.hub.json(&["results", "history", "app", "--target", "gfx1030", "--test", test])[0].clone()
}

#[test]
fn the_upgrades_behind_a_failure_are_named() {
    let lab = Lab::new();
    let (good, bad) = (&lab.jobs[2], &lab.jobs[3]);

    // What the history says, and what has changed.
    let single = history(&lab, "single");
    assert_eq!(
        (&single["state"], &single["last-good"]["job"], &single["first-bad"]["job"]),
        (&json!("regression"), &json!(good), &json!(bad))
    );
    assert_eq!(history(&lab, "pair")["state"], "new-failure");
    let why = lab.hub.call(&["results", "why", "app", "--target", "gfx1030", "--test", "single"]).run();
    for says in ["liba 2 -> 3", "libe 1 -> 2", "next: rocbed bisect app --target gfx1030"] {
        assert!(why.stdout.contains(says), "{}", why.stdout);
    }
    // The failing tests again confirm the failure.
    lab.wait(&["jobs", "confirm", &lab.jobs[4]]);
    assert_eq!(history(&lab, "pair")["state"], "regression");

    // One upgrade.
    let outcome = lab.bisect("single");
    assert_eq!(found(&outcome), ["liba"]);
    assert_eq!(outcome["with"]["failed"], outcome["with"]["runs"]);
    assert_eq!(outcome["without"]["failed"], 0);
    let reproduce = outcome["fails-with"]["reproduce"].as_str().unwrap_or_default();
    assert!(
        reproduce.contains("--package-version=liba=3") && reproduce.contains("--package-version=libe=1"),
        "{reproduce}"
    );
    // Two that fail only together; a fault of the GPU is no answer.
    *lab.worker.next.lock().expect("no panic") = Some(Verdict::GpuFault);
    let outcome = lab.bisect("pair");
    assert_eq!(found(&outcome), ["libb", "libc"]);
    // One run of three: it fails by chance from the last date on.
    for _ in 0..8 {
        lab.test();
    }
    assert_eq!(history(&lab, "chance")["state"], "flaky");
    let outcome = lab.bisect("chance");
    assert_eq!(found(&outcome), ["libd"]);
    assert!(outcome["chance-of-error"].as_f64().is_some_and(|chance| chance < 0.05), "{outcome:#}");
    // Runs of a search never move the state of the archive's tests.
    assert_eq!(history(&lab, "single")["first-bad"]["job"], json!(bad));
    assert!(lab.server.requests().iter().any(|path| path.contains("InRelease")));
}

#[test]
fn a_search_is_stopped_and_taken_up() {
    let lab = Lab::new();
    let state = lab.state("stopped.json");
    let begin = ["bisect", &lab.jobs[3], &lab.jobs[4], "--test", "pair", "--recipe", &lab.recipe, "--state", &state];
    // The plan runs nothing.
    let plan = lab.hub.call(&begin).arg("--plan").ok();
    for says in [
        "3 packages differ, in 3 groups:",
        "libd 2 -> 3",
        "it failed in 1 of 1 run",
        "at most 5 runs for one group, 8 for two",
    ] {
        assert!(plan.contains(says), "{plan}");
    }
    assert!(refusal(lab.hub.call(&begin)).contains("--yes"));

    // Ctrl-C while a job is queued.
    lab.worker.takes.store(false, Ordering::SeqCst);
    let mut command = lab.hub.call(&begin).arg("--yes").into_command();
    let process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a search");
    let waiting = || fs::read_to_string(&state).unwrap_or_default().contains("\"job\": \"bisect-app");
    while !waiting() {
        thread::sleep(Duration::from_millis(20));
    }
    tool("kill", ["-INT", &process.id().to_string()]);
    let output = process.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(16), "{said}");
    assert!(said.contains("rocbed bisect --continue"), "{said}");
    // Another search does not take its place.
    assert!(refusal(lab.hub.call(&begin).arg("--yes")).contains("--continue"));

    // The job that was queued is not run twice.
    lab.worker.takes.store(true, Ordering::SeqCst);
    let output = lab.hub.call(&["bisect", "--continue", "--state", &state, "--json"]).run();
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    let outcome: Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!(found(&outcome), ["libb", "libc"]);
    let jobs = lab.hub.json(&["jobs", "list", "--package", "app"]);
    assert_eq!(
        Some(jobs.as_array().map_or(0, Vec::len) as u64),
        outcome["runs"].as_u64().map(|runs| runs + DATES as u64)
    );
    // What was found can be shown again, and says how to report it.
    let again = lab.hub.call(&["bisect", "--continue", "--state", &state]).ok();
    for says in [
        "fails only with these upgrades together",
        "libb 2 -> 3",
        "reproduce: rocbed test rocm app",
        "rocbed results bug bisect-app",
    ] {
        assert!(again.contains(says), "{again}");
    }

    // A new kernel, or new firmware, is told apart from packages.
    for (booted, says) in [(("7.3", "0x50"), "kernel 7.2 -> 7.3"), (("7.2", "0x51"), "MEC 0x50 -> 0x51")] {
        *lab.worker.booted.lock().expect("no panic") = booted;
        let bad = lab.test();
        let state = lab.state(booted.1);
        let words =
            ["bisect", &lab.jobs[3], &bad, "--test", "machine", "--recipe", &lab.recipe, "--state", &state, "--yes"];
        let output = lab.hub.call(&words).run();
        assert_eq!(output.code, Some(4), "{}{}", output.stdout, output.stderr);
        let told = "fails with all packages as in the run that passed";
        assert!(output.stdout.contains(told) && output.stdout.contains(says), "{}", output.stdout);
        // With the same packages there is nothing to search.
        let same = refusal(lab.hub.call(&["bisect", &lab.jobs[4], &bad, "--test", "machine", "--plan"]));
        assert!(same.contains("had the same packages; what differs: ") && same.contains(says), "{same}");
    }

    // The failure of a job, by the archive's date: this archive has no snapshots, so that the date of both ends is one.
    let by_job = ["bisect", "--job", &lab.jobs[3], "--plan", "--recipe", &lab.recipe];
    let plan = lab.hub.json(&by_job);
    assert_eq!(
        (&plan["test"], &plan["good"], &plan["bad"]),
        (&json!("single"), &json!(lab.jobs[2]), &json!(lab.jobs[3]))
    );
    assert!(refusal(lab.hub.call(&by_job).arg("--dates")).contains("the archive was not newer"));
    // Mistakes.
    for (words, says) in [
        (&["bisect", "--continue", "--state", "/nonexistent/state"][..], "/nonexistent"),
        (&["bisect", &lab.jobs[0], &lab.jobs[1], "--plan"], "no test has passed in"),
        (&["bisect", "app", "--target", "gfx1100", "--plan"], "no such test of app fails on gfx1100"),
        (&["bisect", "nowhere/a.json", "b.json", "--plan"], "nowhere/a.json"),
    ] {
        let said = refusal(lab.hub.call(words));
        assert!(said.contains(says), "{words:?}: {said}");
    }
}

/// What the plan of a search between two jobs says of versions.
fn origins(hub: &Hub, recipe: &str, jobs: &[String]) -> String {
    let words = ["bisect", &jobs[0], &jobs[1], "--test", "single", "--recipe", recipe, "--plan"];
    let plan = hub.call(&words).ok();
    plan.lines().find(|line| line.contains("versions: ")).unwrap_or(&plan).trim().to_owned()
}

/// A hub that keeps the packages of an archive, and two jobs, before and after `liba 3` and `libe 2`.
struct Keeping {
    archive: Arc<DatedArchive>,
    server: rocbed_tests::Server,
    recipe: String,
    hub: Hub,
    worker: Arc<Worker>,
    jobs: Vec<String>,
}

impl Keeping {
    /// What the archive had before.
    const OLD: [(&str, &str); 2] = [("liba", "2"), ("libe", "1")];

    fn start() -> Self {
        let archive = Arc::new(DatedArchive::new());
        let server = archive.signed().serve();
        let mirror = server.url("");
        let recipe = archive.signed().recipe(&mirror, "greeter", "").display().to_string();
        let watch = ["--watch", &recipe, "--watch-mirror", &mirror, "--watch-every", "1s", "--keep-packages", "1GiB"];
        let hub = Hub::start(&watch);
        let worker = Worker::start(&hub, Arc::clone(&archive));
        let mut jobs = Vec::new();
        for date in [2, 3] {
            worker.date.store(date, Ordering::SeqCst);
            jobs.push(wait(&hub, &["jobs", "add", "app", "--gpu", "gfx1030"]));
        }
        Self { archive, server, recipe, hub, worker, jobs }
    }

    /// Waits until the hub keeps the old versions. What it has not kept yet stays in the archive.
    fn wait_for_old(&self) {
        until("the old versions are kept", || self.has_old(KeptUse::InArchive));
    }

    /// Whether the hub keeps the old versions, for this use.
    fn has_old(&self, given: KeptUse) -> bool {
        let version = |(name, version): (&str, &str)| PackageVersion { name: name.into(), version: version.into() };
        let question = AskKept { tested: "app".into(), packages: Self::OLD.map(version).to_vec() };
        let client = client::Client::new(self.hub.address(), &client::ClientOptions::default()).expect("an address");
        let kept = client.kept_packages(&question).expect("an answer").packages;
        kept.iter().filter(|package| package.given == given).count() == Self::OLD.len()
    }

    /// Takes the old versions out of the archive.
    fn remove_old(&self) {
        let pool = self.archive.signed().path().join("pool");
        for (name, version) in Self::OLD {
            fs::remove_file(pool.join(format!("{name}_{version}_amd64.deb"))).expect("a package");
        }
        self.archive.signed().publish("Sat, 31 Oct 2026 08:08:01 UTC", None);
    }
}

#[test]
fn last_good_is_made_again_with_the_packages_that_the_hub_kept() {
    let lab = Keeping::start();
    let Keeping { hub, recipe, jobs, .. } = &lab;
    assert_eq!(origins(hub, recipe, jobs), "versions: 4 from the archive");
    let address = "https://example.org/liba_1.dsc";
    let of_address = [2, 3].map(|date| {
        lab.worker.date.store(date, Ordering::SeqCst);
        wait(hub, &["jobs", "add", address, "--gpu", "gfx1030"])
    });
    lab.wait_for_old();
    lab.remove_old();
    // It looks through what it keeps when a run has ended, or else once a minute.
    until("the hub notices that they are gone", || {
        wait(hub, &["jobs", "add", "app", "--gpu", "gfx1030"]);
        lab.has_old(KeptUse::Given)
    });
    assert_eq!(origins(hub, recipe, jobs), "versions: 2 from the archive, 2 kept at the hub (liba 2, libe 1)");

    let state = lab.archive.signed().path().join("kept.json").display().to_string();
    let words = ["bisect", &jobs[0], &jobs[1], "--test", "single", "--recipe", recipe, "--state", &state, "--yes"];
    let output = hub.call(&words).run();
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    for says in ["fails because of this upgrade", "liba 2 -> 3", "rocbed jobs retry bisect-app"] {
        assert!(output.stdout.contains(says), "{}", output.stdout);
    }

    // Tests from an address are not those of a source package of the archive, so that any version of its packages will do.
    assert_eq!(origins(hub, recipe, &of_address), "versions: 2 from the archive, 2 kept at the hub (liba 2, libe 1)");
    let state = lab.archive.signed().path().join("address.json").display().to_string();
    let [good, bad] = &of_address;
    let words = ["bisect", good, bad, "--test", "single", "--recipe", recipe, "--state", &state, "--yes"];
    let output = hub.call(&words).run();
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    let reproduce = format!("reproduce: rocbed test rocm {address} --gpu");
    for says in ["liba  single  gfx1030: fails because of this upgrade", "liba 2 -> 3", &reproduce] {
        assert!(output.stdout.contains(says), "{}", output.stdout);
    }
}

/// Waits until something is so.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(90);
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(100));
    }
}
