//! Two ioctls for block devices that no dependency has (`linux/fs.h`).
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;

use rustix::ioctl::{NoArg, Opcode, Setter, ioctl, opcode};

const REREAD_PARTITIONS: Opcode = opcode::none(0x12, 95);
const ZERO_OUT: Opcode = opcode::none(0x12, 127);

/// Makes the kernel read the partition table again (`BLKRRPART`).
pub(crate) fn reread_partitions(device: &File) -> io::Result<()> {
    // SAFETY: the request takes no argument.
    let request = unsafe { NoArg::<REREAD_PARTITIONS>::new() };
    // SAFETY: it neither reads nor writes our memory; it fails for anything but a block device.
    Ok(unsafe { ioctl(device, request) }?)
}

/// Makes the kernel write zeros (`BLKZEROOUT`): by a command of the device that guarantees them, or by writing them.
pub(crate) fn zero_out(device: &File, range: Range<u64>) -> io::Result<()> {
    let argument: [u64; 2] = [range.start, range.end.saturating_sub(range.start)];
    // SAFETY: the request reads two 64-bit numbers, start and length in bytes, and writes nothing.
    let request = unsafe { Setter::<ZERO_OUT, [u64; 2]>::new(argument) };
    // SAFETY: as above; it fails for anything but a block device.
    Ok(unsafe { ioctl(device, request) }?)
}
