//! A pseudoterminal for an interactive command.
//!
//! A process that has a terminal open can type into it (`TIOCSTI`) and change its settings, so the caller's terminal
//! stays outside: the command gets a pseudoterminal of the testbed's `devpts`, and the bytes and the window size are
//! passed on.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::process::Pid;
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Termios};

use crate::process::Signals;
use crate::relay::Running;

/// The device number of `/dev/ptmx` (Linux's Documentation/admin-guide/devices.txt).
const PTMX: (u32, u32) = (5, 2);
/// Most bytes waiting to be read inside; then the keyboard is not read.
const MOST_WAITING: usize = 1 << 16;

/// The caller's terminal in raw mode, with this process's group in the foreground, where autopkgtest may not be.
/// Restored when this is dropped.
#[derive(Debug)]
pub(crate) struct Raw {
    terminal: OwnedFd,
    before: Termios,
    foreground: Option<Pid>,
}

impl Raw {
    pub(crate) fn make(terminal: OwnedFd) -> io::Result<Self> {
        // A terminal of another session has no foreground group for it.
        let foreground = rustix::termios::tcgetpgrp(&terminal).ok();
        if foreground.is_some() {
            rustix::termios::tcsetpgrp(&terminal, rustix::process::getpgrp())?;
        }
        let before = rustix::termios::tcgetattr(&terminal)?;
        let made = Self { terminal, before, foreground };
        let mut raw = made.before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(&made.terminal, OptionalActions::Now, &raw)?;
        Ok(made)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // If the terminal or the group is gone, there is nothing to restore.
        let _ = rustix::termios::tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
        if let Some(group) = self.foreground {
            let _ = rustix::termios::tcsetpgrp(&self.terminal, group);
        }
    }
}

/// The two ends of a pseudoterminal.
#[derive(Debug)]
pub(crate) struct Terminal {
    master: File,
    slave: OwnedFd,
}

impl Terminal {
    /// Opens a pseudoterminal with the caller's window size and modes. This process has joined the testbed.
    pub(crate) fn open() -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let master = rustix::fs::openat(CWD, c"/dev/pts/ptmx", flags, Mode::empty())?;
        let found = rustix::fs::fstat(&master)?;
        let device = (rustix::fs::major(found.st_rdev), rustix::fs::minor(found.st_rdev));
        if FileType::from_raw_mode(found.st_mode) != FileType::CharacterDevice || device != PTMX {
            return Err(io::Error::other("/dev/pts/ptmx is not a terminal multiplexer"));
        }
        rustix::pty::unlockpt(&master)?;
        // Not by its name, which the testbed controls.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
        rustix::termios::tcsetattr(&slave, OptionalActions::Now, &rustix::termios::tcgetattr(io::stdin())?)?;
        let master = File::from(master);
        copy_size(&master);
        Ok(Self { master, slave })
    }

    /// Makes it the controlling terminal of this process, which leads a new session, and its streams wherever they were
    /// the caller's terminal.
    pub(crate) fn take(&self) -> io::Result<()> {
        rustix::process::ioctl_tiocsctty(&self.slave)?;
        rustix::stdio::dup2_stdin(&self.slave)?;
        if io::stdout().is_terminal() {
            rustix::stdio::dup2_stdout(&self.slave)?;
        }
        if io::stderr().is_terminal() {
            rustix::stdio::dup2_stderr(&self.slave)?;
        }
        Ok(())
    }

    /// Passes bytes on until the process has ended. `signal` is called for each signal except window size changes.
    pub(crate) fn relay(
        self,
        process: BorrowedFd<'_>,
        signals: &Signals,
        output: &mut Running,
        mut signal: impl FnMut(i32),
    ) -> io::Result<()> {
        // From here on only the command has it open.
        let Self { master, slave } = self;
        drop(slave);
        let screen = screen()?;
        let raw = Raw::make(io::stdin().as_fd().try_clone_to_owned()?)?;
        let (mut typed, mut keyboard, mut inside) = (Vec::new(), true, true);
        loop {
            let mut wanted = PollFlags::empty();
            wanted.set(PollFlags::IN, inside);
            wanted.set(PollFlags::OUT, inside && !typed.is_empty());
            let listens = keyboard && typed.len() < MOST_WAITING;
            let readers = output.readers();
            let mut fds = vec![
                PollFd::from_borrowed_fd(process, PollFlags::IN),
                PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
                PollFd::new(&raw.terminal, if listens { PollFlags::IN } else { PollFlags::empty() }),
            ];
            // A descriptor that hung up is left out, as it would always be ready.
            if inside {
                fds.push(PollFd::new(&master, wanted));
            }
            let others = fds.len();
            fds.extend(readers.iter().map(|reader| PollFd::from_borrowed_fd(*reader, PollFlags::IN)));
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let [ended, signalled, key] =
                [0, 1, 2].map(|place| fds.get(place).map_or(PollFlags::empty(), PollFd::revents));
            let shown =
                if inside { fds.get(3).map_or(PollFlags::empty(), PollFd::revents) } else { PollFlags::empty() };
            let said = fds.iter().skip(others).any(|fd| !fd.revents().is_empty());
            drop(fds);
            drop(readers);
            if said {
                output.pass_on();
            }
            if signalled.contains(PollFlags::IN) {
                match signals.read()? {
                    libc::SIGWINCH => copy_size(&master),
                    number => signal(number),
                }
            }
            if shown.contains(PollFlags::OUT) {
                let written = rustix::io::write(&master, &typed).unwrap_or_default();
                typed.drain(..written);
            }
            if listens && !key.is_empty() {
                keyboard = type_on(&raw.terminal, &mut typed)?;
            }
            if !ended.is_empty() {
                return show(&master, &screen).map(drop);
            }
            if !shown.difference(PollFlags::OUT).is_empty() {
                inside = show(&master, &screen)?;
            }
        }
    }
}

/// Copies the size of the caller's window, if it has one.
fn copy_size(master: &File) {
    if let Ok(size) = rustix::termios::tcgetwinsize(io::stdin()) {
        // Programs in the terminal then keep the size they had.
        let _ = rustix::termios::tcsetwinsize(master, size);
    }
}

/// The caller's output.
fn screen() -> io::Result<File> {
    let (out, errors, input) = (io::stdout(), io::stderr(), io::stdin());
    let all = [out.as_fd(), errors.as_fd(), input.as_fd()];
    let terminal = all.iter().find(|fd| fd.is_terminal()).unwrap_or(&all[2]);
    terminal.try_clone_to_owned().map(File::from)
}

/// Reads from the keyboard; false at the end.
fn type_on(keyboard: &OwnedFd, typed: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    match rustix::io::read(keyboard, &mut buffer) {
        Ok(0) | Err(rustix::io::Errno::IO) => Ok(false),
        Ok(length) => {
            typed.extend_from_slice(buffer.get(..length).unwrap_or_default());
            Ok(true)
        }
        Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// The most reads before keyboard and signals are looked at: a program that writes without end always has more.
const MOST_READS: usize = 64;

/// Shows the available output; false if no process inside has the terminal open any more.
fn show(mut master: &File, mut screen: &File) -> io::Result<bool> {
    let mut buffer = [0; 1 << 14];
    for _ in 0..MOST_READS {
        match master.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(length) => screen.write_all(buffer.get(..length).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EIO) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
