//! Testbeds that are virtual machines: `autopkgtest-virt-rocbed --vm`.
//!
//! The image is started in QEMU as a bare testbed: the kernel's word `rocbed.testbed-disk=UUID` makes PID 1 keep all
//! changes on the disk with that file system, and start no agent but a [service](guest) that runs commands. The host
//! speaks with it over a virtio-serial port, in [frames](wire) that have a channel for each command.
//!
//! ```text
//! autopkgtest ─ print-execute-command ─> virt vm-enter ─ socket ─ switch ═ port ═ switch ─ virt vm-session ─ command
//!     └─ stdin, stdout ─> server ─ virt vm-copy ──────────┘ (host)    (machine) └─ virt vm-tree
//! ```
//!
//! A restart ends QEMU and starts it again with the same disk; `revert` with a new one.

mod boot;
mod command;
pub(crate) mod copy;
mod filter;
pub mod guest;
mod helper;
mod image;
pub mod limits;
pub(crate) mod options;
mod scratch;
mod session;
mod switch;
mod testbed;
mod wire;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use rustix::process::Signal;

use self::command::Streams;
use self::options::VmOptions;
use self::testbed::VirtualMachine;
use crate::copy::receive::{Origin, receive_tree};
use crate::copy::send::{self, send_tree};
use crate::copy::shut_into;
use crate::enter::{PASSED_ON, told};
use crate::process::Signals;
use crate::protocol::unquote;
use crate::server;
use crate::terminal::Raw;

pub use self::copy::PROGRAM;
pub use self::scratch::LABEL;
pub use self::wire::PORT_NAME;

/// Exit status for failures of this program, as distinct from a command's: autopkgtest takes it for a failed testbed.
const FAILED: u8 = 255;

/// Serves autopkgtest; `arguments` are those of the program.
pub(crate) fn main(arguments: Vec<OsString>) -> ExitCode {
    match VmOptions::parse(arguments) {
        Ok(Some(options)) => server::serve(options.debug, |signals| VirtualMachine::new(options, signals)),
        Ok(None) => {
            print!("{}", options::HELP);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {}", server::NAME, error.in_one_line());
            ExitCode::from(2)
        }
    }
}

/// Runs a part of this program by its name, if it is one of virtual machines.
pub(crate) fn part(name: &OsStr, arguments: &[OsString]) -> Option<ExitCode> {
    let words = arguments.iter().cloned();
    Some(match name.to_str()? {
        "vm-enter" => of(enter(words)),
        "vm-shell" => of(shell(words)),
        "vm-copy" => copy::main(words),
        "vm-session" => session::main(),
        "vm-tree" => of(tree(arguments)),
        "vm-qemu" => of(qemu(arguments)),
        _ => return None,
    })
}

fn of(result: io::Result<u8>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{}: {error}", server::NAME);
            ExitCode::from(FAILED)
        }
    }
}

fn usage() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "this part of the program wants what the server gives it")
}

/// `--socket=PATH --` and the rest.
fn parse(mut words: impl Iterator<Item = OsString>) -> io::Result<(PathBuf, Vec<OsString>)> {
    let socket = words.next().ok_or_else(usage)?;
    let socket = socket.as_bytes().strip_prefix(b"--socket=").map(unquote).ok_or_else(usage)?;
    if words.next().is_none_or(|word| word != "--") {
        return Err(usage());
    }
    Ok((OsStr::from_bytes(&socket).into(), words.collect()))
}

/// Runs a command in the machine: what `print-execute-command` tells autopkgtest to start.
fn enter(words: impl Iterator<Item = OsString>) -> io::Result<u8> {
    let (socket, words) = parse(words)?;
    if words.is_empty() {
        return Err(usage());
    }
    let signals = Signals::block(&PASSED_ON.map(|(number, _)| number))?;
    command::run(&socket, Vec::new(), words, Streams::own()?, &signals).map(told)
}

/// Runs an interactive shell in the machine, on a terminal that script(1) makes there. The words are a directory, and
/// variables.
fn shell(words: impl Iterator<Item = OsString>) -> io::Result<u8> {
    let (socket, words) = parse(words)?;
    let (directory, variables) = words.split_first().ok_or_else(usage)?;
    let streams = Streams::own()?;
    let size = rustix::termios::tcgetwinsize(io::stdin())?;
    let mut variable = OsString::from("ROCBED_SHELL_DIRECTORY=");
    variable.push(directory);
    let term = std::env::var_os("TERM").unwrap_or_else(|| "dumb".into());
    let mut environment = vec![variable, [OsStr::new("TERM="), &term].into_iter().collect()];
    environment.extend_from_slice(variables);
    // If the directory is gone, the user can look for it.
    let script = format!(
        "stty rows {} cols {}; cd -- \"$ROCBED_SHELL_DIRECTORY\"; unset ROCBED_SHELL_DIRECTORY; exec bash -i",
        size.ws_row, size.ws_col
    );
    let words = ["script", "--quiet", "--return", "--command", &script, "/dev/null"].map(OsString::from);
    let signals = Signals::block(&PASSED_ON.map(|(number, _)| number))?;
    let _raw = Raw::make(std::os::fd::AsFd::as_fd(&io::stdin()).try_clone_to_owned()?)?;
    command::run(&socket, environment, words.into(), streams, &signals).map(told)
}

/// In the machine: sends or receives the contents of a directory.
fn tree(words: &[OsString]) -> io::Result<u8> {
    let [verb, directory] = words else { return Err(usage()) };
    let directory = Path::new(directory);
    if verb == "send" {
        shut_into(directory, false)?;
        send_tree(io::stdout().lock(), send::What::All(&[]))?;
    } else {
        shut_into(directory, true)?;
        receive_tree(io::stdin().lock(), Origin::Host)?;
    }
    Ok(0)
}

/// Becomes QEMU, which then ends with the server, however that ends. The first words are the server's process id, and the
/// root directory that QEMU gets.
fn qemu(words: &[OsString]) -> io::Result<u8> {
    let [server, root, program, arguments @ ..] = words else { return Err(usage()) };
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().to_string());
    if parent.as_deref().map(OsStr::new) != Some(server) {
        // It has just ended, and the signal for that would not come any more.
        return Ok(FAILED);
    }
    if root != "/" {
        let failed = |error| io::Error::other(format!("running QEMU in {}: {error}", root.display()));
        rustix::process::chroot(root.as_os_str()).and_then(|()| rustix::process::chdir(c"/")).map_err(failed)?;
    }
    Err(Command::new(program).args(arguments).exec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_survives_the_way_through_autopkgtest() {
        let words = [crate::enter::option("socket", "/tmp/a, b/50%".as_ref()), "--".into(), "sh".into(), "-c".into()];
        assert!(!words[0].as_bytes().contains(&b','));
        let (socket, words) = parse(words.into_iter()).unwrap();
        assert_eq!((socket.to_str(), words), (Some("/tmp/a, b/50%"), vec!["sh".into(), "-c".into()]));
        for words in [&[][..], &["--socket=/a"], &["/a", "--"], &["--socket=/a", "sh"]] {
            assert!(parse(words.iter().map(OsString::from)).is_err(), "{words:?}");
        }
    }

    #[test]
    fn only_known_parts_are_run() {
        assert!(part("enter".as_ref(), &[]).is_none());
        assert!(part("--root".as_ref(), &[]).is_none());
    }
}
