//! Tests of the worker for debci: an unmodified debci from Debian's archive with its broker, collector and pages, the
//! agent's job loop, and the real autopkgtest.
//!
//! Tests run inside debci's own root directory, with autopkgtest's `null` server as debci's stock worker is run here too,
//! so that what both make of a package can be compared.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agent::debci::{Debci as Source, Settings};
use agent::{AgentLoop, AlwaysFit, Assignment, AtOnce, Delivery, Outcome, RunError, RunJob, Schedule, Share, Timeouts};
use appliance::settings::WhenDone;
use protocol::{Job, Machine};
use rocbed_tests::{Debci, fixture_tree};
use runner::{Cancel, KernelLog, Observer, Setup};
use serde_json::json;

#[path = "debci/booted.rs"]
mod booted;
#[path = "debci/dies.rs"]
mod dies;
#[path = "debci/encrypted.rs"]
mod encrypted;

#[path = "debci/bridge.rs"]
mod bridge;

type Files = BTreeMap<String, Vec<u8>>;

/// Time limit for anything that must happen in the end.
const PATIENCE: Duration = Duration::from_secs(300);

/// No GPU, so that the kernel has nothing to say of one.
struct NoLog;

impl KernelLog for NoLog {
    fn read(&mut self, _: &mut dyn FnMut(&str)) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs the tests of a package's tree with the autopkgtest of debci's root directory.
struct InDebcisRoot<'a> {
    debci: &'a Debci,
    bundles: PathBuf,
    machine: Machine,
    /// Called when a job begins.
    begins: &'a (dyn Fn(&Assignment) + Sync),
    ran: Mutex<Vec<String>>,
}

struct Quiet;

impl Observer for Quiet {}

impl RunJob for InDebcisRoot<'_> {
    fn run(
        &self,
        assignment: &Assignment,
        _: &Share,
        _: &mut dyn FnMut(&[u8]),
        _: &mut dyn FnMut(&str),
    ) -> Result<Outcome, RunError> {
        self.ran.lock().expect("a lock").push(assignment.job.id.clone());
        (self.begins)(assignment);
        assert!(assignment.testbed.upgrade, "as debci's workers do");
        let name = assignment.job.source.name().to_owned();
        let tree = self.debci.shared().join("trees").join(&name);
        let mut job = Job::new(protocol::Source::Path(tree.display().to_string()));
        job.id.clone_from(&assignment.job.id);
        let mut setup =
            Setup::new(vec!["null".into()], self.debci.shared().to_owned(), self.bundles.clone(), assignment.name());
        setup.autopkgtest =
            self.debci.inside().into_iter().chain(["autopkgtest".to_owned()]).map(OsString::from).collect();
        setup.machine = self.machine.clone();
        let finished = runner::run(&job, &setup, &mut NoLog, &mut Quiet, &Cancel::default());
        let finished = finished?;
        Ok(Outcome::Ran {
            delivery: Delivery {
                job: assignment.job.id.clone(),
                verdict: finished.result.verdict,
                summary: String::new(),
                bundle: finished.bundle.path,
                size: finished.bundle.size,
                sha256: finished.bundle.sha256,
            },
            stuck: false,
            faults: finished.faults,
        })
    }

    fn forget(&self, _: &Delivery) {}
}

/// A worker with its data directory, which outlives it.
struct Worker<'a> {
    debci: &'a Debci,
    name: &'static str,
    data: PathBuf,
    stop: Arc<AtomicBool>,
}

impl<'a> Worker<'a> {
    fn new(debci: &'a Debci, name: &'static str) -> Self {
        let data = debci.shared().join(format!("data-{name}"));
        fs::create_dir_all(&data).expect("a directory");
        Self { debci, name, data, stop: Arc::default() }
    }

    fn settings(&self) -> Settings {
        Settings {
            // Its certificate is its login.
            address: encrypted::address(self.debci.tls_port()),
            tls: encrypted::options(),
            suites: vec!["unstable".into()],
            architecture: "amd64".into(),
            backend: "lxc".into(),
            api: Some(self.debci.web()),
            when_done: WhenDone::PowerOff,
            data: self.data.clone(),
            timeouts: Timeouts {
                last_claim: Duration::from_secs(2),
                longest_pause: Duration::from_secs(1),
                // While the collector is away, as a test has it.
                collected: Duration::from_secs(2),
                collecting: Duration::from_secs(1),
                ..Timeouts::default()
            },
            tell: Arc::new(|report| eprintln!("{report:?}")),
            stop: Arc::clone(&self.stop),
        }
    }

