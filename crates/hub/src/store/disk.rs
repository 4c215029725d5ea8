//! How much room there is.

use std::io;
use std::path::Path;

/// Bytes that can still be written to a path's file system without special rights.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let about = rustix::fs::statvfs(path)?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}
