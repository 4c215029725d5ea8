//! [`Disk`]: the device that an image is written to.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use diskimage::SectorSize;
use rustix::fs::{Advice, FallocateFlags};

use crate::buffer::Buffer;
use crate::ioctl;

/// The most bytes that may wait in the page cache if it cannot be bypassed, so that the progress display stays
/// honest.
const UNSYNCED: u64 = 32 << 20;

/// Bytes that are zeroed at once.
const ZEROS: u64 = 4 << 20;

/// A device, or a substitute for one. Offsets and lengths are multiples of its sector size.
pub trait Disk: Sync {
    /// The size in bytes.
    fn size(&self) -> u64;
    /// The sector size.
    fn sector_size(&self) -> SectorSize;
    /// Reads from the device itself, not from the kernel's cache.
    ///
    /// # Errors
    /// If the device reports an error.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()>;
    /// Writes; the device may keep the data in its own cache until [`flush`](Self::flush).
    ///
    /// # Errors
    /// If the device reports an error.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Makes a range read as zeros.
    ///
    /// # Errors
    /// If the device reports an error.
    fn zero(&self, range: Range<u64>) -> io::Result<()>;
    /// Waits until all written data will survive a power cut.
    ///
    /// # Errors
    /// If the device reports an error.
    fn flush(&self) -> io::Result<()>;
}

/// An open block device or regular file.
#[derive(Debug)]
pub struct FileDisk {
    file: File,
    size: u64,
    sector_size: SectorSize,
    /// Whether it was opened with `O_DIRECT`.
    direct: bool,
    block_device: bool,
    unsynced: AtomicU64,
}

impl FileDisk {
    /// A block device of this size in bytes.
    pub fn device(file: File, size: u64, sector_size: SectorSize, direct: bool) -> Self {
        Self { file, size, sector_size, direct, block_device: true, unsynced: AtomicU64::new(0) }
    }

    /// A regular file that has its final size already.
    ///
    /// # Errors
    /// If its size cannot be determined.
    pub fn file(file: File, sector_size: SectorSize, direct: bool) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self { file, size, sector_size, direct, block_device: false, unsynced: AtomicU64::new(0) })
    }

    /// Makes the kernel, and so all programs, see the new partitions. Does nothing for a file.
    ///
    /// # Errors
    /// The kernel's error: a partition may be in use again already.
    pub fn reread_partitions(&self) -> io::Result<()> {
        if !self.block_device {
            return Ok(());
        }
        match ioctl::reread_partitions(&self.file) {
            // A device that never shows partitions, such as a loop device without -P.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            other => other,
        }
    }

    fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        let zeros = Buffer::new(ZEROS.min(range.end - range.start) as usize);
        let mut at = range.start;
        while at < range.end {
            let part = ZEROS.min(range.end - at);
            self.write_at(zeros.bytes().get(..part as usize).unwrap_or_default(), at)?;
            at += part;
        }
        Ok(())
    }
}

impl Disk for FileDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn sector_size(&self) -> SectorSize {
        self.sector_size
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        if !self.direct {
            // Drops written data from the page cache, so that it is read from the device.
            let length = std::num::NonZeroU64::new(buffer.len() as u64);
            rustix::fs::fadvise(&self.file, at, length, Advice::DontNeed)?;
        }
        self.file.read_exact_at(buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, at)?;
        if !self.direct && self.unsynced.fetch_add(bytes.len() as u64, Ordering::Relaxed) > UNSYNCED {
            self.flush()?;
        }
        Ok(())
    }

    fn zero(&self, range: Range<u64>) -> io::Result<()> {
        let zeroed = if self.block_device {
            ioctl::zero_out(&self.file, range.clone())
        } else {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let length = range.end.saturating_sub(range.start);
            rustix::fs::fallocate(&self.file, flags, range.start, length).map_err(Into::into)
        };
        // If that failed for any reason, write zeros, which works or reports the problem.
        zeroed.or_else(|_| self.write_zeros(range))
    }

    fn flush(&self) -> io::Result<()> {
        self.unsynced.store(0, Ordering::Relaxed);
        self.file.sync_data()
    }
}
