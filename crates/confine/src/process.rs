//! System calls with which a sandbox's process leaves what it shares with its caller. They are the same for the build
//! sandbox and for testbeds; when each is made is their own business.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::thread::{CapabilitySet, UnshareFlags};

/// What a change of mount attributes applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounts {
    /// The mount alone.
    One,
    /// The mount and all below it.
    All,
}

/// Leaves namespaces shared with other processes (`unshare(2)`).
///
/// # Errors
///
/// If the kernel refuses the system call.
pub fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: callers name namespaces, which do not touch memory; no table of file descriptors is unshared.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(Into::into)
}

/// Marks all file descriptors but the standard ones as close-on-exec (`close_range(2)`).
///
/// # Errors
///
/// Those of the system call: `EINVAL` or `ENOSYS` before Linux 5.11.
pub fn close_inherited_on_exec() -> io::Result<()> {
    // SAFETY: descriptors are only marked; nothing is closed now.
    done(unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) })
}

/// Gives this process a session keyring of its own, empty and unnamed (`keyctl(2)`): the caller's may hold keys of its file
/// systems, and Kerberos tickets. It is no error if the kernel has no keys, or a container's filter blocks them: the filters
/// of both sandboxes block all use of them too.
///
/// # Errors
///
/// If the kernel refuses the system call.
pub fn leave_session_keyring() -> io::Result<()> {
    let name = std::ptr::null::<libc::c_char>();
    // SAFETY: without a name the call reads no memory.
    match done(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name) }) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => Ok(()),
        left => left,
    }
}

/// Removes all capabilities but these from the bounding set, so that no program of this process can have others
/// (`capabilities(7)`).
///
/// # Errors
///
/// If the kernel refuses the system call.
pub fn limit_capabilities(kept: CapabilitySet) -> io::Result<()> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if kept.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // The kernel has no further capabilities.
            Err(rustix::io::Errno::INVAL) => break,
            other => other?,
        }
    }
    Ok(())
}

/// Changes the attributes of mounts (`mount_setattr(2)`): sets `attributes`, and with a user namespace, maps owners to its
/// ids, for which the mount must be detached.
///
/// # Errors
///
/// Those of the system call: `EINVAL` if the file system does not allow its owners to be mapped.
pub fn set_mount_attributes(
    mount: BorrowedFd<'_>,
    mounts: Mounts,
    attributes: u64,
    owners: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let change = libc::mount_attr {
        attr_set: attributes | if owners.is_some() { libc::MOUNT_ATTR_IDMAP } else { 0 },
        attr_clr: 0,
        propagation: 0,
        userns_fd: owners.map_or(0, |fd| u64::from(fd.as_raw_fd().cast_unsigned())),
    };
    let recursive = if mounts == Mounts::All { libc::AT_RECURSIVE } else { 0 };
    let (flags, size) = (libc::AT_EMPTY_PATH | recursive, size_of::<libc::mount_attr>());
    // SAFETY: the path is empty and ends in a null byte, and the structure is as large as the call is told.
    done(unsafe {
        libc::syscall(libc::SYS_mount_setattr, mount.as_raw_fd(), c"".as_ptr(), flags, &raw const change, size)
    })
}

/// Starts with no signal blocked.
///
/// # Errors
///
/// If the kernel refuses the system call.
pub fn unblock_signals() -> io::Result<()> {
    // SAFETY: a zeroed set is emptied before it is used.
    let error = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut())
    };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Ends this process as an uncaught signal would, and dumps no core; where that is not possible, with the exit code that
/// shells use for it.
///
/// Only for a process whose destructors and exit handlers need not run, such as a forked child, or at the end of `main`.
pub fn die_of(signal: i32) -> ! {
    // SAFETY: plain system calls, and the last one never returns.
    unsafe {
        let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &raw const limit);
        libc::signal(signal, libc::SIG_DFL);
        // It fails only for an unknown `how` (sigprocmask(2)).
        let _ = unblock_signals();
        libc::kill(libc::getpid(), signal);
        libc::_exit(128_i32.saturating_add(signal))
    }
}

fn done(result: libc::c_long) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::Command;

    #[test]
    fn a_process_dies_of_the_signal_that_it_is_told() -> io::Result<()> {
        let mut command = Command::new("true");
        // SAFETY: system calls only.
        unsafe { command.pre_exec(|| die_of(libc::SIGTERM)) };
        // The child ends before it can tell that the program runs, which is no error of starting it.
        assert_eq!(command.status()?.signal(), Some(libc::SIGTERM));
        Ok(())
    }

    #[test]
    fn inherited_files_are_closed_for_programs() -> io::Result<()> {
        let file = std::fs::File::open("/proc/self/exe")?;
        let inherited = rustix::io::dup(&file)?;
        let number = inherited.as_raw_fd().to_string();
        let has = |close: bool| {
            let mut command = Command::new("test");
            command.args(["-e", &format!("/proc/self/fd/{number}")]);
            // SAFETY: a system call only.
            unsafe { command.pre_exec(move || if close { close_inherited_on_exec() } else { Ok(()) }) };
            Ok::<_, io::Error>(command.status()?.success())
        };
        assert_eq!((has(false)?, has(true)?), (true, false));
        Ok(())
    }
}
