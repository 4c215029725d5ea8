//! Checks the smoke image with independent tools.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rocbed_tests::{Temporary, rocbed, scratch, smoke_image, tool};
use serde_json::Value;

/// Output of `rocbed inspect --json` for one file of the image.
fn inspect(name: &str) -> Value {
    let text = rocbed(["inspect", "--json"]).arg(smoke_image().join(name)).ok();
    serde_json::from_str::<Value>(&text).expect("inspect prints JSON")[name].clone()
}

fn partition(disk: &Value, name: &str) -> (u64, u64) {
    let partitions = disk["partitions"].as_array().expect("a disk has partitions");
    let found = partitions.iter().find(|partition| partition["name"] == name).expect("the partition is there");
    (found["start"].as_u64().expect("a number"), found["size"].as_u64().expect("a number"))
}

/// Copies a partition out of the disk image.
fn extract(name: &str) -> Temporary {
    let (start, size) = partition(&inspect("disk.img"), name);
    let target = Temporary::new(format!("{name}.img"));
    let (input, output) = (smoke_image().join("disk.img"), &target);
    let words = [
        format!("if={}", input.display()),
        format!("of={}", output.display()),
        "bs=1M".into(),
        "conv=sparse".into(),
        "iflag=skip_bytes,count_bytes".into(),
        format!("skip={start}"),
        format!("count={size}"),
        "status=none".into(),
    ];
    tool("dd", words);
    target
}

#[test]
fn e2fsck_finds_nothing_to_mend() {
    let root = smoke_image().join("root.img");
    tool("e2fsck", ["-f", "-n", &root.to_string_lossy()]);
    let from_disk = extract("rocbed-root");
    tool("e2fsck", ["-f", "-n", &from_disk.to_string_lossy()]);
}

#[test]
fn fsck_fat_finds_nothing_to_mend() {
    let text = tool("fsck.fat", ["-n", "-v", &extract("rocbed-esp").to_string_lossy()]);
    assert!(!text.to_lowercase().contains("error") && !text.contains("differ"), "{text}");
    assert!(text.contains("32 bit entries"), "it has to be FAT32:\n{text}");
}

#[test]
fn sgdisk_finds_no_problems() {
    let text = tool("sgdisk", ["--verify", &smoke_image().join("disk.img").to_string_lossy()]);
    assert!(text.contains("No problems found"), "{text}");
}

#[test]
fn the_root_partition_holds_root_img() {
    let from_disk = extract("rocbed-root");
    let root = smoke_image().join("root.img");
    let size = fs::metadata(&root).expect("root.img is there").len().to_string();
    tool("cmp", ["--bytes", &size, &from_disk.to_string_lossy(), &root.to_string_lossy()]);
}

#[test]
fn the_kernel_image_is_what_objdump_reads() {
    let text = tool("objdump", ["-h", &smoke_image().join("uki.efi").to_string_lossy()]);
    for section in [".osrel", ".cmdline", ".uname", ".linux", ".initrd", ".sbat"] {
        assert!(text.contains(section), "{section} is missing:\n{text}");
    }
}

#[test]
fn both_ways_to_start_the_disk_boot_the_root_that_is_on_it() {
    let disk = inspect("disk.img");
    let boot = &disk["partitions"][0]["boot"];
    let (entry, unified) = (&boot["entries"][0], &boot["unified"]);
    let guid = disk["partitions"][1]["guid"].as_str().expect("a GUID");
    let cmdline = entry["cmdline"].as_str().expect("a command line");
    assert!(cmdline.starts_with(&format!("root=PARTUUID={guid} ")), "{cmdline}");
    assert_eq!(unified["cmdline"], entry["cmdline"]);
    assert_eq!(unified["kernel"], entry["version"]);
}

