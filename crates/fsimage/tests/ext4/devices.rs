//! Tests of empty file systems on devices with other content.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

use fsimage::ext4::{self, Ext4Options, Ext4Report, Inodes, Journal, OnErrors};
use progress::Silent;

use crate::options;
use crate::oracle::Image;

fn data_options(size: u64) -> Ext4Options {
    Ext4Options {
        label: "rocbed-data".into(),
        journal: Journal::Bytes(16 << 20),
        on_errors: OnErrors::ReadOnly,
        inodes: Inodes::AtLeast(4096.max(size >> 21) as u32),
        ..options()
    }
}

/// A device of that size with garbage at its start, around group borders, and at its end.
fn formatted(size: u64) -> Image {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    let device = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    device.set_len(size).unwrap();
    let garbage = vec![0xa5; 12 << 20];
    for at in (0..size).step_by(128 << 20).take(20).chain([size - garbage.len() as u64]) {
        let length = garbage.len().min((size - at) as usize);
        device.write_all_at(&garbage[..length], at).unwrap();
    }
    let report: Ext4Report = ext4::format(&device, &data_options(size), &Silent).unwrap();
    Image { directory, path, report }
}

#[test]
fn e2fsck_and_the_kernel_take_it_whatever_was_there() {
    for size in [16 << 20, (64 << 20) + 12_345, 2 << 30, 64 << 30] {
        let image = formatted(size);
        image.check();
        let Some(mount) = image.mount("rw") else { return };
        for number in 0..200 {
            std::fs::create_dir(mount.root().join(format!("dir{number}"))).unwrap();
            std::fs::write(mount.root().join(format!("dir{number}/new")), vec![7; number * 500]).unwrap();
        }
        drop(mount);
        image.check();
    }
}

#[test]
fn it_has_a_journal_and_few_inodes() {
    let image = formatted(64 << 30);
    let described = String::from_utf8_lossy(
        &crate::oracle::tool("dumpe2fs", "e2fsprogs", &["-h", image.path.to_str().unwrap()]).stdout,
    )
    .into_owned();
    for line in [
        "Filesystem volume name:   rocbed-data",
        "has_journal",
        "Errors behavior:          Remount read-only",
        "Filesystem state:         clean",
        "Total journal size:       16M",
        "Journal start:            0",
    ] {
        assert!(described.contains(line), "{line}: {described}");
    }
    assert_eq!(image.report.inodes, 32_768);
}

#[test]
fn a_large_one_is_made_with_few_writes() {
    let directory = tempfile::tempdir().unwrap();
    let device = File::create_new(directory.path().join("device")).unwrap();
    device.set_len(64 << 30).unwrap();
    ext4::format(&device, &data_options(64 << 30), &Silent).unwrap();
    let written = device.metadata().unwrap().blocks() * 512;
    assert!(written < 40 << 20, "{written}");
}
