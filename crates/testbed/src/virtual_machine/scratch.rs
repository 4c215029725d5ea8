//! The disk that takes what a virtual machine writes: a sparse file with an empty ext4.
//!
//! The file has no name, so it is gone when this process and QEMU are, however they end. QEMU opens it through this
//! process's descriptor.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use fsimage::FileTree;
use fsimage::ext4::{self, Ext4Options, Inodes, Journal, OnErrors, Size};
use fsimage::{Metadata, Timestamp};
use progress::Silent;

use crate::Error;

/// Bytes of the disk for each inode, as mke2fs has it.
const BYTES_PER_INODE: u64 = 16 << 10;

/// Label of its file system, by which the machine recognises it.
pub const LABEL: &str = "rocbed-testbed";

/// A disk.
#[derive(Debug)]
pub(crate) struct ScratchDisk {
    file: File,
    /// UUID of its file system, by which the machine finds it.
    uuid: [u8; 16],
}

impl ScratchDisk {
    /// Makes a disk of this size in a directory.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn make(directory: &Path, size: u64) -> Result<Self, Error> {
        let step = || format!("making a disk of {} MiB in {}", size >> 20, directory.display());
        let file = tempfile::tempfile_in(directory).map_err(Error::step(step()))?;
        let mut uuid = [0; 16];
        rustix::rand::getrandom(&mut uuid, rustix::rand::GetRandomFlags::empty()).map_err(Error::step(step()))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let options = Ext4Options {
            size: Size::Given(size),
            label: LABEL.into(),
            inodes: Inodes::PerBytes(BYTES_PER_INODE),
            // After a restart, the machine finds what it wrote before.
            journal: Journal::Bytes(16 << 20),
            on_errors: OnErrors::ReadOnly,
            ..Ext4Options::new(uuid, now)
        };
        let tree = FileTree::new(Metadata::root(0o755, Timestamp::from_seconds(now.cast_signed())));
        ext4::write(&tree, &file, 0, &options, &Silent)
            .map_err(|error| Error::step(step())(std::io::Error::other(error.to_string())))?;
        Ok(Self { file, uuid })
    }

    /// A path by which processes of this user can open it as long as this one lives.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }

    /// The UUID in the usual form.
    pub(crate) fn uuid(&self) -> String {
        let digits: String = self.uuid.iter().map(|byte| format!("{byte:02x}")).collect();
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| digits.get(part).unwrap_or_default().to_owned());
        parts.join("-")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_large_disk_is_a_small_file_without_a_name() {
        let directory = tempfile::tempdir().unwrap();
        let disk = ScratchDisk::make(directory.path(), 16 << 30).unwrap();
        let metadata = disk.file.metadata().unwrap();
        assert_eq!(metadata.len(), 16 << 30);
        assert!(metadata.blocks() * 512 < 64 << 20, "{} blocks", metadata.blocks());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        let mut reader = ext4::Reader::open(File::open(disk.path()).unwrap(), 0).unwrap();
        assert_eq!(reader.superblock().uuid, disk.uuid);
        assert!(reader.entries(ext4::Limits::default()).is_ok());
        assert_eq!(disk.uuid().len(), 36);
    }
}
