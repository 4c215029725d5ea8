//! Tests of trees that need special on-disk structures.

use std::fs::File;
use std::os::unix::fs::FileExt;

use fsimage::ext4::{Ext4Options, Inodes, Journal, Size};
use fsimage::{Content, FileTree, NodeKind, scan};

use crate::oracle::{Image, assert_same, fsck};
use crate::{file, node, one_of_everything, options, root};

#[test]
fn one_of_everything_is_right() {
    let tree = one_of_everything();
    Image::of(&tree, &options()).check().check_mounted(&tree).check_read(&tree);
}

#[test]
fn an_empty_tree_is_a_file_system_too() {
    let tree = FileTree::new(root());
    Image::of(&tree, &options()).check().check_mounted(&tree).check_read(&tree);
}

#[test]
fn lost_and_found_of_the_tree_is_kept() {
    let mut tree = FileTree::new(root());
    tree.insert("lost+found", node(NodeKind::Directory)).unwrap();
    tree.insert("lost+found/found", file("it")).unwrap();
    Image::of(&tree, &options()).check().check_mounted(&tree).check_read(&tree);
}

#[test]
fn a_mounted_image_makes_the_same_image() {
    let tree = one_of_everything();
    let image = Image::of(&tree, &options());
    let Some(mount) = image.mount("ro") else { return };
    let mut scanned = scan(mount.root()).unwrap();
    scanned.remove("lost+found").unwrap();
    assert!(Image::of(&scanned, &options()).bytes() == image.bytes());
}

#[test]
fn facts_as_debugfs_sees_them() {
    let image = Image::of(&one_of_everything(), &Ext4Options { label: "facts".into(), ..options() });
    let text = image.debugfs("stats");
    for fact in [
        "Filesystem volume name:   facts",
        "Filesystem UUID:          6673696d-6167-6520-7465-737420303031",
        "Filesystem features:      ext_attr dir_index filetype extent 64bit flex_bg sparse_super large_file huge_file dir_nlink extra_isize metadata_csum",
        "Default directory hash:   half_md4",
        "Filesystem state:         clean",
    ] {
        assert!(text.contains(fact), "{fact}\n{text}");
    }
    assert!(image.debugfs("stat /link59").contains("Fast link dest"));
    assert!(!image.debugfs("stat /link60").contains("Fast link dest"));
    let times = image.debugfs("stat /odd");
    assert!(times.contains("mtime: 0xffffffff:ee6b27fc -- Wed Dec 31 23:59:59 1969"), "{times}");
}

/// Fills a directory with this many links to one file, with names of that length.
fn directory_of(entries: usize, name_length: usize) -> FileTree {
    let mut tree = FileTree::new(root());
    tree.insert("many", node(NodeKind::Directory)).unwrap();
    let mut id = None;
    for number in 0..entries {
        let name = format!("many/{number:0name_length$}");
        match id {
            Some(id) if number % 60_000 != 0 => tree.link(name, id).unwrap(),
            _ => id = Some(tree.insert(name, file("")).unwrap()),
        }
    }
    tree
}

#[test]
fn every_name_of_a_large_directory_is_found() {
    let tree = directory_of(50_000, 9);
    let image = Image::of(&tree, &options());
    image.check().check_read(&tree);
    assert!(image.debugfs("stat /many").contains("Flags: 0x81000"));
    let Some(mount) = image.mount("ro") else { return };
    assert_same(&tree, scan(mount.root()).unwrap()); // looks up each name
    assert!(!mount.root().join("many/none").exists());
}

#[test]
fn an_index_of_two_levels_is_right() {
    let tree = directory_of(20_000, 250);
    let image = Image::of(&tree, &options());
    image.check().check_read(&tree);
    assert!(image.debugfs("htree_dump /many").contains("Indirect levels: 1"));
    image.check_mounted(&tree);
}

#[test]
fn directories_of_every_size_around_a_block_are_right() {
    let mut tree = FileTree::new(root());
    for directory in 0..40 {
        tree.insert(format!("d{directory}"), node(NodeKind::Directory)).unwrap();
        for name in 0..directory % 20 + 330 {
            let length = 4 + directory / 20;
            tree.insert(format!("d{directory}/{name:0length$}"), file("")).unwrap();
        }
    }
    Image::of(&tree, &options()).check().check_mounted(&tree).check_read(&tree);
}

#[test]
fn a_fragmented_file_has_a_deep_extent_tree() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("holes");
    let host = File::create_new(&path).unwrap();
    let length = 1500 * 128 * 1024;
    for piece in 0..1500 {
        host.write_all_at(format!("piece {piece}").as_bytes(), piece * 128 * 1024).unwrap();
    }
    host.set_len(length).unwrap();
    let mut tree = FileTree::new(root());
    tree.insert("holes", node(NodeKind::File(Content::HostFile { path, length }))).unwrap();
    let image = Image::of(&tree, &options());
    assert!(image.debugfs("extents /holes").contains("0/ 2"));
    image.check().check_mounted(&tree).check_read(&tree);
}

#[test]
fn a_file_over_4_gib_is_right() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("huge");
    let host = File::create_new(&path).unwrap();
    let length = (5 << 30) + 17;
    host.write_all_at(b"begin", 0).unwrap();
    host.write_all_at(b"behind 4 GiB", (4 << 30) + 12345).unwrap();
    host.write_all_at(b"end", length - 3).unwrap();
    let mut tree = FileTree::new(root());
    tree.insert("huge", node(NodeKind::File(Content::HostFile { path, length }))).unwrap();
    let image = Image::of(&tree, &options());
    image.check();
    let Some(mount) = image.mount("ro") else { return };
    let mounted = File::open(mount.root().join("huge")).unwrap();
    assert_eq!(mounted.metadata().unwrap().len(), length);
    let mut text = [0; 12];
    mounted.read_exact_at(&mut text, (4 << 30) + 12345).unwrap();
    assert_eq!(&text, b"behind 4 GiB");
    mounted.read_exact_at(&mut text[..3], length - 3).unwrap();
    assert_eq!(&text[..3], b"end");
}

#[test]
fn a_journal_survives_writing() {
    let tree = one_of_everything();
    let size = Size::Given(64 << 20);
    let image = Image::of(&tree, &Ext4Options { journal: Journal::Auto, size, ..options() });
    image.check().check_read(&tree);
    let Some(mount) = image.mount("rw") else { return };
    for number in 0..500 {
        std::fs::write(mount.root().join(format!("dir/new{number}")), vec![7; number * 50]).unwrap();
    }
    std::fs::remove_dir_all(mount.root().join("shared")).unwrap();
    drop(mount);
    image.check();
}

#[test]
fn writing_works_without_a_journal_too() {
    let mut tree = directory_of(2000, 20);
    tree.insert("keep", file(vec![9; 100_000])).unwrap();
    let image =
        Image::of(&tree, &Ext4Options { size: Size::Given(32 << 20), inodes: Inodes::PerBytes(8192), ..options() });
    let Some(mount) = image.mount("rw") else { return };
    for number in 0..2000 {
        std::fs::write(mount.root().join(format!("many/new file {number}")), "new").unwrap();
    }
    for number in (0..2000).step_by(2) {
        std::fs::remove_file(mount.root().join(format!("many/{number:020}"))).unwrap();
    }
    drop(mount);
    fsck(&image.path.display().to_string());
}
