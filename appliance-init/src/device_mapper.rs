//! Devices of device-mapper: the requests of `linux/dm-ioctl.h`, version 4.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, opcode};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Bytes of a request and of its answer: more than a table of one target with a salt, and its status, ever has.
const BUFFER: usize = 4096;

/// `DM_IOCTL`, the type of all requests.
const TYPE: u8 = 0xfd;

/// `DM_READONLY_FLAG`.
const READ_ONLY: u32 = 1 << 0;
/// `DM_BUFFER_FULL_FLAG`: the answer has no room.
const BUFFER_FULL: u32 = 1 << 8;
/// `DM_NOFLUSH_FLAG`: only look.
const NO_FLUSH: u32 = 1 << 11;

/// Requests, by the kernel's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    /// `DM_DEV_CREATE`.
    Create = 3,
    /// `DM_DEV_REMOVE`.
    Remove = 4,
    /// `DM_DEV_SUSPEND`; without a flag it resumes, with the table that was loaded last.
    Resume = 6,
    /// `DM_TABLE_LOAD`.
    Load = 9,
    /// `DM_TABLE_STATUS`.
    Status = 12,
}

/// `struct dm_ioctl`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Header {
    version: [u32; 3],
    /// Length of all that is passed, with this structure.
    data_size: u32,
    /// Where the rest begins.
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event_number: u32,
    padding: u32,
    device: u64,
    name: [u8; 128],
    uuid: [u8; 129],
    data: [u8; 7],
}

const _: () = assert!(size_of::<Header>() == 312);

/// `struct dm_target_spec`; its parameters follow, with a zero behind them.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Target {
    start: u64,
    /// In sectors of 512 bytes.
    length: u64,
    status: i32,
    next: u32,
    kind: [u8; 16],
}

const _: () = assert!(size_of::<Target>() == 40);

/// The kernel's device-mapper.
#[derive(Debug)]
pub(crate) struct DeviceMapper(File);

impl DeviceMapper {
    /// Opens it. `dev` is `/dev`; the node is there once the module `dm_mod` is loaded.
    pub(crate) fn open(dev: &Path) -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).open(dev.join("mapper/control")).map(Self)
    }

    /// Makes a read-only device with one target, which begins at its start. Returns its name in `/dev`. `length` is in sectors of
    /// 512 bytes.
    pub(crate) fn create(&self, name: &str, kind: &str, length: u64, parameters: &str) -> io::Result<String> {
        self.call(Request::Create, &mut message(name, 0, None)?)?;
        let load = || -> io::Result<String> {
            self.call(Request::Load, &mut message(name, READ_ONLY, Some((kind, length, parameters)))?)?;
            let mut resume = message(name, READ_ONLY, None)?;
            self.call(Request::Resume, &mut resume)?;
            let header = Header::read_from_prefix(resume.as_bytes()).map_err(|_| io::ErrorKind::InvalidData)?.0;
            Ok(format!("dm-{}", minor(header.device)))
        };
        load().inspect_err(|_| {
            // The error that led here is the one to tell.
            let _ = message(name, 0, None).and_then(|mut remove| self.call(Request::Remove, &mut remove));
        })
    }

    /// What the device's target says of its state.
    pub(crate) fn status(&self, name: &str) -> io::Result<String> {
        let mut buffer = message(name, NO_FLUSH, None)?;
        self.call(Request::Status, &mut buffer)?;
        status_in(buffer.as_bytes()).ok_or_else(|| io::Error::other("the kernel gave no status"))
    }

    fn call(&self, request: Request, buffer: &mut [u64]) -> io::Result<()> {
        // SAFETY: every request of device-mapper reads and writes `data_size` bytes at most through the pointer, and keeps
        // nothing; `message` sets that to the length of the buffer. Other kinds of file answer ENOTTY.
        unsafe { rustix::ioctl::ioctl(&self.0, Call { request, buffer }) }.map_err(Into::into)
    }
}

/// A request with its buffer, which begins with a [`Header`].
struct Call<'a> {
    request: Request,
    buffer: &'a mut [u64],
}

