//! The only module that forks and handles signals, and so the only one with unsafe code.
//!
//! Between fork and exec only system calls run that were prepared beforehand. The process may have other threads:
//! glibc's fork leaves the allocator usable in the child, and nothing else with locks is used there.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};

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

/// Undoes what `become_root` set for its own use: a child begins with no signal blocked.
pub(super) fn unblock_signals() -> io::Result<()> {
    // SAFETY: a zeroed set is emptied before it is used.
    let result = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
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
        // SAFETY: it never returns.
        unsafe { die_of(signal) }
    }
    std::process::exit(status.code().unwrap_or(255))
}

/// Dies of a signal; where that is not possible, with the exit code that shells use for it.
///
/// # Safety
/// It must be fine to end the process here.
unsafe fn die_of(signal: libc::c_int) -> ! {
    // SAFETY: plain system calls; the caller allows the end of the process. No core is dumped twice.
    unsafe {
        let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &raw const limit);
        libc::signal(signal, libc::SIG_DFL);
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
        libc::kill(libc::getpid(), signal);
        libc::_exit(128 + signal)
    }
}

/// Unshares namespaces (unshare(2)), given by `flags`.
pub(super) fn unshare(flags: rustix::thread::UnshareFlags) -> io::Result<()> {
    // SAFETY: no file descriptor table is shared, so none is unshared; namespaces do not touch memory.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(Into::into)
}

/// Asks the kernel to kill this process when the thread that started it ends.
pub(super) fn die_with_parent() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(Into::into)
}

/// Gives this process a new, empty session keyring (`keyctl(2)`).
pub(super) fn leave_session_keyring() -> io::Result<()> {
    // SAFETY: a plain system call; no name is given.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<u8>()) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Marks all file descriptors but the standard ones as close-on-exec.
pub(super) fn keep_standard_files_only() -> io::Result<()> {
    // SAFETY: a plain system call, which closes nothing now.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Maps the owners of a detached mount to the ids of a user namespace (`mount_setattr(2)`).
pub(super) fn map_owners(mount: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> io::Result<()> {
    let change = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::from(namespace.as_raw_fd().cast_unsigned()),
    };
    // SAFETY: the path is empty and ends in a null byte, and the structure is as large as the call is told.
    let result = unsafe {
        let size = size_of::<libc::mount_attr>();
        let flags = libc::AT_EMPTY_PATH;
        libc::syscall(libc::SYS_mount_setattr, mount.as_raw_fd(), c"".as_ptr(), flags, &raw const change, size)
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
