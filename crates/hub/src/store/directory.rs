//! [`DataDir`]: where everything is. One hub at a time has it.
//!
//! ```text
//! lock               held while a hub runs
//! hub.sqlite         jobs, leases, results, workers, hashes of tokens
//! join-token         what new workers show; readable by the hub's user only
//! bundles/ab/abcd... result bundles, by SHA-256
//! logs/07/7-1.log    log of job number 7, attempt 1
//! uploads/           what is being uploaded
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::HubError;
use crate::token::new_token;

/// The data directory of a running hub.
#[derive(Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
    /// Locked as long as it is open; the kernel unlocks it however we end.
    _lock: File,
}

impl DataDir {
    /// Makes what is missing, and takes the directory for this process.
    pub(crate) fn open(root: &Path) -> Result<Self, HubError> {
        for directory in [root.to_owned(), root.join("bundles"), root.join("logs"), root.join("uploads")] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o750)
                .create(&directory)
                .map_err(HubError::io("create", &directory))?;
        }
        let path = root.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(HubError::io("open", &path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { root: root.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(HubError::InUse(root.to_owned())),
            Err(error) => Err(HubError::io("lock", &path)(error.into())),
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

    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    pub(crate) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    /// The join token. It is kept as it is, because each start shows it; made at the first.
    pub(crate) fn join_token(&self) -> Result<String, HubError> {
        let path = self.root.join("join-token");
        match fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(HubError::io("read", &path)(error)),
        }
        let token = new_token("join")?;
        let draft = self.root.join("join-token.new");
        let write = || {
            let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
            writeln!(file, "{token}")?;
            file.sync_all()?;
            fs::rename(&draft, &path)
        };
        write().map_err(HubError::io("write", &path))?;
        Ok(token)
    }
}

/// Makes sure that a name in a directory survives a power cut.
pub(crate) fn sync_directory(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
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
    fn the_join_token_stays() -> Result<(), Box<dyn std::error::Error>> {
        use std::os::unix::fs::PermissionsExt;
        let temp = tempfile::tempdir()?;
        let data = DataDir::open(temp.path())?;
        let token = data.join_token()?;
        assert_eq!(data.join_token()?, token);
        assert_eq!(fs::metadata(temp.path().join("join-token"))?.permissions().mode() & 0o777, 0o600);
        Ok(())
    }
}
