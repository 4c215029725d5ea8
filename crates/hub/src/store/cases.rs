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

    /// Reads the file of a job. `None` if there is none, also if a power cut has left the beginning of one.
    pub(crate) fn read(&self, job: i64) -> io::Result<Option<Vec<u8>>> {
        match derived::open(&self.root, job, SUFFIX)?.map(zstd::decode_all).transpose() {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            read => read,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn a_file_that_a_power_cut_has_shortened_is_not_there() -> io::Result<()> {
        let temp = tempfile::tempdir()?;
        let files = CaseFiles::new(temp.path().to_owned());
        assert_eq!(files.read(7)?, None);
        files.keep(7, b"<testsuites/>")?;
        assert_eq!(files.read(7)?.as_deref(), Some(&b"<testsuites/>"[..]));
        let path = temp.path().join("07/7.junit.zst");
        for length in [fs::metadata(&path)?.len() - 1, 5, 0] {
            File::options().write(true).open(&path)?.set_len(length)?;
            assert_eq!(files.read(7)?, None, "{length} bytes");
        }
        Ok(())
    }
}
