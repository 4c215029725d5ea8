//! The system calls that `rustix` has no safe call for.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::os::fd::AsFd;

/// `BLKROSET` of `linux/fs.h`: `_IO(0x12, 93)`.
const BLKROSET: rustix::ioctl::Opcode = rustix::ioctl::opcode::none(0x12, 93);

/// Sets a block device read-only, or writable again.
pub(crate) fn set_block_read_only(device: impl AsFd, read_only: bool) -> io::Result<()> {
    // SAFETY: `BLKROSET` reads one int through the pointer that Setter passes, and keeps nothing.
    let set = unsafe { rustix::ioctl::Setter::<BLKROSET, c_int>::new(c_int::from(read_only)) };
    // SAFETY: as above; on other kinds of file the kernel answers ENOTTY and reads nothing.
    unsafe { rustix::ioctl::ioctl(device, set) }.map_err(Into::into)
}

/// `WDIOC_SETTIMEOUT` of `linux/watchdog.h`: `_IOWR('W', 6, int)`.
const WDIOC_SETTIMEOUT: rustix::ioctl::Opcode = rustix::ioctl::opcode::read_write::<c_int>(b'W', 6);

/// Tells a watchdog how many seconds it is to wait. Returns what it makes of that.
pub(crate) fn set_watchdog_timeout(device: impl AsFd, seconds: i32) -> io::Result<i32> {
    let mut value: c_int = seconds;
    // SAFETY: `WDIOC_SETTIMEOUT` reads and writes one int through the pointer that Updater passes.
    let set = unsafe { rustix::ioctl::Updater::<WDIOC_SETTIMEOUT, c_int>::new(&mut value) };
    // SAFETY: as above; other kinds of file answer ENOTTY.
    unsafe { rustix::ioctl::ioctl(device, set) }?;
    Ok(value)
}

/// Sends a signal to every process that may be signalled, but not to PID 1 if that is who asks (kill(2) with -1).
pub(crate) fn signal_everyone(signal: i32) -> io::Result<()> {
    // SAFETY: kill takes two integers and touches no memory of ours.
    match unsafe { libc::kill(-1, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
