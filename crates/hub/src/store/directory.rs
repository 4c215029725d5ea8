//! [`DataDir`]: the data directory, which only one hub uses at a time.
//!
//! ```text
//! lock               locked while a hub runs
//! hub.sqlite         jobs, leases, results, workers, hashes of tokens
//! join-token         token for new workers; readable by the hub's user only
//! bundles/ab/abcd... result bundles, by SHA-256; with a bucket, those that are not there yet
//! bundle-cache/      copies of bundles that are in the bucket
//! logs/07/7-1.log    log of job number 7, attempt 1
//! uploads/           incomplete uploads
//! packages/ab/abc... package files of jobs that are not over, by SHA-256
//! archive/           indexes of the archive that is watched
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use durable::Readers;
use rustix::fs::{FlockOperation, flock};

use crate::error::HubError;
use crate::token::new_token;

/// Subdirectories.
const OURS: [&str; 4] = ["bundles", "logs", "uploads", "packages"];

/// Files that only the hub's user may read: tokens, and the database with token digests and private data.
const SECRET: [&str; 7] =
    ["hub.sqlite", "hub.sqlite-wal", "hub.sqlite-shm", "hub.sqlite-journal", "join-token", "admin-token", "lock"];

const PRIVATE_FILE: u32 = 0o600;
const PRIVATE_DIRECTORY: u32 = 0o700;

/// The data directory of a running hub.
#[derive(Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
    /// Lock on the directory while the file is open; the kernel releases it however the process ends.
    _lock: File,
}

impl DataDir {
    /// Creates what is missing, and locks the directory for this process.
    pub(crate) fn open(root: &Path) -> Result<Self, HubError> {
        let is_ours = is_ours(root);
        for directory in std::iter::once(root.to_owned()).chain(OURS.map(|name| root.join(name))) {
            DirBuilder::new()
                .recursive(true)
                .mode(PRIVATE_DIRECTORY)
                .create(&directory)
                .map_err(HubError::io("create", &directory))?;
        }
        let path = root.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(PRIVATE_FILE)
            .open(&path)
            .map_err(HubError::io("open", &path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(HubError::InUse(root.to_owned())),
            Err(error) => return Err(HubError::io("lock", &path)(error.into())),
        }
        let data = Self { root: root.to_owned(), _lock: lock };
        data.close_to_others(is_ours);
        Ok(data)
    }

    /// Removes the permissions of other users: earlier versions left them, and so may a restored backup.
    fn close_to_others(&self, is_ours: bool) {
        let database = self.database();
        // SQLite gives its additional files the same mode. Errors are reported when the database is opened.
        let _ = OpenOptions::new().create(true).truncate(false).write(true).mode(PRIVATE_FILE).open(database);
        for name in SECRET {
            restrict(&self.root.join(name), PRIVATE_FILE);
        }
        for name in OURS {
            restrict(&self.root.join(name), PRIVATE_DIRECTORY);
        }
        if is_ours {
            restrict(&self.root, PRIVATE_DIRECTORY);
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.root.join("hub.sqlite")
    }

    pub(crate) fn bundles(&self) -> PathBuf {
        self.root.join("bundles")
    }

    pub(crate) fn bundle_cache(&self) -> PathBuf {
        self.root.join("bundle-cache")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    pub(crate) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    pub(crate) fn packages(&self) -> PathBuf {
        self.root.join("packages")
    }

    /// The join token, created at the first start. It is stored as plain text, because each start shows it.
    pub(crate) fn join_token(&self) -> Result<String, HubError> {
        let path = self.root.join("join-token");
        match fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(HubError::io("read", &path)(error)),
        }
        let token = new_token("join")?;
        let written = durable::replace(&path, format!("{token}\n").as_bytes(), Readers::Owner);
        written.map_err(HubError::io("write", &path))?;
        Ok(token)
    }
}

/// Whether the directory is only for the hub: new, empty, or used by a hub before. A shared one, such as `/tmp`, is
/// not.
fn is_ours(root: &Path) -> bool {
    const STICKY: u32 = 0o1000;
    let Ok(about) = fs::metadata(root) else { return true };
    let is_empty = || fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_none());
    about.permissions().mode() & STICKY == 0 && (root.join("lock").exists() || is_empty())
}

/// Restricts the mode of a file or directory, if it exists. On a file system without modes this does nothing, so that
/// the hub can start.
fn restrict(path: &Path, most: u32) {
    let Ok(about) = fs::metadata(path) else { return };
    let mode = about.permissions().mode() & 0o7777;
    if mode & !most == 0 && mode & 0o600 == 0o600 {
        return;
    }
    let path_shown = path.display();
    match fs::set_permissions(path, Permissions::from_mode(most)) {
        Ok(()) if mode & 0o077 != 0 => {
            tracing::warn!("others on this machine could read {path_shown}: closed to them now");
        }
        Ok(()) => {}
        Err(error) => {
            tracing::warn!(%error, "others on this machine may read {path_shown}: it cannot be closed to them");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_hub_at_a_time() -> Result<(), Box<dyn std::error::Error>> {
        let temp = tempfile::tempdir()?;
        let first = DataDir::open(temp.path())?;
        assert!(matches!(DataDir::open(temp.path()), Err(HubError::InUse(_))));
        drop(first);
        DataDir::open(temp.path())?;
        Ok(())
    }

    #[test]
    fn others_read_nothing_also_not_what_was_open_to_them() -> Result<(), Box<dyn std::error::Error>> {
        let temp = tempfile::tempdir()?;
        let root = temp.path().join("hub");
        let mode = |name: &str| fs::metadata(root.join(name)).map(|about| about.permissions().mode() & 0o777);
        drop(DataDir::open(&root)?);
        assert_eq!((mode("")?, mode("hub.sqlite")?, mode("lock")?), (0o700, 0o600, 0o600));
        // The modes that earlier versions and backups leave.
        for name in ["hub.sqlite", "hub.sqlite-wal", "hub.sqlite-shm", "join-token", "admin-token"] {
            fs::write(root.join(name), "x")?;
            fs::set_permissions(root.join(name), Permissions::from_mode(0o644))?;
        }
        fs::set_permissions(root.join("logs"), Permissions::from_mode(0o755))?;
        fs::set_permissions(&root, Permissions::from_mode(0o755))?;
        // A directory that even its owner cannot read, as an odd umask creates it.
        fs::set_permissions(root.join("bundles"), Permissions::from_mode(0o000))?;
        drop(DataDir::open(&root)?);
        for name in ["hub.sqlite", "hub.sqlite-wal", "hub.sqlite-shm", "join-token", "admin-token"] {
            assert_eq!(mode(name)?, 0o600, "{name}");
        }
        assert_eq!((mode("")?, mode("logs")?, mode("bundles")?), (0o700, 0o700, 0o700));
        // A directory shared with others stays as it is.
        let shared = temp.path().join("shared");
        fs::create_dir(&shared)?;
        fs::write(shared.join("of somebody else"), "")?;
        fs::set_permissions(&shared, Permissions::from_mode(0o755))?;
        drop(DataDir::open(&shared)?);
        assert_eq!(fs::metadata(&shared)?.permissions().mode() & 0o777, 0o755);
        Ok(())
    }

    #[test]
    fn the_join_token_stays() -> Result<(), Box<dyn std::error::Error>> {
        let temp = tempfile::tempdir()?;
        let data = DataDir::open(temp.path())?;
        let token = data.join_token()?;
        assert_eq!(data.join_token()?, token);
        assert_eq!(fs::metadata(temp.path().join("join-token"))?.permissions().mode() & 0o777, 0o600);
        Ok(())
    }
}
