//! The kernel's interface for answering system calls of other processes (`seccomp_unotify(2)`). All unsafe code of the
//! simulation is here.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A system call that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Notification {
    /// Names it in the answer.
    pub(super) id: u64,
    /// The thread that made it.
    pub(super) thread: u32,
    /// Its arguments.
    pub(super) arguments: [u64; 6],
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// The call returns 0.
    Done,
    /// It fails with this error number.
    Error(i32),
    /// The kernel carries it out.
    Continue,
}

/// The side that answers.
#[derive(Debug)]
pub(super) struct Listener(OwnedFd);

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Bits of a request's number: its type, and whether it has an argument that is read or written.
const TYPE: u32 = 0xff00;
const HAS_ARGUMENT: u32 = 0xc000_0000;
/// Commands of `fcntl(2)` (`asm-generic/fcntl.h`).
const F_SETSIG: i32 = 10;
const F_GETSIG: i32 = 11;

/// Sends this process's requests to devices of the types of KFD and DRM, and those of all processes that it starts, to the
/// listener that is returned. All else runs as before. As every filter it needs `CAP_SYS_ADMIN` in the user namespace.
pub(super) fn install() -> io::Result<OwnedFd> {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let jump = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |offset: usize| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset as u32);
    let equal = |value: u32, yes: u8, no: u8| jump(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, yes, no);
    let give = |action: u32| statement(libc::BPF_RET | libc::BPF_K, action);
    let number = u32::try_from(libc::SYS_ioctl).map_err(|_| io::ErrorKind::InvalidInput)?;
    // The lower half of the second argument.
    let request = std::mem::offset_of!(libc::seccomp_data, args) + 8;
    let program = [
        load(std::mem::offset_of!(libc::seccomp_data, arch)),
        equal(ARCHITECTURE, 0, 8),
        load(std::mem::offset_of!(libc::seccomp_data, nr)),
        equal(number, 0, 6),
        load(request),
        jump(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, HAS_ARGUMENT, 0, 4),
        statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, TYPE),
        equal(u32::from(b'K') << 8, 1, 0),
        equal(u32::from(b'd') << 8, 0, 1),
        give(libc::SECCOMP_RET_USER_NOTIF),
        give(libc::SECCOMP_RET_ALLOW),
    ];
    // A call that was received is then ended by a fatal signal only, so that none is carried out twice.
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    match set(&program, flags) {
        // Linux before 5.19.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            set(&program, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER)
        }
        other => other,
    }
}

fn set(program: &[libc::sock_filter], flags: libc::c_ulong) -> io::Result<OwnedFd> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let filter = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program and writes to nothing; a descriptor that is returned is new and ours.
    unsafe {
        match libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(i32::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?)),
        }
    }
}

impl Listener {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// The next call; `None` if it was given up in the meantime.
    pub(super) fn receive(&self) -> io::Result<Option<Notification>> {
        // SAFETY: all fields are numbers. The kernel wants them to be 0, and writes no more than the structure.
        let (result, found) = unsafe {
            let mut found: libc::seccomp_notif = std::mem::zeroed();
            (libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut found), found)
        };
        if result == 0 {
            return Ok(Some(Notification { id: found.id, thread: found.pid, arguments: found.data.args }));
        }
        match io::Error::last_os_error() {
            error if matches!(error.raw_os_error(), Some(libc::EINTR | libc::ENOENT)) => Ok(None),
            error => Err(error),
        }
    }

    /// Answers a call. It is no error if the process that made it has ended.
    pub(super) fn answer(&self, id: u64, reply: Reply) -> io::Result<()> {
        let (error, flags) = match reply {
            Reply::Done => (0, 0),
            Reply::Error(number) => (-number, 0),
            Reply::Continue => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
        };
        let answer = libc::seccomp_notif_resp { id, val: 0, error, flags };
        // SAFETY: the kernel only reads the structure.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const answer) };
        match (result, io::Error::last_os_error()) {
            (0, _) => Ok(()),
            (_, error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            (_, error) => Err(error),
        }
    }

    /// Whether the process that made the call still waits: what was found out by its number is then about it.
    pub(super) fn is_waiting(&self, id: u64) -> bool {
        // SAFETY: the kernel only reads the number.
        unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id) == 0 }
    }
}

impl AsFd for Listener {
    /// Readable when there is a call; hung up when no process has the filter any more.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The process that opened a file, and where none is noted yet, this one from now on. `None` if that process has ended.
///
/// The note is the process to tell about input (`F_SETOWN` in `fcntl(2)`), and the signal to tell it with, as the kernel
/// forgets a process that has ended. These files never have any input.
pub(super) fn owner(file: BorrowedFd<'_>, process: i32) -> io::Result<Option<i32>> {
    let control = |command: i32, argument: i32| {
        // SAFETY: plain numbers.
        match unsafe { libc::fcntl(file.as_raw_fd(), command, argument) } {
            -1 => Err(io::Error::last_os_error()),
            answer => Ok(answer),
        }
    };
    if control(F_GETSIG, 0)? == 0 {
        control(libc::F_SETOWN, process)?;
        control(F_SETSIG, libc::SIGIO)?;
    }
    Ok(Some(control(libc::F_GETOWN, 0)?).filter(|owner| *owner != 0))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use crate::process::fork;

    /// `KFD_IOC_GET_VERSION`, a request of terminals, and one of the console, which has KFD's type and no argument.
    const REQUESTS: [(libc::c_ulong, bool); 3] = [(0x8008_4b01, true), (0x5401, false), (0x4b33, false)];

    #[test]
    fn only_requests_of_the_two_types_are_sent() {
        for (request, is_sent) in REQUESTS {
            let child = fork(|| {
                let Ok(listener) = super::install() else { return 3 };
                let file = listener.as_raw_fd();
                // Nobody answers, so what is sent fails when the listener is gone; all else is answered by the kernel.
                drop(listener);
                // SAFETY: the descriptor is closed, so the kernel reads nothing.
                let answer = unsafe { libc::ioctl(file, request, std::ptr::null_mut::<u8>()) };
                let error = std::io::Error::last_os_error().raw_os_error();
                u8::from(answer != -1 || error != Some(if is_sent { libc::ENOSYS } else { libc::EBADF }))
            });
            let child = child.expect("a process");
            let status = child.wait().expect("its end").and_then(|status| status.exit_status());
            assert_eq!(status, Some(0), "{request:#x}");
        }
    }
}
