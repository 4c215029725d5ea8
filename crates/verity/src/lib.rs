//! Hash trees of dm-verity, with which the kernel checks each block of a read-only disk when it reads it (kernel
//! Documentation/admin-guide/device-mapper/verity.rst). Who knows the root hash knows the whole content.
//!
//! Of what dm-verity can do, this is one form: version 1, SHA-256, blocks of 4096 bytes, a salt. All of it is in one file or
//! partition, so that nothing else has to be found or kept:
//!
//! | at | what |
//! |---|---|
//! | 0 | the data, usually a file system: `size` bytes, a multiple of 4096 |
//! | `size` | a block with the [`Superblock`], as `veritysetup` (package cryptsetup-bin) writes it |
//! | `size` + 4096 | the hash tree: its top level, which is one block, first; the level over the data last |
//!
//! A hash is the SHA-256 of the salt and a block. A block of the tree has the hashes of 128 blocks below it, in order, and
//! zeros behind the last one. The root hash is that of the top level's block. Data of one block need no tree: its hash is the
//! root hash.
//!
//! What has to be trusted is in [`Protection`]: the root hash and the size. The superblock need not be: with another salt no
//! hash is right. `veritysetup verify root.img root.img HASH --hash-offset SIZE` checks a whole file without this crate.

mod hash;
mod protection;
mod superblock;
mod table;
mod tree;

pub use protection::{Protection, ProtectionError};
pub use superblock::{Superblock, SuperblockError};
pub use table::{Table, table};
pub use tree::{HashTree, TreeError};

/// Bytes of a block, of the data and of the tree.
pub const BLOCK: usize = 4096;

/// Bytes of a hash.
const HASH: usize = 32;
