//! Tests of the size of file systems, their offset in a file, and trees that do not fit.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

use fsimage::ext4::{self, Ext4Options, Inodes, Size, WriteError};
use fsimage::{FileTree, NodeKind, digest_of};
use progress::Silent;

use crate::oracle::{Image, fsck};
use crate::{file, node, one_of_everything, options, root};

fn try_write(tree: &FileTree, options: &Ext4Options) -> Result<ext4::Ext4Report, WriteError> {
    ext4::write(tree, &tempfile::tempfile().unwrap(), 0, options, &Silent)
}

#[test]
fn an_exact_fit_has_just_the_reserve_free() {
    let mut tree = one_of_everything();
    tree.insert("large", file(vec![5; 3_000_000])).unwrap();
    let none = Image::of(&tree, &options());
    assert_eq!(none.report.used_blocks, none.report.blocks);
    let some = Image::of(&tree, &Ext4Options { size: Size::ExactFit { reserve: 1 << 20 }, ..options() });
    assert_eq!(some.report.blocks - some.report.used_blocks, 256);
    some.check();
    assert_eq!(none.check().path.metadata().unwrap().len(), none.report.size);
    assert!(matches!(
        try_write(&tree, &Ext4Options { size: Size::Given(none.report.size - 4096), ..options() }),
        Err(WriteError::NoSpace { .. })
    ));
}

#[test]
fn a_message_about_space_says_how_much_is_enough() {
    let tree = one_of_everything();
    let Err(WriteError::NoSpace { needed, .. }) =
        try_write(&tree, &Ext4Options { size: Size::Given(70_000), ..options() })
    else {
        panic!("that cannot fit")
    };
    try_write(&tree, &Ext4Options { size: Size::Given(needed), ..options() }).unwrap();
}

#[test]
fn sizes_around_group_borders_are_right() {
    let tree = one_of_everything();
    let group = 32768 * 4096i64;
    for blocks in [-1i64, 0, 1, 64, 65, 70] {
        for groups in [1, 3, 16] {
            let size = Size::Given((group * groups + blocks * 4096 + 100) as u64);
            Image::of(&tree, &Ext4Options { size, ..options() }).check().check_read(&tree);
        }
    }
}

#[test]
fn an_exact_fit_of_several_groups_is_right() {
    for megabytes in [125, 127, 128, 129, 300, 513] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data");
        let host = File::create_new(&path).unwrap();
        // One byte in each block counts as data, and takes next to no space on the host.
        let length = megabytes << 20;
        for at in (0..length).step_by(64 * 1024) {
            host.write_all_at(b"x", at).unwrap();
        }
        host.set_len(length).unwrap();
        let mut tree = FileTree::new(root());
        tree.insert("data", node(NodeKind::File(fsimage::Content::HostFile { path, length }))).unwrap();
        Image::of(&tree, &options()).check().check_mounted(&tree);
    }
}

#[test]
fn a_large_image_takes_little_space_on_the_host() {
    let tree = one_of_everything();
    let image = Image::of(&tree, &Ext4Options { size: Size::Given(20 << 30), ..options() });
    image.check().check_mounted(&tree).check_read(&tree);
    assert_eq!(image.path.metadata().unwrap().len(), 20 << 30);
    assert!(image.path.metadata().unwrap().blocks() * 512 < 8 << 20);
}

#[test]
fn many_inodes_are_given_when_asked_for() {
    let tree = one_of_everything();
    let image = Image::of(&tree, &Ext4Options { inodes: Inodes::AtLeast(100_000), ..options() });
    image.check();
    assert!(image.report.inodes >= 100_000);
}

#[test]
fn a_file_system_inside_a_disk_image_leaves_the_rest_alone() {
    let tree = one_of_everything();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk");
    let disk = File::create_new(&path).unwrap();
    let offset = (1 << 20) + 512;
    disk.set_len(64 << 20).unwrap();
    disk.write_all_at(b"before", offset - 6).unwrap();
    let given = Ext4Options { size: Size::Given(8 << 20), digest: true, ..options() };
    let report = ext4::write(&tree, &disk, offset, &given, &Silent).unwrap();
    fsck(&format!("{}?offset={offset}", path.display()));
    assert_eq!(digest_of(&File::open(&path).unwrap(), offset, report.size).unwrap(), report.sha256.unwrap());
    let alone = Image::of(&tree, &given);
    let bytes = std::fs::read(&path).unwrap();
    let (before, rest) = bytes.split_at(offset as usize);
    assert!(before.ends_with(b"before") && rest[..8 << 20] == alone.bytes());
    assert!(rest[8 << 20..].iter().all(|byte| *byte == 0));
    assert_eq!(alone.report, report);
}

#[test]
fn what_ext4_cannot_keep_is_refused_by_name() {
    let refused = |path: &str, kind: NodeKind| {
        let mut tree = FileTree::new(root());
        tree.insert(path, node(kind)).unwrap();
        try_write(&tree, &options()).unwrap_err().to_string()
    };
    for (path, kind) in [
        ("the/link", NodeKind::Symlink(vec![b'x'; 4096])),
        ("the/empty", NodeKind::Symlink(Vec::new())),
        ("the/device", NodeKind::CharDevice { major: 4096, minor: 0 }),
        ("the/file", NodeKind::File(fsimage::Content::HostFile { path: "/x".into(), length: 1 << 45 })),
        ("the/gone", NodeKind::File(fsimage::Content::HostFile { path: "/not/there".into(), length: 5 })),
        ("the/changed", NodeKind::File(fsimage::Content::HostFile { path: "/proc/version".into(), length: 5 })),
    ] {
        let path = path.replace('/', "-");
        let message = refused(&path, kind);
        assert!(message.contains(&format!("/{path}")), "{message}");
    }
    assert!(refused("lost+found", NodeKind::Fifo).contains("lost+found"));
}
