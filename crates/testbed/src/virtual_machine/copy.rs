//! `copydown` and `copyup` of virtual machines.
//!
//! Directories go through a command in the machine in the [format](crate::stream) that all testbeds have. In a container
//! the sending process is the server's own, with its limits; here it is the machine's, so a process on the host reads what
//! it sends, leaves out what is beyond the limits or leads out, and only then is it written, by a process that is shut
//! into the destination.
//!
//! The server starts this program again for a copy (`virt vm-copy`), as it has threads itself, and processes that are
//! forked and shut in must come from one that has none.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufReader, PipeReader, PipeWriter, Read, Seek as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use rustix::thread::UnshareFlags;

use super::command::{self, Streams};
use super::filter;
use super::helper::{memory_file, wait};
use crate::Error;
use crate::copy::limits::{CopyBudget, CopyReport, Room};
use crate::copy::links::Withheld;
use crate::copy::receive::{Origin, receive_tree};
use crate::copy::send::{self, send_tree};
use crate::copy::{NOTES, die_with_server, free, is_output, shut_into, tell, timeout};
use crate::enter::option;
use crate::process::{Child, Signals, fork};
use crate::protocol::{Copy, Direction, What, unquote};
use crate::server::NAME;

/// The program in the machine (`appliance::paths::PROGRAM`).
pub const PROGRAM: &str = "/run/rocbed/rocbed-init";

/// Writes standard input to a file. The second argument is not empty for a file that is to be executable.
const RECEIVE_FILE: &str = "cat > \"$1\" && { [ -z \"$2\" ] || chmod a+x \"$1\"; }";

/// Writes a file to standard output; of one with more bytes than the second argument, the first three quarters of so many
/// and the last quarter.
const SEND_FILE: &str = "size=$(stat --dereference --format=%s -- \"$1\") || exit
    if [ -z \"$2\" ] || [ \"$size\" -le \"$2\" ]; then exec cat -- \"$1\"; fi
    head --bytes=$(($2 / 4 * 3)) -- \"$1\"
    printf '\\n[the log is longer; %s bytes are left out here]\\n' $((size - $2 / 4 * 4))
    tail --bytes=$(($2 / 4)) -- \"$1\"";

/// Bytes that a log may have besides its parts: the line between them.
const NOTE: u64 = 256;

/// A copy to make, and by what.
pub(crate) struct CopyPlan<'a> {
    /// The request.
    pub(crate) copy: &'a Copy,
    /// Where commands connect.
    pub(crate) socket: &'a Path,
    /// This program, and its first arguments.
    pub(crate) program: (OsString, Vec<OsString>),
}

/// The copies of a session.
#[derive(Debug)]
pub(crate) struct Copier {
    /// Remaining room on the host for directories, and in bytes for single files.
    room: Room,
    single: u64,
    withheld: Withheld,
    notes: Option<PathBuf>,
}

impl Copier {
    /// Before the first copy; `bytes` is the limit that was asked for.
    pub(crate) fn new(bytes: Option<u64>) -> Self {
        let bytes = bytes.unwrap_or(Room::BYTES);
        let notes = std::env::var_os(NOTES).map(PathBuf::from);
        Self { room: Room { bytes, entries: Room::ENTRIES }, single: bytes, withheld: Withheld::default(), notes }
    }

