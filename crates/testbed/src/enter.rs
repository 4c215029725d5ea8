//! Running a command in a testbed: what `print-execute-command` tells autopkgtest to start.
//!
//! The process that autopkgtest started joins the testbed's namespaces and starts another one, the command, which is
//! then inside; it stays itself to pass signals on and to end as the command does. It finds the namespaces among the
//! open files of the server, so a testbed that is closed cannot be entered any more.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use rustix::process::Signal;

use crate::Error;
use crate::identity::{Identity, become_its_root};
use crate::namespaces::Living;
use crate::process::{self, Event, Signals, fork};
use crate::relay::Relay;

/// How this program fails, as distinct from the command it runs: autopkgtest takes 254 and 255 for a testbed that failed.
const FAILED: u8 = 255;
/// What a command's own 254 and 255 become, as in autopkgtest's other servers: a program that ends with `return -1` has
/// failed, and the testbed has not.
const COMMAND_FAILED: u8 = 253;
/// As for shells: the command is not there, or cannot be executed.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// `oom_score_adj` of commands (`proc_pid_oom_score_adj(5)`): when memory runs out, a test goes before autopkgtest does
/// and before anything that the machine needs.
const FIRST_TO_GO: &str = "500";

const PASSED_ON: [(i32, Signal); 6] = [
    (libc::SIGHUP, Signal::HUP),
    (libc::SIGINT, Signal::INT),
    (libc::SIGQUIT, Signal::QUIT),
    (libc::SIGTERM, Signal::TERM),
    (libc::SIGUSR1, Signal::USR1),
    (libc::SIGUSR2, Signal::USR2),
];

/// All of the environment that every command has; the rest of the caller's is the host's.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("USER", "root"),
    ("LOGNAME", "root"),
    ("SHELL", "/bin/bash"),
];

/// The program and arguments that run the command after them in a testbed.
pub(crate) fn command_line(
    living: &Living,
    identity: &Identity,
    keep_groups: bool,
    environment: &[(String, String)],
) -> Vec<OsString> {
    let server = std::process::id();
    let program = std::env::current_exe().ok().filter(|path| path.is_file());
    // Where the program was replaced since, it is still there under this name.
    let program = program.unwrap_or_else(|| format!("/proc/{server}/exe").into());
    let outer = identity.outer.iter().map(AsFd::as_fd);
    let joins: Vec<String> = outer.chain(living.joins(identity)).map(|fd| fd.as_raw_fd().to_string()).collect();
    let mut words: Vec<OsString> = vec![program.into(), "virt".into(), "enter".into()];
    words.push(format!("--server={server}").into());
    words.push(format!("--join={}", joins.join(".")).into());
    if keep_groups {
        words.push("--keep-groups".into());
    }
    words.extend(environment.iter().map(|(name, value)| format!("--env={name}={value}").into()));
    words.push("--".into());
    words
}

