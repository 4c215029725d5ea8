//! A simulated worker, for tests of what users see of jobs and results.

use std::fs;
use std::io::Write;

use client::{Client, ClientOptions, request_id};
use protocol::api::{Claim, Claimed, Complete, Heartbeat, Register};
use protocol::{JobResult, Machine, Verdict};
use serde_json::json;
use sha256::Digest;

use crate::Hub;

/// A worker that runs nothing, and delivers the results that a test chooses.
pub struct MadeUpWorker {
    client: Client,
    machine: Machine,
}

impl MadeUpWorker {
    /// Registers a worker with simulated GPUs with a hub.
    pub fn register(hub: &Hub, id: &str, gpu: &str) -> Self {
        Self::register_with(hub, id, gpu::simulate(gpu).expect("a target"))
    }

    /// As `register`; the worker says that its GPUs are real. Results of simulated ones are neutral to debci.
    pub fn register_real(hub: &Hub, id: &str, gpu: &str) -> Self {
        let mut inventory = gpu::simulate(gpu).expect("a target");
        inventory.simulated = false;
        inventory.gpus.iter_mut().for_each(|gpu| gpu.simulated = false);
        Self::register_with(hub, id, inventory)
    }

    fn register_with(hub: &Hub, id: &str, gpus: gpu::Inventory) -> Self {
        let path = hub.started()["join-token-path"].as_str().expect("a path");
        let token = fs::read_to_string(path).expect("a join token");
        // A hub that is being started again is waited for.
        let options = ClientOptions { attempts: 20, ..ClientOptions::default() };
        let join = Client::new(hub.address(), &options).expect("an address").with_token(token.trim());
        let machine = Machine {
            name: id.into(),
            kernel: "7.2".into(),
            processors: 2,
            memory: 1000,
            rocbed: "0".into(),
            gpus,
            ..Machine::default()
        };
        let request = Register {
            version: protocol::VERSION,
            id: id.into(),
            boot: "first".into(),
            holding: Vec::new(),
            machine: machine.clone(),
            name: None,
        };
        let token = join.register(&request).expect("it registers").token;
        Self { client: join.with_token(&token), machine }
    }

    /// A client with the worker's token.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Claims the next job, and waits if there is none.
    pub fn begin(&self) -> Claimed {
        self.begin_within(10).expect("a job")
    }

    /// Claims the next job, if there is one within so many seconds.
    pub fn begin_within(&self, wait: u64) -> Option<Claimed> {
        let claim = Claim { request: request_id().expect("a name"), wait, ..Claim::default() };
        let claimed = self.client.claim(&claim).expect("an answer")?;
        self.client.heartbeat(&claimed.lease, &Heartbeat { phase: "running upstream".into() }).expect("a heartbeat");
        Some(claimed)
    }

    /// Delivers a result: two tests, one of them skipped, a report with two cases, and three MiB of noise. Returns the SHA-256
    /// of the bundle, and whether it was uploaded to the hub's storage and not to the hub.
    pub fn deliver(&self, claimed: &Claimed, verdict: Verdict) -> (Digest, bool) {
        // More than one piece of a download.
        self.deliver_with(claimed, verdict, 3 << 20)
    }

    /// The machine as it is registered.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Delivers this result.
    pub fn deliver_result(&self, claimed: &Claimed, result: &JobResult) {
        let bundle = bundle(&[("result.json", &serde_json::to_string(result).expect("JSON")), ("log", "the log\n")]);
        let (sha256, _) = self.client.upload_directly(bundle.path()).expect("an upload");
        let complete = Complete { bundle: sha256, verdict: result.verdict, summary: String::new() };
        self.client.complete(&claimed.lease, &complete).expect("it is taken");
    }

    /// As `deliver`, with so many bytes of noise.
    pub fn deliver_with(&self, claimed: &Claimed, verdict: Verdict, size: usize) -> (Digest, bool) {
        let result: JobResult = serde_json::from_value(json!({
            "version": 1, "job": claimed.job, "verdict": verdict, "simulated": self.machine.gpus.simulated,
            "started": "2026-10-30T10:00:00Z", "finished": "2026-10-30T10:01:00Z",
            "gpus": [self.machine.gpus.gpus[0].id], "machine": self.machine,
            "runs": [{
                "as": "user", "verdict": verdict, "exit-status": 0, "seconds": 60.0, "directory": "user",
                "package": { "name": claimed.job.source.to_string(), "version": "6.4.3-1" },
                "tests": [
                    { "name": "upstream", "outcome": if verdict == Verdict::Pass { "pass" } else { "fail" },
                      "seconds": 1.5, "cases": { "total": 2, "failed": 1, "skipped": 0 } },
                    { "name": "build", "outcome": "skip", "reason": "needs\u{1b}[2J isolation-machine" },
                ],
            }],
        }))
        .expect("a result");
        let junit = "<?xml version=\"1.0\"?><testsuites><testsuite name=\"rocrand.user\">\
             <testcase classname=\"rocrand.user\" name=\"upstream\"><failure message=\"exit status 1\"/></testcase></testsuite>\
             <testsuite name=\"user.upstream: artifacts/gtest.xml\">\
             <testcase classname=\"Normal\" name=\"float\"><failure message=\"1 &lt; 2\"/></testcase>\
             <testcase classname=\"Uniform\" name=\"float\"/></testsuite></testsuites>\n";
        let summary = "1 of 2 tests passed";
        let bundle = bundle(&[
            ("result.json", &serde_json::to_string(&result).expect("JSON")),
            ("junit.xml", junit),
            ("log", "the log\n"),
            ("user/summary", "upstream PASS\n"),
            ("user/noise", &noise(size)),
        ]);
        let (sha256, direct) = self.client.upload_directly(bundle.path()).expect("an upload");
        let complete = Complete { bundle: sha256, verdict, summary: summary.into() };
        self.client.complete(&claimed.lease, &complete).expect("it is taken");
        (sha256, direct)
    }
}

/// Text that hardly compresses.
pub fn noise(length: usize) -> String {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + (state >> 40) as u8 % 90)
    };
    (0..length).map(|_| next()).collect()
}

fn bundle(files: &[(&str, &str)]) -> tempfile::NamedTempFile {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content.as_bytes()).expect("an entry");
    }
    let bytes = zstd::encode_all(&builder.into_inner().expect("an archive")[..], 1).expect("compressed");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(&bytes).expect("written");
    file
}
