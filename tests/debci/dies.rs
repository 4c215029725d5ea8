//! Nothing is lost, and nothing comes twice, with `RabbitMQ` and debci themselves: connections that are lost while a test
//! runs, a broker that is killed, a collector that is away, two workers, a result over the broker's limit.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use agent::{Assignment, Delivery, Outcome, RunError, RunJob, Share};
use amqp::{Broker, Options, Queue};
use protocol::{JobResult, Verdict};
use rocbed_tests::Debci;
use serde_json::json;
use sha256::Digest;

use crate::{PATIENCE, Worker, encrypted, status};

const JOBS: &str = "debci-tests-amd64+gfx1030-lxc";
/// Bytes of an artifact that is larger than a message may be.
const LARGE: usize = 5 << 20;

/// Answers each job at once with a result that passes.
struct AtOnce<'a> {
    directory: PathBuf,
    /// Called while a job runs.
    during: &'a (dyn Fn(&str) + Sync),
    ran: Mutex<Vec<String>>,
}

impl RunJob for AtOnce<'_> {
    fn run(
        &self,
        assignment: &Assignment,
        _: &Share,
        _: &mut dyn FnMut(&[u8]),
        _: &mut dyn FnMut(&str),
    ) -> Result<Outcome, RunError> {
        let name = assignment.job.source.name().to_owned();
        self.ran.lock().expect("a lock").push(name.clone());
        (self.during)(&name);
        let bundle = self.directory.join(assignment.name());
        let artifact = if name == "large" { LARGE } else { 10 };
        fs::write(&bundle, self::bundle(assignment, artifact)).expect("a bundle");
        let size = fs::metadata(&bundle).expect("it is there").len();
        let (job, summary, sha256) = (assignment.job.id.clone(), String::new(), Digest::of(b""));
        let delivery = Delivery { job, verdict: Verdict::Pass, summary, bundle, size, sha256 };
        Ok(Outcome::Ran { delivery, stuck: false, faults: runner::GpuFaults::default() })
    }

    fn forget(&self, _: &Delivery) {}
}

fn bundle(assignment: &Assignment, artifact: usize) -> Vec<u8> {
    let result: JobResult = serde_json::from_value(json!({
        "version": 1, "job": assignment.job, "verdict": "pass", "simulated": false,
        "started": "2026-10-30T10:00:00Z", "finished": "2026-10-30T10:01:00Z", "gpus": [],
        "machine": protocol::Machine::default(),
        "runs": [{ "as": "user", "verdict": "pass", "exit-status": 0, "seconds": 60.0, "directory": "user",
            "package": { "name": assignment.job.source.name(), "version": "1.0" }, "tests": [] }],
    }))
    .expect("a result");
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as u8
    };
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in [
        ("result.json", serde_json::to_vec(&result).expect("JSON")),
        ("user/log", b"autopkgtest: done\n".to_vec()),
        ("user/testpkg-version", b"many 1.0\n".to_vec()),
        ("user/artifacts/noise", (0..artifact).map(|_| noise()).collect()),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content.as_slice()).expect("an entry");
    }
    zstd::encode_all(&builder.into_inner().expect("an archive")[..], 1).expect("compressed")
}

/// Passes connections on to the broker, and can lose everything that is said, as a network does.
struct Relay {
    port: u16,
    is_lossy: Arc<AtomicBool>,
}

impl Relay {
    fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let relay = Self { port: listener.local_addr().expect("an address").port(), is_lossy: Arc::default() };
        let is_lossy = Arc::clone(&relay.is_lossy);
        // It ends with the test program.
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
                    let is_lossy = Arc::clone(&is_lossy);
                    thread::spawn(move || drop(pass_on(from, to, &is_lossy)));
                }
            }
        });
        relay
    }

    fn lose_everything(&self, is_lossy: bool) {
        self.is_lossy.store(is_lossy, Ordering::SeqCst);
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, is_lossy: &AtomicBool) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut buffer)?;
        match (length, is_lossy.load(Ordering::SeqCst)) {
            // Even the end of a connection is not heard.
            (0, true) => return Ok(()),
            (_, true) => {}
            (0, false) => return to.shutdown(Shutdown::Write),
            (length, false) => to.write_all(&buffer[..length])?,
        }
    }
}

/// A look at the broker, as an administrator has it.
fn look(debci: &Debci, queues: &[&str]) -> Broker {
    let queue =
        |name: &&str| Queue { name: (*name).to_owned(), max_priority: name.starts_with("debci-").then_some(10) };
    let broker = Broker::new(Options {
        address: protocol::BrokerAddress::parse(&debci.broker()).expect("an address"),
        tls: amqp::TlsOptions::default(),
        name: "looks".into(),
        queues: queues.iter().map(queue).collect(),
        others: Vec::new(),
        largest: 8 << 20,
        timeout: Duration::from_secs(60),
    });
    broker.expect("a thread")
}

