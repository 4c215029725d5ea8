//! Runs a command in a testbed: this is the program that `print-execute-command` tells autopkgtest to start.
//!
//! The process that autopkgtest started joins the testbed's namespaces and starts the command inside. It stays to pass
//! signals on, and exits with the command's status. It takes the namespaces from the server's open files, so a closed
//! testbed cannot be entered. Just before it is executed, the command is confined (`confine`).

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use gpusim::Kernels;
use rustix::process::{DumpableBehavior, Signal};

use crate::Error;
use crate::confine::Confinement;
use crate::control_group;
use crate::identity::{Identity, become_its_root};
use crate::namespaces::RunningTestbed;
use crate::process::{Child, Event, Signals, fork};
use crate::processors::ProcessorList;
use crate::protocol::{quote, unquote};
use crate::reached::processes_of_commands;
use crate::relay::{Relay, Running};
use crate::simulate::{SimulateOptions, Simulation, kernels_option, option_kernels};
use crate::terminal::Terminal;

/// Exit status for failures of this program, as distinct from the command's: autopkgtest takes 254 and 255 for a failed
/// testbed.
const FAILED: u8 = 255;
/// Replaces a command's own 254 and 255, as in autopkgtest's other servers: if a program ends with `return -1`, the
/// program has failed and not the testbed.
const COMMAND_FAILED: u8 = 253;
/// Exit status instead of 0 for a command to which the simulated GPU refused something, such as running a kernel.
pub(crate) const REFUSED: u8 = 1;
/// Exit status of shells for a command that does not exist or cannot be executed.
pub(crate) const NOT_FOUND: u8 = 127;
pub(crate) const NOT_EXECUTABLE: u8 = 126;

/// `oom_score_adj` of commands (`proc_pid_oom_score_adj(5)`): when memory runs out, a test is killed before autopkgtest
/// and the machine's services.
const FIRST_TO_GO: &str = "500";

/// Signals that are passed on to a command.
pub(crate) const PASSED_ON: [(i32, Signal); 6] = [
    (libc::SIGHUP, Signal::HUP),
    (libc::SIGINT, Signal::INT),
    (libc::SIGQUIT, Signal::QUIT),
    (libc::SIGTERM, Signal::TERM),
    (libc::SIGUSR1, Signal::USR1),
    (libc::SIGUSR2, Signal::USR2),
];

/// The complete environment of every command; the caller's other variables are the host's.
pub(crate) const ENVIRONMENT: [(&str, &str); 5] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("USER", "root"),
    ("LOGNAME", "root"),
    ("SHELL", "/bin/bash"),
];

/// Options for running commands.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Whether commands keep the caller's supplementary groups.
    pub(crate) keep_groups: bool,
    /// Whether commands may make containers.
    pub(crate) containers: bool,
    /// Most processes in the testbed.
    pub(crate) processes: Option<u64>,
    /// The processors that commands are kept on. autopkgtest starts them, so they do not have the server's.
    pub(crate) processor_list: Option<ProcessorList>,
}

/// The program and arguments that run the command appended to them in a testbed.
pub(crate) fn command_line(
    running: &RunningTestbed,
    identity: &Identity,
    rules: &Rules,
    simulate: Option<&SimulateOptions>,
    environment: &[(String, String)],
) -> Vec<OsString> {
    let server = std::process::id();
    let program = std::env::current_exe().ok().filter(|path| path.is_file());
    // If the program's file was replaced, this name still works.
    let program = program.unwrap_or_else(|| format!("/proc/{server}/exe").into());
    let outer = identity.outer.iter().map(AsFd::as_fd);
    let joins: Vec<String> = outer.chain(running.joins(identity)).map(|fd| fd.as_raw_fd().to_string()).collect();
    let mut words: Vec<OsString> = vec![program.into(), "virt".into(), "enter".into()];
    words.push(format!("--server={server}").into());
    words.push(format!("--join={}", joins.join(".")).into());
    let members = running.access(identity).control_group;
    words.extend(members.map(|fd| format!("--control-group={}", fd.as_raw_fd()).into()));
    if rules.keep_groups {
        words.push("--keep-groups".into());
    }
    if rules.containers {
        words.push("--containers".into());
    }
    words.extend(rules.processes.map(|processes| format!("--processes={processes}").into()));
    words.extend(rules.processor_list.iter().map(|list| option("processors", list.to_string().as_ref())));
    if let Some(simulate) = simulate {
        words.push(option("simulate", simulate.gpus.as_ref()));
        words.extend(kernels_option(simulate.kernels).map(OsString::from));
        words.extend(simulate.report.iter().map(|path| option("report", path.as_os_str())));
    }
    words.extend(environment.iter().map(|(name, value)| option("env", format!("{name}={value}").as_ref())));
    words.push("--".into());
    words
}

