//! The second stage, on the real root: prepares the system, starts everything else, and runs the event loop.

use std::convert::Infallible;
use std::fs::File;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;

use advice::{Advice, Help};

use crate::agent_process::AgentProcess;
use crate::console::Console;
use crate::drivers::Drivers;
use crate::events::Event;
use crate::fatal::Fatal;
use crate::hardware::Disks;
use crate::linux::Linux;
use crate::netroot;
use crate::netroot::on_demand::RootServer;
use crate::online::Online;
use crate::screen::Screen;
use crate::supervisor::Supervisor;
use crate::system::{Ending, System};
use crate::verified_root::VerifiedRoot;
use crate::{about, bare_testbed, clock, data, hardware, load, setup, shell, shutdown, signals, stick, watchdog};
use appliance::block;
use appliance::cmdline::CommandLine;
use appliance::paths;
use appliance::report::Report;
use appliance::settings::Settings;
use machineinfo::{Memory, Processors};

/// Runs the appliance; returns only with an error.
pub fn run(system: &mut dyn System, console: &mut Console) -> Result<Infallible, Fatal> {
    let line = CommandLine::of_kernel();
    if line.testbed_disk.is_some() {
        return bare_testbed::run(system, console, line);
    }
    let (sender, events) = channel();
    signals::listen(sender.clone()).map_err(|error| {
        Fatal::new(format!("listening for signals: {error}"), "report this as a bug of rocbed, with this text")
    })?;
    for problem in setup::prepare(system, line, &Processors::read()) {
        console.say(&problem.in_one_line());
    }
    let disk = boot_disk();
    hardware::start(line, Disks::Foreign(disk.clone()), sender.clone()).map_err(|error| {
        Fatal::new(format!("starting a thread for devices: {error}"), "give the machine more memory")
    })?;
    if let Some(disk) = &disk {
        for problem in read_stick(disk, line, system) {
            console.say(&problem);
        }
    }
    let no_data = prepare_data(disk.as_deref(), system, console);
    let (settings, mut problems) = Settings::of_this_machine(line);
    for problem in &problems {
        console.say(&problem.in_one_line());
    }
    problems.extend(no_data);
    // Until the network provides a better one.
    let name = settings.name.as_deref().unwrap_or("rocbed");
    if let Err(error) = system.write_file(Path::new("/proc/sys/kernel/hostname"), name) {
        console.say(&format!("setting the host name to {name}: {error}"));
    }
    let network = start_network(&settings, sender.clone(), console);
    let screen = Screen::new(console.take_displays());
    let mut start_agent = AgentProcess::new(Path::new(paths::PROGRAM), sender.clone());
    let mut supervisor = Supervisor::new(system, console, screen, &mut start_agent);
    for problem in problems {
        supervisor.state.problem(problem.in_one_line());
    }
    let root_server = RootServer::find();
    let spared = root_server.as_ref().map(|server| server.pid);
    supervisor.root_server = root_server;
    supervisor.verified_root = VerifiedRoot::find(line);
    let how = follow(&mut supervisor, &events, &sender, &settings, network.as_ref())?;
    drop(supervisor);
    if let Some(network) = network {
        network.stop();
    }
    match shutdown::end(how, std::fs::read_to_string("/proc/self/mounts"), spared, system, console) {
        Ok(()) => Err(Fatal::new("the kernel came back from ending the machine", "switch the machine off")),
        Err(error) => Err(Fatal::new(format!("ending the machine: {error}"), "switch the machine off")),
    }
}

fn boot_disk() -> Option<String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let class = Path::new("/sys/class/block");
    stick::boot_disk(&mounts, paths::IMAGE, &block::list(class), |name| block::below(class, name))
}

fn read_stick(disk: &str, line: &CommandLine, system: &mut dyn System) -> Vec<String> {
    let devices = block::list(Path::new("/sys/class/block"));
    let Some(partition) = stick::settings_partition(disk, &devices) else { return Vec::new() };
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    match Drivers::of_kernel(&release, line) {
        Ok(mut drivers) => stick::keep_settings(partition, &mut drivers, system),
        Err(error) => vec![stick::unread(format!("reading the stick's settings: {error}"), system)],
    }
}

