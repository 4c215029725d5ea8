//! Support for tests: a real hub, an agent without a machine, and a network between them that can be cut.

mod runner;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ::hub::{Config, Listener, ManualClock};
use advice::Advice;
use client::{Client, ResultQuery};
use protocol::api::{AddJobs, Claimed, Complete, JobInfo, JobState, Register};
use protocol::{JobList, Machine, Verdict};
use tempfile::TempDir;
use tokio::sync::oneshot;

pub use self::runner::Floor;
use self::runner::{Double, bundle_of};
use super::super::{Hub, HubOptions};
use crate::{AgentLoop, AlwaysFit, Assignment, AtOnce, End, Journal, Schedule, Timeouts};
use appliance::report::Report;
use appliance::settings::{Origin, Settings, WhenDone};

/// The result of a test.
pub type Tested = Result<(), Box<dyn std::error::Error>>;

/// Timeout for anything in these tests.
const PATIENCE: Duration = Duration::from_secs(40);

struct Serving {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// A hub that can be stopped and started again, with the same data directory and address.
pub struct TestHub {
    pub clock: Arc<ManualClock>,
    pub address: SocketAddr,
    directory: TempDir,
    change: fn(&mut Config),
    full: Arc<AtomicBool>,
    hub: Mutex<Option<::hub::Hub>>,
    serving: Mutex<Option<Serving>>,
    admin: String,
    pub join: String,
}

impl TestHub {
    pub fn start() -> Arc<Self> {
        Self::start_with(|_| ())
    }

    pub fn start_with(change: fn(&mut Config)) -> Arc<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let mut hub = Self {
            clock: Arc::new(ManualClock::default()),
            address: own_address(),
            directory,
            change,
            full: Arc::default(),
            hub: Mutex::new(None),
            serving: Mutex::new(None),
            admin: String::new(),
            join: String::new(),
        };
        hub.start_again();
        let opened = hub.hub.lock().unwrap_or_else(PoisonError::into_inner).clone().expect("a hub");
        opened.new_admin_token().unwrap_or_default().clone_into(&mut hub.admin);
        opened.join_token().clone_into(&mut hub.join);
        Arc::new(hub)
    }

    pub fn start_again(&self) {
        let mut config = Config { clock: self.clock.clone(), min_free: 0, ..Config::default() };
        (self.change)(&mut config);
        if self.full.load(Ordering::SeqCst) {
            config.min_free = u64::MAX / 2;
        }
        // What the hub before was at may take a moment to end.
        let began = Instant::now();
        let hub = loop {
            match ::hub::Hub::open(self.directory.path(), config.clone()) {
                Err(::hub::HubError::InUse(_)) if began.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(5)),
                opened => break opened.expect("a hub"),
            }
        };
        let socket = TcpListener::bind(self.address).expect("the same port");
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = hub.clone();
        let thread = thread::spawn(move || {
            let until = async { drop(stopped.await) };
            serving.serve_blocking(vec![Listener::plain(socket)], until).expect("serving");
        });
        *self.hub.lock().unwrap_or_else(PoisonError::into_inner) = Some(hub);
        *self.serving.lock().unwrap_or_else(PoisonError::into_inner) = Some(Serving { stop, thread });
    }

    pub fn stop(&self) {
        if let Some(Serving { stop, thread }) = self.serving.lock().unwrap_or_else(PoisonError::into_inner).take() {
            drop(stop);
            let _ = thread.join();
        }
        *self.hub.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub fn restart(&self) {
        self.stop();
        self.start_again();
    }

    /// From the hub's next start on its disk is full, or is not any more.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    /// Lets time go by, so that leases run out.
    pub fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        let hub = self.hub.lock().unwrap_or_else(PoisonError::into_inner).clone().expect("a hub");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(hub.expire_leases());
    }

    pub fn people(&self) -> Client {
        let soon = Duration::from_millis(5);
        let options = client::ClientOptions {
            attempts: 500,
            first_pause: soon,
            longest_pause: soon * 4,
            ..client::ClientOptions::default()
        };
        Client::new(&format!("http://{}", self.address), &options).expect("an address").with_token(&self.admin)
    }

    pub fn add(&self, packages: &[&str]) {
        self.add_list(&packages.iter().map(|name| format!("[[job]]\npackage = \"{name}\"\n")).collect::<String>());
    }

    pub fn add_list(&self, toml: &str) {
        let list = JobList::parse(toml.as_bytes()).expect("a list");
        let request = AddJobs { request: client::request_id().expect("a name"), list, fan_out: false };
        self.people().add_jobs(&request).expect("jobs are added");
    }

    /// Adds a job with these files, whose contents are uploaded first.
    pub fn add_with_files(&self, job: &str, files: &[(&str, &str)]) {
        let mut packages = Vec::new();
        for (name, content) in files {
            let file = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(file.path(), content).expect("it is written");
            let sha256 = self.people().upload_package(file.path(), |_, _| ()).expect("it is uploaded");
            packages.push(format!("{{ file = \"{name}\", sha256 = \"{sha256}\", size = {} }}", content.len()));
        }
        let toml = format!("[[job]]\n{job}\npackages = [{}]\n", packages.join(", "));
        let list = JobList::parse(toml.as_bytes()).expect("a list");
        let request = AddJobs { request: client::request_id().expect("a name"), list, fan_out: false };
        self.people().add_jobs(&request).expect("jobs are added");
    }

    pub fn job(&self, id: &str) -> JobInfo {
        self.people().job(id).expect("a job")
    }

    /// Waits until a job is as it should be.
    pub fn wait(&self, id: &str, what: &str, is: impl Fn(&JobInfo) -> bool) -> JobInfo {
        let began = Instant::now();
        loop {
            let job = self.job(id);
            if is(&job) {
                return job;
            }
            assert!(began.elapsed() < PATIENCE, "{id}: {what} did not come: {job:#?}");
            thread::sleep(Duration::from_millis(3));
        }
    }

    pub fn wait_for(&self, id: &str, state: JobState) -> JobInfo {
        self.wait(id, state.name(), |job| job.state == state)
    }

    /// Checks that each of these jobs has exactly one result, the one that its worker made.
    pub fn each_has_one_result(&self, jobs: &[&str]) {
        let page = self.people().results(&ResultQuery::default()).expect("results");
        let mut ids: Vec<_> = page.results.iter().map(|result| result.job.as_str()).collect();
        ids.sort_unstable();
        assert_eq!(ids, jobs);
        for job in jobs {
            let mut bundle = Vec::new();
            self.people().bundle(job, &mut bundle).expect("the bundle");
            ::hub::check_bundle(&bundle).expect("a good bundle");
            let completed = self.job(job).attempts.iter().filter(|a| a.state.name() == "completed").count();
            assert_eq!(completed, 1, "{job}");
        }
    }

    pub fn log(&self, job: &str) -> String {
        let mut log = Vec::new();
        let _ = self.people().log(job, &mut log);
        String::from_utf8_lossy(&log).into_owned()
    }
}

