//! What device-mapper has to be told to make a disk of data and its tree.

use crate::{BLOCK, Protection, Superblock};

/// Bytes of the sectors that device-mapper counts in, whatever the disk's are.
const SECTOR: u64 = 512;

/// The one target of a device: "verity" from its first sector on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Length of the device, in sectors of 512 bytes.
    pub sectors: u64,
    /// Parameters of the target, as verity.rst has them.
    pub parameters: String,
}

/// The table for data and tree on one device, which is named by its number (`MAJOR:MINOR`). A block that is wrong is an I/O error
/// for whoever reads it, and no other block is: there are no optional parameters.
pub fn table(device: &str, protection: &Protection, superblock: &Superblock) -> Table {
    let (blocks, root_hash) = (protection.blocks(), protection.root_hash);
    let tree = blocks.saturating_add(1);
    let salt = if superblock.salt.is_empty() { "-".to_owned() } else { hex::encode(&superblock.salt) };
    Table {
        sectors: protection.size / SECTOR,
        parameters: format!("1 {device} {device} {BLOCK} {BLOCK} {blocks} {tree} sha256 {root_hash} {salt}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_begins_behind_its_superblock() {
        let protection = Protection { size: 8192, root_hash: [0xab; 32].into() };
        let made = table("7:0", &protection, &Superblock { data_blocks: 2, salt: vec![1, 0xff] });
        let hash = "ab".repeat(32);
        let parameters = format!("1 7:0 7:0 4096 4096 2 3 sha256 {hash} 01ff");
        assert_eq!(made, Table { sectors: 16, parameters });
        let bare = table("7:0", &protection, &Superblock { data_blocks: 2, salt: vec![] });
        assert!(bare.parameters.ends_with(&format!(" {hash} -")));
    }
}
