//! The second stage of a bare testbed: a machine that runs no jobs, only the commands of `autopkgtest-virt-rocbed --vm`.
//!
//! The [service](crate::testbed_service) that runs the commands, loads drivers and brings up the network is a process of
//! its own. PID 1 becomes systemd where the image has it, so that services start as on any Debian; else this program
//! stays PID 1, reaps, and ends the machine in order. When the service has ended, no command can reach the machine, so it
//! is switched off.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::console::Console;
use crate::events::Event;
use crate::fatal::Fatal;
use crate::system::{Ending, System};
use crate::testbed_service::SYSTEMD;
use crate::{setup, shutdown, signals};
use appliance::cmdline::CommandLine;
use appliance::paths;
use machineinfo::Processors;
use testbed::hostname::{self, HOSTNAME};

/// Name of the service's process. systemd spares processes with an `@` until the machine ends (its documentation, "systemd
/// and Storage Daemons for the Root File System"), so that the host hears of it.
const SERVICE: &str = "@rocbed-init";

/// The kernel's host name.
const KERNEL_NAME: &str = "/proc/sys/kernel/hostname";

/// File on the testbed's disk, outside of the root that tests see: it has been started before.
const STARTED: &str = "started";

/// Runs the machine; returns only with an error.
pub fn run(system: &mut dyn System, console: &mut Console, line: &CommandLine) -> Result<Infallible, Fatal> {
    for problem in setup::prepare(system, line, &Processors::read()) {
        console.say(&problem.in_one_line());
    }
    for problem in set_name(system, Path::new("/etc"), Path::new(paths::OVERLAY)) {
        console.say(&problem);
    }
    if Path::new(SYSTEMD).exists() {
        start_service()?;
        let error = system.execute(Path::new(SYSTEMD), &[]);
        return Err(Fatal::new(format!("starting {SYSTEMD}: {error}"), "build the image again"));
    }
    let (sender, events) = channel();
    // Before the service starts, whose end must not be missed.
    signals::listen(sender).map_err(|error| {
        Fatal::new(format!("listening for signals: {error}"), "report this as a bug of rocbed, with this text")
    })?;
    let service = start_service()?;
    let how = follow(service, &events, system, console);
    match shutdown::end(how, std::fs::read_to_string("/proc/self/mounts"), None, system, console) {
        Ok(()) => Err(Fatal::new("the kernel came back from ending the machine", "start the testbed again")),
        Err(error) => Err(Fatal::new(format!("ending the machine: {error}"), "start the testbed again")),
    }
}

/// Names the machine. The files with the name are written at the first start of the testbed's disk, which is mounted on `disk`:
/// after a restart they are as the test has left them, and so is the name. Returns what failed.
fn set_name(system: &mut dyn System, etc: &Path, disk: &Path) -> Vec<String> {
    let started = disk.join(STARTED);
    let mut tried = Vec::new();
    if !started.exists() {
        tried.push(("writing the host name to /etc/hostname", hostname::write_name(etc)));
        tried.push(("adding the host name to /etc/hosts", hostname::add_to_hosts(etc).map(drop)));
        tried.push(("noting the first start on the testbed's disk", fs::write(started, "")));
    }
    let name = hostname::read_name(etc);
    let name = name.as_deref().unwrap_or(HOSTNAME);
    tried.push(("setting the host name", system.write_file(Path::new(KERNEL_NAME), name)));
    tried.into_iter().filter_map(|(what, result)| Some(format!("{what}: {}", result.err()?))).collect()
}

/// Starts the service; returns its process id.
fn start_service() -> Result<i32, Fatal> {
    let child = Command::new(paths::PROGRAM)
        .arg0(SERVICE)
        .arg(crate::testbed_service::COMMAND)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .spawn();
    child
        .and_then(|child| i32::try_from(child.id()).map_err(io::Error::other))
        .map_err(|error| Fatal::new(format!("starting the testbed's service: {error}"), "give the machine more memory"))
}

/// Handles events until the machine is to end.
fn follow(service: i32, events: &Receiver<Event>, system: &mut dyn System, console: &mut Console) -> Ending {
    // The sender is in a thread that never ends.
    for event in events {
        match event {
            Event::End(how, why) => {
                console.say(&format!("ending the machine: {why}"));
                return how;
            }
            Event::ChildEnded if system.reap().iter().any(|child| child.pid == service) => {
                console.say("the testbed's service has ended");
                return Ending::PowerOff;
            }
            _ => {}
        }
    }
    Ending::PowerOff
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Ended;
    use crate::system::recording::Recording;

    #[test]
    fn a_machine_is_named_at_its_first_start_and_keeps_what_a_test_makes_of_it() {
        let [etc, disk] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let [name, hosts] = ["hostname", "hosts"].map(|file| etc.path().join(file));
        let start = |etc: &Path| {
            let mut system = Recording::default();
            let problems = set_name(&mut system, etc, disk.path());
            (system.calls.join("\n"), problems)
        };
        let named = |name: &str| (format!("write {KERNEL_NAME} {name}"), Vec::<String>::new());
        // The hosts file of the image has the name.
        fs::write(&hosts, "127.0.0.1 localhost testbed\n").unwrap();
        assert_eq!(start(etc.path()), named("testbed"));
        assert_eq!(fs::read_to_string(&name).unwrap(), "testbed\n");
        assert_eq!(fs::read_to_string(&hosts).unwrap(), "127.0.0.1 localhost testbed\n");
        fs::write(&name, "renamed\n").unwrap();
        fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
        assert_eq!(start(etc.path()), named("renamed"));
        assert_eq!(fs::read_to_string(&name).unwrap(), "renamed\n");
        assert_eq!(fs::read_to_string(&hosts).unwrap(), "127.0.0.1 localhost\n");
        fs::remove_file(&name).unwrap();
        assert_eq!(start(etc.path()), named("testbed"));
        assert!(!name.exists());
    }

    #[test]
    fn each_file_with_the_name_has_its_own_error() {
        let [etc, disk] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        fs::create_dir(etc.path().join("hosts")).unwrap();
        let problems = set_name(&mut Recording::default(), etc.path(), disk.path());
        assert!(
            matches!(&problems[..], [one] if one.starts_with("adding the host name to /etc/hosts: ")),
            "{problems:?}"
        );
        assert_eq!(hostname::read_name(etc.path()).as_deref(), Some(HOSTNAME));
    }

    #[test]
    fn ends_with_its_service_or_when_told_to() {
        let ended = |pid| Ended { pid, code: Some(0) };
        for (ends, event, how) in [
            (vec![ended(3), ended(7)], None, Ending::PowerOff),
            (vec![ended(3)], Some(Event::End(Ending::Restart, "SIGINT".into())), Ending::Restart),
        ] {
            let (sender, events) = channel();
            for _ in &ends {
                sender.send(Event::ChildEnded).unwrap();
            }
            if let Some(event) = event {
                sender.send(event).unwrap();
            }
            let mut system = Recording { ends, ..Recording::default() };
            assert_eq!(follow(7, &events, &mut system, &mut Console::nowhere()), how);
        }
    }
}
