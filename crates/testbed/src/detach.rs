//! The first step of each process that the server forks to work for it.

use std::fs::File;

use crate::{Error, process};

/// Leaves the server's session and its standard streams, which the protocol uses.
pub(crate) fn detach_from_the_server() -> Result<(), Error> {
    let step = "detaching from the server";
    rustix::process::umask(rustix::fs::Mode::empty());
    process::ignore_children().map_err(Error::step(step))?;
    rustix::process::setsid().map_err(Error::step(step))?;
    let null = File::options().read(true).write(true).open("/dev/null").map_err(Error::step(step))?;
    rustix::stdio::dup2_stdin(&null)
        .and_then(|()| rustix::stdio::dup2_stdout(&null))
        .and_then(|()| rustix::stdio::dup2_stderr(&null))
        .map_err(Error::step(step))
}
