//! Processes and signals. Unsafe code is only here, in `bpf` and in `simulate::listener`. What the build sandbox does too is in
//! [`confine::process`].
//!
//! The server has only one thread, so a forked child may do whatever its parent could.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use confine::process::unblock_signals;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, WaitIdStatus};

/// A child process.
#[derive(Debug)]
pub(crate) struct Child {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Child {
    /// A process that the standard library has started, which must not wait for it.
    pub(crate) fn spawned(child: &std::process::Child) -> io::Result<Self> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { pid, pidfd: rustix::process::pidfd_open(pid, PidfdFlags::empty())? })
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends SIGKILL. It is not an error if the process has already ended.
    pub(crate) fn kill(&self) {
        if let Err(error) = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL) {
            debug_assert_eq!(error, rustix::io::Errno::SRCH);
        }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        rustix::process::pidfd_send_signal(&self.pidfd, signal).map_err(Into::into)
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(&self) -> io::Result<Option<WaitIdStatus>> {
        rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED).map_err(Into::into)
    }

    /// Status of the process once it has ended; `None` while it runs.
    pub(crate) fn ended(&self) -> io::Result<Option<WaitIdStatus>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options).map_err(Into::into)
    }
}

impl AsFd for Child {
    /// Readable when the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Forks a process that runs `work` and ends with the returned status. It starts with no signal blocked.
pub(crate) fn fork(work: impl FnOnce() -> u8) -> io::Result<Child> {
    // SAFETY: there is one thread (see `main` in the library), so no lock can be held by another one.
    started(libc::c_long::from(unsafe { libc::fork() }), work)
}

/// Like [`fork`], but the process is the first one of a new pid namespace (`clone3(2)`, `CLONE_NEWPID`).
///
/// With unshare(2), later children of this process would be in the namespace too, which an unprivileged process cannot
/// undo.
pub(crate) fn fork_first(work: impl FnOnce() -> u8) -> io::Result<Child> {
    // SAFETY: all fields are numbers, and 0 is what each of them is unless it is needed.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = u64::from(libc::CLONE_NEWPID.cast_unsigned());
    arguments.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    // SAFETY: with these flags it is a fork(2) that glibc does not know of. There is one thread, so none of the locks
    // that glibc would see to are held; and the child uses no thread id, the one thing glibc would renew.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) };
    started(result, work)
}

fn started(result: libc::c_long, work: impl FnOnce() -> u8) -> io::Result<Child> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let status = catch_unwind(AssertUnwindSafe(|| unblock_signals().map_or(255, |()| work())));
            // SAFETY: it never returns. Destructors and exit handlers belong to the parent.
            unsafe { libc::_exit(i32::from(status.unwrap_or(255))) }
        }
        pid => {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
            let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
            Ok(Child { pid, pidfd })
        }
    }
}

/// Lets the kernel reap the ended children of this process, including adopted ones.
pub(crate) fn ignore_children() -> io::Result<()> {
    // SAFETY: a plain system call that installs no handler.
    let old = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    if old == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Closes all file descriptors except the first three and `kept`.
///
/// Only for a process that never returns from here on, as its owned descriptors become invalid.
pub(crate) fn close_all_but(kept: &OwnedFd) -> io::Result<()> {
    let kept = kept.as_raw_fd().cast_unsigned();
    for (from, to) in [(3, kept.saturating_sub(1)), (kept.saturating_add(1), u32::MAX)] {
        // SAFETY: the caller uses none of them again.
        if from <= to && unsafe { libc::syscall(libc::SYS_close_range, from, to, 0_u32) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Closes a file descriptor.
///
/// Only for a forked process that never returns, and does not use the descriptor's owner.
pub(crate) fn close_one(number: std::os::fd::RawFd) -> io::Result<()> {
    // SAFETY: the caller does not use it again.
    if unsafe { libc::close(number) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Blocks signals; returns them as a set.
fn block(signals: &[libc::c_int]) -> io::Result<libc::sigset_t> {
    // SAFETY: the set is emptied before it is used.
    let (set, error) = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        (set, libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()))
    };
    if error == 0 { Ok(set) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Applies a seccomp filter to this process and all that it starts. It requires `CAP_SYS_ADMIN` in the user namespace;
/// unlike `no_new_privs`, this keeps set-uid programs working.
pub(crate) fn apply_filter(program: &[seccompiler::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let filter = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: both types are the kernel's structure; it copies the program, and writes to nothing.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Limits the processes of this process's user, including threads (`RLIMIT_NPROC`), unless a stricter limit exists.
pub(crate) fn limit_processes(processes: u64) -> io::Result<()> {
    let most = rustix::process::getrlimit(Resource::Nproc).maximum.unwrap_or(u64::MAX);
    let limit = Some(processes.min(most));
    rustix::process::setrlimit(Resource::Nproc, Rlimit { current: limit, maximum: limit }).map_err(Into::into)
}

/// First event seen by [`Signals::wait`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The file descriptor is readable, or the process has ended.
    Ready,
    /// A signal arrived.
    Signal(i32),
    /// The timeout has passed.
    TimedOut,
}

/// Signals that are read from a file descriptor, so that every wait can include them.
#[derive(Debug)]
pub struct Signals(File);

impl Signals {
    /// Blocks the signals and makes them readable (`signalfd(2)`).
    pub(crate) fn block(signals: &[i32]) -> io::Result<Self> {
        let set = block(signals)?;
        // SAFETY: the set is initialised; a descriptor that is returned is new and ours.
        unsafe {
            match libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC) {
                -1 => Err(io::Error::last_os_error()),
                fd => Ok(Self(OwnedFd::from_raw_fd(fd).into())),
            }
        }
    }

    /// Waits until a descriptor is readable, a signal arrives or the timeout passes.
    pub(crate) fn wait(&self, fd: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<Event> {
        self.wait_for(fd, &[], timeout).map(|event| event.unwrap_or(Event::Ready))
    }

    /// Like [`Signals::wait`]; `None` if only one of the `others` is readable.
    pub(crate) fn wait_for(
        &self,
        fd: BorrowedFd<'_>,
        others: &[BorrowedFd<'_>],
        timeout: Option<Duration>,
    ) -> io::Result<Option<Event>> {
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let mut fds = vec![PollFd::from_borrowed_fd(fd, PollFlags::IN), PollFd::new(&self.0, PollFlags::IN)];
            fds.extend(others.iter().map(|other| PollFd::from_borrowed_fd(*other, PollFlags::IN)));
            match poll(&mut fds, left.as_ref()) {
                Ok(0) => return Ok(Some(Event::TimedOut)),
                Ok(_) if !fds[1].revents().is_empty() => return self.read().map(|number| Some(Event::Signal(number))),
                Ok(_) if !fds[0].revents().is_empty() => return Ok(Some(Event::Ready)),
                Ok(_) => return Ok(None),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads the number of the next signal, with which the kernel's record begins.
    pub(crate) fn read(&self) -> io::Result<i32> {
        let mut record = [0; size_of::<libc::signalfd_siginfo>()];
        (&self.0).read_exact(&mut record)?;
        let [a, b, c, d, ..] = record;
        Ok(i32::from_ne_bytes([a, b, c, d]))
    }
}

impl AsFd for Signals {
    /// Readable when a signal has arrived.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
