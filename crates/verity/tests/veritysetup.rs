//! The tree against the one of `veritysetup` (package cryptsetup-bin): the same bytes, and the same root hash.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use verity::{BLOCK, HashTree, Protection};

const SALT: [u8; 16] = *b"0123456789abcdef";
const UUID: [u8; 16] = [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x47, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x00];

/// Runs it over one file with data and tree. Returns whether it succeeded, and all that it printed.
fn veritysetup(action: &str, file: &Path, words: &[&str], size: u64) -> (bool, String) {
    let mut command = Command::new("/usr/sbin/veritysetup");
    command.arg(action).args([file, file]).args(words).arg(format!("--hash-offset={size}"));
    let output = command.output().expect("veritysetup (package cryptsetup-bin)");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text.into_owned())
}

fn data(blocks: usize) -> Vec<u8> {
    (0..blocks * BLOCK).map(|at| if at / BLOCK % 3 == 1 { 0 } else { (at / 7 % 251) as u8 }).collect()
}

/// A file with data and our tree behind them.
fn ours(data: &[u8]) -> io::Result<(Vec<u8>, Protection)> {
    let tree = HashTree::new(SALT);
    tree.add(0, data);
    let (behind, protection) = tree.finish(data.len() as u64, UUID).map_err(io::Error::other)?;
    Ok(([data, &behind].concat(), protection))
}

#[test]
fn veritysetup_makes_the_same_tree() -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("root.img");
    for blocks in [1, 2, 127, 128, 129, 300, 16384, 16385] {
        let data = data(blocks);
        let (ours, protection) = ours(&data)?;
        fs::write(&path, &data)?;
        let salt = format!("--salt={}", hex::encode(SALT));
        let count = format!("--data-blocks={blocks}");
        let uuid = "--uuid=11223344-5566-4788-99aa-bbccddeeff00";
        let (made, text) = veritysetup("format", &path, &[&salt, &count, uuid], protection.size);
        assert!(made && text.contains(&protection.root_hash.to_string()), "{blocks}: {text}");
        assert!(fs::read(&path)? == ours, "{blocks}");
    }
    Ok(())
}

#[test]
fn veritysetup_accepts_our_tree_and_finds_damage() -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("root.img");
    for blocks in [1, 128, 129] {
        let (mut file, protection) = ours(&data(blocks))?;
        let hash = protection.root_hash.to_string();
        fs::write(&path, &file)?;
        let (good, text) = veritysetup("verify", &path, &[&hash], protection.size);
        assert!(good, "{blocks}: {text}");
        file[(blocks - 1) * BLOCK + 5] ^= 1;
        fs::write(&path, &file)?;
        assert!(!veritysetup("verify", &path, &[&hash], protection.size).0, "{blocks}");
    }
    Ok(())
}
