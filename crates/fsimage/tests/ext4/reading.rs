//! Tests of the reader on images of mke2fs, on damaged ones, and inside larger files.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use fsimage::ext4::{self, EntryKind, Ext4Entry, Ext4Options, Journal, Limits, ReadError, Reader, Size, read};
use fsimage::{FileTree, NodeKind, scan};
use progress::Silent;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::oracle::{Image, assert_same, tool};
use crate::{file, one_of_everything, options, root};

/// A directory on the host with various nodes, and the tree that the reader should find.
fn host(directory: &Path) -> FileTree {
    std::fs::create_dir_all(directory.join("d/e")).unwrap();
    for number in 0..300 {
        std::fs::write(directory.join(format!("d/{number}")), vec![b'x'; number * 17]).unwrap();
    }
    let mut large = vec![0; 5_000_000];
    large[3_000_000..3_100_000].fill(7);
    std::fs::write(directory.join("large"), &large).unwrap();
    std::fs::hard_link(directory.join("large"), directory.join("linked")).unwrap();
    std::os::unix::fs::symlink("large", directory.join("short")).unwrap();
    std::os::unix::fs::symlink("x".repeat(200), directory.join("long")).unwrap();
    scan(directory).unwrap()
}

fn mke2fs(directory: &Path, image: &Path, arguments: &[&str]) {
    let (directory, image) = (directory.display().to_string(), image.display().to_string());
    let all = [&["-q", "-F", "-d", &directory], arguments, &[&image, "64M"]].concat();
    let output = tool("mke2fs", "e2fsprogs", &all);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn images_of_mke2fs_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("source");
    let tree = host(&source);
    for arguments in [
        &["-t", "ext4"][..],
        &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum"],
        &["-t", "ext4", "-O", "metadata_csum_seed,^64bit,^flex_bg", "-I", "128"],
        &["-t", "ext3"],
        &["-t", "ext2", "-b", "1024"],
        &["-t", "ext2", "-r", "1", "-O", "^filetype"],
    ] {
        let image = directory.path().join("image");
        mke2fs(&source, &image, arguments);
        let mut read = Reader::open(File::open(&image).unwrap(), 0).unwrap().tree(Limits::default()).unwrap();
        // Old inodes have whole seconds; mke2fs sets the root's time itself and older ones lose nanoseconds.
        let mut expected = tree.clone();
        for tree in [&mut read, &mut expected] {
            let paths: Vec<_> = tree.iter().map(|(path, _)| path.to_vec()).collect();
            for path in paths {
                tree.get_mut(&path).unwrap().metadata.mtime.nanoseconds = 0;
            }
            tree.get_mut("").unwrap().metadata = root();
        }
        println!("{arguments:?}");
        assert_same(&expected, read);
        std::fs::remove_file(&image).unwrap();
    }
}

#[test]
fn the_superblock_tells_what_was_asked_for() {
    let asked =
        Ext4Options { label: "a label".into(), size: Size::Given(50 << 20), journal: Journal::Auto, ..options() };
    let image = Image::of(&one_of_everything(), &asked);
    let reader = Reader::open(File::open(&image.path).unwrap(), 0).unwrap();
    let superblock = reader.superblock();
    assert_eq!((superblock.uuid, superblock.label.as_slice()), (asked.uuid, &b"a label"[..]));
    assert_eq!((superblock.size(), superblock.inodes), (50 << 20, image.report.inodes));
    assert_eq!(superblock.blocks - superblock.free_blocks, image.report.used_blocks);
    assert!(superblock.feature_names().contains(&"has_journal") && !superblock.needs_recovery());
}

