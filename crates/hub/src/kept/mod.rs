//! Keeping the packages that tested runs had installed, so that a run can be made again when the archive has them no more.
//!
//! The files come from the archive that the hub [watches](crate::ReadArchive), by the digests of its signed indexes; from
//! workers come only names and versions, by which they are chosen. They are kept beside the package files that jobs bring
//! along, and given to jobs that want a version which the archive has no more, in the same way.

mod again;
mod run;
mod tables;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use advice::Advice;
use protocol::InstalledPackage;
use sha256::Digest;

pub(crate) use tables::{Kept, TABLE, bytes, files_of, find, is_kept, list_again, remove};

/// A package file, as a signed index of the archive names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveFile {
    /// The package, with its source.
    pub package: InstalledPackage,
    /// Path below the mirror's address.
    pub path: String,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// Length in bytes.
    pub size: u64,
}

/// The package files of an archive.
pub trait ArchiveFiles: Send + Sync + 'static {
    /// Those of some packages that its indexes name, in the state that was read last with a signature that was checked. `None`
    /// if none was read yet.
    fn find(&self, packages: &[InstalledPackage]) -> Option<Vec<ArchiveFile>>;

    /// Fetches a file into a directory, and returns its path. It blocks, for minutes if it has to.
    ///
    /// # Errors
    /// If the mirror has not the file with this digest, or cannot be reached.
    fn fetch(&self, file: &ArchiveFile, directory: &Path) -> Result<PathBuf, Advice>;
}

/// Which packages are kept.
#[derive(Clone)]
pub struct KeepOptions {
    /// Where they come from.
    pub files: Arc<dyn ArchiveFiles>,
    /// Most bytes of all of them.
    pub limit: u64,
}

impl fmt::Debug for KeepOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeepOptions").field("limit", &self.limit).finish_non_exhaustive()
    }
}
