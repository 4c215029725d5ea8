//! Temporary files and directories that are recognised as abandoned when their owner has died.
//!
//! The owner holds an exclusive `flock` on the file while writing it, and the kernel releases that lock when the
//! process ends, for whatever reason. Process ids would not work: containers that share a cache number their processes
//! alike.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, IFlags, flock, ioctl_getflags, ioctl_setflags};

use crate::StoreError;

/// Creates `path` and its parents; new ones are accessible only for this user.
pub(crate) fn create_dir(path: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(path).map_err(StoreError::io("creating", path))
}

/// Creates a directory that only its owner can enter: root directories hold setuid programs.
pub(crate) fn create_private_dir(path: &Path) -> Result<(), StoreError> {
    create_dir(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(StoreError::io("closing to others", path))
}

/// Asks the file system to spread new subdirectories over the disk (ext4(5), the `T` attribute of chattr(1)). ext4
/// does not reuse an inode for a while after its file was removed, and examines each one that it skips: a root
/// directory made beside a removed one takes a third longer to unpack.
pub(crate) fn spread(directory: &Path) {
    let Ok(directory) = File::open(directory) else { return };
    if let Ok(flags) = ioctl_getflags(&directory)
        && !flags.contains(IFlags::TOPDIR)
    {
        // File systems without this attribute do not need it.
        let _ = ioctl_setflags(&directory, flags | IFlags::TOPDIR);
    }
}

/// A new unique name in `directory`.
fn fresh_name(directory: &Path) -> PathBuf {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    directory.join(format!("{}-{nanos:x}-{count}", process::id()))
}

/// Whether `path` still refers to `file`.
pub(crate) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok(ours.dev() == there.dev() && ours.ino() == there.ino()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// A file that is removed when dropped unless it was [persisted](TempFile::persist).
#[derive(Debug)]
pub(crate) struct TempFile {
    pub(crate) file: File,
    path: PathBuf,
    persisted: bool,
}

impl TempFile {
    pub(crate) fn new(directory: &Path) -> Result<Self, StoreError> {
        loop {
            let path = fresh_name(directory);
            let file = match File::options().read(true).write(true).create_new(true).open(&path) {
                Ok(file) => file,
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(StoreError::io("creating", &path)(e)),
            };
            flock(&file, FlockOperation::LockExclusive).map_err(|e| StoreError::io("locking", &path)(e.into()))?;
            // A clean-up may have taken it for an abandoned one before it was locked.
            if is_at(&file, &path).map_err(StoreError::io("examining", &path))? {
                return Ok(Self { file, path, persisted: false });
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until the content is on the disk.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(|e| StoreError::writing(&self.path, 0, e))
    }

    /// Renames the file to its final name, replacing an existing file.
    pub(crate) fn persist(mut self, target: &Path) -> Result<(), StoreError> {
        fs::rename(&self.path, target).map_err(StoreError::io("renaming a finished file to", target))?;
        self.persisted = true;
        Ok(())
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.persisted {
            // A failure is harmless: the next process to open the store tries again.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes `bytes` to `target` atomically: a reader sees the old content or the new, whole; after a power cut only if
/// `durable`.
pub(crate) fn write_atomically(temp_dir: &Path, target: &Path, bytes: &[u8], durable: bool) -> Result<(), StoreError> {
    let mut temp = TempFile::new(temp_dir)?;
    temp.file.write_all(bytes).map_err(|e| StoreError::writing(target, bytes.len() as u64, e))?;
    if durable {
        temp.sync()?;
    }
    temp.persist(target)
}

/// Removes write permission: content stored under its digest must not change.
pub(crate) fn make_read_only(file: &File) -> io::Result<()> {
    let mode = file.metadata()?.permissions().mode();
    file.set_permissions(Permissions::from_mode(mode & !0o222))
}

/// Removes everything in `directory` that is not locked. What cannot be removed is left for [pruning]: removing a
/// directory whose files belong to subordinate user ids needs their owner.
///
/// [pruning]: crate::Store::prune_with
pub(crate) fn remove_stale(directory: &Path) -> Result<(), StoreError> {
    for (path, _locked) in stale(directory)? {
        match remove_all(&path) {
            Err(e) if ![io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied].contains(&e.kind()) => {
                return Err(StoreError::io("removing an unfinished", &path)(e));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Entries of `directory` that no other process has locked. They are locked by this process as long as the returned
/// files are open, so that a process which has just created one notices.
pub(crate) fn stale(directory: &Path) -> Result<Vec<(PathBuf, File)>, StoreError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(StoreError::io("reading", directory))? {
        let path = entry.map_err(StoreError::io("reading", directory))?.path();
        match File::open(&path) {
            Ok(file) if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() => found.push((path, file)),
            // Locked, already removed, or owned by another user.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(found)
}

/// Removes a file or a whole directory, including directories without write permission.
pub(crate) fn remove_all(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.is_dir() {
        return fs::remove_file(path);
    }
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            fs::remove_dir_all(path)
        }
        result => result,
    }
}

/// Gives the owner all permissions on a directory and those below it.
fn open_up(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}
