//! [`CaseFiles`]: storage of each result's `junit.xml`.

use std::io;
use std::path::PathBuf;

use crate::store::derived;

const SUFFIX: &str = "junit";

/// The directory of `junit.xml` files, compressed.
#[derive(Debug, Clone)]
pub(crate) struct CaseFiles {
    root: PathBuf,
}

impl CaseFiles {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Stores a file.
    pub(crate) fn keep(&self, job: i64, junit: &[u8]) -> io::Result<()> {
        derived::keep(&self.root, job, SUFFIX, junit)
    }

    /// Reads the file of a job.
    pub(crate) fn read(&self, job: i64) -> io::Result<Option<Vec<u8>>> {
        derived::open(&self.root, job, SUFFIX)?.map(zstd::decode_all).transpose()
    }
}
