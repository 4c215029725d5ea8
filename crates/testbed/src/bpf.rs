//! bpf(2): loads a program for the devices of a control group, and attaches it. Unsafe code of this crate is only here, in
//! `process` and in `simulate::listener`.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// An instruction (kernel Documentation/bpf/standardization/instruction-set.rst, "Basic instruction encoding").
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    /// Operation.
    pub(crate) code: u8,
    /// Destination register in the lower half, source register in the upper one.
    pub(crate) registers: u8,
    /// Offset of a jump, in instructions, or of a load, in bytes.
    pub(crate) offset: i16,
    /// Constant.
    pub(crate) constant: i32,
}

/// Commands, and the types of program and attachment, of linux/bpf.h.
const LOAD: libc::c_long = 5;
const ATTACH: libc::c_long = 8;
const CGROUP_DEVICE_PROGRAM: u32 = 15;
const CGROUP_DEVICE: u32 = 6;

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
struct LoadAttributes {
    program_type: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
}

/// The beginning of `union bpf_attr` for `BPF_PROG_ATTACH`.
#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

/// Loads a program that decides which devices the processes of a control group may use.
///
/// # Errors
/// If this process may not, or the kernel's verifier refuses the program.
pub(crate) fn load_device_program(program: &[Instruction]) -> io::Result<OwnedFd> {
    const LICENSE: &CStr = c"Dual MIT/GPL";
    let count = u32::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let attributes = LoadAttributes {
        program_type: CGROUP_DEVICE_PROGRAM,
        count,
        instructions: program.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
    };
    // SAFETY: the kernel reads `count` instructions and the license during the call, both of which live until then; it
    // writes nothing without a log.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, LOAD, &raw const attributes, size_of::<LoadAttributes>()) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: it is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches it to a control group, for as long as that exists. No group below it can have another one.
///
/// # Errors
/// If this process may not, or a group above has a program that cannot be added to.
pub(crate) fn attach_device_program(program: &OwnedFd, group: impl AsFd) -> io::Result<()> {
    let number = |fd: i32| u32::try_from(fd).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let attributes = AttachAttributes {
        target: number(group.as_fd().as_raw_fd())?,
        program: number(program.as_raw_fd())?,
        attach_type: CGROUP_DEVICE,
        flags: 0,
    };
    // SAFETY: the kernel reads the attributes during the call, and writes nothing.
    let result = unsafe { libc::syscall(libc::SYS_bpf, ATTACH, &raw const attributes, size_of::<AttachAttributes>()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
