//! Atomic and durable replacement of files: a reader, or a restart after a crash, sees the old content or the new one.
//!
//! A new file is written beside its final place, synced, and renamed over the old one; then the directory is synced, as
//! a power cut may undo the rename otherwise (rename(2), fsync(2)).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Suffix of temporary files.
pub const PARTIAL: &str = ".part";

/// Characters of the final name in the temporary name: at most 160 bytes of UTF-8.
const SHOWN: usize = 40;

/// Number of files created so far, which makes temporary names unique.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Read permission of a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// As the process's umask allows.
    Everyone,
    /// Only the owner: for tokens, keys and the output of tests.
    Owner,
}

impl Readers {
    fn mode(self) -> u32 {
        match self {
            Self::Everyone => 0o666,
            Self::Owner => 0o600,
        }
    }
}

/// Creates or replaces a file, and creates its directory. The old content is kept if anything fails.
pub fn replace(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let directory = directory_of(path);
    fs::create_dir_all(directory)?;
    write_and_rename(path, bytes, readers, File::sync_all)?;
    sync_directory(directory)
}

/// Like [`replace`], but without syncing, and the directory must exist. For files that can be recreated and need not
/// survive a power cut, or that are in memory.
pub fn replace_unsynced(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    write_and_rename(path, bytes, readers, |_| Ok(()))
}

fn write_and_rename(
    path: &Path,
    bytes: &[u8],
    readers: Readers,
    sync: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let partial = partial(path);
    let write = || {
        // A crash left a file with this name; its mode may be another one.
        remove_if_there(&partial)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(readers.mode()).open(&partial)?;
        file.write_all(bytes)?;
        sync(&file)?;
        fs::rename(&partial, path)
    };
    write().inspect_err(|_| {
        // Best effort: the error that matters is the one returned.
        let _ = fs::remove_file(&partial);
    })
}

/// Moves a file, even across file systems, and makes its new name durable. Creates the directory.
pub fn take(from: &Path, to: &Path) -> io::Result<()> {
    let directory = directory_of(to);
    fs::create_dir_all(directory)?;
    if from == to {
        return File::open(to)?.sync_all().and_then(|()| sync_directory(directory));
    }
    match fs::rename(from, to) {
        Ok(()) => File::open(to)?.sync_all()?,
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let partial = partial(to);
            fs::copy(from, &partial)?;
            File::open(&partial)?.sync_all()?;
            fs::rename(&partial, to)?;
        }
        Err(error) => return Err(error),
    }
    sync_directory(directory)?;
    // No longer needed; after a rename it does not exist.
    remove_if_there(from)
}

/// Removes a file durably; a missing file is not an error.
pub fn remove(path: &Path) -> io::Result<()> {
    remove_if_there(path)?;
    sync_directory(directory_of(path))
}

/// Makes the names in a directory durable (fsync). A missing directory is not an error.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    match File::open(directory) {
        Ok(directory) => directory.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A temporary name: hidden, beside the final place, and unique to this call.
fn partial(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // A name may have 255 bytes, and the temporary name is longer than the final one.
    let shown: String = name.chars().take(SHOWN).collect();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".{shown}.{}-{number}{PARTIAL}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_replaced_file_is_whole_and_its_owners() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("a/token");
        replace(&path, b"one", Readers::Owner)?;
        replace(&path, b"two", Readers::Owner)?;
        assert_eq!(fs::read(&path)?, b"two");
        assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
        replace_unsynced(&path, b"three", Readers::Everyone)?;
        assert_eq!(fs::read(&path)?, b"three");
        assert_eq!(fs::read_dir(directory.path().join("a"))?.count(), 1);
        remove(&path)?;
        remove(&path)?;
        assert!(!path.exists());
        Ok(())
    }

    #[test]
    fn a_name_may_be_as_long_as_names_can_be() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        for name in ["x".repeat(255), "ü".repeat(127), "日".repeat(85)] {
            let path = directory.path().join(name);
            replace(&path, b"old", Readers::Everyone)?;
            replace(&path, b"new", Readers::Everyone)?;
            assert_eq!(fs::read(&path)?, b"new");
        }
        assert_eq!(fs::read_dir(directory.path())?.count(), 3);
        Ok(())
    }

    #[test]
    fn a_failure_keeps_the_old_file_and_leaves_nothing_beside_it() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        // A directory with this name cannot be replaced by a file.
        let path = directory.path().join("name");
        fs::create_dir(&path)?;
        assert!(replace(&path, b"one", Readers::Everyone).is_err());
        assert!(path.is_dir());
        assert_eq!(fs::read_dir(directory.path())?.count(), 1);
        Ok(())
    }

    #[test]
    fn a_taken_file_is_there_once() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let (from, to) = (directory.path().join("from"), directory.path().join("box/to"));
        fs::write(&from, "bundle")?;
        take(&from, &to)?;
        assert_eq!((from.exists(), fs::read(&to)?), (false, b"bundle".to_vec()));
        // /dev/shm is on another file system than the disk.
        let memory = Path::new("/dev/shm").join(format!("rocbed-{}", std::process::id()));
        fs::write(&memory, "other")?;
        take(&memory, &to)?;
        assert_eq!((memory.exists(), fs::read(&to)?), (false, b"other".to_vec()));
        Ok(())
    }
}
