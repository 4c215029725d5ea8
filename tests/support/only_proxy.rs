//! A machine whose only way to the internet is a proxy or a package cache.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;

use crate::{Proxy, Rules};

/// Port on which the proxy listens.
pub const PORT: u16 = 3128;

/// Sets up the network of the namespace, and mounts apt's files over the machine's; ends with its standard input.
const MACHINE: &str = r#"
    mount -n --make-rprivate /
    mount -n --bind "$1/apt" /etc/apt
    mount -n --bind "$1/lists" /var/lib/apt/lists
    ip link set lo up
    echo ready
    read nothing
"#;

/// Namespaces with this machine's files, their own apt settings, and a network with only a loopback interface, on which
/// a proxy outside of the namespace listens.
pub struct OnlyProxy {
    machine: Child,
    proxy: Proxy,
    /// The files mounted over the machine's.
    _files: TempDir,
}

impl OnlyProxy {
    /// Creates the namespaces, with this `sources.list` and `apt.conf`. Requires root, like the other tests that make
    /// namespaces.
    pub fn new(rules: Rules, sources: &str, configuration: &str) -> Self {
        let files = tempfile::tempdir().expect("a directory");
        let (apt, lists) = (files.path().join("apt"), files.path().join("lists"));
        fs::create_dir(&apt).expect("a directory");
        fs::create_dir(lists).expect("a directory");
        fs::write(apt.join("sources.list"), sources).expect("apt's sources");
        fs::write(apt.join("apt.conf"), configuration).expect("apt's configuration");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "sh", "-ec", MACHINE, "sh"]).arg(files.path());
        let mut machine = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starting unshare");
        let mut said = String::new();
        BufReader::new(machine.stdout.as_mut().expect("its stdout")).read_line(&mut said).expect("a line");
        assert_eq!(said.trim(), "ready", "the namespaces were not made");
        // A socket belongs to the network in which it is created, and a thread may be in another one than its process.
        let network = format!("/proc/{}/ns/net", machine.id());
        let listener = thread::spawn(move || {
            let network = File::open(network).expect("a namespace");
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).expect("entering a namespace");
            TcpListener::bind(("127.0.0.1", PORT)).expect("binding a port of a network of our own")
        });
        let proxy = Proxy::on(listener.join().expect("no panic"), rules);
        Self { machine, proxy, _files: files }
    }

    /// A shell that runs a line inside, in a directory.
    pub fn shell(&self, line: &str, directory: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.machine.id().to_string(), "--net", "--mount", "sh", "-ec"]);
        command.arg(format!("cd \"$1\"\n{line}")).args(["sh", directory]);
        command
    }

    /// The network namespace, for commands in a root of their own.
    pub fn network(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.machine.id()))
    }

    /// The requests to the proxy so far.
    pub fn requests(&self) -> Vec<String> {
        self.proxy.requests()
    }
}

impl Drop for OnlyProxy {
    fn drop(&mut self) {
        // It ends with its standard input.
        drop(self.machine.stdin.take());
        let _ = self.machine.wait();
    }
}
