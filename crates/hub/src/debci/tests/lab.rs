//! A hub with the broker of the tests, and workers that deliver what tests choose.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use client::{Client, ClientOptions, request_id};
use protocol::api::{Claim, Claimed, Complete, Heartbeat, Register};
use protocol::{Machine, Verdict};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::Outcome;
use super::fake::{Client as FakeClient, Server};
use crate::{Config, DebciOptions, Hub, Listener, ManualClock};

pub(super) const QUEUE: &str = "debci-tests-amd64+gfx1030-lxc";

/// Time limit for anything that must happen in the end.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Lab {
    pub(super) server: Arc<Server>,
    directory: Option<TempDir>,
    hub: Hub,
    admin: String,
    address: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    begin: Begin,
    clock: Arc<ManualClock>,
}

/// Connects a hub with a broker.
pub(super) type Begin = fn(&Hub, Arc<FakeClient>) -> Outcome;

/// Has a hub serve the queues of a debci server.
fn serve(hub: &Hub, broker: Arc<FakeClient>) -> Outcome {
    let options = DebciOptions {
        address: protocol::BrokerAddress::parse("amqp://me:secret@broker.example/debci")?,
        tls: amqp::TlsOptions::default(),
        suites: vec!["unstable".into()],
        architecture: "amd64".into(),
        backend: "lxc".into(),
        api: None,
        ahead: 1,
        pages: Some("http://hub.example".into()),
    };
    Ok(hub.bridge(broker, options).map_err(|advice| advice.what)?)
}

impl Lab {
    pub(super) fn start() -> Outcome<Self> {
        Self::start_with(serve)
    }

    pub(super) fn start_with(begin: Begin) -> Outcome<Self> {
        Self::start_in(tempfile::tempdir()?, Server::new(), None, begin, Arc::default())
    }

    fn start_in(
        directory: TempDir,
        server: Arc<Server>,
        admin: Option<String>,
        begin: Begin,
        clock: Arc<ManualClock>,
    ) -> Outcome<Self> {
        let hub = Hub::open(directory.path(), Config { min_free: 0, clock: clock.clone(), ..Config::default() })?;
        let admin = admin.or_else(|| hub.new_admin_token().map(str::to_owned)).unwrap_or_default();
        begin(&hub, Arc::new(Server::client(&server)))?;
        let socket = TcpListener::bind("127.0.0.1:0")?;
        let address = format!("http://{}", socket.local_addr()?);
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = hub.clone();
        let thread = std::thread::spawn(move || {
            let until = async { drop(stopped.await) };
            serving.serve_blocking(vec![Listener::plain(socket)], until).expect("serving");
        });
        let (directory, stop, thread) = (Some(directory), Some(stop), Some(thread));
        Ok(Self { server, directory, hub, admin, address, stop, thread, begin, clock })
    }

    /// Ends the hub, and starts another with its data.
    pub(super) fn restart(mut self) -> Outcome<Self> {
        self.end();
        let directory = self.directory.take().ok_or("no directory")?;
        let (server, admin, begin, clock) = (self.server.clone(), self.admin.clone(), self.begin, self.clock.clone());
        drop(self);
        Self::start_in(directory, server, Some(admin), begin, clock)
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }

    pub(super) fn client(&self) -> Client {
        Client::new(&self.address, &ClientOptions::default()).expect("an address")
    }

    pub(super) fn people(&self) -> Client {
        self.client().with_token(&self.admin)
    }

    /// Lets time pass.
    pub(super) fn advance(&self, time: Duration) {
        self.clock.advance(time);
    }

    pub(super) fn page(&self, path: &str) -> Outcome<String> {
        let mut bytes = Vec::new();
        self.client().page(path, &mut bytes)?;
        Ok(String::from_utf8(bytes)?)
    }

    pub(super) fn worker(&self, id: &str, gpus: &str) -> Outcome<Worker> {
        let mut gpus = gpu::simulate(gpus)?;
        // Results of simulated GPUs are neutral to debci.
        gpus.simulated = false;
        gpus.gpus.iter_mut().for_each(|gpu| gpu.simulated = false);
        let machine = Machine { name: id.into(), gpus, memory: 1000, ..Machine::default() };
        let register = Register {
            version: protocol::VERSION,
            id: id.into(),
            boot: "first".into(),
            holding: Vec::new(),
            machine: machine.clone(),
            name: None,
        };
        let token = self.client().with_token(self.hub.join_token()).register(&register)?.token;
        Ok(Worker { client: self.client().with_token(&token), machine })
    }

    /// A worker that waits for a job in a thread of its own.
    pub(super) fn waiting(&self, id: &str) -> Outcome<JoinHandle<()>> {
        let worker = self.worker(id, "gfx1030")?;
        Ok(std::thread::spawn(move || while worker.try_claim().is_ok_and(|claimed| claimed.is_none()) {}))
    }

    pub(super) fn until(&self, is: impl Fn() -> bool) {
        let began = Instant::now();
        while !is() {
            let status = self.hub.shared.debci.get().map(|link| link.status());
            assert!(began.elapsed() < PATIENCE, "it does not happen: {status:?} {:?}", self.server);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.end();
    }
}

pub(super) struct Worker {
    client: Client,
    machine: Machine,
}

impl Worker {
    /// The same worker, after its hub was started again somewhere else.
    pub(super) fn at(self, lab: &Lab) -> Self {
        let client = lab.client().with_token(self.client.token().unwrap_or_default());
        Self { client, ..self }
    }

    pub(super) fn try_claim(&self) -> Outcome<Option<Claimed>> {
        Ok(self.client.claim(&Claim { request: request_id()?, wait: 1, ..Claim::default() })?)
    }

    pub(super) fn claim(&self) -> Outcome<Claimed> {
        let claimed =
            self.client.claim(&Claim { request: request_id()?, wait: 60, ..Claim::default() })?.ok_or("no job")?;
        self.client.heartbeat(&claimed.lease, &Heartbeat::default())?;
        Ok(claimed)
    }

    pub(super) fn complete(&self, claimed: &Claimed, verdict: Verdict) -> Outcome {
        self.complete_with(claimed, verdict, 10)
    }

    /// Delivers a result with an artifact of so many bytes that hardly compress.
    pub(super) fn complete_with(&self, claimed: &Claimed, verdict: Verdict, artifact: usize) -> Outcome {
        let status = if verdict == Verdict::Pass { 0 } else { 4 };
        let result = serde_json::json!({
            "version": 1, "job": claimed.job, "verdict": verdict, "simulated": false,
            "started": "2026-10-30T10:00:00Z", "finished": "2026-10-30T10:01:00Z", "machine": self.machine,
            "gpus": [self.machine.gpus.gpus.first().map(|gpu| gpu.id.clone())],
            "runs": [{ "as": "user", "verdict": verdict, "exit-status": status, "seconds": 60.0, "directory": "user",
                "package": { "name": claimed.job.source.to_string(), "version": "6.4.3-1" }, "tests": [] }],
        });
        let mut noise = vec![0; artifact];
        getrandom::fill(&mut noise).map_err(|error| error.to_string())?;
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in [
            ("result.json", result.to_string().as_bytes()),
            ("log", b"the log\n"),
            ("user/summary", b"upstream PASS\n"),
            ("user/artifacts/noise", &noise),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, content)?;
        }
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(&zstd::encode_all(&builder.into_inner()?[..], 1)?)?;
        let bundle = self.client.upload(file.path(), |_, _| ())?;
        self.client.complete(&claimed.lease, &Complete { bundle, verdict, summary: String::new() })?;
        Ok(())
    }
}
