//! Limits on unpacking a package: a small file can be made that fills any disk and memory.

use std::io::{self, Read};

/// Memory limit of a decoder in bytes. dpkg-deb uses at most 65 MiB with xz and 128 MiB with zstd.
pub(super) const MEMORY: u64 = 160 << 20;
/// The same for zstd, as the logarithm of its window: 128 MiB.
pub(super) const ZSTD_WINDOW_LOG: u32 = 27;

/// Maximum number of entries of an archive; the largest in Debian have 120,000.
pub(super) const ENTRIES: u64 = 1_000_000;
/// Maximum number of files of a control archive; about 20 names have a meaning.
pub(super) const CONTROL_FILES: usize = 1000;
/// Maximum size of a control archive in bytes; the largest in Debian have a few MiB of symbols.
pub(super) const CONTROL: u64 = 64 << 20;
/// Maximum length of a path in bytes: the kernel's limit (4095), minus room for the path of the root directory.
pub(super) const PATH: usize = 3072;
/// Maximum length of a symbolic link's target in bytes, the kernel's limit.
pub(super) const TARGET: usize = 4095;

/// Maximum size of a data archive in bytes, whatever the package says.
const DATA: u64 = 64 << 30;
/// Factor by which a package may exceed its own Installed-Size: that is computed in several ways, and without tar's
/// headers.
const FACTOR: u64 = 4;
const SLACK: u64 = 64 << 20;

/// Maximum unpacked size of a data archive in bytes, for an Installed-Size in KiB (deb-control(5)).
pub(super) fn data(installed_size: Option<u64>) -> u64 {
    installed_size.map_or(DATA, |size| size.saturating_mul(1024 * FACTOR).saturating_add(SLACK).min(DATA))
}

/// Reads from a decoder, up to a limit.
pub(super) struct Limited<R> {
    inner: R,
    limit: u64,
    left: u64,
}

impl<R: Read> Limited<R> {
    pub(super) fn new(inner: R, limit: u64) -> Self {
        Self { inner, limit, left: limit }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer).map_err(explained)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::new(io::ErrorKind::FileTooLarge, TooLarge { limit: self.limit })),
        }
        Ok(read)
    }
}

/// Error when the limit is reached.
#[derive(Debug, thiserror::Error)]
#[error(
    "it unpacks to more than {limit} bytes, the limit for what its Installed-Size says; \
     a package like this fills disks, on purpose or by mistake"
)]
struct TooLarge {
    limit: u64,
}

/// Adds an explanation to the xz decoder's error, which is only "memory limit".
fn explained(error: io::Error) -> io::Error {
    let memory = |error: &liblzma::stream::Error| *error == liblzma::stream::Error::MemLimit;
    if error.get_ref().and_then(|inner| inner.downcast_ref()).is_some_and(memory) {
        let text = format!("unpacking it takes more than {} MiB of memory, which dpkg-deb never needs", MEMORY >> 20);
        return io::Error::new(io::ErrorKind::OutOfMemory, text);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_package_s_own_size_with_room() {
        assert_eq!(data(Some(0)), SLACK);
        assert_eq!(data(Some(1 << 20)), (4 << 30) + SLACK);
        assert_eq!([data(None), data(Some(u64::MAX))], [DATA, DATA]);
    }

    #[test]
    fn what_is_within_the_limit_is_read_to_the_end() {
        let mut bytes = Vec::new();
        assert_eq!(Limited::new(&[7; 100][..], 100).read_to_end(&mut bytes).unwrap(), 100);
        let error = Limited::new(&[7; 101][..], 100).read_to_end(&mut bytes).unwrap_err();
        assert!(error.to_string().starts_with("it unpacks to more than 100 bytes"), "{error}");
    }
}