/// An option whose value may have any bytes. autopkgtest decodes the line with the command before it splits the command
/// at commas, so these are encoded a second time.
pub(crate) fn option(name: &str, value: &OsStr) -> OsString {
    format!("--{name}={}", quote(value.as_bytes())).into()
}

/// Joins namespaces, in order, as root of the last one. From then on, processes inside may not look into this one, as
/// its files and memory are the host's; executing a program ends this protection.
pub(crate) fn join(namespaces: &[BorrowedFd<'_>], keep_groups: bool) -> Result<(), Error> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(Error::step("shielding this process from the testbed"))?;
    for namespace in namespaces {
        rustix::thread::move_into_link_name_space(*namespace, None).map_err(Error::step("joining the testbed"))?;
    }
    become_its_root(keep_groups)?;
    rustix::process::chdir(c"/").map_err(Error::step("going to the testbed's root directory"))
}

/// Runs the command; `arguments` are those after `enter`.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    match run(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{}: {}", crate::server::NAME, error.in_one_line());
            ExitCode::from(FAILED)
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Entry {
    namespaces: Vec<String>,
    /// `cgroup.procs` of the testbed's control group.
    control_group: Option<String>,
    rules: Rules,
    simulate: Option<SimulateOptions>,
    environment: Vec<(OsString, OsString)>,
    command: Vec<OsString>,
}

impl Entry {
    fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, Error> {
        let mut entry = Self::default();
        let mut server = String::new();
        let (mut kernels, mut report) = (Kernels::default(), None);
        for argument in arguments.by_ref() {
            if argument == "--" {
                break;
            }
            let text = argument.to_string_lossy();
            let value = |name: &str| argument.as_bytes().strip_prefix(name.as_bytes()).map(unquote);
            if let Some(pid) = text.strip_prefix("--server=") {
                pid.clone_into(&mut server);
            } else if let Some(numbers) = text.strip_prefix("--join=") {
                entry.namespaces = numbers.split('.').map(|number| format!("/proc/{server}/fd/{number}")).collect();
            } else if let Some(number) = text.strip_prefix("--control-group=") {
                entry.control_group = Some(format!("/proc/{server}/fd/{number}"));
            } else if text == "--keep-groups" {
                entry.rules.keep_groups = true;
            } else if text == "--containers" {
                entry.rules.containers = true;
            } else if let Some(number) = text.strip_prefix("--processes=") {
                let number = number.parse().map_err(|_| Error::Usage(format!("{number} is not a number")))?;
                entry.rules.processes = Some(number);
            } else if let Some(list) = value("--processors=") {
                entry.rules.processor_list = Some(String::from_utf8_lossy(&list).parse()?);
            } else if let Some(gpus) = value("--simulate=") {
                let gpus = String::from_utf8(gpus).map_err(|_| Error::Usage("--simulate is not UTF-8".into()))?;
                entry.simulate = Some(SimulateOptions { gpus, kernels: Kernels::default(), report: None });
            } else if let Some(option) = option_kernels(&text) {
                kernels = option;
            } else if let Some(path) = value("--report=") {
                report = Some(PathBuf::from(OsString::from_vec(path)));
            } else if let Some(setting) = value("--env=") {
                let at = setting.iter().position(|byte| *byte == b'=').unwrap_or(setting.len());
                let (name, value) = setting.split_at(at);
                let value = value.get(1..).unwrap_or_default();
                entry.environment.push((OsStr::from_bytes(name).to_owned(), OsStr::from_bytes(value).to_owned()));
            } else {
                return Err(Error::Usage(format!("unknown argument {text} of enter")));
            }
        }
        if let Some(simulate) = &mut entry.simulate {
            (simulate.kernels, simulate.report) = (kernels, report);
        }
        entry.command = arguments.collect();
        if entry.namespaces.is_empty() || entry.command.is_empty() {
            return Err(Error::Usage("enter wants --server, --join and a command".into()));
        }
        Ok(entry)
    }
}

fn run(arguments: impl Iterator<Item = OsString>) -> Result<u8, Error> {
    let entry = Entry::parse(arguments)?;
    let namespaces: Vec<OwnedFd> = entry
        .namespaces
        .iter()
        .map(|path| {
            File::open(path).map(OwnedFd::from).map_err(Error::step(format!("the testbed is closed: opening {path}")))
        })
        .collect::<Result<_, _>>()?;
    let control_group = entry.control_group.as_ref().map(|path| {
        let file = File::options().write(true).open(path);
        file.map_err(Error::step(format!("the testbed is closed: opening {path}")))
    });
    let control_group = control_group.transpose()?;
    if let Some(list) = &entry.rules.processor_list {
        list.keep_this_process().map_err(Error::step(format!("keeping the command on the processors {list}")))?;
    }
    let (simulation, mut report) = simulation(entry.simulate.as_ref(), &namespaces)?;
    let terminal = io::stdin().is_terminal();
    let term = std::env::var_os("TERM").filter(|_| terminal);
    let processes = entry.rules.processes.map(processes_of_commands);
    let confinement = Confinement::prepare(entry.rules.containers, processes)?;
    // Before leaving the machine's /proc. If this fails, the command still runs.
    let _ = std::fs::write("/proc/self/oom_score_adj", FIRST_TO_GO);
    let mut caught = PASSED_ON.map(|(number, _)| number).to_vec();
    if terminal {
        // SIGTTOU would stop a background process that changes its terminal.
        caught.extend([libc::SIGWINCH, libc::SIGTTOU]);
    }
    let signals = Signals::block(&caught).map_err(Error::step("blocking signals"))?;
    join(&namespaces.iter().map(AsFd::as_fd).collect::<Vec<_>>(), entry.rules.keep_groups)?;
    drop(namespaces);
    let terminal =
        terminal.then(Terminal::open).transpose().map_err(Error::step("opening a terminal in the testbed"))?;
    let relay = Relay::new().map_err(Error::step("making pipes for the command's output"))?;
    // Closed when the command starts.
    let (mut unprepared, is_unprepared) = io::pipe().map_err(Error::step("making a pipe"))?;
    let preparations = Preparations {
        control_group: control_group.as_ref(),
        confinement: &confinement,
        simulation: simulation.as_ref(),
        terminal: terminal.as_ref(),
        relay: &relay,
    };
    let child = fork(|| execute(&entry, &preparations, term, &is_unprepared))
        .map_err(Error::step("starting a process in the testbed"))?;
    drop(is_unprepared);
    let mut output = relay.start().map_err(Error::step("passing on the command's output"))?;
    let pass_on = |number| {
        for (_, signal) in PASSED_ON.into_iter().filter(|(passed, _)| *passed == number) {
            // If the command has just ended, the next wait notices.
            let _ = child.signal(signal);
        }
    };
    match terminal {
        Some(terminal) => terminal.relay(child.as_fd(), &signals, &mut output, pass_on),
        None => wait(&child, &signals, &mut output, pass_on),
    }
    .map_err(Error::step("waiting for the command"))?;
    let status = child.wait().map_err(Error::step("waiting for the command"))?;
    output.finish();
    if unprepared.read(&mut [0]).is_ok_and(|length| length > 0) {
        return Ok(FAILED);
    }
    let code = status.and_then(|status| {
        status.exit_status().or_else(|| status.terminating_signal().map(|signal| signal.saturating_add(128)))
    });
    let code = code.and_then(|code| u8::try_from(code).ok()).map_or(FAILED, told);
    simulation.map_or(Ok(code), |simulation| judged(&simulation, report.as_mut(), code))
}

/// Starts the supervisor of simulated GPUs and opens the file for the report, as long as this process is the host's.
fn simulation(
    wanted: Option<&SimulateOptions>,
    namespaces: &[OwnedFd],
) -> Result<(Option<Simulation>, Option<File>), Error> {
    let Some(wanted) = wanted else { return Ok((None, None)) };
    let open = |path: &PathBuf| {
        let file = File::options().append(true).create(true).open(path);
        file.map_err(Error::step(format!("opening the report {}", path.display())))
    };
    let report = wanted.report.as_ref().map(open).transpose()?;
    // A user's testbeds are in a user namespace of the server's, which is the first to join.
    let outer = namespaces.first().filter(|_| !rustix::process::geteuid().is_root());
    let machine = crate::simulate::machine(&wanted.gpus)?;
    Ok((Some(Simulation::start(machine, wanted.kernels, outer)?), report))
}

/// Reports how far the command came. One that had something refused has not succeeded, whatever it says.
fn judged(simulation: &Simulation, report: Option<&mut File>, code: u8) -> Result<u8, Error> {
    let summary = simulation.summary().map_err(Error::step("asking what was done on the simulated GPUs"))?;
    if let Some(report) = report {
        report.write_all(format!("{}\n", summary.text).as_bytes()).map_err(Error::step("writing the report"))?;
    }
    if summary.refused && code == 0 {
        eprintln!(
            "{}: this does not count as a success: on the simulated GPU it {}",
            crate::server::NAME,
            summary.text
        );
        return Ok(REFUSED);
    }
    Ok(code)
}

/// The status to report to autopkgtest for a command's exit status.
pub(crate) fn told(code: u8) -> u8 {
    if matches!(code, 254 | 255) { COMMAND_FAILED } else { code }
}

/// Waits for the command's end; meanwhile passes on signals and output.
fn wait(child: &Child, signals: &Signals, output: &mut Running, pass_on: impl Fn(i32)) -> io::Result<()> {
    loop {
        match signals.wait_for(child.as_fd(), &output.readers(), None)? {
            Some(Event::Signal(number)) => pass_on(number),
            Some(Event::Ready) => return Ok(()),
            None => drop(output.pass_on()),
            Some(Event::TimedOut) => {}
        }
    }
}

/// What the command's process is prepared with.
struct Preparations<'a> {
    /// `cgroup.procs` of the testbed's control group.
    control_group: Option<&'a File>,
    confinement: &'a Confinement,
    simulation: Option<&'a Simulation>,
    terminal: Option<&'a Terminal>,
    relay: &'a Relay,
}