/// Joins namespaces, in order, as root of the last one.
pub(crate) fn join(namespaces: &[BorrowedFd<'_>], keep_groups: bool) -> Result<(), Error> {
    for namespace in namespaces {
        rustix::thread::move_into_link_name_space(*namespace, None).map_err(Error::step("joining the testbed"))?;
    }
    become_its_root(keep_groups)?;
    rustix::process::chdir(c"/").map_err(Error::step("going to the testbed's root directory"))
}

/// Runs the command; `arguments` are what comes after `enter`.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    match run(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{}: {error}", crate::server::NAME);
            ExitCode::from(FAILED)
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Entry {
    namespaces: Vec<String>,
    keep_groups: bool,
    environment: Vec<(OsString, OsString)>,
    command: Vec<OsString>,
}

impl Entry {
    fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, Error> {
        let mut entry = Self::default();
        let mut server = String::new();
        for argument in arguments.by_ref() {
            if argument == "--" {
                break;
            }
            let text = argument.to_string_lossy();
            if let Some(pid) = text.strip_prefix("--server=") {
                pid.clone_into(&mut server);
            } else if let Some(numbers) = text.strip_prefix("--join=") {
                entry.namespaces = numbers.split('.').map(|number| format!("/proc/{server}/fd/{number}")).collect();
            } else if text == "--keep-groups" {
                entry.keep_groups = true;
            } else if let Some(setting) = argument.as_bytes().strip_prefix(b"--env=") {
                let at = setting.iter().position(|byte| *byte == b'=').unwrap_or(setting.len());
                let (name, value) = setting.split_at(at);
                let value = value.get(1..).unwrap_or_default();
                entry.environment.push((OsStr::from_bytes(name).to_owned(), OsStr::from_bytes(value).to_owned()));
            } else {
                return Err(Error::Usage(format!("unknown argument {text} of enter")));
            }
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
    // With a terminal, the command stays in its session, which sends it what the keyboard says. Without, it gets one
    // of its own, so that nothing inside can type into a terminal of the host.
    let terminal = io::stdin().is_terminal();
    let term = std::env::var_os("TERM").filter(|_| terminal);
    // Before the machine's /proc is left. A command that cannot be told apart by the kernel still runs.
    drop(std::fs::write("/proc/self/oom_score_adj", FIRST_TO_GO));
    let signals = Signals::block(&PASSED_ON.map(|(number, _)| number)).map_err(Error::step("blocking signals"))?;
    join(&namespaces.iter().map(AsFd::as_fd).collect::<Vec<_>>(), entry.keep_groups)?;
    drop(namespaces);
    let relay = Relay::new().map_err(Error::step("making pipes for the command's output"))?;
    // Closed by the command's beginning.
    let (mut unprepared, is_unprepared) = io::pipe().map_err(Error::step("making a pipe"))?;
    let child = fork(|| execute(&entry, terminal, term, &relay, &is_unprepared))
        .map_err(Error::step("starting a process in the testbed"))?;
    drop(is_unprepared);
    let mut output = relay.start().map_err(Error::step("passing on the command's output"))?;
    loop {
        let readers = output.readers();
        let event = signals.wait_for(child.as_fd(), &readers, None).map_err(Error::step("waiting for the command"))?;
        match event {
            Some(Event::Signal(libc::SIGINT | libc::SIGQUIT)) if terminal => {}
            Some(Event::Signal(number)) => {
                for (_, signal) in PASSED_ON.into_iter().filter(|(passed, _)| *passed == number) {
                    // A command that has just ended is seen by the next wait.
                    drop(child.signal(signal));
                }
            }
            Some(Event::Ready) => break,
            None => drop(output.pass_on()),
            Some(Event::TimedOut) => {}
        }
    }
    let status = child.wait().map_err(Error::step("waiting for the command"))?;
    output.finish();
    if unprepared.read(&mut [0]).is_ok_and(|length| length > 0) {
        return Ok(FAILED);
    }
    let code = status.and_then(|status| {
        status.exit_status().or_else(|| status.terminating_signal().map(|signal| signal.saturating_add(128)))
    });
    Ok(code.and_then(|code| u8::try_from(code).ok()).map_or(FAILED, told))
}

/// What autopkgtest is told of a command's exit status.
fn told(code: u8) -> u8 {
    if matches!(code, 254 | 255) { COMMAND_FAILED } else { code }
}

/// Becomes the command; returns only if that fails.
fn execute(
    entry: &Entry,
    terminal: bool,
    term: Option<OsString>,
    relay: &Relay,
    mut is_unprepared: &io::PipeWriter,
) -> u8 {
    let prepared = (|| {
        relay.take_place()?;
        // When autopkgtest kills what it started, the command must not stay.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        if !terminal {
            rustix::process::setsid()?;
        }
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        process::close_inherited_on_exec()
    })();
    let Some((program, arguments)) = entry.command.split_first() else { return FAILED };
    if let Err(error) = prepared {
        eprintln!("{}: preparing to run {}: {error}", crate::server::NAME, program.display());
        // Without it, the command seems to have ended so.
        drop(is_unprepared.write_all(b"u"));
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
        let words = ["--server=7", "--join=5.6", "--env=A=b=c", "--", "sh", "--env=x"];
        let entry = Entry::parse(words.into_iter().map(OsString::from)).unwrap();
        assert_eq!(entry.namespaces, ["/proc/7/fd/5", "/proc/7/fd/6"]);
        assert_eq!(entry.environment, [("A".into(), "b=c".into())]);
        assert_eq!(entry.command, ["sh", "--env=x"]);
    }

    #[test]
    fn wants_a_testbed_and_a_command() {
        for words in [&["--", "true"][..], &["--server=7", "--join=5", "--"], &["--dance"]] {
            assert!(Entry::parse(words.iter().map(OsString::from)).is_err(), "{words:?}");
        }
    }
}
