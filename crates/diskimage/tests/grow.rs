//! Tests of growing a partition, interrupted after every sector written.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Output};

use diskimage::gpt::{self, Attributes, Copies, GptError, Growth, Partition, Table, types};
use diskimage::layout::{PartitionSpec, layout};
use diskimage::{Guid, SectorSize};

const MIB: u64 = 1 << 20;

fn run(tool: &str, package: &str, arguments: &[&str]) -> Output {
    match Command::new(tool).args(arguments).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output() {
        Ok(output) => output,
        Err(error) => panic!("{tool}: {error}; install the Debian package {package}"),
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// An image with three partitions, written to a disk of another size.
fn flashed(sector_size: SectorSize, disk_size: u64) -> (tempfile::NamedTempFile, u64) {
    let spec = |number: u8, type_guid, name: &str, size| PartitionSpec {
        type_guid,
        unique_guid: Guid::from_bytes([number; 16]),
        name: name.into(),
        size,
        attributes: Attributes::NO_AUTO,
    };
    let layout = layout(&[
        spec(1, types::ESP, "rocbed-esp", 4 * MIB),
        spec(2, types::ROOT_X86_64, "rocbed-root", 4 * MIB),
        spec(3, types::LINUX_GENERIC, "rocbed-data", 2 * MIB),
    ])
    .unwrap();
    let disk = tempfile::NamedTempFile::new().unwrap();
    disk.as_file().set_len(layout.disk_size).unwrap();
    gpt::write(disk.as_file(), Guid::from_bytes([9; 16]), sector_size, &layout.partitions).unwrap();
    disk.as_file().set_len(disk_size).unwrap();
    (disk, layout.disk_size)
}

fn table(mut disk: &File) -> Table {
    gpt::read(&mut disk).unwrap()
}

fn plan(mut disk: &File) -> Option<Growth> {
    gpt::plan_growth(&mut disk, 3).unwrap()
}

fn partitions(table: &Table) -> Vec<Partition> {
    table.partitions.iter().map(|(_, partition)| partition.clone()).collect()
}

fn fills_the_disk(disk: &File, sector_size: SectorSize) {
    let table = table(disk);
    assert_eq!(table.copies, Copies::Both);
    let last = &table.partitions[2].1;
    let room = disk.metadata().unwrap().len() - last.start - last.size;
    assert!((33 * 512..MIB + 33 * 512).contains(&room), "{room}");
    assert_eq!((last.start, last.start % MIB, last.size % MIB), (9 * MIB, 0, 0));
    // The tables are in their standard places.
    let mut header = [0; 512];
    disk.read_exact_at(&mut header, sector_size.bytes()).unwrap();
    assert_eq!(u64::from_le_bytes(header[72..80].try_into().unwrap()), 2);
    disk.read_exact_at(&mut header, disk.metadata().unwrap().len() - sector_size.bytes()).unwrap();
    assert!(header.starts_with(b"EFI PART"));
}

#[test]
fn the_last_partition_takes_the_rest_of_the_disk() {
    for sector_size in SectorSize::ALL {
        for disk_size in [30 * MIB, 31 * MIB + 512 * 7 * 8, 1 << 40] {
            let (disk, _) = flashed(sector_size, disk_size);
            let before = table(disk.as_file());
            let growth = plan(disk.as_file()).unwrap();
            growth.write(disk.as_file()).unwrap();
            fills_the_disk(disk.as_file(), sector_size);
            let after = table(disk.as_file());
            assert_eq!(partitions(&after)[..2], partitions(&before)[..2]);
            assert_eq!((&after.partitions[2].1, after.disk_guid), (&growth.partition, before.disk_guid));
            assert_eq!(plan(disk.as_file()), None, "there is nothing more to do");
        }
    }
}

#[test]
fn sgdisk_and_fdisk_find_no_problems() {
    let (disk, _) = flashed(SectorSize::Bytes512, 64 * MIB);
    let path = disk.path().to_str().unwrap();
    plan(disk.as_file()).unwrap().write(disk.as_file()).unwrap();
    let verdict = text(&run("sgdisk", "gdisk", &["-v", path]));
    assert!(verdict.contains("No problems found"), "{verdict}");
    let (large, _) = flashed(SectorSize::Bytes4096, 64 * MIB);
    plan(large.as_file()).unwrap().write(large.as_file()).unwrap();
    for (path, sector_size) in [(path, "512"), (large.path().to_str().unwrap(), "4096")] {
        let output = run("fdisk", "fdisk", &["-b", sector_size, "-l", path]);
        assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output));
        assert!(text(&output).contains("54M"), "{}", text(&output));
    }
}

