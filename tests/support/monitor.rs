//! QEMU's monitor (QMP, docs/interop/qmp-spec of QEMU), for what happens to machines from outside.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use vm::Machine;

/// How long QEMU may say nothing while something is waited for. Without KVM, on a machine with other work, that is seconds.
const SILENCE: Duration = Duration::from_secs(120);

/// Where a machine's monitor listens.
pub struct MonitorSocket(PathBuf);

/// A connection to a machine's monitor.
pub struct Monitor {
    lines: BufReader<UnixStream>,
    commands: UnixStream,
}

impl MonitorSocket {
    /// A socket in a directory.
    pub fn below(directory: &Path) -> Self {
        Self(directory.join("monitor"))
    }

    /// Gives the monitor to a machine that is not started yet.
    #[must_use]
    pub fn plugged_in(&self, machine: Machine) -> Machine {
        machine.argument("-qmp").argument(format!("unix:{},server=on,wait=off", self.0.display()))
    }

    /// Connects to the monitor of the machine, which runs.
    pub fn connect(&self) -> Monitor {
        let commands = UnixStream::connect(&self.0).expect("the monitor");
        commands.set_read_timeout(Some(SILENCE)).expect("a timeout");
        let mut monitor = Monitor { lines: BufReader::new(commands.try_clone().expect("a copy")), commands };
        monitor.command("qmp_capabilities");
        monitor
    }
}

impl Monitor {
    /// Runs a command, and waits until it is done. A machine that is off by then is all right.
    pub fn command(&mut self, name: &str) {
        self.run(name, &json!({}));
    }

    /// Presses keys together; they have names of QEMU's type `QKeyCode`.
    pub fn press(&mut self, keys: &[&str]) {
        let keys: Vec<_> = keys.iter().map(|key| json!({ "type": "qcode", "data": key })).collect();
        self.run("send-key", &json!({ "keys": keys }));
    }

    fn run(&mut self, name: &str, arguments: &Value) {
        // QEMU may have ended, and closed the connection.
        let _ = writeln!(self.commands, "{}", json!({ "execute": name, "arguments": arguments }));
        self.read_until(name, |message| {
            assert!(message.get("error").is_none(), "{name}: {message}");
            message.get("return").is_some()
        });
    }

    /// Waits for an event.
    pub fn wait_for(&mut self, event: &str) {
        let has_come = self.read_until(event, |message| message["event"] == event);
        assert!(has_come, "QEMU ended before the event {event}");
    }

    /// Reads up to a message; false if QEMU ends before. `what` is waited for.
    fn read_until(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> bool {
        let mut line = String::new();
        loop {
            line.clear();
            match self.lines.read_line(&mut line) {
                // A last line may be cut off.
                Ok(_) if !line.ends_with('\n') => return false,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("{what}: QEMU said nothing for {} s", SILENCE.as_secs());
                }
                // The connection was reset: QEMU has ended.
                Err(_) => return false,
            }
            let message = serde_json::from_str(&line).expect("JSON from QEMU");
            if is_it(&message) {
                return true;
            }
        }
    }
}