/// Prepares the directory for results that survive a restart. Returns a problem for people, if there is one.
fn prepare_data(disk: Option<&str>, system: &mut dyn System, console: &mut Console) -> Option<Advice> {
    let devices = || block::list(Path::new("/sys/class/block"));
    let problem = match disk {
        Some(disk) => {
            // Written by the first stage, if the firmware told it.
            let started = std::fs::read_to_string(paths::START_PARTITION).ok();
            let started = started.as_deref().map(str::trim_end);
            data::prepare(disk, started, &devices(), Path::new("/dev"), system, &mut |text| console.say(text)).err()?
        }
        None => Advice::new("not started from a disk with a data partition", Help::none()),
    };
    if Path::new(paths::DATA_IS_KEPT).exists() {
        console.say(&problem.in_one_line());
        return Some(problem);
    }
    let problem = Advice::new(format!("results do not survive a restart: {}", problem.what), problem.help);
    console.say(&problem.in_one_line());
    if let Err(error) = system.create_directory(Path::new(paths::DATA)) {
        return Some(Advice::new(format!("making {}: {error}", paths::DATA), Help::none()));
    }
    disk.map(|_| problem)
}

/// Brings the network up in threads of its own. Without a network the appliance can still run jobs that it got by
/// other means.
fn start_network(settings: &Settings, events: Sender<Event>, console: &mut Console) -> Option<network::Network> {
    let (mut wanted, problems) = netroot::network_settings(settings);
    for problem in problems {
        console.say(&problem);
    }
    wanted.before = netroot::addresses::read(Path::new(paths::NETROOT_ADDRESSES));
    let started = network::Network::start(wanted).map_err(|error| error.to_string()).and_then(|(network, from)| {
        let pass_on = move || {
            // Until the receiver is gone.
            let _all = from.iter().all(|event| events.send(Event::Network(event)).is_ok());
        };
        let thread = thread::Builder::new().name("network events".into()).spawn(pass_on);
        thread.map(|_| network).map_err(|error| error.to_string())
    });
    started.map_err(|error| console.say(&format!("starting the network: {error}"))).ok()
}

/// Handles events until the machine is to end.
fn follow(
    supervisor: &mut Supervisor,
    events: &Receiver<Event>,
    sender: &Sender<Event>,
    settings: &Settings,
    network: Option<&network::Network>,
) -> Result<Ending, Fatal> {
    let mut clock_runs = !settings.set_clock;
    let mut online = Online::default();
    let (mut ending, mut wait) = supervisor.tick();
    loop {
        if let Some(how) = ending {
            return Ok(how);
        }
        ending = match events.recv_timeout(wait) {
            Ok(event) => {
                if let Event::Network(event) = &event {
                    online.hear(event, supervisor.uptime());
                }
                if let Event::Report(Report::Ready { source, .. }) = &event {
                    let text = format!("ready at {:.2} s, jobs from {source}", Linux.uptime().as_secs_f64());
                    netroot::boot_report::ready(CommandLine::of_kernel(), text);
                    if let Ok(memory) = Memory::read() {
                        supervisor.say(&format!("memory in use {} MiB", memory.in_use() >> 20));
                    }
                }
                let start_watchdog = matches!(event, Event::DriversLoaded);
                let agent_starts = matches!(event, Event::GpuDriversLoaded);
                let ending = supervisor.handle(event);
                if agent_starts && supervisor.has_display() {
                    load::watch(sender.clone());
                }
                if agent_starts {
                    // Reading takes a moment, in which the agent starts.
                    supervisor.introduce(&about::lines()?);
                    if let Some(why_not) = shell::keep(settings, sender.clone()) {
                        supervisor.say(&why_not);
                    }
                }
                if start_watchdog {
                    feed_watchdog(supervisor, settings);
                }
                ending
            }
            // This function holds a sender, so the other error does not happen.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        };
        if online.begins(supervisor.uptime()) {
            if let Err(error) = File::create(paths::ONLINE) {
                let text = format!("making {}: {error}; jobs wait in vain for a network", paths::ONLINE);
                // There is no receiver once the machine is going down.
                let _ = sender.send(Event::Said(text));
            }
            if !clock_runs && let Some(network) = network {
                clock_runs = true;
                clock::keep(settings, &network.status(), sender.clone());
            }
        }
        let due = supervisor.tick();
        ending = ending.or(due.0);
        wait = due.1;
    }
}

fn feed_watchdog(supervisor: &mut Supervisor, settings: &Settings) {
    let Some(timeout) = settings.watchdog else { return };
    match watchdog::Device::start(Path::new("/dev/watchdog0"), timeout.0) {
        Ok(Some(device)) => {
            let seconds = device.timeout().as_secs();
            supervisor.set_watchdog(Box::new(device));
            supervisor.say(&format!("watchdog: {seconds} s"));
        }
        Ok(None) => supervisor.say("watchdog: this machine has none"),
        Err(error) => supervisor.problem(format!("watchdog: {error}")),
    }
}
