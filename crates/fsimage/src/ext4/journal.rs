//! An empty journal ("ext4 Data Structures: Journal (jbd2)"). Its fields are big-endian, unlike all others.

use super::format::{BLOCK, BLOCK_SIZE};
use super::options::Journal;

/// Minimum number of blocks that the kernel accepts (`JBD2_MIN_JOURNAL_BLOCKS`).
const LEAST: u64 = 1024;

/// Number of blocks of the journal in a file system of this size; `None` if it has none.
pub(super) fn length(spec: Journal, file_system_blocks: u64) -> Option<u64> {
    match spec {
        Journal::None => None,
        Journal::Auto => Some(usual(file_system_blocks)),
        Journal::Bytes(bytes) => Some((bytes / BLOCK_SIZE).clamp(LEAST, usual(file_system_blocks))),
    }
}

/// Default of mke2fs, 4 MiB to 128 MiB.
fn usual(file_system_blocks: u64) -> u64 {
    match file_system_blocks {
        ..32_768 => LEAST,
        32_768..262_144 => 4096,
        262_144..524_288 => 8192,
        524_288..4_194_304 => 16_384,
        _ => 32_768,
    }
}

/// The journal's first block, its superblock (version 2): nothing to replay. The other blocks are zero.
pub(super) fn superblock(blocks: u64) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    let fields = [
        (0x00, 0xc03b_3998),   // magic
        (0x04, 4),             // this is a superblock, version 2
        (0x0c, BLOCK as u32),  // bytes of a block
        (0x10, blocks as u32), // blocks of the journal
        (0x14, 1),             // first block of the log
        (0x18, 1),             // first transaction to expect
        (0x1c, 0),             // where the log starts: nowhere, it is empty
        (0x40, 1),             // file systems that use it
    ];
    for (at, value) in fields {
        block[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }
    block
}
