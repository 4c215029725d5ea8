//! An unprivileged user with subordinate ids and a root directory of their own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::root;
use crate::server::Server;

/// A user for one test, removed at its end.
pub struct User {
    name: String,
    home: PathBuf,
}

impl User {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("rocbed-testbed-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let home = PathBuf::from("/var/tmp").join(&name);
        run("useradd", &["--create-home", "--home-dir", &home.to_string_lossy(), "--add-subids-for-system", &name]);
        let user = Self { name, home };
        let ids = fs::read_to_string("/etc/subuid").unwrap_or_default();
        assert!(ids.contains(&user.name), "useradd gave no subordinate ids:\n{ids}");
        root::make(&user.root());
        // A copy, as the user has no access to the build directories.
        fs::copy(env!("CARGO_BIN_EXE_autopkgtest-virt-rocbed"), user.home.join("server")).unwrap();
        // Root inside is the user outside.
        run("chown", &["--recursive", &format!("{}:", user.name), &user.home.to_string_lossy()]);
        user
    }

    /// The root directory.
    pub fn root(&self) -> PathBuf {
        self.home.join("root")
    }

    /// A path that the user can write to.
    pub fn file(&self, name: &str) -> String {
        self.home.join(name).display().to_string()
    }

    /// Starts a server as this user.
    pub fn server(&self) -> Server {
        self.server_with(&[])
    }

    /// Starts a server as this user with options.
    pub fn server_with(&self, options: &[&str]) -> Server {
        let prefix = ["runuser", "--user", &self.name, "--"].map(str::to_owned);
        let server = self.home.join("server").display().to_string();
        let mut words = vec![server, "--root".into(), self.root().display().to_string()];
        words.extend(options.iter().map(|word| (*word).to_owned()));
        Server::start_command(&prefix, &words, &[])
    }
}

impl Drop for User {
    fn drop(&mut self) {
        run("userdel", &["--force", "--remove", &self.name]);
    }
}

fn run(program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("starting {program}: {error}; install passwd and uidmap"));
    // userdel complains about a missing mail file.
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}
