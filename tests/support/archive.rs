//! A small signed Debian archive on a loopback port, with the faults that a test needs.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use crate::tls::Authority;
use crate::tool;

/// Handler for the path of a request: returns a body, or `None` for 404.
type Answer = dyn Fn(&str) -> Option<Vec<u8>> + Send + Sync;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// An HTTP server, by default on a loopback port, that runs until the test program ends.
pub struct Server {
    scheme: &'static str,
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts a server with this handler.
    pub fn start(answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self::start_with(LOOPBACK, answer, None)
    }

    fn start_with(
        address: IpAddr,
        answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static,
        tls: Option<Arc<ServerConfig>>,
    ) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = TcpListener::bind((address, 0)).expect("binding a port");
        let address = listener.local_addr().expect("the port just bound");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let answer: Arc<Answer> = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, seen, tls) = (Arc::clone(&answer), Arc::clone(&seen), tls.clone());
                thread::spawn(move || match tls {
                    None => serve(stream, &*answer, &seen),
                    Some(tls) => {
                        let connection = ServerConnection::new(tls).expect("a configuration that works");
                        serve(StreamOwned::new(connection, stream), &*answer, &seen);
                    }
                });
            }
        });
        Self { scheme, address, requests }
    }

    /// Serves the files below a directory.
    pub fn directory(root: PathBuf) -> Self {
        Self::directory_at(LOOPBACK, root)
    }

    /// Serves the files at another address of this machine, which other machines can reach.
    pub fn directory_at(address: IpAddr, root: PathBuf) -> Self {
        Self::start_with(address, move |path| fs::read(root.join(path.trim_start_matches('/'))).ok(), None)
    }

    /// Serves the files over TLS, with the certificate of this authority.
    pub fn directory_over_tls(root: PathBuf, authority: &Authority) -> Self {
        let answer = move |path: &str| fs::read(root.join(path.trim_start_matches('/'))).ok();
        Self::start_with(LOOPBACK, answer, Some(authority.server_config()))
    }

    /// The URL of a path on the server.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}/{path}", self.scheme, self.address)
    }

    /// Address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requested paths so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no thread panicked").clone()
    }
}

/// Handles one connection: one request, one answer.
fn serve(stream: impl Read + Write, answer: &Answer, seen: &Mutex<Vec<String>>) {
    let mut stream = BufReader::new(stream);
    let mut lines = stream.by_ref().lines();
    let Some(Ok(request)) = lines.next() else { return };
    // The other header fields are not needed.
    lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
    let path = request.split_whitespace().nth(1).unwrap_or("/").to_owned();
    let (status, body) = match answer(&path) {
        Some(body) => ("200 OK", body),
        None => ("404 Not Found", Vec::new()),
    };
    seen.lock().expect("no thread panicked").push(path);
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    // The client may have disconnected, which is not an error.
    let stream = stream.get_mut();
    let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).and_then(|()| stream.flush());
    sent.unwrap_or_default();
}

/// The source packages: `greeter` has tests that use pkg-rocm-tools, `libgreet` has none.
const SOURCES: &str = "Package: greeter\nBinary: greeter\nVersion: 1.0\nMaintainer: Tests <tests@example.org>\n\
    Architecture: any\nTestsuite: autopkgtest\nTestsuite-Triggers: pkg-rocm-tools\n\n\
    Package: libgreet\nBinary: libgreet\nVersion: 2.1\nMaintainer: Tests <tests@example.org>\nArchitecture: any\n";

/// A signed archive in a temporary directory, with recipes that use it.
pub struct TestArchive {
    directory: TempDir,
}

impl Default for TestArchive {
    fn default() -> Self {
        Self::new()
    }
}

impl TestArchive {
    /// Creates an archive with the packages `greeter` (which depends on `libgreet (>= 2)`), `libgreet` 2.1, `broken`
    /// (which depends on a package that does not exist), and the kernel and stub packages that every recipe requires.
    pub fn new() -> Self {
        let archive = Self::empty();
        archive.add_deb("dpkg", "1.0", "Essential: yes\n");
        archive.add_deb("libgreet", "2.1", "");
        archive.add_deb("greeter", "1.0", "Depends: libgreet (>= 2)\n");
        archive.add_deb("broken", "1.0", "Depends: greeter, no-such-package (>= 3)\n");
        archive.add_deb("linux-image-amd64", "7.2-1", "Depends: linux-image-7.2-amd64 (= 7.2-1)\n");
        archive.add_deb("linux-image-7.2-amd64", "7.2-1", "Depends: linux-binary-7.2-amd64, linux-modules-7.2-amd64\n");
        archive.add_deb("linux-binary-7.2-amd64", "7.2-1", "");
        archive.add_deb("linux-modules-7.2-amd64", "7.2-1", "");
        archive.add_deb("systemd-boot-efi", "262-1", "");
        archive.publish("Fri, 30 Oct 2026 08:08:01 UTC", None);
        archive
    }

    /// A key, and no package yet.
    pub(crate) fn empty() -> Self {
        let archive = Self { directory: tempfile::tempdir().expect("making a temporary directory") };
        archive.make_key();
        archive
    }