    /// Works until the queues are empty. Returns the ids of the jobs that were run.
    fn work(&self, begins: &(dyn Fn(&Assignment) + Sync)) -> Vec<String> {
        let runner = InDebcisRoot {
            debci: self.debci,
            bundles: self.data.join("bundles"),
            machine: self.machine(),
            begins,
            ran: Mutex::default(),
        };
        self.work_with(self.settings(), &runner);
        runner.ran.into_inner().expect("a lock")
    }

    fn machine(&self) -> Machine {
        Machine { name: self.name.into(), gpus: gpu::simulate("gfx1030").expect("a GPU"), ..Machine::default() }
    }

    /// Works until the queues are empty.
    fn work_with(&self, settings: Settings, runner: &dyn RunJob) {
        self.stop.store(false, Ordering::SeqCst);
        let mut source = Source::open(settings).expect("a source");
        let machine = self.machine();
        let ended = AgentLoop {
            source: &mut source,
            runner,
            fitness: &mut AlwaysFit,
            journal: None,
            machine: &machine,
            at_once: AtOnce::default(),
            when_done: WhenDone::PowerOff,
            schedule: Schedule::default(),
            stop: &self.stop,
            tell: &|report| eprintln!("{}: {report:?}", self.name),
        }
        .run();
        ended.expect("an end");
    }
}

/// Copies source trees to where autopkgtest inside finds them.
fn trees(debci: &Debci, names: &[&str]) {
    for name in names {
        let to = debci.shared().join("trees").join(name);
        fs::create_dir_all(to.parent().expect("a directory")).expect("a directory");
        rocbed_tests::tool("cp", ["-r".as_ref(), fixture_tree(name).as_os_str(), to.as_os_str()]);
    }
}

/// Waits until a job has a result; returns its status.
fn status(debci: &Debci, run: u64) -> String {
    let began = Instant::now();
    loop {
        let status = debci.query(&format!("select coalesce(status, '') from jobs where run_id = {run}"));
        if !status.trim().is_empty() {
            return status.trim().to_owned();
        }
        assert!(began.elapsed() < PATIENCE, "job {run} has no result");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The row of a job in the table of its package's page.
fn row(debci: &Debci, package: &str, run: u64) -> String {
    let page = debci.page(&format!("/packages/{}/{package}/unstable/amd64+gfx1030/", &package[..1]));
    let log = format!("<a href=\"{run}/\">test log</a>");
    let row = page.split("<tr ").find(|row| row.contains(&log));
    row.unwrap_or_else(|| panic!("no log of job {run} in {page}")).to_owned()
}

/// What debci publishes for other programs: each package with its status and the job that this comes from.
fn packages_json(debci: &Debci) -> Vec<(String, String, u64)> {
    debci.administer("html update");
    let text = debci.page("/data/status/unstable/amd64+gfx1030/packages.json");
    let packages: Vec<serde_json::Value> = serde_json::from_str(&text).expect("a list");
    let word = |package: &serde_json::Value, key: &str| package[key].as_str().unwrap_or_default().to_owned();
    let entry =
        |package| (word(package, "package"), word(package, "status"), package["run_id"].as_u64().unwrap_or_default());
    let mut entries: Vec<_> = packages.iter().map(entry).collect();
    entries.sort();
    entries
}

/// The files of a result as the collector has stored them.
fn stored(debci: &Debci, package: &str, run: u64) -> Files {
    let prefix = &package[..1];
    let directory = format!("/var/lib/debci/data/autopkgtest/unstable/amd64+gfx1030/{prefix}/{package}/{run}");
    let to = debci.shared().join(format!("stored-{run}"));
    debci.run(&format!(
        "mkdir -p {to} && cd {to} && tar xzf {directory}/artifacts.tar.gz && cp {directory}/log.gz . && chmod -R a+rX .",
        to = to.display()
    ));
    files(&to)
}

fn files(top: &Path) -> Files {
    let mut found = Files::new();
    let mut directories = vec![top.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let mut bytes = Vec::new();
            fs::File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes)).expect("a file");
            let name = path.strip_prefix(top).expect("below it").to_string_lossy().into_owned();
            found.insert(name, bytes);
        }
    }
    found
}

