//! Tests that collect results from a stick whose data partition was made by mke2fs.

mod support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use advice::Advise as _;
use sha256::Digest;
use stick::collect::{CollectError, collect};
use support::image;

/// A file system with these files, by mke2fs.
fn ext4(files: &[(&str, &str)], directory: &Path) -> Vec<u8> {
    let root = directory.join("root");
    for (path, text) in files {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), text).unwrap();
    }
    let target = directory.join("ext4");
    let status = Command::new("/usr/sbin/mkfs.ext4")
        .args(["-q", "-F", "-O", "^metadata_csum", "-d"])
        .arg(&root)
        .arg(&target)
        .arg("6M")
        .status();
    assert!(status.expect("mkfs.ext4 is missing: install e2fsprogs").success());
    fs::read(target).unwrap()
}

fn sha256(text: &str) -> String {
    Digest::of(text).to_string()
}

#[test]
fn bundles_come_with_the_word_on_their_digests() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    let layout = image(&path, 1);
    let disk = File::options().read(true).write(true).open(&path).unwrap();
    let into = directory.path().join("out");
    assert!(matches!(collect(&disk, &into), Err(CollectError::Empty)));

    let list = format!(
        "{{\"jobs\": [{{\"job\": \"a\", \"bundle\": \"a.tar.zst\", \"sha256\": \"{}\"}}, {{\"job\": \"declined\"}}]}}",
        sha256("bundle a")
    );
    let label = format!("{{\"to\": \"http://hub\", \"sha256\": \"{}\"}}", sha256("something else"));
    let files = [
        ("results/0123/a.tar.zst", "bundle a"),
        ("results/0123/results.json", &*list),
        ("outbox/b.tar.zst", "bundle b"),
        ("outbox/b.json", &label),
        ("outbox/c.tar.zst", "bundle c"),
        ("state/running.json", "{}"),
    ];
    let mut bytes = ext4(&files, directory.path());
    let data = layout.partitions[2].start;
    disk.write_all_at(&bytes, data).unwrap();
    let collected = collect(&disk, &into).unwrap();
    let told: Vec<_> = collected.iter().map(|one| (one.from.as_str(), one.intact)).collect();
    let expected =
        [("outbox/b.tar.zst", Some(false)), ("outbox/c.tar.zst", None), ("results/0123/a.tar.zst", Some(true))];
    assert_eq!(told, expected);
    assert_eq!(fs::read_to_string(&collected[2].to).unwrap(), "bundle a");
    assert!(into.join("results/0123/results.json").exists() && !into.join("state").exists());

    // The bit that says "the journal has to be replayed" (s_feature_incompat, RECOVER).
    bytes[1024 + 96] |= 4;
    disk.write_all_at(&bytes[..4096], data).unwrap();
    let error = collect(&disk, &into).unwrap_err();
    let help = error.help().to_string();
    assert!(help.contains("e2fsck -f"), "{error}: {help}");
}
