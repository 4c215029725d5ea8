//! The superblock before a hash tree, as cryptsetup writes it (its documentation, "dm-verity on-disk format").

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::{BLOCK, Protection};

const SIGNATURE: [u8; 8] = *b"verity\0\0";

/// The version of the superblock, and that of the tree: the salt before the block.
const VERSION: u32 = 1;

/// The hash's name, zeros behind it.
const ALGORITHM: [u8; 32] = *b"sha256\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// `struct verity_sb` of cryptsetup.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct OnDisk {
    signature: [u8; 8],
    version: U32,
    hash_type: U32,
    uuid: [u8; 16],
    algorithm: [u8; 32],
    data_block_size: U32,
    hash_block_size: U32,
    data_blocks: U64,
    salt_size: U16,
    padding: [u8; 6],
    salt: [u8; 256],
    rest: [u8; 168],
}

const _: () = assert!(size_of::<OnDisk>() == Superblock::LENGTH);

/// The superblock before a hash tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// Number of blocks of data.
    pub data_blocks: u64,
    /// The salt: at most 256 bytes.
    pub salt: Vec<u8>,
}

/// The reason why bytes are not the superblock of a hash tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SuperblockError {
    /// There is something else.
    #[error("there is no hash tree")]
    Signature,
    /// It is a form that is not used here.
    #[error("its hash tree is not of version 1 with SHA-256 and blocks of 4096 bytes")]
    Form,
    /// The tree is over data of another size.
    #[error("its hash tree is over {found} blocks instead of {wanted}")]
    Size {
        /// Number of blocks in the superblock.
        found: u64,
        /// Number of blocks that it must be over.
        wanted: u64,
    },
}

impl Superblock {
    /// Length in bytes; zeros fill its block.
    pub const LENGTH: usize = 512;

    /// The block with the superblock of a tree, with the UUID by which `veritysetup` names it.
    pub(crate) fn to_block(&self, uuid: [u8; 16]) -> Vec<u8> {
        let mut block = OnDisk::new_zeroed();
        block.signature = SIGNATURE;
        (block.version, block.hash_type) = (VERSION.into(), VERSION.into());
        block.uuid = uuid;
        block.algorithm = ALGORITHM;
        (block.data_block_size, block.hash_block_size) = ((BLOCK as u32).into(), (BLOCK as u32).into());
        block.data_blocks = self.data_blocks.into();
        let length = self.salt.len().min(block.salt.len());
        block.salt_size = (length as u16).into();
        for (to, from) in block.salt.iter_mut().zip(&self.salt) {
            *to = *from;
        }
        let mut bytes = block.as_bytes().to_vec();
        bytes.resize(BLOCK, 0);
        bytes
    }

    /// Reads the superblock of the tree over this data.
    ///
    /// # Errors
    ///
    /// If there is none, or one over other data.
    pub fn parse(bytes: &[u8], protection: &Protection) -> Result<Self, SuperblockError> {
        let (found, _) = OnDisk::read_from_prefix(bytes).map_err(|_| SuperblockError::Signature)?;
        if found.signature != SIGNATURE {
            return Err(SuperblockError::Signature);
        }
        let numbers = [found.version, found.hash_type, found.data_block_size, found.hash_block_size].map(U32::get);
        if numbers != [VERSION, VERSION, BLOCK as u32, BLOCK as u32] || found.algorithm != ALGORITHM {
            return Err(SuperblockError::Form);
        }
        let (data_blocks, wanted) = (found.data_blocks.get(), protection.blocks());
        if data_blocks != wanted {
            return Err(SuperblockError::Size { found: data_blocks, wanted });
        }
        let salt = found.salt.get(..usize::from(found.salt_size.get())).ok_or(SuperblockError::Form)?;
        Ok(Self { data_blocks, salt: salt.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn protection(blocks: u64) -> Protection {
        Protection { size: blocks * BLOCK as u64, root_hash: [1; 32].into() }
    }

    #[test]
    fn what_is_written_is_read() {
        for salt in [vec![], vec![7; 16], vec![9; 256]] {
            let superblock = Superblock { data_blocks: 300, salt };
            let block = superblock.to_block([3; 16]);
            assert_eq!((block.len(), Superblock::parse(&block, &protection(300))), (BLOCK, Ok(superblock)));
        }
    }

    #[test]
    fn others_are_refused() {
        let good = Superblock { data_blocks: 300, salt: vec![7; 16] }.to_block([3; 16]);
        let changed = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            Superblock::parse(&bytes, &protection(300))
        };
        assert_eq!(changed(0), Err(SuperblockError::Signature));
        // Version, form of the tree, algorithm, both block sizes; a salt that is too long.
        for at in [8, 12, 32, 64, 69, 81] {
            assert_eq!(changed(at), Err(SuperblockError::Form), "{at}");
        }
        assert_eq!(changed(72), Err(SuperblockError::Size { found: 301, wanted: 300 }));
        assert_eq!(Superblock::parse(&good[..511], &protection(300)), Err(SuperblockError::Signature));
        assert_eq!(Superblock::parse(&[0; BLOCK], &protection(300)), Err(SuperblockError::Signature));
    }

    proptest! {
        #[test]
        fn what_is_accepted_has_a_salt_that_fits(changes: Vec<(u16, u8)>) {
            let mut bytes = Superblock { data_blocks: 300, salt: vec![7; 16] }.to_block([3; 16]);
            for (at, value) in changes {
                bytes[usize::from(at) % Superblock::LENGTH] = value;
            }
            if let Ok(superblock) = Superblock::parse(&bytes, &protection(300)) {
                prop_assert!(superblock.salt.len() <= 256 && superblock.data_blocks == 300);
            }
        }
    }
}
