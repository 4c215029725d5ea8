//! The one ioctl that `rustix` has no safe call for.
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