/// Has the broker write down the jobs that debci has enqueued. debci does not wait for that, and a broker that is killed may
/// forget what it has not written (docs/debci.md).
fn write_down(debci: &Debci) {
    let (broker, mut taken) = (look(debci, &[JOBS]), Vec::new());
    while let Some(message) = broker.take().expect("a broker") {
        taken.push(message);
    }
    for message in taken {
        broker.publish(JOBS, &message.body).expect("it is confirmed");
        broker.acknowledge(message.receipt).expect("it is still ours");
    }
    broker.close();
}

/// Waits until a queue has so many messages that nobody has taken.
fn wait_for_messages(debci: &Debci, queue: &str, messages: u32) {
    let (broker, began) = (look(debci, &[queue]), Instant::now());
    let max_priority = queue.starts_with("debci-").then_some(10);
    let queue = Queue { name: queue.to_owned(), max_priority };
    while broker.count(&queue).ok() != Some(messages) {
        assert!(began.elapsed() < PATIENCE, "{} never has {messages} messages", queue.name);
        thread::sleep(Duration::from_millis(100));
    }
    broker.close();
}

/// The jobs of the results that wait for the collector, with the lengths of these. They stay there.
fn waiting_results(debci: &Debci) -> BTreeMap<u64, Vec<usize>> {
    let broker = look(debci, &["debci_results"]);
    let mut found = BTreeMap::<u64, Vec<usize>>::new();
    while let Some(message) = broker.take().expect("a broker") {
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(message.body.as_slice()));
        let run = archive.entries().expect("an archive").find_map(|entry| {
            let path = entry.expect("an entry").path().expect("a path").into_owned();
            path.parent().filter(|_| path.ends_with("exitcode"))?.file_name()?.to_str()?.parse().ok()
        });
        found.entry(run.expect("a result")).or_default().push(message.body.len());
    }
    broker.close();
    found
}

/// Runs jobs until there are none. Returns which.
fn work(worker: &Worker, port: u16, during: &(dyn Fn(&str) + Sync)) -> Vec<String> {
    let runner = AtOnce { directory: worker.data.clone(), during, ran: Mutex::default() };
    let mut settings = worker.settings();
    settings.address = encrypted::address(port);
    worker.work_with(settings, &runner);
    runner.ran.into_inner().expect("a lock")
}

/// Each job ends with exactly one result, whatever happens meanwhile.
pub fn nothing_is_lost_and_nothing_twice(debci: &Debci, key: &str) {
    let enqueue = |names: &[&str]| {
        let tests: Vec<_> = names.iter().map(|name| json!({ "package": name })).collect();
        debci.enqueue_by_api(key, "unstable/amd64+gfx1030", &tests.into())
    };
    debci.stop_collector();
    let names = ["lonely", "orphan", "large"];
    let first = enqueue(&names);
    write_down(debci);
    let relay = Relay::start(debci.tls_port());
    let ran = work(&Worker::new(debci, "lab2"), relay.port, &|name| match name {
        // Neither side hears the other for longer than the heartbeats, and the broker gives the job back.
        "lonely" => {
            relay.lose_everything(true);
            wait_for_messages(debci, JOBS, 3);
            relay.lose_everything(false);
        }
        "orphan" => debci.kill_broker(),
        _ => {}
    });
    assert_eq!(ran, names, "each is run once: its result is sent when it comes again");

    let names = ["many1", "many2", "many3", "many4", "many5", "many6"];
    let second = enqueue(&names);
    let (ours, theirs) = thread::scope(|scope| {
        let theirs = scope.spawn(|| work(&Worker::new(debci, "lab3"), debci.tls_port(), &|_| ()));
        (work(&Worker::new(debci, "lab2"), debci.tls_port(), &|_| ()), theirs.join().expect("it ends"))
    });
    let mut ran = [ours, theirs].concat();
    ran.sort();
    assert_eq!(ran, names);

    let results = waiting_results(debci);
    for run in first.iter().chain(&second) {
        let lengths = results.get(run).map(Vec::as_slice).unwrap_or_default();
        assert!(matches!(lengths, [length] if *length < 4 << 20), "job {run}: {results:?}");
    }
    wait_for_messages(debci, JOBS, 0);
    debci.start_collector();
    for run in first.into_iter().chain(second) {
        assert_eq!(status(debci, run), "pass");
    }
}
