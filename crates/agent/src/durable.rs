//! Files that are whole after a power cut: written beside, synced, renamed, and the directory synced (rename(2)).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The name of a file that is not whole yet.
pub(crate) const PARTIAL: &str = "partial";

/// Replaces a file, readable by its owner only; the directory is made.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = directory_of(path);
    fs::create_dir_all(directory)?;
    let partial = partial(path);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&partial, path)?;
    sync(directory)
}

/// Moves a file, over file systems too.
pub(crate) fn take(from: &Path, to: &Path) -> io::Result<()> {
    let directory = directory_of(to);
    fs::create_dir_all(directory)?;
    if from == to {
        return File::open(to)?.sync_all().and_then(|()| sync(directory));
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
    sync(directory)?;
    // Not needed any more; if it was renamed it is not there.
    match fs::remove_file(from) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes a file for good; one that is not there is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => sync(directory_of(path)),
    }
}

fn sync(directory: &Path) -> io::Result<()> {
    match File::open(directory) {
        Ok(directory) => directory.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(PARTIAL);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_written_is_whole_and_its_owners() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("a/token");
        write(&path, b"one")?;
        write(&path, b"two")?;
        assert_eq!(fs::read(&path)?, b"two");
        assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path().join("a"))?.count(), 1);
        remove(&path)?;
        remove(&path)?;
        assert!(!path.exists());
        Ok(())
    }

    #[test]
    fn what_is_taken_is_there_once() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let (from, to) = (directory.path().join("from"), directory.path().join("box/to"));
        fs::write(&from, "bundle")?;
        take(&from, &to)?;
        assert_eq!((from.exists(), fs::read(&to)?), (false, b"bundle".to_vec()));
        // Memory is another file system than the disk's.
        let memory = Path::new("/dev/shm").join(format!("rocbed-{}", std::process::id()));
        fs::write(&memory, "other")?;
        take(&memory, &to)?;
        assert_eq!((memory.exists(), fs::read(&to)?), (false, b"other".to_vec()));
        Ok(())
    }
}