#[test]
fn an_unmodified_debci_shows_what_our_worker_found() {
    let debci = Debci::start();
    trees(&debci, &["passes", "fails", "skips"]);
    let worker = Worker::new(&debci, "lab1");

    // What cannot be run is answered as well: another suite is a temporary failure.
    let runs = debci.enqueue("-t rocr-runtime/7.2.4", &["passes", "fails"]);
    let elsewhere = debci.enqueue("-s experimental", &["passes"]);
    let [passes, fails] = runs[..] else { panic!("{runs:?}") };
    let key = debci.api_key();
    let tests = json!([
        { "package": "skips", "trigger": "rocr-runtime/7.2.4" },
        { "package": "passes", "pin-packages": [["src:rocr-runtime", "experimental"]] },
        { "package": "passes", "autopkgtest": "git" },
    ]);
    let by_api = debci.enqueue_by_api(&key, "unstable/amd64+gfx1030", &tests);
    let [skips, pins, variant] = by_api[..] else { panic!("{by_api:?}") };
    let booted = booted::Booted::start(&debci, &key);
    let pinned = Mutex::new(Vec::new());
    let ran = worker.work(&|assignment| pinned.lock().expect("a lock").extend(assignment.job.pin.clone()));
    assert_eq!(ran.len(), 4, "{ran:?}");
    assert_eq!(pinned.into_inner().expect("a lock"), ["experimental=src:rocr-runtime"]);
    let ended = [(passes, "pass"), (fails, "fail"), (skips, "neutral"), (pins, "pass")];
    let refused = [(elsewhere[0], "tmpfail"), (variant, "tmpfail")];
    for (run, says) in ended.into_iter().chain(refused) {
        assert_eq!(status(&debci, run), says, "job {run}");
    }
    assert_eq!(
        debci
            .run("su rabbitmq -s /bin/sh -c 'rabbitmqctl -q list_queues name messages' | grep gfx1030")
            .split_whitespace()
            .last(),
        Some("0")
    );

    // Pages, API and files.
    for (package, run, says) in [("passes", passes, "pass"), ("fails", fails, "fail"), ("skips", skips, "neutral")] {
        let row = row(&debci, package, run);
        assert!(row.contains(&format!("<i class='{says} fa ")), "{row}");
        assert!(row.contains(&format!("/{run}/artifacts.tar.gz\">")), "{row}");
    }
    let listed = packages_json(&debci);
    let expected = [("fails", "fail", fails), ("passes", "pass", passes), ("skips", "neutral", skips)];
    assert_eq!(listed, expected.map(|(package, says, run)| (package.to_owned(), says.to_owned(), run)));
    assert!(debci.page(&format!("/api/v1/job_state/{passes}")).contains("completed"));

    // The same files as debci's own worker makes of the same tree, and what only we know.
    let ours = stored(&debci, "passes", passes);
    let golden = debci.shared().join("golden");
    debci.run(&format!(
        "cd /root && PATH=/usr/share/debci/bin:$PATH debci-test -b null --quiet --suite unstable --arch amd64 \
         -t rocr-runtime%2F7.2.4 -i {passes} --output-dir {golden} {tree}; chmod -R a+rX {golden}",
        golden = golden.display(),
        tree = debci.shared().join("trees/passes").display()
    ));
    let theirs = files(&golden);
    let names =
        |files: &Files| -> Vec<String> { files.keys().filter(|name| !name.starts_with("rocbed/")).cloned().collect() };
    assert_eq!(names(&ours), names(&theirs));
    for name in ["exitcode", "trigger", "summary", "testpkg-version", "testbed-packages"] {
        assert_eq!(String::from_utf8_lossy(&ours[name]), String::from_utf8_lossy(&theirs[name]), "{name}");
    }
    assert_eq!(ours["worker"], b"lab1\n");
    assert!(ours.contains_key("rocbed/result.json") && ours.contains_key("artifacts/who/word"));

    // Starting another debci would take longer than all of this.
    encrypted::each_failure_is_told(&debci);
    dies::nothing_is_lost_and_nothing_twice(&debci, &key);
    booted.ends_with_results(&debci);
}
