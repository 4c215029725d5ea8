//! A machine with network cards, and a network at the other end of their cables.
//!
//! A test runs in a process of its own, with network, mount, process and host name namespaces of its own: nothing is
//! left of it, whatever happens, and no other test sees it. The network is a second network namespace with the name
//! `lan`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use network::{Configuration, Network, NetworkEvent, NetworkSettings};

/// Says which test a process was started for.
const INSIDE: &str = "NETWORK_TEST_INSIDE";
/// Timeout, far longer than anything here takes: the expected event comes, or the test fails.
const LONG: Duration = Duration::from_secs(60);
pub const RESOLV_CONF: &str = "/run/resolv.conf";

/// Runs `body` in a world of its own. As any user who may make user namespaces.
pub fn run<F: FnOnce(&World)>(body: F) {
    let path = std::any::type_name::<F>();
    let name = path.split("::").skip(1).take_while(|part| !part.starts_with('{')).collect::<Vec<_>>().join("::");
    if std::env::var(INSIDE).is_ok_and(|inside| inside == name) {
        sh("mount -t tmpfs tmpfs /run");
        sh("ip netns add lan");
        sh("ip -n lan link set lo up");
        return body(&World);
    }
    for (tool, package) in [("unshare", "util-linux"), ("ip", "iproute2"), ("dnsmasq", "dnsmasq-base")] {
        let found = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(found.is_ok(), "{tool} is missing; install the package {package} (and have /usr/sbin in PATH)");
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc"]);
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.arg(std::env::current_exe().unwrap()).args(["--exact", &name, "--nocapture", "--test-threads=1"]);
    let output = unshare.env(INSIDE, &name).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "in its own namespaces:\n{text}");
}

/// Runs a command that must succeed, and returns its output.
pub fn sh(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// The namespaces.
pub struct World;

#[expect(clippy::unused_self, reason = "only a test that is in its own namespaces has a World to change")]
impl World {
    /// A network card with the address 02:00:00:00:00:NUMBER, its cable plugged into a network where 10.NUMBER.0.1 is.
    pub fn card(&self, name: &str, number: u8) {
        sh(&format!(
            "ip link add {name} address 02:00:00:00:00:{number:02x} type veth peer name lan-{name} netns lan
             ip -n lan address add 10.{number}.0.1/24 dev lan-{name}
             ip -n lan link set lan-{name} up"
        ));
    }

    /// Pulls a card's cable out.
    pub fn unplug(&self, name: &str) {
        sh(&format!("ip -n lan link set lan-{name} down"));
    }

    /// Plugs a card's cable in again.
    pub fn plug(&self, name: &str) {
        sh(&format!("ip -n lan link set lan-{name} up"));
    }

    /// A DHCP server on the network, with options of dnsmasq; it is there when this returns.
    pub fn dnsmasq(&self, options: &[&str]) -> Dnsmasq {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", "lan", "dnsmasq", "--no-daemon", "--conf-file=/dev/null"]);
        // Names are served only where a test says so.
        if !options.iter().any(|option| option.starts_with("--port=")) {
            command.arg("--port=0");
        }
        command.args(["--log-dhcp", "--no-ping", "--leasefile-ro"]);
        command.args(options).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let server = Dnsmasq { child, lines };
        // The last thing that it says before it listens.
        server.wait_for("DHCP, IP range");
        server
    }

    /// Starts the network with all cards of the machine.
    pub fn start(&self, settings: NetworkSettings) -> Machine {
        let also = vec!["eth0".to_owned(), "eth1".to_owned()];
        let resolv_conf = Some(PathBuf::from(RESOLV_CONF));
        let (network, events) = Network::start(NetworkSettings { also, resolv_conf, ..settings }).unwrap();
        Machine { network, events }
    }
}

/// A running dnsmasq.
pub struct Dnsmasq {
    child: Child,
    lines: Receiver<String>,
}

impl Dnsmasq {
    /// Waits until it logs a line with this in it.
    pub fn wait_for(&self, text: &str) -> String {
        let mut seen = String::new();
        loop {
            match self.lines.recv_timeout(LONG) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen = seen + &line + "\n",
                Err(error) => panic!("dnsmasq does not say {text:?} ({error}), but:\n{seen}"),
            }
        }
    }

    /// All logged lines that no call has waited for yet.
    pub fn log(&self) -> String {
        self.lines.try_iter().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The machine's network while it is up.
pub struct Machine {
    pub network: Network,
    pub events: Receiver<NetworkEvent>,
}

impl Machine {
    /// Waits for an event that `wanted` accepts; earlier events are skipped, except problems.
    pub fn wait<T>(&self, what: &str, mut wanted: impl FnMut(&NetworkEvent) -> Option<T>) -> T {
        let mut seen = Vec::new();
        loop {
            match self.events.recv_timeout(LONG) {
                Ok(event) => match wanted(&event) {
                    Some(found) => return found,
                    None if matches!(event, NetworkEvent::Problem { .. }) => panic!("{event}"),
                    None => seen.push(event),
                },
                Err(error) => panic!("no event about {what} ({error}), but {seen:?}; {}", self.network.status()),
            }
        }
    }

    /// Waits until a link is configured.
    pub fn configured(&self, name: &str) -> Configuration {
        self.wait(&format!("{name} being configured"), |event| match event {
            NetworkEvent::Configured { link, configuration } if link == name => Some(configuration.clone()),
            _ => None,
        })
    }
}

/// The IPv4 addresses of a link, as `ip` shows them.
pub fn addresses(link: &str) -> Vec<String> {
    let shown = sh(&format!("ip -o -4 address show dev {link}"));
    shown.lines().filter_map(|line| line.split_whitespace().nth(3)).map(str::to_owned).collect()
}

/// The content of `resolv.conf`, without comments.
pub fn resolv_conf() -> String {
    let text = fs::read_to_string(RESOLV_CONF).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
}

/// Whether a machine at this address answers: it refuses a connection to a closed port.
pub fn reaches(address: Ipv4Addr) -> bool {
    let refused = std::net::TcpStream::connect_timeout(&(address, 9).into(), LONG);
    refused.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}
