//! The commands that the demo runs: this program again, as a user would type them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::cmdline::Global;

/// Interval for checking whether a command has ended.
const POLL: Duration = Duration::from_millis(100);

/// Starts commands in the demo's directory, and ends them when the demo is told to end.
pub(super) struct Commands {
    rocbed: PathBuf,
    directory: PathBuf,
    options: Vec<OsString>,
    interrupted: Arc<AtomicBool>,
}

impl Commands {
    /// Commands in a directory, with the options that this process was given for all commands.
    pub(super) fn new(directory: PathBuf, global: &Global) -> Result<Self> {
        let mut options: Vec<OsString> = Vec::new();
        options.extend(global.verbose.then(|| "--verbose".into()));
        options.extend(global.quiet.then(|| "--quiet".into()));
        if let Some(cache) = &global.cache {
            // It may be relative, and the commands run in another directory.
            let cache = std::path::absolute(cache).context("finding the cache directory")?;
            options.extend(["--cache".into(), cache.into()]);
        }
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted)).context("listening for signals")?;
        }
        let rocbed = std::env::current_exe().context("finding this program")?;
        Ok(Self { rocbed, directory, options, interrupted })
    }

    /// `rocbed`, with the options of all commands.
    pub(super) fn rocbed(&self) -> Command {
        let mut command = Command::new(&self.rocbed);
        command.args(&self.options).current_dir(&self.directory).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end, which must be a good one.
    pub(super) fn run(&self, shown: &str, command: &mut Command) -> Result<()> {
        let mut child = command.spawn().with_context(|| format!("starting {shown}"))?;
        let status = self.wait(&mut child)?;
        if !status.success() {
            bail!("{shown} failed: {status}");
        }
        Ok(())
    }

    /// Waits until a command has ended. If the demo is told to end before that, the command is too, and this fails.
    pub(super) fn wait(&self, child: &mut Child) -> Result<ExitStatus> {
        loop {
            if let Some(status) = child.try_wait().context("waiting for a command's end")? {
                self.check()?;
                return Ok(status);
            }
            if self.check().is_err() {
                terminate(child);
            }
            thread::sleep(POLL);
        }
    }

    /// Fails if the demo was told to end.
    pub(super) fn check(&self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            bail!("the demo was interrupted");
        }
        Ok(())
    }
}

/// Asks a command to end, as Ctrl-C on a terminal does. One that has ended already is left alone.
pub(super) fn terminate(child: &mut Child) {
    if let Some(pid) = running(child) {
        // It fails only if the command has ended just now.
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// Process id of a command that was not waited for yet: once it was, the id may be another process's.
fn running(child: &mut Child) -> Option<Pid> {
    matches!(child.try_wait(), Ok(None)).then(|| Pid::from_child(child))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_has_ended_gets_no_signal() -> Result<()> {
        let mut ended = Command::new("true").spawn()?;
        assert!(ended.wait()?.success());
        assert_eq!(running(&mut ended), None);
        let mut child = Command::new("sleep").arg("1000").spawn()?;
        assert_eq!(running(&mut child), Some(Pid::from_child(&child)));
        terminate(&mut child);
        assert!(!child.wait()?.success());
        assert_eq!(running(&mut child), None);
        Ok(())
    }
}