#[test]
fn what_secure_boot_checks_is_signed_and_the_same_as_in_its_package() {
    let disk = inspect("disk.img");
    let boot = &disk["partitions"][0]["boot"];
    let mut signed: Vec<_> = boot["signed"].as_array().expect("paths").iter().filter_map(Value::as_str).collect();
    signed.sort_unstable();
    assert_eq!(signed, ["EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/grubx64.efi", "rocbed/vmlinuz"]);
    let esp = extract("rocbed-esp");
    for (path, file) in
        [("rocbed/vmlinuz", "vmlinuz"), ("rocbed/initrd.img", "initrd.img"), ("EFI/Linux/rocbed.efi", "uki.efi")]
    {
        let copy = scratch().join("from-esp");
        tool("mcopy", ["-o", "-i", &esp.to_string_lossy(), &format!("::{path}"), &copy.to_string_lossy()]);
        tool("cmp", [&copy, &smoke_image().join(file)]);
    }
}

#[test]
fn sums_and_manifest_agree_with_the_files() {
    let image = smoke_image();
    let check = Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(&image).output();
    let check = check.expect("starting sha256sum");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    let manifest: Value =
        serde_json::from_slice(&fs::read(image.join("manifest.json")).expect("a manifest")).expect("JSON");
    assert_eq!(manifest["spdxVersion"], "SPDX-2.3");
    let names: Vec<_> =
        manifest["packages"].as_array().expect("packages").iter().map(|package| &package["name"]).collect();
    for name in ["disk.img", "root.img", "autopkgtest", "dpkg"] {
        assert!(names.iter().any(|known| **known == name), "{name} is not in the manifest");
    }
}

#[test]
fn the_disk_is_sparse_and_its_compressed_form_is_the_same_disk() {
    let image = smoke_image();
    let disk = fs::metadata(image.join("disk.img")).expect("disk.img is there");
    assert!(disk.blocks() * 512 < disk.len(), "{} of {} bytes are allocated", disk.blocks() * 512, disk.len());
    let unpacked = Temporary::new("unpacked.img");
    let (from, to) = (image.join("disk.img.zst"), unpacked.display().to_string());
    tool("zstd", ["--decompress", "--sparse", "--force", "--quiet", "-o", &to, &from.to_string_lossy()]);
    tool("cmp", [&*unpacked, &image.join("disk.img")]);
    let copied = Temporary::new("copied.img");
    let map = image.join("disk.img.bmap").display().to_string();
    tool("bmaptool", ["copy", "--bmap", &map, &from.to_string_lossy(), &copied.to_string_lossy()]);
    tool("cmp", [&*copied, &image.join("disk.img")]);
}

#[test]
fn dpkg_in_the_image_is_content() {
    let root = mount();
    for check in ["--audit", "--verify"] {
        let output = Command::new("chroot").arg(&root.path).args(["/usr/bin/dpkg", check]).output();
        let output = output.expect("starting chroot");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.is_empty(),
            "dpkg {check}:\n{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn apt_in_the_image_knows_its_sources() {
    let root = mount();
    let sources = fs::read_to_string(root.path.join("etc/apt/sources.list.d/rocbed.sources")).expect("sources");
    assert!(sources.contains("Types: deb deb-src\n") && sources.contains("Suites: sid\n"), "{sources}");
    let keyring = sources.lines().find_map(|line| line.strip_prefix("Signed-By: /")).expect("a keyring is named");
    assert!(root.path.join(keyring).exists(), "{keyring} is not in the image");
}

#[test]
fn the_test_user_is_in_the_groups_that_gpus_belong_to() {
    let root = mount();
    let groups = fs::read_to_string(root.path.join("etc/group")).expect("groups");
    for group in ["render", "video"] {
        let line = groups.lines().find(|line| line.starts_with(&format!("{group}:"))).expect("the group is there");
        assert!(
            line.split(':').nth(3).is_some_and(|members| members.split(',').any(|name| name == "tester")),
            "{line}"
        );
    }
    let home = fs::metadata(root.path.join("home/tester")).expect("a home directory");
    assert_eq!((home.uid(), home.gid()), (1000, 1000));
}

/// `root.img`, mounted read-only by the kernel until this is dropped.
struct Mounted {
    path: PathBuf,
}

fn mount() -> Mounted {
    let path = scratch().join(format!("mnt-{:?}", std::thread::current().id()));
    fs::create_dir_all(&path).expect("making a mount point");
    let image = smoke_image().join("root.img");
    tool("mount", [Path::new("-o"), Path::new("loop,ro"), &image, &path]);
    Mounted { path }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        tool("umount", [&self.path]);
    }
}