// SAFETY: the pointer is to a buffer of our own that outlives the call, aligned for a `Header`, and that the kernel may change
// (`IS_MUTATING`). Nothing is made of the pointer afterwards.
unsafe impl Ioctl for Call<'_> {
    type Output = ();
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        opcode::read_write::<Header>(TYPE, self.request as u8)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.buffer.as_mut_ptr().cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}

/// The buffer of a request: about the device with this name, with one target (its kind, length and parameters) if there is one.
fn message(name: &str, flags: u32, target: Option<(&str, u64, &str)>) -> io::Result<Vec<u64>> {
    let mut buffer = vec![0_u64; BUFFER / size_of::<u64>()];
    let mut header = Header::new_zeroed();
    header.version = [4, 0, 0];
    (header.data_size, header.data_start) = (BUFFER as u32, size_of::<Header>() as u32);
    header.target_count = u32::from(target.is_some());
    header.flags = flags;
    put(&mut header.name, name)?;
    let mut bytes = header.as_bytes().to_vec();
    if let Some((kind, length, parameters)) = target {
        let mut target = Target::new_zeroed();
        target.length = length;
        put(&mut target.kind, kind)?;
        bytes.extend(target.as_bytes());
        bytes.extend(parameters.as_bytes());
    }
    // A zero is left at the end.
    let place = buffer.as_mut_bytes().get_mut(..bytes.len()).filter(|place| place.len() < BUFFER);
    place.ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(&bytes);
    Ok(buffer)
}

/// Puts a text into a field, with at least one zero behind it.
fn put(field: &mut [u8], text: &str) -> io::Result<()> {
    let place = field.get_mut(..text.len()).ok_or(io::ErrorKind::InvalidInput)?;
    place.copy_from_slice(text.as_bytes());
    if field.last() == Some(&0) { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// The status of the first target in an answer.
fn status_in(answer: &[u8]) -> Option<String> {
    let (header, _) = Header::read_from_prefix(answer).ok()?;
    if header.flags & BUFFER_FULL != 0 || header.target_count == 0 {
        return None;
    }
    let status = answer.get(header.data_start as usize..)?.get(size_of::<Target>()..)?;
    let end = status.iter().position(|byte| *byte == 0)?;
    Some(String::from_utf8_lossy(status.get(..end)?).into_owned())
}

/// The minor number in a device number as the kernel passes it (`huge_encode_dev`).
fn minor(device: u64) -> u64 {
    (device & 0xff) | ((device >> 12) & 0xf_ff00)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_laid_out_as_the_kernel_reads_it() {
        let words = message("rocbed-root", READ_ONLY, Some(("verity", 16, "1 7:0"))).unwrap();
        let bytes = words.as_bytes();
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!([0, 4, 8, 12, 16, 20, 28].map(number), [4, 0, 0, 4096, 312, 1, 1]);
        assert_eq!(&bytes[48..60], b"rocbed-root\0");
        // The target: from sector 0, 16 of them, its kind and its parameters.
        assert_eq!([312, 320, 328, 332].map(number), [0, 16, 0, 0]);
        assert_eq!(&bytes[336..343], b"verity\0");
        assert_eq!(&bytes[352..358], b"1 7:0\0");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(message(&"x".repeat(128), 0, None).is_err());
        assert!(message("x", 0, Some(("a-kind-with-many-letters", 1, ""))).is_err());
        assert!(message("x", 0, Some(("verity", 1, &"0".repeat(BUFFER - 312 - 40)))).is_err());
        assert!(message("x", 0, Some(("verity", 1, &"0".repeat(BUFFER - 312 - 41)))).is_ok());
    }

    #[test]
    fn the_status_follows_its_target() {
        let words = message("x", 0, Some(("verity", 16, "C"))).unwrap();
        assert_eq!(status_in(words.as_bytes()).as_deref(), Some("C"));
        for (flags, target) in [(BUFFER_FULL, Some(("verity", 16, "C"))), (0, None)] {
            assert_eq!(status_in(message("x", flags, target).unwrap().as_bytes()), None);
        }
        assert_eq!(status_in(&words.as_bytes()[..311]), None);
    }

    #[test]
    fn numbers_of_devices_are_those_of_their_names() {
        assert_eq!([0xfd00, 0xfd07, 0x10_fd01].map(minor), [0, 7, 257]);
    }
}
