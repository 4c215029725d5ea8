//! [`Limited`]: runs a program that may hang in the kernel, without hanging itself.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};

/// The most output that is read, in bytes.
const MOST_OUTPUT: u64 = 1 << 20;

/// A killed process that has not ended after this time counts as stuck in the kernel.
const PATIENCE: Duration = Duration::from_secs(5);

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The outcome of running the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The program is not installed.
    Missing,
    /// The program ended.
    Ended {
        /// Whether its exit status was 0.
        success: bool,
        /// Its standard output and standard error.
        output: String,
    },
    /// The program did not end in time, and was killed.
    Late {
        /// Whether it could not be killed.
        stuck: bool,
    },
}

/// A program with a time limit.
#[derive(Debug)]
pub(crate) struct Limited {
    program: PathBuf,
    arguments: Vec<OsString>,
    /// Environment variables in addition to ours.
    environment: Vec<(&'static str, String)>,
    limit: Duration,
    stop: Arc<AtomicBool>,
    stuck: Option<Child>,
}

impl Limited {
    /// Prepares a program that is killed after `limit`, and once `stop` is set.
    pub(crate) fn new(program: impl Into<PathBuf>, limit: Duration, stop: Arc<AtomicBool>) -> Self {
        Self { program: program.into(), arguments: Vec::new(), environment: Vec::new(), limit, stop, stuck: None }
    }

    /// Sets the arguments.
    pub(crate) fn arguments(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.arguments = arguments.into_iter().map(Into::into).collect();
        self
    }

    /// Sets or removes an environment variable for later runs.
    pub(crate) fn set(&mut self, name: &'static str, value: Option<String>) {
        self.environment.retain(|(known, _)| *known != name);
        self.environment.extend(value.map(|value| (name, value)));
    }

    /// Runs the program. While an earlier run could not be killed, waits for it instead of starting another that
    /// would hang as well.
    ///
    /// # Errors
    /// If it cannot be started although it is installed; `Interrupted` once `stop` is set.
    pub(crate) fn ask(&mut self) -> io::Result<Answer> {
        if let Some(mut child) = self.stuck.take()
            && child.try_wait()?.is_none()
        {
            self.stuck = Some(child);
            return Ok(Answer::Late { stuck: true });
        }
        let (mut child, output) = match self.start() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Answer::Missing),
            other => other?,
        };
        if let Some(success) = wait(&mut child, self.limit, &self.stop)? {
            return Ok(Answer::Ended { success, output: output.recv_timeout(PATIENCE).unwrap_or_default() });
        }
        // Kills its children too. It has not been waited for yet, so the process id is still its own.
        if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
            && let Err(error) = kill_process_group(group, Signal::KILL)
            && error != Errno::SRCH
        {
            return Err(error.into());
        }
        let stuck = wait(&mut child, PATIENCE, &AtomicBool::new(false))?.is_none();
        if stuck {
            self.stuck = Some(child);
        }
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(Answer::Late { stuck })
    }

    fn start(&self) -> io::Result<(Child, Receiver<String>)> {
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
        let child = command.spawn()?;
        // Closes our write end, without which the reader would never see the end.
        drop(command);
        let (sender, output) = mpsc::channel();
        thread::Builder::new().name("command".into()).spawn(move || {
            let mut bytes = Vec::new();
            // Output from before an error is used as well.
            let _ = reader.take(MOST_OUTPUT).read_to_end(&mut bytes);
            // If the program was late there is no receiver any more.
            let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
        })?;
        Ok((child, output))
    }
}

/// Whether it ended with status 0; `None` if it did not end within `limit`.
fn wait(child: &mut Child, limit: Duration, stop: &AtomicBool) -> io::Result<Option<bool>> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        if began.elapsed() >= limit || stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn ask(script: &str, limit: Duration, stop: bool) -> io::Result<Answer> {
        let directory = tempfile::tempdir()?;
        let program = directory.path().join("program");
        appliance::fixtures::program(&program, script)?;
        Limited::new(program, limit, Arc::new(AtomicBool::new(stop))).ask()
    }

    #[test]
    fn what_ends_says_how() -> io::Result<()> {
        assert_eq!(ask("echo a; echo b >&2", LONG, false)?, Answer::Ended { success: true, output: "a\nb\n".into() });
        assert_eq!(ask("exit 3", LONG, false)?, Answer::Ended { success: false, output: String::new() });
        // More than a pipe holds.
        let Answer::Ended { output, .. } = ask("head -c 200000 /dev/zero", LONG, false)? else {
            return Err(io::ErrorKind::Other.into());
        };
        assert_eq!(output.len(), 200_000);
        Ok(())
    }

    #[test]
    fn what_is_not_there_is_missing() -> io::Result<()> {
        let mut command = Limited::new("/nonexistent/rocminfo", LONG, Arc::default());
        assert_eq!(command.ask()?, Answer::Missing);
        Ok(())
    }

    #[test]
    fn what_does_not_end_is_killed() -> io::Result<()> {
        assert_eq!(ask("sleep 600", Duration::from_millis(50), false)?, Answer::Late { stuck: false });
        let stopped = ask("sleep 600", LONG, true).map_err(|error| error.kind());
        assert_eq!(stopped, Err(io::ErrorKind::Interrupted));
        Ok(())
    }

    #[test]
    fn no_second_one_is_started_beside_one_that_is_stuck() -> io::Result<()> {
        let mut command = Limited::new("/bin/true", LONG, Arc::default());
        command.stuck = Some(Command::new("sleep").arg("600").spawn()?);
        assert_eq!(command.ask()?, Answer::Late { stuck: true });
        let Some(child) = &mut command.stuck else { return Err(io::ErrorKind::NotFound.into()) };
        child.kill()?;
        child.wait()?;
        assert_eq!(command.ask()?, Answer::Ended { success: true, output: String::new() });
        Ok(())
    }
}
