//! Small source trees for tests; testing one takes hardly longer than starting a testbed.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{Server, tool};

/// Address of this machine in QEMU's user network.
const HOST: &str = "10.0.2.2";

/// A tree in `fixtures/trees`.
pub fn fixture_tree(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/trees").join(name)
}

/// Creates a tree with this name, below a directory, with one test: this command, without dependencies.
pub fn command_tree(directory: &Path, name: &str, command: &str) -> PathBuf {
    let tests = format!("Test-Command: {command}\nFeatures: test-name=only\nDepends:\n");
    source_tree(directory, name, &[("tests/control", &tests)])
}

/// Creates a source tree with this name, below a directory, with these files in its `debian`.
pub fn source_tree(directory: &Path, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let tree = directory.join(name);
    let debian = tree.join("debian");
    fs::create_dir_all(debian.join("tests")).expect("a source tree");
    let who = "Nobody <nobody@example.org>";
    let control = format!("Source: {name}\nMaintainer: {who}\n\nPackage: {name}\nArchitecture: all\n");
    let changelog =
        format!("{name} (1) unstable; urgency=low\n\n  * x.\n\n -- {who}  Fri, 30 Oct 2026 00:00:00 +0000\n");
    for (file, text) in [("control", control.as_str()), ("changelog", &changelog)].iter().chain(files) {
        fs::write(debian.join(file), text).expect("a source tree");
    }
    tree
}

/// A server with source trees as archives.
pub struct Trees {
    server: Server,
    directory: TempDir,
}

impl Default for Trees {
    fn default() -> Self {
        Self::new()
    }
}

impl Trees {
    /// Starts a server for machines in QEMU's user network.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self { server: Server::directory(directory.path().to_owned()), directory }
    }

    /// Starts a server for machines that reach this one at the given address.
    pub fn at(address: IpAddr) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self { server: Server::directory_at(address, directory.path().to_owned()), directory }
    }

    /// Packs a tree; returns its URL for an appliance.
    fn url(&self, tree: &Path) -> String {
        self.url_here(tree).replace("127.0.0.1", HOST)
    }

    /// Packs a tree; returns its URL for programs of this machine.
    pub fn url_here(&self, tree: &Path) -> String {
        let (parent, name) = (tree.parent().expect("a parent"), tree.file_name().expect("a name").to_string_lossy());
        let file = self.directory.path().join(format!("{name}.tar"));
        tool("tar", ["-C".as_ref(), parent, "-cf".as_ref(), &file, Path::new(&*name)]);
        self.server.url(&format!("{name}.tar"))
    }

    /// The URL of a tree in `fixtures/trees`.
    pub fn fixture(&self, name: &str) -> String {
        self.url(&fixture_tree(name))
    }

    /// The URL of a tree with one test, this command.
    pub fn command(&self, name: &str, command: &str) -> String {
        let home = tempfile::tempdir().expect("a directory");
        self.url(&command_tree(home.path(), name, command))
    }
}
