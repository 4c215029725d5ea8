//! `OpenStack` Swift with its S3 interface, from Debian's archive: of the servers that can be had there it is the one that
//! checks most of what Amazon S3 documents.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use s3::{Bucket, Credentials, Location, Options};
use tempfile::TempDir;
use ureq::http::Response;

use crate::sid_root;

/// Its key, and the secret.
const KEY: (&str, &str) = ("test:tester", "testing");

/// A running Swift. It ends when this is dropped, or with the test program.
pub struct Swift {
    process: Child,
    port: u16,
    _shared: TempDir,
}

impl Swift {
    /// Starts it, which takes some five seconds.
    pub fn start() -> Self {
        let root = sid_root();
        // Objects have extended attributes, which not every file system for temporary files has.
        let shared = tempfile::tempdir_in(crate::scratch()).expect("a directory");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/s3/start.sh");
        // Held until all are known, so that they differ.
        let held = [(); 5].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let ports = held.map(|port| port.local_addr().expect("its number").port());
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
        assert_eq!(line, "started\n", "Swift does not start; its logs are in {}", shared.path().display());
        Self { process, port: ports[0], _shared: shared }
    }

    /// Port of the S3 interface on the loopback interface.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The key and its secret, as environment variables.
    pub fn environment() -> [(&'static str, &'static str); 2] {
        [("AWS_ACCESS_KEY_ID", KEY.0), ("AWS_SECRET_ACCESS_KEY", KEY.1)]
    }

    /// The key with its secret.
    pub fn credentials() -> Credentials {
        Credentials::new(KEY.0, KEY.1)
    }

    /// Makes a bucket.
    pub fn make_bucket(&self, name: &str) {
        self.native("PUT", name, None);
    }

    /// A client for a bucket, at the address of Swift or of a relay to it.
    pub fn bucket(port: u16, name: &str, credentials: Credentials, options: &Options) -> Bucket {
        let location = Location::parse(&format!("s3+http://127.0.0.1:{port}/{name}"), |_| None).expect("an address");
        Bucket::new(location, credentials, options).expect("a client")
    }

    /// Sends a request of Swift's own protocol, as an administrator of the storage does; it must succeed.
    pub fn native(&self, method: &str, path: &str, body: Option<&[u8]>) -> Response<ureq::Body> {
        let base = format!("http://127.0.0.1:{}", self.port);
        let login = ureq::get(format!("{base}/auth/v1.0"))
            .header("x-storage-user", KEY.0)
            .header("x-storage-pass", KEY.1)
            .call()
            .expect("an answer");
        let token = login.headers()["x-auth-token"].to_str().expect("a token").to_owned();
        let url = format!("{base}/v1/AUTH_test/{path}");
        let request = ureq::http::Request::builder().method(method).uri(url).header("x-auth-token", token);
        let request = request.body(body.unwrap_or_default().to_vec()).expect("a request");
        ureq::Agent::new_with_defaults().run(request).expect("it succeeds")
    }
}

impl Drop for Swift {
    fn drop(&mut self) {
        // Its first process ends at the end of its input, and all others with it.
        drop(self.process.stdin.take());
        drop(self.process.wait());
    }
}
