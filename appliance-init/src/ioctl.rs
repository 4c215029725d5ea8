//! System calls for which `rustix` has no safe function.
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

/// `BLKPG` of `linux/blkpg.h`: `_IO(0x12, 105)`.
const BLKPG: rustix::ioctl::Opcode = rustix::ioctl::opcode::none(0x12, 105);

const BLKPG_RESIZE_PARTITION: c_int = 3;

/// `struct blkpg_partition`. The names are not used any more.
#[repr(C)]
struct BlkpgPartition {
    start: i64,
    length: i64,
    number: c_int,
    names: [u8; 128],
}

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct BlkpgArgument {
    operation: c_int,
    flags: c_int,
    length: c_int,
    data: *const BlkpgPartition,
}

/// Tells the kernel a partition's new length; start and length are in bytes. The partition may be in use.
pub(crate) fn resize_partition(disk: impl AsFd, number: u32, start: u64, size: u64) -> io::Result<()> {
    let invalid = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let partition = BlkpgPartition {
        start: i64::try_from(start).map_err(invalid)?,
        length: i64::try_from(size).map_err(invalid)?,
        number: c_int::try_from(number).map_err(invalid)?,
        names: [0; 128],
    };
    let argument = BlkpgArgument {
        operation: BLKPG_RESIZE_PARTITION,
        flags: 0,
        length: c_int::try_from(size_of::<BlkpgPartition>()).map_err(invalid)?,
        data: &raw const partition,
    };
    // SAFETY: `BLKPG` reads one argument and through it one partition; both outlive the call, and it keeps neither.
    let set = unsafe { rustix::ioctl::Setter::<BLKPG, BlkpgArgument>::new(argument) };
    // SAFETY: as above; other kinds of file answer ENOTTY.
    unsafe { rustix::ioctl::ioctl(disk, set) }.map_err(Into::into)
}

/// `WDIOC_SETTIMEOUT` of `linux/watchdog.h`: `_IOWR('W', 6, int)`.
const WDIOC_SETTIMEOUT: rustix::ioctl::Opcode = rustix::ioctl::opcode::read_write::<c_int>(b'W', 6);

/// Sets a watchdog's timeout in seconds. Returns the timeout that it really uses.
pub(crate) fn set_watchdog_timeout(device: impl AsFd, seconds: i32) -> io::Result<i32> {
    let mut value: c_int = seconds;
    // SAFETY: `WDIOC_SETTIMEOUT` reads and writes one int through the pointer that Updater passes.
    let set = unsafe { rustix::ioctl::Updater::<WDIOC_SETTIMEOUT, c_int>::new(&mut value) };
    // SAFETY: as above; other kinds of file answer ENOTTY.
    unsafe { rustix::ioctl::ioctl(device, set) }?;
    Ok(value)
}

/// `SYSLOG_ACTION_CLEAR` of syslog(2).
const SYSLOG_CLEAR: c_int = 5;

/// Hides the present content of the kernel's log from all who read it by syslog(2) without privileges.
pub(crate) fn clear_kernel_log() -> io::Result<()> {
    // SAFETY: this action takes no buffer: the kernel looks neither at the pointer nor at the length.
    match unsafe { libc::klogctl(SYSLOG_CLEAR, std::ptr::null_mut(), 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends a signal to every process that may be signalled, except to PID 1 if it is the caller (kill(2) with -1).
pub(crate) fn signal_everyone(signal: i32) -> io::Result<()> {
    // SAFETY: kill takes two integers and touches no memory of ours.
    match unsafe { libc::kill(-1, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