    /// Makes a copy, in processes of its own.
    ///
    /// # Errors
    /// [`Error::Copy`] if it fails, [`Error::TimedOut`] if it takes too long.
    pub(crate) fn make(&mut self, plan: &CopyPlan<'_>, signals: &Signals) -> Result<(), Error> {
        let copy = plan.copy;
        let is_file = copy.what == What::File;
        let (program, arguments) = &plan.program;
        let bytes = if is_file { self.single } else { self.room.bytes };
        let report = memory_file().map_err(Error::step("making a file in memory"))?;
        if copy.direction == Direction::Down {
            // What was withheld goes back.
            let links = self.withheld.of(Path::new(&copy.source));
            CopyReport { links, ..CopyReport::default() }.write(&report).map_err(Error::step("preparing a copy"))?;
        }
        let mut command = Command::new(program);
        command.args(arguments).args(["vm-copy".into(), option("socket", plan.socket.as_os_str())]);
        command.args([format!("--bytes={bytes}"), format!("--entries={}", self.room.entries)]);
        command.args([
            if copy.direction == Direction::Up { "up" } else { "down" },
            if is_file { "file" } else { "directory" },
        ]);
        command.arg(&copy.source).arg(&copy.destination);
        let input = report.try_clone().map_err(Error::step("preparing a copy"))?;
        let child = command.stdin(Stdio::from(OwnedFd::from(input))).stdout(Stdio::null()).spawn();
        let child = child.map_err(Error::step("starting a copy"))?;
        if wait(&child, signals, timeout(), "copying")? != Some(0) {
            return Err(Error::Copy);
        }
        if copy.direction == Direction::Up {
            let report = CopyReport::read(&report).map_err(Error::step("hearing from a copy"))?;
            let left = if is_file { &mut self.single } else { &mut self.room.bytes };
            *left = left.saturating_sub(report.bytes);
            self.room.entries = self.room.entries.saturating_sub(report.entries);
            tell(self.notes.as_deref(), Path::new(&copy.destination), &report);
            self.withheld.keep(Path::new(&copy.destination), report.links);
        }
        Ok(())
    }
}

/// A copy, in the process that makes it.
struct Making {
    socket: PathBuf,
    room: Room,
    direction: Direction,
    what: What,
    source: PathBuf,
    destination: PathBuf,
    signals: Signals,
}

