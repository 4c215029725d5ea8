//! Tests of the cpio writer and reader, with GNU cpio and with each other.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use fsimage::cpio::{self, Limits, ReadError};
use fsimage::{Content, FileTree, Metadata, Node, NodeKind, Timestamp, compare, scan};
use proptest::collection::vec;
use proptest::prelude::*;

fn metadata(mode: u16) -> Metadata {
    Metadata::root(mode, Timestamp::from_seconds(1_600_000_000))
}

fn node(kind: NodeKind) -> Node {
    Node { kind, metadata: metadata(0o750) }
}

fn archive(tree: &FileTree) -> Vec<u8> {
    let mut bytes = Vec::new();
    let report = cpio::write(tree, &mut bytes).unwrap();
    assert_eq!(report.bytes, bytes.len() as u64);
    assert_eq!(bytes.len() % 512, 0);
    bytes
}

fn assert_same(a: &FileTree, b: &FileTree) {
    let differences: Vec<_> = compare(a, b).unwrap().iter().map(ToString::to_string).collect();
    assert!(differences.is_empty(), "{differences:#?}");
}

fn gnu_cpio(arguments: &[&str], directory: &Path, archive: &[u8]) -> String {
    let mut child = Command::new("cpio")
        .args(arguments)
        .current_dir(directory)
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cpio: {error}: install the package cpio"));
    let mut stdin = child.stdin.take().unwrap();
    let bytes = archive.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap().unwrap();
    assert!(output.status.success(), "cpio found something wrong");
    String::from_utf8(output.stdout).unwrap()
}

/// A tree that can be unpacked without root.
fn tree(host: &Path) -> FileTree {
    let mut tree = FileTree::new(metadata(0o755));
    tree.insert("d", node(NodeKind::Directory)).unwrap();
    tree.insert("d/text", node(NodeKind::File("hello\n".into()))).unwrap();
    tree.insert("d/empty", node(NodeKind::File("".into()))).unwrap();
    let path = host.join("host");
    std::fs::write(&path, vec![b'x'; 300_003]).unwrap();
    tree.insert("host", node(NodeKind::File(Content::HostFile { path, length: 300_003 }))).unwrap();
    let id = tree.id("host").unwrap();
    tree.link("a-link", id).unwrap();
    tree.link("z-link", id).unwrap();
    tree.insert("fifo", node(NodeKind::Fifo)).unwrap();
    tree
}

#[test]
fn gnu_cpio_lists_and_unpacks_it() {
    let host = tempfile::tempdir().unwrap();
    let mut tree = tree(host.path());
    let bytes = archive(&tree);
    let unpacked = tempfile::tempdir().unwrap();
    gnu_cpio(&["-id", "--quiet", "--no-preserve-owner", "--preserve-modification-time"], unpacked.path(), &bytes);
    let mut seen = scan(unpacked.path()).unwrap();
    // Unpacked as the user who runs the test; cpio sets a directory's time before it fills it.
    for tree in [&mut tree, &mut seen] {
        let paths: Vec<_> = tree.iter().map(|(path, _)| path.to_vec()).collect();
        for path in paths {
            let node = tree.get_mut(&path).unwrap();
            (node.metadata.uid, node.metadata.gid) = (0, 0);
            if node.is_directory() {
                node.metadata.mtime = Timestamp::default();
            }
        }
    }
    assert_same(&tree, &seen);

    tree.insert("link", node(NodeKind::Symlink(b"d/text".into()))).unwrap();
    tree.insert("null", node(NodeKind::CharDevice { major: 1, minor: 3 })).unwrap();
    let list = gnu_cpio(&["-itv", "--quiet"], unpacked.path(), &archive(&tree));
    for line in
        ["link -> d/text", "1,   3 Sep 13  2020 null", "-rwxr-x---   3 root     root       300003 Sep 13  2020 z-link"]
    {
        assert!(list.contains(line), "{line}\n{list}");
    }
}

