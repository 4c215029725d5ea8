//! cpio archives in the "newc" format, as the kernel unpacks them for an initramfs ("initramfs buffer format" in the
//! kernel's documentation; cpio(5)).
//!
//! An entry is a header of 110 characters, the magic number and 13 numbers of eight hexadecimal digits, then the name
//! with a zero byte, then the content; name and content are padded with zeros to a multiple of four bytes.

mod read;
mod write;

pub use read::{Archive, Limits, ReadError, read};
pub use write::{CpioReport, WriteError, write};

/// Size of a header in bytes.
const HEADER: usize = 110;
/// Name of the entry that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";
/// Archives are padded to a multiple of this many bytes.
const RECORD: u64 = 512;

/// File types as the mode field has them.
mod file_type {
    pub(super) const MASK: u32 = 0o170_000;
    pub(super) const SOCKET: u32 = 0o140_000;
    pub(super) const SYMLINK: u32 = 0o120_000;
    pub(super) const FILE: u32 = 0o100_000;
    pub(super) const BLOCK_DEVICE: u32 = 0o060_000;
    pub(super) const DIRECTORY: u32 = 0o040_000;
    pub(super) const CHAR_DEVICE: u32 = 0o020_000;
    pub(super) const FIFO: u32 = 0o010_000;
}
