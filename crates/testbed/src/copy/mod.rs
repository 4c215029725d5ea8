//! `copydown` and `copyup`: copies files and directories between host and testbed.
//!
//! One process has joined the testbed and works with the rights of its root; the other one works on the host. They
//! share only a pipe.
//!
//! Data from a testbed is untrusted. Only regular files, directories and links that stay inside reach the host, without
//! set-id bits and attributes, with holes preserved, and within limits; what is left out is reported.

pub(crate) mod limits;
pub(crate) mod links;
pub(crate) mod receive;
mod record;
pub(crate) mod send;

use std::cell::{Cell, RefCell};
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;
use rustix::process::Signal;

use self::limits::{CopyBudget, CopyReport};
use self::links::Withheld;
use self::receive::Origin;
use crate::Error;
use crate::control_group;
use crate::enter::join;
use crate::namespaces::Access;
use crate::process::{Child, Event, Signals, fork};
use crate::protocol::{Copy, Direction, What};
use crate::server::NAME;

pub(crate) use self::limits::Room;
pub(crate) use self::record::Records;

/// Free space to keep on the host's file system, in bytes, or a twentieth of its size if that is less.
const KEPT_FREE: u64 = 1 << 30;

/// Default time limit for a copy, in seconds; `AUTOPKGTEST_VIRT_COPY_TIMEOUT` overrides it, as for autopkgtest's other
/// servers.
const TIMEOUT: u64 = 300;

/// Environment variable with the path of a file that gets a line for each file that copies have left out.
pub(crate) const NOTES: &str = "ROCBED_COPY_NOTES";

/// The time limit for a copy.
pub(crate) fn timeout() -> Duration {
    let seconds = std::env::var("AUTOPKGTEST_VIRT_COPY_TIMEOUT").ok().and_then(|value| value.parse().ok());
    Duration::from_secs(seconds.unwrap_or(TIMEOUT))
}

/// State of the copies of a session.
#[derive(Debug)]
pub(crate) struct Copies {
    /// Remaining room on the host for directories, which tests fill.
    room: Room,
    /// Remaining room for single files, in bytes. It is separate, so that a test that uses up the other does not
    /// prevent the next one's result from being copied.
    single: u64,
    withheld: Withheld,
    /// File that also receives the notes about what is left out.
    notes: Option<PathBuf>,
}

impl Copies {
    /// The state before the first copy.
    pub(crate) fn new(room: Room, notes: Option<PathBuf>) -> Self {
        Self { room, single: room.bytes, withheld: Withheld::default(), notes }
    }

    /// Makes a copy from or to the testbed with this access.
    pub(crate) fn make(
        &mut self,
        copy: &Copy,
        access: &Access<'_>,
        signals: &Signals,
        timeout: Duration,
    ) -> Result<(), Error> {
        if copy.direction == Direction::Down {
            return down(copy, &self.withheld, access, signals, timeout);
        }
        let destination = Path::new(&copy.destination);
        let report = rustix::fs::memfd_create(c"report", MemfdFlags::CLOEXEC).map(File::from);
        let report = report.map_err(Error::step("making a file in memory"))?;
        let room = match copy.what {
            What::Directory => self.room,
            What::File => Room { bytes: self.single, ..self.room },
        };
        let budget = CopyBudget::new(room, free(destination));
        up(copy, budget, &report, access, signals, timeout)?;
        let report = CopyReport::read(&report).map_err(Error::step("hearing from a copy"))?;
        let bytes = match copy.what {
            What::Directory => &mut self.room.bytes,
            What::File => &mut self.single,
        };
        *bytes = bytes.saturating_sub(report.bytes);
        self.room.entries = self.room.entries.saturating_sub(report.entries);
        tell(self.notes.as_deref(), destination, &report);
        self.withheld.keep(destination, report.links);
        Ok(())
    }
}

/// Reports what was left out, in the log and in the file of notes, if there is one.
pub(crate) fn tell(notes: Option<&Path>, destination: &Path, report: &CopyReport) {
    let name = destination.file_name().unwrap_or_default().to_string_lossy();
    let more = (report.more > 0).then(|| format!("{} more", report.more));
    let lines: Vec<String> =
        report.notes.iter().chain(&more).map(|note| format!("left out of {name}: {note}")).collect();
    for line in &lines {
        eprintln!("{NAME}: {line}");
    }
    let Some(path) = notes.filter(|_| !lines.is_empty()) else { return };
    let file = File::options().append(true).create(true).open(path);
    if let Err(error) = file.and_then(|mut file| writeln!(file, "{}", lines.join("\n"))) {
        eprintln!("{NAME}: writing {}: {error}", path.display());
    }
}

/// Bytes that may be written to the destination's file system. If they cannot be determined, the copy itself will fail
/// when it is full.
pub(crate) fn free(destination: &Path) -> u64 {
    let existing = destination.ancestors().find_map(|path| rustix::fs::statvfs(path).ok());
    existing.map_or(u64::MAX, |space| {
        let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
        bytes(space.f_bavail).saturating_sub(KEPT_FREE.min(bytes(space.f_blocks) / 20))
    })
}

/// Runs the process inside the testbed. What it writes to files in memory counts as the testbed's.
fn inside(access: &Access<'_>, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    access.control_group.map_or(Ok(()), control_group::enter)?;
    join(&access.namespaces, false).map_err(|error| io::Error::other(error.to_string()))?;
    die_with_server()?; // once more: joining has undone it
    work()
}