impl Drop for TestHub {
    fn drop(&mut self) {
        self.stop();
    }
}

/// An agent in a thread. Its jobs pass, but one whose name begins with `slow` runs until it is interrupted or let go.
pub struct Agent {
    pub data: PathBuf,
    pub reports: Arc<Mutex<Vec<Report>>>,
    /// Lets slow jobs end.
    pub go_on: Arc<AtomicBool>,
    /// What runs on which GPUs.
    pub floor: Arc<Floor>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<End, Advice>>>,
}

impl Agent {
    pub fn start(hub: &TestHub, data: &Path) -> Self {
        Self::start_at(hub, &hub.address.to_string(), data, WhenDone::Wait)
    }

    pub fn start_at(hub: &TestHub, address: &str, data: &Path, when_done: WhenDone) -> Self {
        Self::start_with(hub, address, data, when_done, Timeouts::of_tests())
    }

    /// With another join token than the hub's.
    pub fn start_as(hub: &TestHub, token: &str, data: &Path) -> Self {
        Self::start_all(token, &hub.address.to_string(), data, WhenDone::Wait, Timeouts::of_tests(), machine())
    }

    pub fn start_with(hub: &TestHub, address: &str, data: &Path, when_done: WhenDone, timeouts: Timeouts) -> Self {
        Self::start_all(&hub.join, address, data, when_done, timeouts, machine())
    }

    /// On another machine than the usual one.
    pub fn start_on(hub: &TestHub, address: &str, data: &Path, timeouts: Timeouts, machine: Machine) -> Self {
        Self::start_all(&hub.join, address, data, WhenDone::Wait, timeouts, machine)
    }

    fn start_all(
        token: &str,
        address: &str,
        data: &Path,
        when_done: WhenDone,
        timeouts: Timeouts,
        machine: Machine,
    ) -> Self {
        let (reports, stop, go_on) = (Arc::<Mutex<Vec<Report>>>::default(), Arc::default(), Arc::default());
        let heard = Arc::clone(&reports);
        let mut settings = Settings::default();
        settings.set("join-token", token, Origin::Stick).expect("a token");
        let options = HubOptions {
            address: format!("http://{address}"),
            join_token: settings.join_token,
            ca_file: None,
            data: data.to_owned(),
            packages: data.join("packages"),
            when_done,
            timeouts,
            stop: Arc::clone(&stop),
            tell: Arc::new(move |report| heard.lock().unwrap_or_else(PoisonError::into_inner).push(report.clone())),
        };
        let floor = Arc::<Floor>::default();
        let runner = Double {
            made: data.join("bundles"),
            go_on: Arc::clone(&go_on),
            stop: Arc::clone(&stop),
            floor: Arc::clone(&floor),
        };
        let (theirs, heard, data) = (Arc::clone(&stop), Arc::clone(&reports), data.to_owned());
        let journal_of = data.clone();
        let thread = thread::spawn(move || {
            let mut hub = Hub::new(options)?;
            let mut journal = Journal::open(&journal_of).expect("a journal");
            AgentLoop {
                source: &mut hub,
                runner: &runner,
                fitness: &mut AlwaysFit,
                journal: Some(&mut journal),
                machine: &machine,
                at_once: AtOnce::default(),
                when_done,
                schedule: Schedule::default(),
                stop: &theirs,
                tell: &|report| heard.lock().unwrap_or_else(PoisonError::into_inner).push(report.clone()),
            }
            .run()
        });
        Self { data, reports, go_on, floor, stop, thread: Some(thread) }
    }