/// Makes a copy; `arguments` are those after `vm-copy`, and standard input is the file for the report.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let made = Making::parse(arguments).and_then(|making| {
        let told = format!("copying {} to {}", making.source.display(), making.destination.display());
        die_with_server().and_then(|()| making.make()).map_err(|error| io::Error::other(format!("{told}: {error}")))
    });
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{NAME}: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Making {
    fn parse(arguments: impl Iterator<Item = OsString>) -> io::Result<Self> {
        let usage = || io::Error::new(io::ErrorKind::InvalidInput, "vm-copy wants what the server gives it");
        let words: Vec<OsString> = arguments.collect();
        let [socket, bytes, entries, direction, what, source, destination] = words.as_slice() else {
            return Err(usage());
        };
        let socket = socket.as_bytes().strip_prefix(b"--socket=").map(unquote).ok_or_else(usage)?;
        let number = |word: &OsString, name: &str| word.to_str()?.strip_prefix(name)?.parse::<u64>().ok();
        Ok(Self {
            socket: OsStr::from_bytes(&socket).into(),
            room: Room {
                bytes: number(bytes, "--bytes=").ok_or_else(usage)?,
                entries: number(entries, "--entries=").ok_or_else(usage)?,
            },
            direction: if direction == "up" { Direction::Up } else { Direction::Down },
            what: if what == "file" { What::File } else { What::Directory },
            source: source.into(),
            destination: destination.into(),
            signals: Signals::block(&[libc::SIGHUP, libc::SIGINT, libc::SIGTERM])?,
        })
    }

    fn make(&self) -> io::Result<()> {
        let report = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        match (self.direction, self.what) {
            (Direction::Down, What::File) => self.file_down(),
            (Direction::Down, What::Directory) => self.directory_down(&CopyReport::read(&report)?),
            (Direction::Up, what) => {
                let mut budget = CopyBudget::new(self.room, free(&self.destination));
                match what {
                    What::File => self.file_up(&mut budget)?,
                    What::Directory => self.directory_up(&mut budget)?,
                }
                (&report).rewind()?;
                budget.report.write(&report)
            }
        }
    }

    /// Runs a command in the machine. An error if it fails.
    fn run(&self, words: Vec<OsString>, input: Option<File>, output: Option<File>) -> io::Result<()> {
        let streams = Streams { input, output, errors: Some(io::stderr().as_fd().try_clone_to_owned()?.into()) };
        let name = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
        match command::run(&self.socket, Vec::new(), words, streams, &self.signals)? {
            0 => Ok(()),
            status => Err(io::Error::other(format!("{name} in the virtual machine ended with status {status}"))),
        }
    }

    /// A command for a directory in the machine.
    fn tree(verb: &str, directory: &Path) -> Vec<OsString> {
        vec![PROGRAM.into(), "virt".into(), "vm-tree".into(), verb.into(), directory.into()]
    }

    fn file_down(&self) -> io::Result<()> {
        let file = File::open(&self.source)?;
        let executable = if file.metadata()?.permissions().mode() & 0o111 == 0 { "" } else { "x" };
        let mut words: Vec<OsString> = ["sh", "-c", RECEIVE_FILE, "sh"].map(OsString::from).into();
        words.extend([self.destination.clone().into(), executable.into()]);
        self.run(words, Some(file), None)
    }

    fn directory_down(&self, kept: &CopyReport) -> io::Result<()> {
        let (reader, writer) = io::pipe()?;
        let sender = part(&reader, || {
            shut_in(&self.source, false)?;
            send_tree(&writer, send::What::All(&kept.links))
        })?;
        drop(writer);
        let result = self.run(Self::tree("receive", &self.destination), Some(file(reader)), None);
        ended(&sender).and(result)
    }

    fn file_up(&self, budget: &mut CopyBudget) -> io::Result<()> {
        let is_log = is_output(self.destination.file_name().unwrap_or_default().as_bytes());
        let log = budget.log(send::LogLimit::OUTPUT.bytes());
        let most = if is_log { log + NOTE } else { budget.left() };
        let mut words: Vec<OsString> = ["sh", "-c", SEND_FILE, "sh"].map(OsString::from).into();
        words.extend([self.source.clone().into(), if is_log { log.to_string().into() } else { OsString::new() }]);
        let to = File::create(&self.destination)?;
        let (reader, writer) = io::pipe()?;
        let fetch = self.fetch(&words, &reader, writer)?;
        let written = io::copy(&mut (&reader).take(most), &mut &to)?;
        if (&reader).read(&mut [0])? > 0 {
            fetch.kill();
            // It was killed; why is the error below.
            let _ = ended(&fetch);
            return Err(io::Error::other(format!("it has more than the {most} bytes that are left of the limit")));
        }
        if !is_log {
            budget.file(written, written).map_err(io::Error::other)?;
        }
        ended(&fetch)
    }

    fn directory_up(&self, budget: &mut CopyBudget) -> io::Result<()> {
        let (from_machine, machine) = io::pipe()?;
        let fetch = self.fetch(&Self::tree("send", &self.source), &from_machine, machine)?;
        // Only now, so that the process that fetches does not hold it: each has to notice when the other is gone.
        let (to_write, checked) = io::pipe()?;
        let receiver = part(&checked, || {
            shut_in(&self.destination, true)?;
            receive_tree(&to_write, Origin::Testbed)
        })?;
        drop(to_write);
        let checked_all = filter::pass_on(BufReader::with_capacity(1 << 16, from_machine), checked, budget);
        if checked_all.is_err() {
            fetch.kill();
        }
        let (received, fetched) = (ended(&receiver), ended(&fetch));
        checked_all.and(received).and(fetched)
    }

    /// Starts the process that fetches what a command in the machine writes.
    fn fetch(&self, words: &[OsString], reader: &PipeReader, writer: PipeWriter) -> io::Result<Child> {
        let output = file(writer);
        let child = part(reader, || self.run(words.to_vec(), None, Some(output.try_clone()?)));
        drop(output);
        child
    }
}

/// Forks a process for a part of the copy; it dies with this one. `other` is this process's end of a pipe, which it must
/// not hold.
fn part(other: &impl AsFd, work: impl Fn() -> io::Result<()>) -> io::Result<Child> {
    let number = std::os::fd::AsRawFd::as_raw_fd(&other.as_fd());
    fork(|| match die_with_server().and_then(|()| crate::process::close_one(number)).and_then(|()| work()) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{NAME}: {error}");
            1
        }
    })
}

/// Waits for a part's end; it has told the reason of a failure itself.
fn ended(child: &Child) -> io::Result<()> {
    let status = child.wait()?.and_then(|status| status.exit_status());
    if status == Some(0) { Ok(()) } else { Err(io::Error::other("a part of it has failed")) }
}

fn file(pipe: impl Into<OwnedFd>) -> File {
    File::from(pipe.into())
}

/// Restricts this process to a directory of the host. Users may do that only as root of a user namespace.
fn shut_in(directory: &Path, make: bool) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        ::confine::process::unshare(UnshareFlags::NEWUSER)?;
    }
    shut_into(directory, make)
}
