//! Compressed files that are made from a result's bundle and kept beside its log, so that a page need not read the bundle.
//! They can be made again, so they do not need to survive a power cut.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use durable::Readers;

fn path(root: &Path, job: i64, suffix: &str) -> PathBuf {
    root.join(format!("{:02x}", job & 0xff)).join(format!("{job}.{suffix}.zst"))
}

/// Stores a file of a job.
pub(super) fn keep(root: &Path, job: i64, suffix: &str, content: &[u8]) -> io::Result<()> {
    let path = path(root, job, suffix);
    let directory = path.parent().ok_or(io::ErrorKind::InvalidFilename)?;
    fs::create_dir_all(directory)?;
    durable::replace_unsynced(&path, &zstd::encode_all(content, 3)?, Readers::Owner)
}

/// Opens the file of a job, as it is compressed.
pub(super) fn open(root: &Path, job: i64, suffix: &str) -> io::Result<Option<File>> {
    match File::open(path(root, job, suffix)) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
