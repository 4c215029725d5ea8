//! For any data: the tree does not depend on how they came, every block can be checked with the root hash, and nothing else
//! passes.

use proptest::prelude::*;
use sha256::{Digest, Hasher};
use verity::{BLOCK, HashTree, Protection, Superblock};

const SALT: [u8; 16] = [0x5a; 16];
const UUID: [u8; 16] = [7; 16];

/// What stands behind these data, which come in pieces of so many blocks.
fn tree(data: &[u8], piece: usize) -> (Vec<u8>, Protection) {
    let tree = HashTree::new(SALT);
    // The last piece first.
    for (number, bytes) in data.chunks(piece * BLOCK).enumerate().rev() {
        tree.add((number * piece * BLOCK) as u64, bytes);
    }
    tree.finish(data.len() as u64, UUID).expect("a tree")
}

/// Data of so many blocks, each with another content, some of them zeros.
fn data(blocks: usize, seed: u8) -> Vec<u8> {
    let block = |number: usize| {
        let zero = number % 5 == 1;
        let value = (number as u32).to_le_bytes().map(|byte| if zero { 0 } else { byte ^ seed });
        value.repeat(BLOCK / 4)
    };
    (0..blocks).flat_map(block).collect()
}

fn hash(block: &[u8]) -> Digest {
    Hasher::new().chain(SALT).chain(block).finish()
}

/// Checks a block as the kernel does, from the block up to the root hash.
fn passes(data: &[u8], behind: &[u8], protection: &Protection, number: usize) -> bool {
    let mut levels = Vec::new();
    let mut count = data.len() / BLOCK;
    while count > 1 {
        count = count.div_ceil(BLOCK / 32);
        levels.push(count);
    }
    let (mut wanted, mut index) = (hash(&data[number * BLOCK..][..BLOCK]), number);
    for (level, _) in levels.iter().enumerate() {
        // Higher levels come first, behind the superblock.
        let before: usize = levels[level + 1..].iter().sum();
        let block = &behind[(1 + before + index / 128) * BLOCK..][..BLOCK];
        if block[index % 128 * 32..][..32] != *wanted.as_bytes() {
            return false;
        }
        (wanted, index) = (hash(block), index / 128);
    }
    wanted == protection.root_hash
}

/// One level more begins behind 128 blocks and behind 128 * 128.
#[test]
fn every_block_passes_at_sizes_where_levels_begin() {
    for (blocks, tree_blocks) in [(1, 0), (2, 1), (127, 1), (128, 1), (129, 3), (16384, 129), (16385, 132)] {
        let data = data(blocks, 3);
        let (behind, protection) = tree(&data, 256);
        assert_eq!(behind.len(), (1 + tree_blocks) * BLOCK, "{blocks}");
        assert!(Superblock::parse(&behind, &protection).is_ok_and(|found| found.salt == SALT), "{blocks}");
        assert!((0..blocks).all(|number| passes(&data, &behind, &protection, number)), "{blocks}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pieces_do_not_matter(blocks in 1_usize..400, piece in 1_usize..300, seed: u8) {
        let data = data(blocks, seed);
        prop_assert_eq!(tree(&data, piece), tree(&data, blocks));
    }

    #[test]
    fn a_changed_byte_of_the_data_does_not_pass(blocks in 1_usize..400, at: prop::sample::Index, seed: u8) {
        let mut data = data(blocks, seed);
        let (behind, protection) = tree(&data, blocks);
        let at = at.index(data.len());
        data[at] ^= 1;
        let wrong: Vec<_> = (0..blocks).filter(|number| !passes(&data, &behind, &protection, *number)).collect();
        prop_assert_eq!(wrong, [at / BLOCK]);
        prop_assert_ne!(tree(&data, blocks).1.root_hash, protection.root_hash);
    }

    #[test]
    fn a_changed_byte_of_the_tree_does_not_pass(blocks in 2_usize..400, at: prop::sample::Index, seed: u8) {
        let data = data(blocks, seed);
        let (mut behind, protection) = tree(&data, blocks);
        let at = BLOCK + at.index(behind.len() - BLOCK);
        behind[at] ^= 1;
        prop_assert!((0..blocks).any(|number| !passes(&data, &behind, &protection, number)));
    }
}
