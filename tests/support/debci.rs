//! A whole debci for tests, unmodified, from Debian's archive: message broker, collector and web pages, in namespaces of
//! its own on loopback ports.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use amqp::fixtures::tls;
use tempfile::TempDir;

use crate::{sid_root, tool};

/// A running debci. It ends when this is dropped, or with the test program.
pub struct Debci {
    process: Child,
    /// Process id of its first process, in whose namespaces commands are run.
    inside: u32,
    /// A directory that is at the same path inside.
    shared: TempDir,
    broker: u16,
    tls: u16,
    web: u16,
}

impl Debci {
    /// Starts it, with jobs for `amd64+gfx1030` and `amd64+gfx1100`. Its root directory is made when it is first needed, and kept.
    pub fn start() -> Self {
        let root = sid_root();
        let shared = tempfile::tempdir().expect("a directory");
        let ports = free_ports();
        for (name, text) in [
            ("authority.pem", tls::AUTHORITY),
            ("server.pem", tls::SERVER.certificate),
            ("server.key", tls::SERVER.key),
        ] {
            fs::write(shared.path().join(name), text).expect("a certificate");
        }
        let script = fixture("start.sh");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--uts", "--fork", "--kill-child", "bash"]).arg(script);
        command.arg(&root).arg(shared.path()).args(ports.iter().map(u16::to_string));
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare (of util-linux), and root's permissions");
        let mut line = String::new();
        let stdout = process.stdout.as_mut().expect("its stdout");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        assert_eq!(line, "started\n", "debci does not start; its logs are in {}", shared.path().display());
        let pid = process.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("its children");
        let inside = children.split_whitespace().next().and_then(|id| id.parse().ok()).expect("a child");
        Self { process, inside, shared, broker: ports[0], tls: ports[1], web: ports[4] }
    }

    /// Address of the broker.
    pub fn broker(&self) -> String {
        format!("amqp://127.0.0.1:{}", self.broker)
    }

    /// Port of the broker where it speaks TLS. It asks for a certificate, and takes the common name for the user.
    pub fn tls_port(&self) -> u16 {
        self.tls
    }

    /// Address of the web pages.
    pub fn web(&self) -> String {
        format!("http://127.0.0.1:{}", self.web)
    }

    /// A directory that is at the same path inside.
    pub fn shared(&self) -> &Path {
        self.shared.path()
    }

    /// The words that run a program inside.
    pub fn inside(&self) -> Vec<String> {
        let target = format!("--target={}", self.inside);
        ["nsenter", "--mount", "--pid", "--uts", &target, "--", "chroot", "/run/debci-root"].map(str::to_owned).to_vec()
    }

    /// Runs a shell command inside as root; it must succeed.
    pub fn run(&self, command: &str) -> String {
        let words = self.inside();
        let rest = words.iter().skip(1).map(String::as_str).chain(["bash", "-c", command]);
        tool("nsenter", rest)
    }

    /// Enqueues a job for each package, as an administrator does; returns their run ids. Later options count.
    pub fn enqueue(&self, options: &str, packages: &[&str]) -> Vec<u64> {
        let names = packages.join(" ");
        self.new_jobs(|| {
            self.administer(&format!("enqueue -s unstable -a amd64+gfx1030 {options} {names}"));
        })
    }

    /// A key for the server's API.
    pub fn api_key(&self) -> String {
        self.administer("api setkey lab").trim().to_owned()
    }

    /// Enqueues jobs by the server's API, as another program does: `tests` is its JSON, and `place` is `SUITE/ARCHITECTURE`.
    /// Returns their run ids.
    pub fn enqueue_by_api(&self, key: &str, place: &str, tests: &serde_json::Value) -> Vec<u64> {
        let file = self.shared().join("tests.json");
        fs::write(&file, tests.to_string()).expect("a file");
        self.new_jobs(|| {
            self.run(&format!(
                "curl --silent --show-error --fail --max-time 60 --header 'Auth-Key: {key}' --form tests=@{} \
                 --form priority=8 '{}/api/v1/test/{place}'",
                file.display(),
                self.web()
            ));
        })
    }

    /// The run ids of jobs that are made meanwhile.
    fn new_jobs(&self, make: impl FnOnce()) -> Vec<u64> {
        let before = self.query("select coalesce(max(run_id), 0) from jobs");
        make();
        let ids = self.query(&format!("select run_id from jobs where run_id > {} order by run_id", before.trim()));
        ids.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Ends the collector, until [`Debci::start_collector`].
    pub fn stop_collector(&self) {
        fs::write(self.shared().join("collector-away"), "").expect("a file");
        // So written, the shell itself is not found.
        self.run(
            "pkill -KILL -f '[d]ebci-collector'; while pgrep -f '[d]ebci-collector' > /dev/null; do sleep 0.1; done",
        );
    }

    /// Has the collector start again.
    pub fn start_collector(&self) {
        fs::remove_file(self.shared().join("collector-away")).expect("it was away");
    }

    /// Ends the broker as a lack of memory does. It starts again by itself.
    pub fn kill_broker(&self) {
        self.run("pkill -KILL -x beam.smp");
    }

    /// Runs debci's command inside, as its administrator does.
    pub fn administer(&self, words: &str) -> String {
        self.run(&format!(
            "cd /usr/share/debci && setpriv --reuid debci --regid debci --init-groups env HOME=/var/lib/debci \
             bin/debci {words}"
        ))
    }

    /// Asks the server's database.
    pub fn query(&self, sql: &str) -> String {
        self.run(&format!("sqlite3 -cmd '.timeout 20000' /var/lib/debci/data/debci.sqlite3 \"{sql}\""))
    }

    /// Gets a page, as a visitor does.
    pub fn page(&self, path: &str) -> String {
        self.run(&format!("curl --silent --show-error --fail --max-time 60 '{}{path}'", self.web()))
    }
}

impl Drop for Debci {
    fn drop(&mut self) {
        // Its first process ends at the end of its input, and all others with it.
        drop(self.process.stdin.take());
        drop(self.process.wait());
    }
}

/// Free ports for the broker, without and with TLS, the two of Erlang, and the web pages.
fn free_ports() -> [u16; 5] {
    // Held until all are known, so that they differ.
    let held = [(); 5].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    held.map(|port| port.local_addr().expect("its number").port())
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/debci").join(name)
}
