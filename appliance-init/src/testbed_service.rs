//! The service of a [bare testbed](crate::bare_testbed): loads drivers, brings up the network, then runs the commands that
//! come over the virtio-serial port.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::system::RebootCommand;
use testbed::virtual_machine::PORT_NAME;
use testbed::virtual_machine::guest::{self, ServiceEnd};
use testbed::virtual_machine::limits::{self, DRIVERS};

use crate::events::Event;
use crate::hardware;
use crate::hardware::Disks;
use crate::online::Online;
use appliance::cmdline::CommandLine;
use appliance::uptime::uptime;
use appliance::virtio_port;
use machineinfo::Processors;

/// The init of images that have it.
pub const SYSTEMD: &str = "/usr/lib/systemd/systemd";

/// The argument with which the service is started.
pub const COMMAND: &str = "testbed-service";

/// How long to wait for the network, where there is a card. Tests that need it say so themselves if it is missing.
const NETWORK: Duration = Duration::from_secs(30);

/// `oom_score_adj` of the service (`proc_pid_oom_score_adj(5)`): the test that uses too much is to be killed.
const SPARED: &str = "-900";

/// Runs the service; the machine is to end when it returns.
pub fn main() -> ExitCode {
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", SPARED) {
        say(&format!("sparing the testbed's service when memory runs out: {error}"));
    }
    match serve() {
        Ok(ServiceEnd::Reboot) => restart(),
        Ok(ServiceEnd::HostGone) => say("the host is gone"),
        Err(error) => say(&format!("serving the testbed's port: {error}")),
    }
    power_off();
    ExitCode::FAILURE
}

fn serve() -> io::Result<ServiceEnd> {
    let (sender, events) = channel();
    hardware::start(CommandLine::of_kernel(), Disks::Own, sender.clone())?;
    let network = network::Network::start(network::NetworkSettings { set_hostname: false, ..Default::default() });
    // Kept until the machine ends: dropping it would take the network down.
    let _network = match network {
        Ok((network, from)) => {
            pass_on(from, sender.clone())?;
            Some(network)
        }
        Err(error) => {
            say(&format!("starting the network: {error}"));
            None
        }
    };
    settle(&events);
    // What comes later is only told.
    thread::Builder::new().name("events".into()).spawn(move || {
        let _sender = sender;
        for event in events {
            tell(&event);
        }
    })?;
    if Path::new(SYSTEMD).exists() {
        await_services();
    }
    let path = virtio_port::find(Path::new(virtio_port::CLASS), Path::new("/dev"), PORT_NAME)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no port {PORT_NAME}")))?;
    say(&format!("ready for commands at {:.2} s", uptime().as_secs_f64()));
    guest::serve(File::options().read(true).write(true).open(path)?)
}

/// Passes the network's events on, in a thread.
fn pass_on(from: Receiver<network::NetworkEvent>, to: Sender<Event>) -> io::Result<()> {
    let pass_on = move || {
        // Until the receiver is gone.
        let _all = from.iter().all(|event| to.send(Event::Network(event)).is_ok());
    };
    thread::Builder::new().name("network events".into()).spawn(pass_on).map(drop)
}

/// Waits until drivers are loaded and the network can be used, as far as there is one.
fn settle(events: &Receiver<Event>) {
    let (mut online, mut drivers, mut gpus, mut is_online) = (Online::default(), false, false, false);
    let start = Instant::now();
    loop {
        let is_ready = drivers && gpus && (is_online || !has_card() || start.elapsed() > NETWORK);
        if is_ready || start.elapsed() > DRIVERS {
            return;
        }
        match events.recv_timeout(Duration::from_millis(100)) {
            Ok(event) => {
                if let Event::Network(event) = &event {
                    online.hear(event, uptime());
                }
                drivers |= matches!(event, Event::DriversLoaded);
                gpus |= matches!(event, Event::GpuDriversLoaded);
                tell(&event);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        is_online |= online.begins(uptime());
    }
}

/// Whether there is a network interface besides the loopback.
fn has_card() -> bool {
    let entries = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.path().join("device").exists())
}

/// Waits until systemd has started what it starts, whether or not all of it works.
fn await_services() {
    let end = Instant::now() + limits::services(&Processors::read());
    while !Path::new("/run/systemd/private").exists() && Instant::now() < end {
        thread::sleep(Duration::from_millis(100));
    }
    let seconds = end.saturating_duration_since(Instant::now()).as_secs().max(1).to_string();
    let state = Command::new("/usr/bin/timeout").args([&seconds, "systemctl", "is-system-running", "--wait"]).output();
    let text = match state {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    say(&format!("systemd: {text}"));
}

/// Restarts the machine in the way of its init, and waits for it.
fn restart() {
    let started = if Path::new(SYSTEMD).exists() {
        Command::new("systemctl").arg("reboot").status().map(drop)
    } else {
        // PID 1 takes SIGINT for Ctrl-Alt-Delete.
        kill_process(Pid::INIT, Signal::INT).map_err(io::Error::from)
    };
    match started {
        // The host ends a machine that does not restart.
        Ok(()) => loop {
            thread::park();
        },
        Err(error) => say(&format!("restarting: {error}")),
    }
}

/// Ends the machine. What is not written to the disk yet is lost, as the testbed is thrown away.
fn power_off() {
    say("switching off");
    if let Err(error) = rustix::system::reboot(RebootCommand::PowerOff) {
        say(&format!("switching off: {error}"));
    }
}

fn tell(event: &Event) {
    match event {
        Event::Said(text) | Event::Problem(text) => say(text),
        Event::Network(event) => say(&event.to_string()),
        _ => {}
    }
}

fn say(text: &str) {
    for line in text.lines() {
        eprintln!("rocbed-init: {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_are_waited_for() {
        let (sender, events) = channel();
        thread::spawn(move || {
            for event in [Event::Said("a word".into()), Event::GpuDriversLoaded, Event::DriversLoaded] {
                sender.send(event).unwrap();
            }
            // Without a network, the rest of the wait ends with the events.
        });
        settle(&events);
        assert!(events.try_recv().is_err());
    }

    #[test]
    fn the_program_is_where_the_server_looks_for_it() {
        assert_eq!(testbed::virtual_machine::PROGRAM, appliance::paths::PROGRAM);
    }
}