/// All states that a power cut can leave: some steps complete, and some sectors of the next one.
fn cut_everywhere(
    sector_size: SectorSize,
    original: &tempfile::NamedTempFile,
    mut check: impl FnMut(&File, &Path, bool),
) {
    let growth = plan(original.as_file()).unwrap();
    let disk = tempfile::NamedTempFile::new().unwrap();
    std::fs::copy(original.path(), disk.path()).unwrap();
    check(disk.as_file(), disk.path(), true);
    let sector = sector_size.bytes() as usize;
    for step in &growth.steps {
        let mut before = vec![0; step.bytes.len()];
        disk.as_file().read_exact_at(&mut before, step.offset).unwrap();
        let count = step.bytes.len() / sector;
        // In the order of the sectors, and in reverse: disks reorder writes.
        for forward in [true, false] {
            for written in 0..=count {
                for (index, new) in step.bytes.chunks(sector).enumerate() {
                    let is_written = if forward { index < written } else { index >= count - written };
                    let bytes = if is_written { new } else { &before[index * sector..(index + 1) * sector] };
                    disk.as_file().write_all_at(bytes, step.offset + (index * sector) as u64).unwrap();
                }
                check(disk.as_file(), disk.path(), written == count);
            }
        }
    }
}

#[test]
fn a_power_cut_at_any_sector_leaves_a_whole_primary_table_and_the_next_start_goes_on() {
    for sector_size in SectorSize::ALL {
        let (original, image_size) = flashed(sector_size, 20 * MIB);
        // Once as the image was written to the disk, once with the backup where it belongs already.
        let (moved, _) = flashed(sector_size, 20 * MIB);
        let old = table(original.as_file());
        gpt::write(moved.as_file(), old.disk_guid, sector_size, &partitions(&old)).unwrap();
        assert!(image_size < 20 * MIB);
        for disk in [original, moved] {
            let new = plan(disk.as_file()).unwrap().partition;
            let mut states = 0;
            cut_everywhere(sector_size, &disk, |cut, _, whole_step| {
                states += 1;
                let found = table(cut);
                assert!(!matches!(found.copies, Copies::OnlyBackup(_)), "{:?}", found.copies);
                assert_eq!(partitions(&found)[..2], partitions(&old)[..2]);
                let last = &found.partitions[2].1;
                assert!(*last == old.partitions[2].1 || *last == new);
                if whole_step {
                    let again = tempfile::tempfile().unwrap();
                    let mut bytes = vec![0; 20 * MIB as usize];
                    cut.read_exact_at(&mut bytes, 0).unwrap();
                    again.write_all_at(&bytes, 0).unwrap();
                    if let Some(growth) = plan(&again) {
                        growth.write(&again).unwrap();
                    }
                    fills_the_disk(&again, sector_size);
                }
            });
            assert!(states > 8, "{states}");
        }
    }
}

#[test]
fn other_tools_read_the_table_after_each_step_too() {
    let (disk, _) = flashed(SectorSize::Bytes512, 20 * MIB);
    cut_everywhere(SectorSize::Bytes512, &disk, |_, path, whole_step| {
        if !whole_step {
            return;
        }
        let path = path.to_str().unwrap();
        let listed = text(&run("sgdisk", "gdisk", &["-p", path]));
        assert!(!listed.contains("invalid main"), "{listed}");
        for name in ["rocbed-esp", "rocbed-root", "rocbed-data"] {
            assert!(listed.contains(name), "{listed}");
        }
        // As udev sees it.
        let listed = text(&run("partx", "util-linux", &["-g", "-o", "NAME,START", path]));
        let rows: Vec<_> = listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(rows, ["rocbed-esp 2048", "rocbed-root 10240", "rocbed-data 18432"], "{listed}");
    });
}

#[test]
fn what_cannot_grow_says_why() {
    let (disk, image_size) = flashed(SectorSize::Bytes512, 20 * MIB);
    let grow = |number| gpt::plan_growth(&mut disk.as_file(), number);
    assert!(matches!(grow(4), Err(GptError::NoSuchPartition(4))));
    assert!(matches!(grow(2), Err(GptError::NotLast(name)) if name == "rocbed-root"));
    disk.as_file().set_len(image_size).unwrap();
    assert!(matches!(grow(3), Ok(None)));
    disk.as_file().write_all_at(b"x", 1024).unwrap();
    assert!(matches!(grow(3), Err(GptError::PrimaryDamaged(_))));
    disk.as_file().write_all_at(&[0; 8192], 0).unwrap();
    disk.as_file().write_all_at(&[0; 8192], image_size - 8192).unwrap();
    assert!(grow(3).is_err());
}
