//! Helper processes of the server: parts of this program that it starts.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crate::Error;
use crate::process::{Child, Event, Signals};

/// This program, and the first argument of its parts.
pub(crate) fn program() -> (OsString, Vec<OsString>) {
    let program = std::env::current_exe().ok().filter(|path| path.is_file());
    // If the program's file was replaced, this name still works.
    let program = program.unwrap_or_else(|| format!("/proc/{}/exe", std::process::id()).into());
    (program.into(), vec!["virt".into()])
}

/// Waits for a process of this server's, and ends it if it takes too long or a signal comes. Returns its exit status,
/// `None` if a signal has ended it.
pub(crate) fn wait(
    child: &std::process::Child,
    signals: &Signals,
    patience: Duration,
    what: &str,
) -> Result<Option<i32>, Error> {
    let child = Child::spawned(child).map_err(Error::step("waiting for a process"))?;
    let result = match signals.wait(child.as_fd(), Some(patience)) {
        Ok(Event::Ready) => Ok(()),
        Ok(Event::Signal(number)) => Err(Error::Signal(number)),
        Ok(Event::TimedOut) => Err(Error::TimedOut { what: what.into(), seconds: patience.as_secs() }),
        Err(error) => Err(Error::step("waiting for a process")(error)),
    };
    if result.is_err() {
        child.kill();
    }
    let status = child.wait().map_err(Error::step("waiting for a process"))?;
    result.map(|()| status.and_then(|status| status.exit_status()))
}

/// A file in memory that a process gets as its standard input and leaves its report in.
pub(crate) fn memory_file() -> io::Result<File> {
    let file: OwnedFd = rustix::fs::memfd_create(c"report", rustix::fs::MemfdFlags::CLOEXEC)?;
    Ok(file.into())
}
