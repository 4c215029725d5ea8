//! Bounds for getting a source: the deadline, and cancellation of the job.

use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::Cancel;
use crate::process::Process;

/// Longest wait for a program before the bounds are checked.
const TICK: Duration = Duration::from_millis(100);
/// Time that a killed program has to end.
const END: Duration = Duration::from_secs(10);
/// Most bytes kept of a program's output.
const SAID: usize = 4096;

/// Reason why something was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stopped {
    #[error("it took too long; the source has {0:?} to be fetched and unpacked")]
    Late(Duration),
    #[error("the job was cancelled")]
    Cancelled,
    #[error("it has more than {0} bytes, which is the most that is taken")]
    TooLarge(u64),
}

/// Reason why a program did not run to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// A deadline, and the cancellation that may come first.
#[derive(Debug, Clone)]
pub(crate) struct Bounds<'a> {
    began: Instant,
    time: Duration,
    cancel: &'a Cancel,
}

impl<'a> Bounds<'a> {
    /// Bounds that end after this time from now.
    pub(crate) fn new(time: Duration, cancel: &'a Cancel) -> Self {
        Self { began: Instant::now(), time, cancel }
    }

    /// Fails if the deadline has passed or the job was cancelled.
    pub(crate) fn check(&self) -> Result<(), Stopped> {
        if self.cancel.is_cancelled() {
            Err(Stopped::Cancelled)
        } else if self.began.elapsed() >= self.time {
            Err(Stopped::Late(self.time))
        } else {
            Ok(())
        }
    }

    /// A reader that fails at the deadline. The inner reader must not block.
    pub(crate) fn read<R: Read>(&self, inner: R) -> Bounded<'_, R> {
        Bounded { bounds: self, inner }
    }

    /// Runs a program to its end, without input; `watch` says whether to continue. Returns its output.
    ///
    /// # Errors
    ///
    /// If it cannot be started, exceeds the deadline, or is stopped by `watch`. Then it and all its processes were
    /// killed.
    pub(crate) fn run(
        &self,
        command: &mut Command,
        watch: &mut dyn FnMut() -> Result<(), Stopped>,
    ) -> Result<(Option<i32>, String), ProgramError> {
        let mut process = Process::start(command)?;
        let (mut said, mut buffer) = (Vec::new(), vec![0; SAID]);
        let mut stopped = None;
        while !process.has_ended() {
            let length = process.output(&mut buffer, TICK)?;
            keep(&mut said, buffer.get(..length).unwrap_or_default());
            if let Err(reason) = self.check().and_then(|()| watch()) {
                stopped = Some(reason);
                process.kill_all();
                let end = Instant::now() + END;
                while !process.has_ended() && Instant::now() < end {
                    std::thread::sleep(Duration::from_millis(10));
                }
                break;
            }
        }
        process.kill_all();
        if let Some(reason) = stopped {
            if process.has_ended() {
                // The program was killed, so its status is known.
                let _ = process.reap();
            }
            return Err(reason.into());
        }
        process.rest(&mut |bytes| keep(&mut said, bytes));
        let status = process.reap()?;
        Ok((status, String::from_utf8_lossy(&said).trim().to_owned()))
    }

    /// Starts a filter program; the returned reader gives its output for the file.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub(crate) fn filter(&self, command: &mut Command, input: File) -> io::Result<Filter<'_>> {
        let name = command.get_program().to_string_lossy().into_owned();
        let (output, writer) = io::pipe()?;
        rustix::fs::fcntl_setfl(&output, rustix::fs::OFlags::NONBLOCK)?;
        let child = command.stdin(input).stdout(writer).stderr(Stdio::null()).spawn();
        // The command holds the pipe's other end, which would stay open otherwise.
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = child.map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
        Ok(Filter { bounds: self, name, child, output, status: None })
    }
}

fn keep(said: &mut Vec<u8>, bytes: &[u8]) {
    let room = SAID.saturating_sub(said.len()).min(bytes.len());
    said.extend_from_slice(bytes.get(..room).unwrap_or_default());
}

/// Reader returned by [`Bounds::read`].
pub(crate) struct Bounded<'a, R> {
    bounds: &'a Bounds<'a>,
    inner: R,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.bounds.check().map_err(io::Error::other)?;
        self.inner.read(buffer)
    }
}

/// The output of a program, which is ended when this is dropped.
pub(crate) struct Filter<'a> {
    bounds: &'a Bounds<'a>,
    name: String,
    child: Child,
    output: PipeReader,
    status: Option<ExitStatus>,
}

impl Read for Filter<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.bounds.check().map_err(io::Error::other)?;
            let tick = Timespec::try_from(TICK).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
            match poll(&mut [PollFd::from_borrowed_fd(self.output.as_fd(), PollFlags::IN)], Some(&tick)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            match self.output.read(buffer) {
                Ok(0) => break,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                other => return other,
            }
        }
        // Its output has ended, so the program has ended or is about to.
        let status = match self.status {
            Some(status) => status,
            None => *self.status.insert(self.child.wait()?),
        };
        if status.success() { Ok(0) } else { Err(io::Error::other(format!("{} cannot read it ({status})", self.name))) }
    }
}

impl Drop for Filter<'_> {
    fn drop(&mut self) {
        if self.status.is_none() {
            // It may have ended just now; it still has to be waited for.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_is_ended_when_it_is_late_or_cancelled_or_has_done_too_much() {
        let cancel = Cancel::default();
        let bounds = Bounds::new(Duration::from_millis(300), &cancel);
        let late = bounds.run(&mut shell("sleep 1000"), &mut || Ok(())).unwrap_err().to_string();
        assert!(late.contains("too long"), "{late}");
        let long = Bounds::new(Duration::from_secs(1000), &cancel);
        let much = long.run(&mut shell("sleep 1000"), &mut || Err(Stopped::TooLarge(5))).unwrap_err();
        assert!(much.to_string().contains("more than 5 bytes"), "{much}");
        assert_eq!(long.run(&mut shell("echo out; exit 3"), &mut || Ok(())).unwrap(), (Some(3), "out".into()));
        cancel.cancel();
        let cancelled = long.run(&mut shell("sleep 1000"), &mut || Ok(())).unwrap_err();
        assert_eq!(cancelled.to_string(), "the job was cancelled");
    }

    #[test]
    fn a_filter_is_read_to_its_end_and_no_longer_than_allowed() {
        let file = || {
            let mut file = tempfile::tempfile().unwrap();
            io::Write::write_all(&mut file, b"text").unwrap();
            io::Seek::rewind(&mut file).unwrap();
            file
        };
        let cancel = Cancel::default();
        let bounds = Bounds::new(Duration::from_secs(1000), &cancel);
        let mut text = String::new();
        bounds.filter(&mut shell("cat"), file()).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        let error = bounds.filter(&mut shell("exit 1"), file()).unwrap().read(&mut [0]).unwrap_err().to_string();
        assert!(error.contains("sh cannot read it"), "{error}");
        let short = Bounds::new(Duration::from_millis(200), &cancel);
        let error = short.filter(&mut shell("sleep 1000"), file()).unwrap().read(&mut [0]).unwrap_err().to_string();
        assert!(error.contains("too long"), "{error}");
    }
}