fn down(
    copy: &Copy,
    withheld: &Withheld,
    access: &Access<'_>,
    signals: &Signals,
    timeout: Duration,
) -> Result<(), Error> {
    let (source, destination) = (Path::new(&copy.source), Path::new(&copy.destination));
    let children = match copy.what {
        What::File => {
            let from = told(File::open(source), "opening", source)?;
            vec![part(copy, || inside(access, || receive::receive_file(&from, destination)))?]
        }
        What::Directory => {
            let links = withheld.of(source);
            let send = |pipe| {
                shut_into(source, false)?;
                send::send_tree(pipe, send::What::All(&links))
            };
            let receive = |pipe| {
                inside(access, || {
                    shut_into(destination, true)?;
                    receive::receive_tree(pipe, Origin::Host)
                })
            };
            through_pipe(copy, send, receive)?
        }
    };
    wait_for(&children, signals, timeout)
}

fn up(
    copy: &Copy,
    budget: CopyBudget,
    report: &File,
    access: &Access<'_>,
    signals: &Signals,
    timeout: Duration,
) -> Result<(), Error> {
    let (source, destination) = (Path::new(&copy.source), Path::new(&copy.destination));
    let budget = RefCell::new(budget);
    let children = match copy.what {
        What::File => {
            let to = told(File::create(destination), "making", destination)?;
            let name = destination.file_name().unwrap_or_default().as_bytes();
            let log = is_output(name).then_some(send::LogLimit::OUTPUT);
            let send = || {
                let mut budget = budget.borrow_mut();
                send::send_file(source, &to, log, &mut budget)?;
                budget.report.write(report)
            };
            vec![part(copy, || inside(access, send))?]
        }
        What::Directory => {
            let send = |pipe| {
                inside(access, || {
                    shut_into(source, false)?;
                    let mut budget = budget.borrow_mut();
                    send::send_tree(pipe, send::What::Guarded(&mut budget))?;
                    budget.report.write(report)
                })
            };
            let receive = |pipe| {
                shut_into(destination, true)?;
                receive::receive_tree(pipe, Origin::Testbed)
            };
            through_pipe(copy, send, receive)?
        }
    };
    wait_for(&children, signals, timeout)
}

/// Whether a file is a test's output (README.running-tests of autopkgtest).
pub(crate) fn is_output(name: &[u8]) -> bool {
    name.ends_with(b"-stdout") || name.ends_with(b"-stderr")
}

/// Starts both processes for copying a directory: the writer and the reader.
fn through_pipe(
    copy: &Copy,
    send: impl Fn(io::PipeWriter) -> io::Result<()>,
    receive: impl Fn(io::PipeReader) -> io::Result<()>,
) -> Result<Vec<Child>, Error> {
    let (reader, writer) = io::pipe().map_err(Error::step("making a pipe"))?;
    let (reader, writer) = (Cell::new(Some(reader)), Cell::new(Some(writer)));
    let missing = || io::Error::from(io::ErrorKind::BrokenPipe);
    // Each process has to close the other's end, so that either notices when the other is gone.
    let receiver = part(copy, || {
        drop(writer.take());
        receive(reader.take().ok_or_else(missing)?)
    })?;
    let sender = part(copy, || {
        drop(reader.take());
        send(writer.take().ok_or_else(missing)?)
    });
    drop((reader.take(), writer.take()));
    if sender.is_err() {
        receiver.kill();
    }
    Ok(vec![receiver, sender?])
}

/// Logs the error, as the protocol's answer has no room for it.
fn told<T>(result: io::Result<T>, what: &str, path: &Path) -> Result<T, Error> {
    result.map_err(|error| {
        eprintln!("{NAME}: {what} {}: {error}", path.display());
        Error::Copy
    })
}

/// Starts one of the processes. It dies with the server.
fn part(copy: &Copy, work: impl FnOnce() -> io::Result<()>) -> Result<Child, Error> {
    fork(|| match die_with_server().and_then(|()| work()) {
        Ok(()) => 0,
        Err(error) => {
            let (source, destination) = (Path::new(&copy.source), Path::new(&copy.destination));
            eprintln!("{NAME}: copying {} to {}: {error}", source.display(), destination.display());
            1
        }
    })
    .map_err(Error::step("starting a process"))
}

pub(crate) fn die_with_server() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(Into::into)
}

/// Waits for both processes. If one fails or takes too long, the other is ended.
fn wait_for(children: &[Child], signals: &Signals, timeout: Duration) -> Result<(), Error> {
    let end = Instant::now() + timeout;
    let mut result = Ok(());
    for child in children {
        if result.is_ok() {
            let left = end.saturating_duration_since(Instant::now());
            result = match signals.wait(child.as_fd(), Some(left)) {
                Ok(Event::Ready) => Ok(()),
                Ok(Event::Signal(number)) => Err(Error::Signal(number)),
                Ok(Event::TimedOut) => Err(Error::TimedOut { what: "copying".into(), seconds: timeout.as_secs() }),
                Err(error) => Err(Error::step("waiting for a copy")(error)),
            };
        }
        if result.is_err() {
            child.kill();
        }
        let status = child.wait().map_err(Error::step("waiting for a copy"))?;
        if result.is_ok() && status.and_then(|status| status.exit_status()) != Some(0) {
            result = Err(Error::Copy);
        }
    }
    result
}

/// Restricts this process to a directory (chroot).
pub(crate) fn shut_into(directory: &Path, make: bool) -> io::Result<()> {
    if make && !directory.is_dir() {
        DirBuilder::new().mode(0o755).create(directory)?;
    }
    rustix::process::chdir(directory)?;
    rustix::process::chroot(c".")?;
    Ok(())
}

fn about(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
