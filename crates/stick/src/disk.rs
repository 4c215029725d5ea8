//! What an image is written to.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use diskimage::SectorSize;
use rustix::fs::{Advice, FallocateFlags};

use crate::buffer::Buffer;
use crate::ioctl;

/// Bytes that may wait in the page cache where it cannot be passed by, so that progress stays honest.
const UNSYNCED: u64 = 32 << 20;

/// Bytes that are zeroed at once.
const ZEROS: u64 = 4 << 20;

/// A device, or something that stands for one. Places and lengths are multiples of its sector size.
pub trait Disk: Sync {
    /// Bytes.
    fn size(&self) -> u64;
    /// Bytes in a sector.
    fn sector_size(&self) -> SectorSize;
    /// Reads what the device has, not what the kernel remembers.
    ///
    /// # Errors
    /// What the device says.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()>;
    /// Writes; the device may keep it in its own cache until [`flush`](Self::flush).
    ///
    /// # Errors
    /// What the device says.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Makes a range read as zeros.
    ///
    /// # Errors
    /// What the device says.
    fn zero(&self, range: Range<u64>) -> io::Result<()>;
    /// Waits until all that was written will survive a power cut.
    ///
    /// # Errors
    /// What the device says.
    fn flush(&self) -> io::Result<()>;
}

/// An open block device or regular file.
#[derive(Debug)]
pub struct FileDisk {
    file: File,
    size: u64,
    sector_size: SectorSize,
    /// Opened with `O_DIRECT`.
    direct: bool,
    block_device: bool,
    unsynced: AtomicU64,
}

impl FileDisk {
    /// A block device of that size.
    pub fn device(file: File, size: u64, sector_size: SectorSize, direct: bool) -> Self {
        Self { file, size, sector_size, direct, block_device: true, unsynced: AtomicU64::new(0) }
    }

    /// A regular file that has its size already.
    ///
    /// # Errors
    /// What asking for its size says.
    pub fn file(file: File, sector_size: SectorSize, direct: bool) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self { file, size, sector_size, direct, block_device: false, unsynced: AtomicU64::new(0) })
    }

    /// Has the kernel, and so everybody else, see the new partitions. For a file there is nothing to be done.
    ///
    /// # Errors
    /// What the kernel says: a partition may be in use again already.
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
            // What is written already can be forgotten; then it comes from the device.
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
        // Whatever the reason, writing zeros does it, or says what is wrong.
        zeroed.or_else(|_| self.write_zeros(range))
    }

    fn flush(&self) -> io::Result<()> {
        self.unsynced.store(0, Ordering::Relaxed);
        self.file.sync_data()
    }
}
