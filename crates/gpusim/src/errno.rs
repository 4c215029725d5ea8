//! [`Errno`]: the errors that requests are answered with.

/// An error number of Linux (`errno(3)`), only those that are used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum Errno {
    /// `EPERM`: it isn't allowed in this state.
    NotPermitted = 1,
    /// `EINTR`: the wait was broken off; the program is to ask again.
    Interrupted = 4,
    /// `EIO`: what was waited for is gone.
    InputOutput = 5,
    /// `EBADF`: the file descriptor was opened by another process.
    BadDescriptor = 9,
    /// `ENOMEM`: the GPU has not as much memory left.
    NoMemory = 12,
    /// `EFAULT`: an address that the program gave is not in its memory.
    BadAddress = 14,
    /// `EBUSY`: something still uses it.
    Busy = 16,
    /// `EINVAL`: there is no such GPU, handle, event or queue, or the numbers don't fit.
    Invalid = 22,
    /// `ENOTTY`: there is no such request, or it is one that isn't simulated.
    NoSuchRequest = 25,
    /// `ENOSPC`: as many as a process may have are there.
    TooMany = 28,
}

impl Errno {
    /// The number.
    pub const fn number(self) -> i32 {
        self as i32
    }
}
