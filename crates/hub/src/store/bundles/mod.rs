//! Storage of result bundles, by the SHA-256 of their content: [`BundleStore`] with two implementations, [`Directory`]
//! and [`Bucket`].

mod bucket;
mod directory;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use protocol::api::DirectUpload;
use sha256::Digest;

pub(crate) use bucket::{Bucket, Uploaded};
pub(crate) use directory::Directory;

/// Where bundles are. All methods may wait for a disk, [`BundleStore::open`] also for the network.
pub(crate) trait BundleStore: Send + Sync {
    /// Length of the bundle with this digest, if it is on this machine.
    fn size(&self, sha256: &Digest) -> io::Result<Option<u64>>;

    /// Marks a bundle on this machine as new again, because it was announced again to complete a job.
    fn renew(&self, sha256: &Digest) -> io::Result<()>;

    /// Removes a bundle that became no result from this machine, if it is older than the given time. Returns whether it
    /// was removed.
    fn remove_older(&self, sha256: &Digest, time: SystemTime) -> io::Result<bool>;

    /// Removes a bundle that became no result from this machine, if it is there.
    fn remove(&self, sha256: &Digest) -> io::Result<()>;

    /// Moves a file in as the bundle with this digest. Returns false, and leaves the file in place, if its digest
    /// differs.
    fn adopt(&self, file: &Path, sha256: &Digest) -> io::Result<bool>;

    /// Opens a bundle, wherever it is. Its content is the right one.
    fn open(&self, sha256: &Digest) -> Result<File, OpenError>;

    /// Removes what is elsewhere too, as the disk is nearly full.
    fn make_room(&self) {}

    /// Permission for a worker to upload a bundle to where it will be kept.
    fn offer(&self, _sha256: &Digest, _size: u64) -> Option<DirectUpload> {
        None
    }

    /// Length of the parts in which a worker may upload a bundle that is too large for one request.
    fn offer_parts(&self, _size: u64) -> Option<u64> {
        None
    }

    /// The bucket, if bundles are kept in one.
    fn bucket(&self) -> Option<&Bucket> {
        None
    }
}

/// The storage that all requests share.
pub(crate) type Bundles = Arc<dyn BundleStore>;

/// Reason why there is no bundle to read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// It is nowhere.
    #[error("there is no such bundle")]
    Missing,
    /// What is there is something else.
    #[error("{0}")]
    Changed(String),
    /// The storage cannot be asked now.
    #[error("{0}")]
    Away(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl OpenError {
    /// Whether the bundle may be opened later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Away(_) | Self::Io(_) => true,
            Self::Missing | Self::Changed(_) => false,
        }
    }
}
