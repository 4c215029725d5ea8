//! Tests of whole disk images with sgdisk, fdisk, bmaptool and zstd.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use diskimage::blockmap::BlockMap;
use diskimage::fat::{self, Volume};
use diskimage::gpt::{self, Attributes, types};
use diskimage::layout::{PartitionSpec, layout};
use diskimage::{Guid, SectorSize, compress, sparse};
use fsimage::{FileTree, Metadata, Node, NodeKind, Timestamp};
use progress::Silent;

fn run(tool: &str, package: &str, arguments: &[&str]) -> Output {
    match Command::new(tool).args(arguments).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output() {
        Ok(output) => output,
        Err(error) => panic!("{tool}: {error}; install the Debian package {package}"),
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

const ESP_SIZE: u64 = 300 << 20;

fn spec(number: u8, type_guid: Guid, name: &str, size: u64, attributes: Attributes) -> PartitionSpec {
    PartitionSpec {
        type_guid,
        unique_guid: Guid::from_digest(&[number; 32].into(), name),
        name: name.into(),
        size,
        attributes,
    }
}

/// An image with an ESP, a root and an empty data partition, made as a build makes it.
fn build(path: &Path, sector_size: SectorSize) -> File {
    let root = tempfile::tempfile_in(path.parent().unwrap()).unwrap();
    root.set_len(40 << 20).unwrap();
    root.write_all_at(&vec![0xaa; 100_000], 5 << 20).unwrap();

    let layout = layout(&[
        spec(1, types::ESP, "esp", ESP_SIZE, Attributes::NO_AUTO),
        spec(2, types::ROOT_X86_64, "root", 40 << 20, Attributes::READ_ONLY.with(Attributes::NO_AUTO)),
        spec(3, types::LINUX_GENERIC, "data", 20 << 20, Attributes::NO_AUTO),
    ])
    .unwrap();
    let image = File::options().read(true).write(true).create_new(true).open(path).unwrap();
    image.set_len(layout.disk_size).unwrap();

    let directory = Metadata::root(0o755, Timestamp::from_seconds(1_793_347_681));
    let mut tree = FileTree::new(directory.clone());
    tree.create_directories("EFI/BOOT", &directory).unwrap();
    let program = Node { kind: NodeKind::File(vec![0x4d; 300_000].into()), metadata: directory };
    tree.insert("EFI/BOOT/BOOTX64.EFI", program).unwrap();
    let options = fat::FatOptions {
        size: ESP_SIZE,
        sector_size,
        volume_id: 1,
        label: Some("ESP".into()),
        timestamp: Timestamp::from_seconds(1_793_347_681),
    };
    fat::write(&tree, &image, layout.partitions[0].start, &options, &Silent).unwrap();
    sparse::copy(&root, &image, layout.partitions[1].start).unwrap();
    gpt::write(&image, Guid::from_digest(&[9; 32].into(), "disk"), sector_size, &layout.partitions).unwrap();
    image
}

fn image(sector_size: SectorSize) -> (tempfile::TempDir, PathBuf, File) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    let file = build(&path, sector_size);
    (directory, path, file)
}

#[test]
fn sgdisk_finds_no_problems_and_the_flags() {
    let (_directory, path, _) = image(SectorSize::Bytes512);
    let path = path.to_str().unwrap();
    let verdict = text(&run("sgdisk", "gdisk", &["-v", path]));
    assert!(verdict.contains("No problems found"), "{verdict}");
    let root = text(&run("sgdisk", "gdisk", &["-i", "2", path]));
    for line in ["4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", "Attribute flags: 9000000000000000", "Partition name: 'root'"]
    {
        assert!(root.contains(line), "{root}");
    }
}

/// fdisk can be told the sector size; sgdisk takes it from the device, which would need a loop device and so root.
#[test]
fn fdisk_agrees_about_large_sectors() {
    let (_directory, path, file) = image(SectorSize::Bytes4096);
    let table = gpt::read(&mut &file).unwrap();
    assert_eq!((table.sector_size, table.copies), (SectorSize::Bytes4096, gpt::Copies::Both));
    let arguments = ["-b", "4096", "-l", "-o", "Start,Sectors,UUID", path.to_str().unwrap()];
    let output = run("fdisk", "fdisk", &arguments);
    let listing = text(&output);
    assert!(output.status.success() && output.stderr.is_empty(), "{listing}");
    assert!(listing.contains(&format!("Disk identifier: {}", table.disk_guid.to_string().to_uppercase())), "{listing}");
    let rows: Vec<String> = listing.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for (_, part) in &table.partitions {
        let guid = part.unique_guid.to_string().to_uppercase();
        let row = format!("{} {} {guid}", part.start / 4096, part.size / 4096);
        assert!(rows.contains(&row), "{row} in {listing}");
    }
}

#[test]
fn two_builds_are_the_same_and_mostly_holes() {
    let ((_keep, _, first), (_also, _, second)) = (image(SectorSize::Bytes512), image(SectorSize::Bytes512));
    assert_eq!(sparse::sha256(&first).unwrap(), sparse::sha256(&second).unwrap());
    assert!(first.metadata().unwrap().blocks() * 512 < 4 << 20);
    assert_eq!(BlockMap::of(&first, &Silent).unwrap().to_xml(), BlockMap::of(&second, &Silent).unwrap().to_xml());
}

/// A block map makes a used disk right by writing only the mapped blocks.
#[test]
fn bmaptool_flashes_a_used_disk_from_the_compressed_image() {
    let (directory, _, file) = image(SectorSize::Bytes512);
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let mut compressed = File::create(path("disk.img.zst")).unwrap();
    compress::compress(&file, &mut compressed, compress::CompressOptions::default(), &Silent).unwrap();
    let tested = run("zstd", "zstd", &["-t", &path("disk.img.zst")]);
    assert!(tested.status.success(), "{}", text(&tested));

    let map = BlockMap::of(&file, &Silent).unwrap();
    std::fs::write(path("disk.img.bmap"), map.to_xml()).unwrap();
    assert_eq!(BlockMap::parse(map.to_xml().as_bytes()), Ok(map.clone()));

    // bmaptool reads compressed images through the programs of the formats; the version in stable knows no zstd.
    let unpacked = run("zstd", "zstd", &["-q", "-d", &path("disk.img.zst"), "-o", &path("unpacked.img")]);
    assert!(unpacked.status.success(), "{}", text(&unpacked));
    let stick = File::create(path("stick")).unwrap();
    for at in (0..map.image_size).step_by(1 << 20) {
        stick.write_all_at(&vec![0xff; 1 << 20], at).unwrap();
    }
    let copied = run(
        "bmaptool",
        "bmap-tools",
        &["copy", "--bmap", &path("disk.img.bmap"), &path("unpacked.img"), &path("stick")],
    );
    assert!(copied.status.success(), "{}", text(&copied));

    let stick = File::open(path("stick")).unwrap();
    let table = gpt::read(&mut &stick).unwrap();
    assert_eq!((table.copies, table.partitions.len()), (gpt::Copies::Both, 3));
    let mut volume = Volume::open(&stick, table.partitions[0].1.start).unwrap();
    assert!(volume.read("EFI/BOOT/BOOTX64.EFI").unwrap() == vec![0x4d; 300_000]);
    let mut esp = vec![0; ESP_SIZE as usize];
    stick.read_exact_at(&mut esp, table.partitions[0].1.start).unwrap();
    std::fs::write(path("esp.img"), &esp).unwrap();
    let checked = run("fsck.fat", "dosfstools", &["-n", &path("esp.img")]);
    assert!(checked.status.success() && text(&checked).lines().count() == 2, "{}", text(&checked));
}

#[test]
fn our_maps_and_those_of_bmaptool_agree() {
    let (directory, path, _) = image(SectorSize::Bytes512);
    let theirs = directory.path().join("theirs.bmap");
    let created = run("bmaptool", "bmap-tools", &["create", "-o", theirs.to_str().unwrap(), path.to_str().unwrap()]);
    assert!(created.status.success(), "{}", text(&created));
    let theirs = BlockMap::parse(&std::fs::read(theirs).unwrap()).unwrap();
    let ours = BlockMap::of(&File::open(path).unwrap(), &Silent).unwrap();
    assert_eq!(theirs.image_size, ours.image_size);
    // bmaptool's map has everything that is not a hole; ours has the zeros that matter as well.
    let blocks = |map: &BlockMap| map.ranges.iter().flat_map(|range| range.first..=range.last).collect::<BTreeSet<_>>();
    assert!(blocks(&ours).is_superset(&blocks(&theirs)), "{ours:?}\n{theirs:?}");
    assert!(!theirs.ranges.is_empty());
}
