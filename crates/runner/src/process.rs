//! Runs autopkgtest as a process in its own process group, reads its output, and ends it reliably.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

/// Longest delay of output after the end of the process that wrote it.
const LAG: Duration = Duration::from_secs(2);

/// A running program, with all of its output in one pipe.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pid: Pid,
    output: File,
    closed: bool,
}

impl Process {
    /// Starts the program, without input.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let reader = OwnedFd::from(reader);
        rustix::fs::fcntl_setfl(&reader, rustix::fs::OFlags::NONBLOCK)?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
        let child = command.spawn();
        // The command holds the pipe's other end, which would stay open otherwise.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = child?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("the new process has no number"))?;
        Ok(Self { child, pid, output: reader.into(), closed: false })
    }

    /// Reads output, waiting for at most this time. Empty if there was none.
    pub(crate) fn output(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
        if self.closed {
            std::thread::sleep(wait);
            return Ok(0);
        }
        let timeout = Timespec::try_from(wait).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
        let mut fds = [PollFd::from_borrowed_fd(self.output.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(0),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        match self.output.read(buffer) {
            Ok(0) => {
                self.closed = true;
                Ok(0)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
            other => other,
        }
    }

    /// Whether the process has ended. Its id is not reused before [`Process::reap`].
    pub(crate) fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // An error means that another process has waited for it.
        !matches!(rustix::process::waitid(WaitId::Pid(self.pid), options), Ok(None))
    }

    /// Sends a signal to this process only.
    pub(crate) fn signal(&self, signal: Signal) {
        if !self.has_ended() {
            // It may have just ended, which is no problem.
            let _ = rustix::process::kill_process(self.pid, signal);
        }
    }

    /// Sends SIGKILL to the whole process group, which includes the virtualisation server; the testbed ends with it.
    /// Not after [`Process::reap`].
    pub(crate) fn kill_all(&self) {
        // It fails only if none of them is left.
        let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
    }

    /// Reads the remaining output after all processes have ended.
    pub(crate) fn rest(&mut self, each: &mut dyn FnMut(&[u8])) {
        let end = Instant::now() + LAG;
        let mut buffer = vec![0; 1 << 16];
        while !self.closed && Instant::now() < end {
            match self.output(&mut buffer, Duration::from_millis(50)) {
                Ok(length) => each(buffer.get(..length).unwrap_or_default()),
                Err(_) => return,
            }
        }
    }

    /// Exit status after [`Process::has_ended`], or `None` if a signal ended the process.
    ///
    /// # Errors
    ///
    /// If another process waited for it, such as an init that reaps all orphans.
    pub(crate) fn reap(mut self) -> io::Result<Option<i32>> {
        Ok(self.child.wait()?.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        Process::start(Command::new("sh").args(["-c", script])).unwrap()
    }

    fn wait(process: &mut Process) -> String {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        for _ in 0..600 {
            let length = process.output(&mut buffer, Duration::from_millis(50)).unwrap();
            text.extend_from_slice(&buffer[..length]);
            if process.has_ended() {
                process.rest(&mut |bytes| text.extend_from_slice(bytes));
                break;
            }
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn output_and_exit_status() {
        let mut process = shell("echo out; echo err >&2; exit 6");
        assert_eq!(wait(&mut process), "out\nerr\n");
        assert_eq!(process.reap().unwrap(), Some(6));
    }

    #[test]
    fn what_it_started_ends_too() {
        let mut process = shell("trap '' TERM; sleep 1000 & echo $!; wait");
        let mut buffer = [0; 64];
        let length = process.output(&mut buffer, Duration::from_secs(20)).unwrap();
        let sleeper: i32 = std::str::from_utf8(&buffer[..length]).unwrap().trim().parse().unwrap();
        process.signal(Signal::TERM);
        assert!(!process.has_ended());
        process.kill_all();
        wait(&mut process);
        assert_eq!(process.reap().unwrap(), None);
        let state = || std::fs::read_to_string(format!("/proc/{sleeper}/stat")).unwrap_or_default();
        // It may stay a zombie if no process reaps orphans.
        for _ in 0..200 {
            if state().is_empty() || state().contains(") Z ") {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{}", state());
    }

    #[test]
    fn output_that_stays_open_holds_nobody_up() {
        let mut process = shell("setsid sleep 5 & exit 0");
        for _ in 0..200 {
            process.output(&mut [0; 64], Duration::from_millis(50)).unwrap();
            if process.has_ended() {
                break;
            }
        }
        process.rest(&mut |_| ());
        assert_eq!(process.reap().unwrap(), Some(0));
    }
}
