//! [`RootImage`]: what the disk, the kernel's command line and the record of a build say about `root.img`.

use diskimage::Guid;
use sha256::Digest;

/// Digest and size of the root partition's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootImage {
    /// Digest of `root.img`.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
}

impl RootImage {
    /// The root partition's UUID. It is derived from the content, so another root cannot be mounted in its place.
    pub fn partition(&self) -> Guid {
        Guid::from_digest(&self.sha256, "rocbed root partition")
    }
}