    /// Tells it to end, and waits until it has.
    pub fn stop(mut self) -> Result<End, Advice> {
        self.stop.store(true, Ordering::SeqCst);
        self.end()
    }

    /// Waits until it has ended by itself.
    pub fn end(&mut self) -> Result<End, Advice> {
        self.thread.take().expect("a thread").join().expect("no panic")
    }

    /// What is in its data directory at this moment, in another directory: what a machine finds after a power cut.
    pub fn snapshot(&self) -> io::Result<TempDir> {
        snapshot(&self.data)
    }

    /// Tells it to end without waiting: it is dead already, as far as the hub can see.
    pub fn forget(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    pub fn conditions(&self, of_what: &str) -> Vec<String> {
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        let texts = reports.iter().filter_map(|report| match report {
            Report::Condition { of, text, .. } if of == of_what => Some(text.clone()),
            _ => None,
        });
        texts.collect()
    }

    pub fn problems(&self) -> Vec<String> {
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        let texts = reports.iter().filter_map(|report| match report {
            Report::Problem(problem) => Some(problem.what.clone()),
            _ => None,
        });
        texts.collect()
    }

    pub fn wait_for_condition(&self, of: &str, words: &str) {
        let began = Instant::now();
        // The end of a condition is an empty text.
        let is = |text: &String| if words.is_empty() { text.is_empty() } else { text.contains(words) };
        while !self.conditions(of).last().is_some_and(is) {
            assert!(began.elapsed() < PATIENCE, "no {of} with {words:?}: {:#?}", self.conditions(of));
            thread::sleep(Duration::from_millis(3));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.forget();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Another worker takes the job that is there.
pub fn other_worker_claims(hub: &TestHub) -> (Client, Claimed) {
    let client = hub.people().with_token(&hub.join);
    let (version, id, boot) = (protocol::VERSION, "other".to_owned(), "first".to_owned());
    let request = Register { version, id, boot, holding: Vec::new(), machine: machine(), name: None };
    let token = client.register(&request).expect("it registers").token;
    let client = client.with_token(&token);
    let claim = protocol::api::Claim { request: "r".into(), ..protocol::api::Claim::default() };
    let claimed = client.claim(&claim).expect("an answer").expect("a job");
    (client, claimed)
}

/// And completes it.
pub fn complete(client: &Client, claimed: &Claimed) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), bundle_of(&Assignment::new(claimed.job.clone()))).expect("it is written");
    let bundle = client.upload(file.path(), |_, _| ()).expect("it is uploaded");
    let request = Complete { bundle, verdict: Verdict::Pass, summary: String::new() };
    client.complete(&claimed.lease, &request).expect("it is completed");
}

/// Copies a directory as it is at one moment.
pub fn snapshot(data: &Path) -> io::Result<TempDir> {
    let list = |directory: &Path| -> io::Result<Vec<PathBuf>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                all.extend(std::fs::read_dir(&path)?.flatten().map(|entry| entry.path()));
            } else {
                all.push(path);
            }
        }
        all.sort();
        Ok(all)
    };
    loop {
        let (copy, before) = (tempfile::tempdir()?, list(data)?);
        let copied = before.iter().try_for_each(|path| {
            let to = copy.path().join(path.strip_prefix(data).map_err(io::Error::other)?);
            std::fs::create_dir_all(to.parent().unwrap_or(copy.path()))?;
            std::fs::copy(path, to).map(drop)
        });
        // Something was moved meanwhile: that was no moment.
        if copied.is_ok() && list(data)? == before {
            return Ok(copy);
        }
    }
}

pub fn machine() -> Machine {
    Machine {
        name: "test".into(),
        kernel: "7.2".into(),
        processors: 2,
        memory: 4096,
        rocbed: "0".into(),
        gpus: gpu::simulate("gfx1030").expect("a target"),
        ..Machine::default()
    }
}

/// An address that a hub can come back to: below those that the kernel gives to connections
/// (`/proc/sys/net/ipv4/ip_local_port_range`), one of which may otherwise take it while the hub is away.
fn own_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap_or(0);
    let free = || {
        let address = SocketAddr::from(([127, 0, 0, 1], first + NEXT.fetch_add(1, Ordering::SeqCst)));
        TcpListener::bind(address).is_ok().then_some(address)
    };
    std::iter::repeat_with(free).take(2000).flatten().next().expect("a port")
}