/// Executes the command; returns only if that fails.
fn execute(entry: &Entry, with: &Preparations<'_>, term: Option<OsString>, mut is_unprepared: &io::PipeWriter) -> u8 {
    let prepared = (|| {
        with.relay.take_place()?;
        // Only the command: this program has to tell its status, whatever happens to the group.
        with.control_group.map_or(Ok(()), |group| control_group::enter(group.as_fd()))?;
        // If autopkgtest kills this process, the command must not survive.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // In a session of its own, so that nothing inside can type into a terminal of the host.
        rustix::process::setsid()?;
        with.terminal.map_or(Ok(()), Terminal::take)?;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        ::confine::process::close_inherited_on_exec()?;
        let simulated = with.simulation.map_or(Ok(()), Simulation::apply);
        simulated.map_err(|error| io::Error::other(error.in_one_line()))?;
        with.confinement.apply()
    })();
    let Some((program, arguments)) = entry.command.split_first() else { return FAILED };
    if let Err(error) = prepared {
        eprintln!("{}: preparing to run {}: {error}", crate::server::NAME, program.display());
        // Without this, the status would look like the command's own.
        let _ = is_unprepared.write_all(b"u");
        return FAILED;
    }
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(ENVIRONMENT).envs(term.map(|term| ("TERM", term)));
    let error = command.envs(entry.environment.iter().map(|(name, value)| (name, value))).exec();
    eprintln!("{}: {}: {error}", crate::server::NAME, Path::new(program).display());
    if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_server_tells_autopkgtest_to_run() {
        let words =
            ["--server=7", "--join=5.6", "--control-group=8", "--processes=9", "--env=A=b=c", "--", "sh", "--env=x"];
        let entry = Entry::parse(words.into_iter().map(OsString::from)).unwrap();
        assert_eq!(entry.namespaces, ["/proc/7/fd/5", "/proc/7/fd/6"]);
        assert_eq!(entry.control_group.as_deref(), Some("/proc/7/fd/8"));
        assert_eq!(entry.environment, [("A".into(), "b=c".into())]);
        assert_eq!(entry.rules, Rules { processes: Some(9), ..Rules::default() });
        assert_eq!(entry.command, ["sh", "--env=x"]);
    }

    #[test]
    fn values_survive_the_way_through_autopkgtest() {
        let environment = "ROCR_VISIBLE_DEVICES=GPU-00000000000000ab,GPU-00000000000000cd";
        let words = [
            option("processors", "0-3,8".as_ref()),
            option("simulate", "gfx1100,gfx90a".as_ref()),
            kernels_option(Kernels::Run).unwrap().into(),
            option("report", "/a, b/50%".as_ref()),
            option("env", environment.as_ref()),
        ];
        assert!(words.iter().all(|word| !word.as_bytes().contains(&b',')), "{words:?}");
        let around = ["--server=7", "--join=5"].map(OsString::from).into_iter();
        let entry = Entry::parse(around.chain(words).chain(["--", "true"].map(OsString::from))).unwrap();
        assert_eq!(entry.rules.processor_list, "0-3,8".parse().ok());
        let simulate = entry.simulate.unwrap();
        assert_eq!((simulate.gpus.as_str(), simulate.report), ("gfx1100,gfx90a", Some("/a, b/50%".into())));
        assert_eq!(simulate.kernels, Kernels::Run);
        let (name, value) = environment.split_once('=').unwrap();
        assert_eq!(entry.environment, [(name.into(), value.into())]);
    }

    #[test]
    fn wants_a_testbed_and_a_command() {
        for words in [
            &["--", "true"][..],
            &["--server=7", "--join=5", "--"],
            &["--processes=many"],
            &["--processors=3-1"],
            &["--dance"],
        ] {
            assert!(Entry::parse(words.iter().map(OsString::from)).is_err(), "{words:?}");
        }
    }
}
