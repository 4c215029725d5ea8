//! A hub for tests, and the actions of a worker.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use client::{Client, ClientOptions, request_id};
use hub::{Config, Hub, HubError, Listener, ManualClock};
use protocol::api::{AddJobs, Claim, Claimed, Complete, Completed, Heartbeat, Register};
use protocol::{Job, JobList, JobResult, Machine, Verdict};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// Result type of tests.
pub type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A listening hub, until it is dropped.
pub struct Running {
    pub hub: Hub,
    pub address: String,
    pub clock: Arc<ManualClock>,
    pub admin: String,
    temp: Option<TempDir>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A hub with the default configuration, except for a clock that stands still.
pub fn start() -> Running {
    start_with(|_| ())
}

/// A hub with a changed configuration.
pub fn start_with(change: impl FnOnce(&mut Config)) -> Running {
    let temp = tempfile::tempdir().expect("a directory");
    let mut running = start_in(temp.path(), change);
    running.temp = Some(temp);
    running
}

/// A hub in a directory that outlives it.
pub fn start_in(directory: &Path, change: impl FnOnce(&mut Config)) -> Running {
    let clock = Arc::new(ManualClock::default());
    let mut config = Config { clock: clock.clone(), min_free: 0, ..Config::default() };
    change(&mut config);
    let hub = open(directory, &config);
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", socket.local_addr().expect("an address"));
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = hub.clone();
    let thread = std::thread::spawn(move || {
        let until = async { drop(stopped.await) };
        serving.serve_blocking(vec![Listener::plain(socket)], until).expect("serving");
    });
    let admin = hub.new_admin_token().unwrap_or_default().to_owned();
    Running { hub, address, clock, admin, temp: None, stop: Some(stop), thread: Some(thread) }
}

/// Opens the directory, which a thread of the hub before may not have left yet, or a process that another test starts: until
/// it executes its program, it has all files of this one.
fn open(directory: &Path, config: &Config) -> Hub {
    for _ in 0..200 {
        match Hub::open(directory, config.clone()) {
            Err(HubError::InUse(_)) => std::thread::sleep(Duration::from_millis(50)),
            opened => return opened.expect("a hub"),
        }
    }
    panic!("{} stays in use", directory.display());
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        // Last, as the hub writes until its end.
        drop(self.temp.take());
    }
}

/// Many attempts with short pauses, as the hub is on this machine.
pub fn options() -> ClientOptions {
    ClientOptions { attempts: 5, first_pause: Duration::from_millis(5), ..ClientOptions::default() }
}

impl Running {
    pub fn client(&self) -> Client {
        Client::new(&self.address, &options()).expect("an address")
    }

    /// A client with the admin token.
    pub fn people(&self) -> Client {
        self.client().with_token(&self.admin)
    }

    /// A worker with simulated GPUs of these targets; none if `gpus` is empty.
    pub fn worker(&self, id: &str, gpus: &str) -> Worker {
        Worker::register(&self.client().with_token(self.hub.join_token()), id, "first", gpus, &[])
    }

    /// Adds the jobs of a TOML list; returns their ids.
    pub fn add(&self, toml: &str) -> Vec<String> {
        self.people().add_jobs(&add_request(toml)).expect("jobs are added").jobs
    }