    /// Its directory: `dists/` and `pool/` as on a mirror, `key.asc`, and recipes.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Starts a server for it.
    pub fn serve(&self) -> Server {
        Server::directory(self.path().to_owned())
    }

    /// Writes a recipe that uses packages from `mirror` and trusts this archive's key; `more` is additional TOML.
    pub fn recipe(&self, mirror: &str, install: &str, more: &str) -> PathBuf {
        let path = self.path().join("test.toml");
        let text = format!(
            "[archive]\nmirror = {mirror:?}\nsnapshot = \"\"\nkeyrings = [\"key.asc\"]\n{more}\n[packages]\ninstall = [{install:?}]\n"
        );
        fs::write(&path, text).expect("writing the recipe");
        path
    }

    fn gpg(&self, words: &[&str]) {
        let home = self.path().join("gnupg").display().to_string();
        let fixed =
            ["--homedir", &home, "--batch", "--yes", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""];
        tool("gpg", fixed.iter().chain(words));
    }

    fn make_key(&self) {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new().mode(0o700).create(self.path().join("gnupg")).expect("making a key directory");
        self.gpg(&["--quick-generate-key", "rocbed test archive", "ed25519", "sign", "never"]);
        let key = self.path().join("key.asc").display().to_string();
        self.gpg(&["--armor", "--output", &key, "--export"]);
    }

    fn add_deb(&self, name: &str, version: &str, fields: &str) {
        self.add_deb_with(name, version, fields, &[]);
    }

    /// Adds a binary package with these files to the pool; `publish` lists it.
    pub fn add_deb_with(&self, name: &str, version: &str, fields: &str, files: &[(&str, &str)]) {
        let tree = self.path().join("build").join(name);
        fs::create_dir_all(tree.join("DEBIAN")).expect("making a package tree");
        for (path, text) in files {
            let path = tree.join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().expect("a directory")).expect("making a package tree");
            fs::write(path, text).expect("writing a file of a package");
        }
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: rocbed tests <tests@example.org>\n{fields}Description: made by a test\n"
        );
        fs::write(tree.join("DEBIAN/control"), control).expect("writing a control file");
        let pool = self.path().join("pool");
        fs::create_dir_all(&pool).expect("making the pool");
        let deb = pool.join(format!("{name}_{version}_amd64.deb"));
        tool("dpkg-deb", ["--build", "--root-owner-group", &tree.to_string_lossy(), &deb.to_string_lossy()]);
    }

    /// Rewrites and signs the indexes.
    pub fn publish(&self, date: &str, valid_until: Option<&str>) {
        let dists = self.path().join("dists/sid");
        let binary = dists.join("main/binary-amd64");
        fs::create_dir_all(&binary).expect("making the index directory");
        let scan = format!("cd {} && dpkg-scanpackages --multiversion pool 2>/dev/null", self.path().display());
        let packages = tool("sh", ["-c", &scan]);
        fs::write(binary.join("Packages"), &packages).expect("writing the index");
        tool("xz", ["--keep", "--force", &binary.join("Packages").to_string_lossy()]);
        let source = dists.join("main/source");
        fs::create_dir_all(&source).expect("making the index directory");
        fs::write(source.join("Sources"), SOURCES).expect("writing the index");
        let valid_until = valid_until.map(|date| format!("Valid-Until: {date}\n")).unwrap_or_default();
        let fields = format!(
            "Origin: test\nSuite: unstable\nCodename: sid\nDate: {date}\n{valid_until}Architectures: amd64\nComponents: main\n"
        );
        let indexes = ["main/binary-amd64/Packages", "main/binary-amd64/Packages.xz", "main/source/Sources"];
        self.sign("dists/sid", &fields, &indexes);
    }

    /// Writes and signs a Release file for a directory of the archive, listing these files in it.
    pub fn sign(&self, directory: &str, fields: &str, files: &[&str]) {
        let directory = self.path().join(directory);
        let entry = |name: &&str| {
            let path = directory.join(name);
            let digest = tool("sha256sum", [&path]);
            let size = fs::metadata(&path).expect("an index").len();
            format!(" {} {size} {name}\n", digest.split(' ').next().unwrap_or_default())
        };
        let entries: String = files.iter().map(entry).collect();
        let (signed, plain) = (directory.join("InRelease"), directory.join("Release"));
        fs::write(&plain, format!("{fields}SHA256:\n{entries}")).expect("writing the Release file");
        self.gpg(&["--clearsign", "--output", &signed.to_string_lossy(), &plain.to_string_lossy()]);
    }

    /// Signs a directory's Release file with a detached signature instead of an inline one.
    pub fn sign_apart(&self, directory: &str) {
        let directory = self.path().join(directory);
        fs::remove_file(directory.join("InRelease")).expect("removing InRelease");
        let (signature, plain) = (directory.join("Release.gpg"), directory.join("Release"));
        self.gpg(&["--armor", "--detach-sign", "--output", &signature.to_string_lossy(), &plain.to_string_lossy()]);
    }
}
