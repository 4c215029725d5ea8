//! System calls for which `rustix` has no safe function.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

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

/// `LOOP_CTL_GET_FREE` of `linux/loop.h`.
const LOOP_CTL_GET_FREE: rustix::ioctl::Opcode = 0x4C82;

/// The number of a loop device that nobody uses; `control` is `/dev/loop-control`.
pub(crate) fn free_loop(control: impl AsFd) -> io::Result<c_int> {
    // SAFETY: the request takes no argument, and its result is the number.
    unsafe { rustix::ioctl::ioctl(control, FreeLoop) }.map_err(Into::into)
}

struct FreeLoop;

// SAFETY: `LOOP_CTL_GET_FREE` has no argument: the kernel does not look at the pointer, and returns a number.
unsafe impl rustix::ioctl::Ioctl for FreeLoop {
    type Output = c_int;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> rustix::ioctl::Opcode {
        LOOP_CTL_GET_FREE
    }

    fn as_ptr(&mut self) -> *mut std::ffi::c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(
        output: rustix::ioctl::IoctlOutput,
        _: *mut std::ffi::c_void,
    ) -> rustix::io::Result<Self::Output> {
        Ok(output)
    }
}

/// `LOOP_CONFIGURE` of `linux/loop.h`.
const LOOP_CONFIGURE: rustix::ioctl::Opcode = 0x4C0A;

/// `struct loop_config`, with `struct loop_info64` in it.
#[repr(C)]
struct LoopConfig {
    file: u32,
    block_size: u32,
    device: u64,
    inode: u64,
    special_device: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encryption: [u32; 2],
    flags: u32,
    names: [u8; 160],
    init: [u64; 2],
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<LoopConfig>() == 304);

/// Makes a loop device a read-only disk over a file that is not read through the page cache. `sector` is in bytes.
pub(crate) fn configure_loop(device: impl AsFd, file: impl AsFd, sector: u32) -> io::Result<()> {
    /// `LO_FLAGS_READ_ONLY` and `LO_FLAGS_DIRECT_IO`.
    const FLAGS: u32 = 1 | 16;
    let config = LoopConfig {
        file: file.as_fd().as_raw_fd().cast_unsigned(),
        block_size: sector,
        device: 0,
        inode: 0,
        special_device: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encryption: [0; 2],
        flags: FLAGS,
        names: [0; 160],
        init: [0; 2],
        reserved: [0; 8],
    };
    // SAFETY: `LOOP_CONFIGURE` reads one `LoopConfig` through the pointer that Setter passes, and keeps nothing of it.
    let set = unsafe { rustix::ioctl::Setter::<LOOP_CONFIGURE, LoopConfig>::new(config) };
    // SAFETY: as above; other kinds of file answer ENOTTY.
    unsafe { rustix::ioctl::ioctl(device, set) }.map_err(Into::into)
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
