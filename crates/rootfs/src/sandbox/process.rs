//! Forks and handles signals: the only module of the sandbox with unsafe code. What testbeds do too is in
//! [`confine::process`].
//!
//! Between fork and exec only system calls run that were prepared beforehand. The process may have other threads:
//! glibc's fork leaves the allocator usable in the child, and nothing else with locks is used there.
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};

use confine::process::die_of;
use rustix::process::Signal;

/// Runs `setup` in the child before the command is executed there.
pub(super) fn before_exec(command: &mut Command, setup: impl FnMut() -> io::Result<()> + Send + Sync + 'static) {
    // SAFETY: the callers' functions make system calls and small allocations only. std runs them after libc::fork,
    // whose handlers leave glibc's allocator in a usable state in the child.
    unsafe { command.pre_exec(setup) };
}

/// Forks inside [`before_exec`]: returns in the new process, which is the first one of the PID namespace created just
/// before, while the old one waits for it and exits with its status.
pub(super) fn become_first_process() -> io::Result<()> {
    // SAFETY: this process has one thread; both sides make system calls only.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(()),
        // SAFETY: only system calls, and it never returns.
        child => unsafe {
            // Open pipe ends here would block readers, including std's own one.
            libc::syscall(libc::SYS_close_range, 0_u32, u32::MAX, 0_u32);
            let mut status = 0;
            while libc::waitpid(child, &raw mut status, 0) == -1 {
                if io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
                    libc::_exit(255);
                }
            }
            if libc::WIFSIGNALED(status) {
                die_of(libc::WTERMSIG(status));
            }
            libc::_exit(libc::WEXITSTATUS(status))
        },
    }
}

/// Signals that are passed on to a child.
const FORWARDED: [libc::c_int; 6] =
    [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2];

/// A set of signals that are blocked until [`SignalGate::wait_for`] handles them.
pub(super) struct SignalGate(libc::sigset_t);

impl SignalGate {
    /// Blocks the signals in this thread, and in threads that it starts.
    pub(super) fn close() -> io::Result<Self> {
        // SAFETY: a zeroed set is emptied before it is used.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in FORWARDED.into_iter().chain([libc::SIGCHLD]) {
                libc::sigaddset(&raw mut set, signal);
            }
            match libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) {
                0 => Ok(Self(set)),
                error => Err(io::Error::from_raw_os_error(error)),
            }
        }
    }

    /// Waits for a child, passing signals on to it.
    pub(super) fn wait_for(&self, child: &mut Child) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            // SAFETY: the set was initialised, and info is written before it is read.
            let (signal, code) = unsafe {
                let mut info: libc::siginfo_t = std::mem::zeroed();
                (libc::sigwaitinfo(&raw const self.0, &raw mut info), info.si_code)
            };
            // The terminal sends Ctrl-C to the whole process group: the child has it already.
            if signal > 0 && signal != libc::SIGCHLD && code != libc::SI_KERNEL {
                // SAFETY: a plain system call on a child that was not waited for, so its id is still its own.
                unsafe { libc::kill(child.id().cast_signed(), signal) };
            }
        }
    }
}

/// Ends this process the way a child ended, so that its parent sees no difference.
pub(super) fn exit_like(status: ExitStatus) -> ! {
    if let Some(signal) = status.signal() {
        die_of(signal)
    }
    std::process::exit(status.code().unwrap_or(255))
}

/// Asks the kernel to kill this process when the thread that started it ends.
pub(super) fn die_with_parent() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(Into::into)
}