#[test]
fn an_archive_of_gnu_cpio_is_read() {
    let host = tempfile::tempdir().unwrap();
    let tree = tree(host.path());
    let unpacked = tempfile::tempdir().unwrap();
    gnu_cpio(&["-id", "--quiet", "--no-preserve-owner"], unpacked.path(), &archive(&tree));
    let list = "d\nd/empty\nd/text\na-link\nhost\nz-link\nfifo\n";
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    gnu_cpio(&["-o", "-H", "newc", "--quiet", "-F", &path], unpacked.path(), list.as_bytes());
    let read = cpio::read(&std::fs::read(file.path()).unwrap(), Limits::default()).unwrap().tree;
    let mut expected = scan(unpacked.path()).unwrap();
    let paths: Vec<_> = expected.iter().map(|(path, _)| path.to_vec()).collect();
    for path in paths {
        expected.get_mut(&path).unwrap().metadata.mtime.nanoseconds = 0;
    }
    let root = read.get("").unwrap().clone();
    *expected.get_mut("").unwrap() = root;
    assert_same(&expected, &read);
}

#[test]
fn a_file_that_changed_is_an_error() {
    let host = tempfile::tempdir().unwrap();
    let tree = tree(host.path());
    for length in [300_002, 300_004] {
        File::options().write(true).open(host.path().join("host")).unwrap().set_len(length).unwrap();
        assert!(matches!(cpio::write(&tree, Vec::new()), Err(cpio::WriteError::Changed { .. })));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(
        names in vec((vec(1..=255u8, 1..30), 0..8u32, any::<[u32; 4]>(), vec(any::<u8>(), 1..3000)), 0..80)
    ) {
        let mut tree = FileTree::new(metadata(0o755));
        let mut directory = Vec::new();
        let mut last = None;
        for (mut name, kind, [uid, gid, time, number], bytes) in names {
            name.iter_mut().filter(|byte| **byte == b'/').for_each(|byte| *byte = b'-');
            let path = [directory.as_slice(), &name].concat();
            if name.starts_with(b".") || name == b"TRAILER!!!" || tree.get(&path).is_some() {
                continue;
            }
            let kind = match kind {
                0 => NodeKind::Directory,
                1 => NodeKind::Symlink(bytes),
                2 => NodeKind::Fifo,
                3 => NodeKind::CharDevice { major: number, minor: time },
                4 => NodeKind::BlockDevice { major: time, minor: number },
                5 if last.is_some() => {
                    tree.link(path, last.unwrap()).unwrap();
                    continue;
                }
                _ => NodeKind::File(bytes.into()),
            };
            let mtime = Timestamp::from_seconds(i64::from(time));
            let metadata = Metadata { mode: (number & 0o7777) as u16, uid, gid, mtime, ..metadata(0) };
            let is_file = matches!(kind, NodeKind::File(_));
            let is_directory = kind == NodeKind::Directory;
            let id = tree.insert(&path, Node { kind, metadata }).unwrap();
            if is_file { last = Some(id) }
            if is_directory { directory = [path.as_slice(), b"/"].concat() }
        }
        let bytes = archive(&tree);
        assert_same(&tree, &cpio::read(&bytes, Limits::default()).unwrap().tree);
        assert!(bytes == archive(&tree));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..20), cut in any::<prop::sample::Index>()
    ) {
        let host = tempfile::tempdir().unwrap();
        let mut bytes = archive(&tree(host.path()));
        for (at, byte) in changes {
            // The headers are where it matters.
            let headers = bytes.len().min(1200);
            bytes[at.index(headers)] = byte;
        }
        let length = cut.index(bytes.len());
        for part in [&bytes[..], &bytes[..length]] {
            match cpio::read(part, Limits::default()) {
                Ok(_) | Err(ReadError::NotCpio | ReadError::CutShort(_) | ReadError::Damaged { .. }
                    | ReadError::BadPath { .. } | ReadError::OverLimit(_)) => {}
            }
        }
    }
}
