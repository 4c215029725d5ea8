//! [`CaseFiles`]: storage of each result's `junit.xml`, so that a page does not need to read the whole bundle.

use std::fs;
use std::io;
use std::path::PathBuf;

/// The directory of `junit.xml` files, compressed.
#[derive(Debug, Clone)]
pub(crate) struct CaseFiles {
    root: PathBuf,
}

impl CaseFiles {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn path(&self, job: i64) -> PathBuf {
        self.root.join(format!("{:02x}", job & 0xff)).join(format!("{job}.junit.zst"))
    }

    /// Stores a file. It can be extracted from the bundle again, so it does not need to survive a power cut.
    pub(crate) fn keep(&self, job: i64, junit: &[u8]) -> io::Result<()> {
        let path = self.path(job);
        let draft = path.with_extension("new");
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(&draft, zstd::encode_all(junit, 3)?)?;
        fs::rename(draft, path)
    }

    /// Reads the file of a job.
    pub(crate) fn read(&self, job: i64) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(job)) {
            Ok(bytes) => zstd::decode_all(&bytes[..]).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
