//! Free space of a mounted file system.

use std::io;
use std::path::Path;

/// Space in a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Free space for users without privileges.
    pub free: u64,
    /// Total size.
    pub total: u64,
}

impl DiskSpace {
    /// Returns the space of the file system that holds `path`: statvfs(3).
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = rustix::fs::statvfs(path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Self { free: bytes(found.f_bavail), total: bytes(found.f_blocks) })
    }
}
