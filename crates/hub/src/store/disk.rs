//! Free disk space.

use std::io;
use std::path::Path;

/// Free bytes for unprivileged users on a path's file system.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let about = rustix::fs::statvfs(path)?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}
