//! [`RootImage`]: what the disk, the kernel's command line and the record of a build say about `root.img`.

use diskimage::Guid;
use sha256::Digest;
use verity::Protection;

/// Digests and size of the root partition's content: a file system, and behind it the hash tree over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootImage {
    /// Digest of `root.img`.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// What the kernel checks the file system with: the root hash, and where the tree is.
    pub protection: Protection,
}

impl RootImage {
    /// The root partition's UUID. It is derived from the content, so another root cannot be mounted in its place.
    pub fn partition(&self) -> Guid {
        Guid::from_digest(&self.sha256, "rocbed root partition")
    }

    /// The word for the kernel's command line by which the appliance has each block of the root checked.
    pub fn cmdline_word(&self) -> String {
        format!("rocbed.root-verity={}", self.protection)
    }
}