    /// Advances the clock, and expires leases.
    pub fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(self.hub.expire_leases());
    }

    /// Sends raw bytes, and reads the answer until the hub closes the connection or sends nothing more.
    pub fn raw(&self, bytes: &[u8]) -> String {
        use std::io::{Read, Write};
        let mut stream =
            std::net::TcpStream::connect(self.address.trim_start_matches("http://")).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Status and text of a page or document.
    pub fn get(&self, path: &str) -> (u16, String) {
        let answer = self.raw(format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").as_bytes());
        let status = answer.get(9..12).and_then(|text| text.parse().ok()).unwrap_or(0);
        (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
    }
}

pub fn add_request(toml: &str) -> AddJobs {
    let list = JobList::parse(toml.as_bytes()).expect("a list");
    AddJobs { request: request_id().expect("a name"), list, fan_out: false }
}

/// A worker.
pub struct Worker {
    pub id: String,
    pub client: Client,
    pub machine: Machine,
}

impl Worker {
    pub fn register(client: &Client, id: &str, boot: &str, gpus: &str, holding: &[String]) -> Self {
        let gpus = if gpus.is_empty() { gpu::Inventory::default() } else { gpu::simulate(gpus).expect("targets") };
        let machine = Machine {
            name: id.into(),
            kernel: "7.2".into(),
            processors: 2,
            memory: 1000,
            rocbed: "0".into(),
            gpus,
            ..Machine::default()
        };
        Self::with_machine(client, id, boot, machine, holding)
    }

    /// A worker with this machine description.
    pub fn with_machine(client: &Client, id: &str, boot: &str, machine: Machine, holding: &[String]) -> Self {
        let request = Register {
            version: protocol::VERSION,
            id: id.into(),
            boot: boot.into(),
            holding: holding.to_vec(),
            machine: machine.clone(),
            name: None,
        };
        let registered = client.register(&request).expect("it registers");
        Self { id: id.into(), client: client.clone().with_token(&registered.token), machine }
    }

    pub fn claim(&self) -> Option<Claimed> {
        let request = request_id().expect("a name");
        self.client.claim(&Claim { request, wait: 0, ..Claim::default() }).expect("an answer")
    }

    /// Claims a job, which must be available, and reports that it has started.
    pub fn begin(&self) -> Claimed {
        let claimed = self.claim().expect("a job");
        self.beat(&claimed.lease);
        claimed
    }

    pub fn beat(&self, lease: &str) -> Option<String> {
        self.client.heartbeat(lease, &Heartbeat { phase: "running".into() }).expect("an answer").cancel
    }

    pub fn result(&self, job: &Job, verdict: Verdict) -> JobResult {
        let time = |seconds: i64| format!("{}", jiff::Timestamp::from_second(1_790_000_000 + seconds).expect("a time"));
        let gpus: Vec<_> = self.machine.gpus.gpus.iter().map(|gpu| gpu.id.clone()).collect();
        let json = serde_json::json!({
            "version": 1, "job": job, "verdict": verdict, "simulated": self.machine.gpus.simulated,
            "started": time(0), "finished": time(60), "gpus": gpus, "machine": self.machine,
            "runs": [{
                "as": "user", "verdict": verdict, "exit-status": 0, "seconds": 60.0, "directory": "user",
                "package": { "name": job.source.name(), "version": "1.2-3" },
                "tests": [
                    { "name": "upstream", "outcome": "pass", "cases": { "total": 12, "failed": 1, "skipped": 2 } },
                    { "name": "<b>odd</b>", "outcome": "fail", "reason": "exit status 1 <script>alert(1)</script>" },
                ],
            }],
        });
        serde_json::from_value(json).expect("a result")
    }

    /// Uploads a bundle and completes the lease.
    pub fn deliver(&self, claimed: &Claimed, verdict: Verdict) -> Result<Completed, client::ClientError> {
        self.deliver_result(claimed, &self.result(&claimed.job, verdict))
    }

    /// Like `deliver`, with a given result.
    pub fn deliver_result(&self, claimed: &Claimed, result: &JobResult) -> Result<Completed, client::ClientError> {
        let (bundle, verdict) = (bundle(result), result.verdict);
        let sha256 = self.upload(&bundle)?;
        self.client.complete(&claimed.lease, &Complete { bundle: sha256, verdict, summary: "done".into() })
    }

    pub fn upload(&self, bundle: &[u8]) -> Result<sha256::Digest, client::ClientError> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), bundle).expect("it is written");
        self.client.upload(file.path(), |_, _| ())
    }
}

/// A bundle with this result.
pub fn bundle(result: &JobResult) -> Vec<u8> {
    let junit = b"<testsuites><testsuite name=\"gtest\"><testcase classname=\"Add\" name=\"works\"/>\
        <testcase classname=\"Add\" name=\"&lt;script&gt;\"><failure message=\"1 &lt; 2\">long &lt;i&gt;text</failure>\
        </testcase></testsuite></testsuites>";
    archive(&[("result.json", &serde_json::to_vec(result).expect("JSON")), ("junit.xml", junit)])
}

/// A `.tar.zst` of these files, with their names unchecked.
pub fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let files: Vec<_> = files.iter().map(|(name, content)| (tar::EntryType::Regular, *name, *content)).collect();
    entries(&files)
}

/// A `.tar.zst` of these entries: type, unchecked name, and link target or content.
pub fn entries(entries: &[(tar::EntryType, &str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, name, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        let is_link = kind.is_symlink() || kind.is_hard_link();
        if is_link {
            header.as_old_mut().linkname[..content.len()].copy_from_slice(content);
        }
        let content = if is_link { &[][..] } else { content };
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, content).expect("an entry");
    }
    zstd::encode_all(&builder.into_inner().expect("an archive")[..], 1).expect("compressed")
}
