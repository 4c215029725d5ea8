//! [`HashTree`]: made from data that come in pieces, in any order.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use sha256::Digest;

use crate::hash::BlockHasher;
use crate::{BLOCK, HASH, Protection, Superblock};

/// The hash tree of data that come in pieces, from any thread and in any order. It takes memory for the hashes: 1/128 of the
/// data.
#[derive(Debug)]
pub struct HashTree {
    hasher: BlockHasher,
    salt: Vec<u8>,
    /// Hash of a block of zeros, of which file systems have many.
    zeros: Digest,
    /// Hashes of the blocks of each piece, by the piece's offset.
    pieces: Mutex<BTreeMap<u64, Piece>>,
}

#[derive(Debug)]
struct Piece {
    /// Bytes of data.
    length: u64,
    hashes: Vec<u8>,
}

/// The reason why there is no tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// There are no data, or not whole blocks.
    #[error("data of {0} bytes are not a number of blocks of 4096 bytes")]
    Size(u64),
    /// A piece is missing, came twice, or is not a number of blocks.
    #[error("the pieces of the data do not fit together at byte {0}")]
    Pieces(u64),
}

impl HashTree {
    /// Begins a tree. The same data with the same salt have the same tree.
    pub fn new(salt: [u8; 16]) -> Self {
        let hasher = BlockHasher::new(&salt);
        let zeros = hasher.hash(&[0; BLOCK]);
        Self { hasher, salt: salt.to_vec(), zeros, pieces: Mutex::default() }
    }

    /// Adds whole blocks of the data.
    pub fn add(&self, offset: u64, bytes: &[u8]) {
        let mut hashes = Vec::with_capacity(bytes.len() / BLOCK * HASH);
        for block in bytes.chunks(BLOCK) {
            let is_zero = block == [0; BLOCK];
            hashes.extend(if is_zero { self.zeros } else { self.hasher.hash(block) }.as_bytes());
        }
        let piece = Piece { length: bytes.len() as u64, hashes };
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner).insert(offset, piece);
    }

    /// Ends the tree over `size` bytes of data. Returns what has to stand behind the data: the superblock, with the UUID by which
    /// `veritysetup` names it, and the tree.
    ///
    /// # Errors
    ///
    /// If not all of the data came.
    pub fn finish(self, size: u64, uuid: [u8; 16]) -> Result<(Vec<u8>, Protection), TreeError> {
        if size == 0 || !size.is_multiple_of(BLOCK as u64) {
            return Err(TreeError::Size(size));
        }
        let mut hashes = Vec::with_capacity((size / BLOCK as u64) as usize * HASH);
        let mut at = 0;
        for (offset, piece) in self.pieces.into_inner().unwrap_or_else(PoisonError::into_inner) {
            if offset != at || !piece.length.is_multiple_of(BLOCK as u64) {
                return Err(TreeError::Pieces(at.min(offset)));
            }
            hashes.extend(piece.hashes);
            at += piece.length;
        }
        if at != size {
            return Err(TreeError::Pieces(at.min(size)));
        }
        let mut levels = Vec::new();
        while hashes.len() > HASH {
            hashes.resize(hashes.len().next_multiple_of(BLOCK), 0);
            let above = hashes.chunks(BLOCK).flat_map(|block| *self.hasher.hash(block).as_bytes()).collect();
            levels.push(std::mem::replace(&mut hashes, above));
        }
        let mut root_hash = [0; HASH];
        root_hash.copy_from_slice(&hashes);
        let mut bytes = Superblock { data_blocks: size / BLOCK as u64, salt: self.salt }.to_block(uuid);
        bytes.extend(levels.into_iter().rev().flatten());
        Ok((bytes, Protection { size, root_hash: root_hash.into() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_come_is_noticed() {
        let tree = |pieces: &[(u64, usize)], size| {
            let tree = HashTree::new([1; 16]);
            for (offset, length) in pieces {
                tree.add(*offset, &vec![5; *length]);
            }
            tree.finish(size, [2; 16]).map(|(bytes, _)| bytes.len())
        };
        assert_eq!(tree(&[(4096, 4096), (0, 4096)], 8192), Ok(2 * BLOCK));
        assert_eq!(tree(&[], 0), Err(TreeError::Size(0)));
        assert_eq!(tree(&[(0, 4096)], 4095), Err(TreeError::Size(4095)));
        assert_eq!(tree(&[(0, 4096)], 8192), Err(TreeError::Pieces(4096)));
        assert_eq!(tree(&[(4096, 4096)], 8192), Err(TreeError::Pieces(0)));
        assert_eq!(tree(&[(0, 8192)], 4096), Err(TreeError::Pieces(4096)));
        assert_eq!(tree(&[(0, 8192), (4096, 4096)], 12288), Err(TreeError::Pieces(4096)));
        assert_eq!(tree(&[(0, 100), (100, 3996)], 4096), Err(TreeError::Pieces(0)));
    }
}
