//! Small files written whole or not at all.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Characters of the final name in the temporary one. In UTF-8 that is at most 160 bytes.
const SHOWN: usize = 40;

/// Files made so far: no two have the same temporary name.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Writes a file under a temporary name in the same directory and renames it into place. A reader, or the next run
/// after a crash, sees the old content or the new one.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_with(path, bytes, 0o666)
}

/// The same, for the file's owner only.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_with(path, bytes, 0o600)
}

fn write_with(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = temporary_beside(path);
    let create = || OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary);
    let written = create().and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&temporary, path)).inspect_err(|_| {
        // Best effort: the error that matters is the one being returned.
        let _ = fs::remove_file(&temporary);
    })
}

/// A name for a file in the making: hidden, beside its final place, and of this process only.
pub fn temporary_beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // A name may have 255 bytes, and this one is longer than the final one.
    let shown: String = name.chars().take(SHOWN).collect();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".{shown}.{}-{number}.part", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_be_as_long_as_names_can_be() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        for name in ["x".repeat(255), "ü".repeat(127), "日".repeat(85)] {
            let path = directory.path().join(name);
            write(&path, b"old")?;
            write(&path, b"new")?;
            assert_eq!(fs::read(&path)?, b"new");
        }
        assert_eq!(fs::read_dir(directory.path())?.count(), 3);
        Ok(())
    }
}
