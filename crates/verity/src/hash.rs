//! Hashes of blocks.

use sha256::{Digest, Hasher};

/// Computes the SHA-256 of the salt and a block.
#[derive(Debug, Clone)]
pub(crate) struct BlockHasher(Hasher);

impl BlockHasher {
    pub(crate) fn new(salt: &[u8]) -> Self {
        Self(Hasher::new().chain(salt))
    }

    pub(crate) fn hash(&self, block: &[u8]) -> Digest {
        self.0.clone().chain(block).finish()
    }
}