#[test]
fn files_are_opened_by_path_inside_of_a_disk_image() {
    let disk = tempfile::tempfile().unwrap();
    let offset = 5 << 20;
    ext4::write(&one_of_everything(), &disk, offset, &options(), &Silent).unwrap();
    let mut reader = Reader::open(&disk, offset).unwrap();
    let mut text = String::new();
    reader.open_file("dir/small").unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "small");
    assert!(matches!(reader.open_file("dir/none"), Err(ReadError::NotFound(_))));
    assert!(matches!(reader.open_file("odd/none"), Err(ReadError::NotFound(_))));
    assert!(matches!(reader.open_file("dir"), Err(ReadError::NotAFile(_))));

    let entries = reader.entries(Limits::default()).unwrap();
    let entry = |path: &str| -> &Ext4Entry { entries.iter().find(|entry| entry.path == path.as_bytes()).unwrap() };
    assert_eq!(entry("dir/block").kind, EntryKind::File { size: 4096 });
    assert_eq!(entry("char1").kind, EntryKind::Other(NodeKind::CharDevice { major: 1, minor: 3 }));
    assert_eq!((entry("dir/small").inode, entry("dir/small").links), (entry("a-hard-link").inode, 3));
    let digest = reader.digest(entry("dir/empty")).unwrap().to_string();
    assert_eq!(digest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

#[test]
fn what_is_over_the_limits_is_refused() {
    let mut tree = FileTree::new(root());
    for number in 0..100 {
        tree.insert(format!("{number}"), file(vec![1; 10_000])).unwrap();
    }
    let bytes = Image::of(&tree, &options()).bytes();
    let limited = |entries, memory| read(&bytes, Limits { entries, memory });
    assert!(limited(102, 1_001_000).is_ok());
    assert!(matches!(limited(101, 1_001_000), Err(ReadError::OverLimit(_))));
    assert!(matches!(limited(102, 999_999), Err(ReadError::OverLimit(_))));
}

#[test]
fn what_is_no_image_is_refused() {
    assert!(matches!(read(&[], Limits::default()), Err(ReadError::Io { .. })));
    assert!(matches!(read(&[0; 4096], Limits::default()), Err(ReadError::NotExt4(0))));
    let bytes = Image::of(&one_of_everything(), &options()).bytes();
    assert!(matches!(read(&bytes[..bytes.len() - 4096], Limits::default()), Err(ReadError::Damaged(_))));
}

#[test]
fn a_flipped_bit_in_any_structure_is_noticed() {
    let tree = one_of_everything();
    let good = Image::of(&tree, &options()).bytes();
    let root_inode = good.windows(2).position(|bytes| bytes == [0xed, 0x41]).unwrap();
    for at in [1024 + 104, root_inode + 4, root_inode + 256 * 12 + 3] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(matches!(read(&bad, Limits::default()), Err(ReadError::Damaged(_))), "{at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 50, failure_persistence: None, ..ProptestConfig::default() })]

    /// Without checksums, so that what is behind them is reached.
    #[test]
    fn no_image_makes_the_reader_panic(changes in vec((any::<Index>(), any::<u8>()), 1..40), rest in any::<Index>()) {
        let mut bytes = UNCHECKED.with(Clone::clone);
        for (at, byte) in changes {
            let structures = bytes.1.len();
            bytes.0[bytes.1[at.index(structures)]] = byte;
        }
        let limits = Limits { entries: 10_000, memory: 4 << 20 };
        if let Ok(mut reader) = Reader::open(Cursor::new(&bytes.0), 0) {
            let entries = reader.entries(limits).unwrap_or_default();
            if !entries.is_empty() {
                let entry = &entries[rest.index(entries.len())];
                if let Ok(file) = reader.open_entry(entry) {
                    let _ = std::io::copy(&mut file.take(1 << 20), &mut std::io::sink());
                }
            }
            let _ = reader.tree(limits);
        }
    }
}

thread_local! {
    /// A small image and the offsets of what is not zero in it, with contents that are.
    static UNCHECKED: (Vec<u8>, Vec<usize>) = {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("source");
        std::fs::create_dir_all(source.join("d/e")).unwrap();
        for number in 0..60 {
            std::fs::write(source.join(format!("d/{number:0100}")), vec![0; number * 100]).unwrap();
        }
        std::os::unix::fs::symlink("x".repeat(200), source.join("long")).unwrap();
        let image = directory.path().join("image");
        let (from, to) = (source.display().to_string(), image.display().to_string());
        let features = "^metadata_csum,^has_journal,^resize_inode";
        let output =
            tool("mke2fs", "e2fsprogs", &["-q", "-F", "-t", "ext4", "-N", "128", "-b", "1024", "-O", features, "-d", &from, &to, "600k"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let bytes = std::fs::read(&image).unwrap();
        let structures = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        (bytes, structures)
    };
}
