//! Tests that write images to disks of every kind, intact and broken ones.

mod support;

use std::fs::File;
use std::io::Cursor;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use diskimage::fat::Volume;
use diskimage::gpt::{self, Copies};
use diskimage::{Guid, SectorSize, blockmap::BlockMap, compress};
use progress::Silent;
use stick::check::check;
use stick::disk::{Disk, FileDisk};
use stick::fit::{FitError, NewFile};
use stick::image::Image;
use stick::source::Source;
use stick::write::{WriteError, Written, write};
use support::{Faults, MIB, Memory, image, noise, sums};

fn flash(path: &Path, disk: &dyn Disk, files: &[NewFile]) -> Result<Written, WriteError> {
    flash_and(true, path, disk, files)
}

fn flash_and(verify: bool, path: &Path, disk: &dyn Disk, files: &[NewFile]) -> Result<Written, WriteError> {
    let source = Source::open(path, None).unwrap();
    let mut image = Image::open(source.reader().unwrap(), source.map.as_ref())?;
    let fit = image.fit(disk.size(), disk.sector_size(), files, 1_800_000_000)?;
    write(image, &fit, disk, verify, &AtomicBool::new(false), &Silent)
}

fn bytes_of(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

/// Files with their names.
type Files = Vec<(String, Vec<u8>)>;

/// The EFI system partition's files and the root, where firmware would find both.
fn bootable(disk: &[u8]) -> Option<(Files, Vec<u8>)> {
    let table = gpt::read(&mut Cursor::new(disk)).ok()?;
    let part = |name: &str| table.partitions.iter().map(|(_, part)| part).find(|part| part.name == name);
    let mut volume = Volume::open(Cursor::new(disk), part("rocbed-esp")?.start).ok()?;
    let names = volume.list().ok()?.into_iter().filter(|entry| !entry.is_directory);
    let files = names.map(|entry| Some((entry.path.clone(), volume.read(&entry.path).ok()?))).collect::<Option<_>>()?;
    let root = part("rocbed-root")?;
    Some((files, disk[root.start as usize..(root.start + root.size) as usize].to_vec()))
}

#[test]
fn a_used_stick_of_another_size_becomes_the_image() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    image(&path, 1);
    for size in [51 * MIB, 60 * MIB + 512, 77 * MIB + 1024] {
        let disk = Memory::new(noise(9, size as usize), SectorSize::Bytes512, Faults::default());
        flash(&path, &disk, &[]).unwrap();
        let written = disk.after_cut();
        assert_eq!(bootable(&written), bootable(&bytes_of(&path)));
        let table = gpt::read(&mut Cursor::new(&written)).unwrap();
        assert_eq!(table.copies, Copies::Both);
        assert!(written[written.len() - 512..].starts_with(b"EFI PART"), "the backup is at the end");
        let data = &table.partitions[2].1;
        assert_eq!(data.start + data.size, (size - MIB) / MIB * MIB, "the data partition takes the rest");
        let (start, end) = (data.start as usize, (data.start + data.size) as usize);
        let zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
        assert!(zero(&written[start..start + MIB as usize]) && zero(&written[end - MIB as usize..end]));
    }
}

#[test]
fn large_sectors_get_a_partition_table_and_an_esp_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    image(&path, 2);
    let target = File::options().read(true).write(true).create_new(true).open(directory.path().join("4k")).unwrap();
    target.set_len(300 * MIB).unwrap();
    let disk = FileDisk::file(target.try_clone().unwrap(), SectorSize::Bytes4096, false).unwrap();
    flash(&path, &disk, &[("rocbed.toml".into(), b"hub = 'http://hub'\n".to_vec())]).unwrap();
    let written = bytes_of(&directory.path().join("4k"));
    assert_eq!(gpt::read(&mut Cursor::new(&written)).unwrap().sector_size, SectorSize::Bytes4096);
    let (files, root) = bootable(&written).unwrap();
    let (old_files, old_root) = bootable(&bytes_of(&path)).unwrap();
    assert_eq!(root, old_root);
    assert_eq!((&files[0].0, files.len()), (&"rocbed.toml".to_owned(), 2));
    assert_eq!(files[1], old_files[0]);
}

#[test]
fn sticks_of_one_image_can_be_told_apart_and_have_its_root() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    image(&path, 8);
    let flashed = |first: u8| {
        let source = Source::open(&path, None).unwrap();
        let mut image = Image::open(source.reader().unwrap(), None).unwrap();
        let disk = Memory::new(vec![0; 60 << 20], SectorSize::Bytes512, Faults::default());
        let mut fit = image.fit(disk.size(), disk.sector_size(), &[], 1_800_000_000).unwrap();
        let mut next = first;
        let draw = || {
            next += 1;
            Ok::<_, ()>(Guid::from_random([next; 16]))
        };
        fit.draw_guids(draw).unwrap();
        write(image, &fit, &disk, true, &AtomicBool::new(false), &Silent).unwrap();
        let bytes = disk.after_cut();
        assert_eq!(bootable(&bytes), bootable(&bytes_of(&path)));
        let table = gpt::read(&mut Cursor::new(bytes)).unwrap();
        assert_eq!(table.copies, Copies::Both);
        (table.disk_guid, table.partitions.iter().map(|(_, part)| part.unique_guid).collect::<Vec<_>>())
    };
    let ((disk, parts), (other_disk, other_parts)) = (flashed(0), flashed(100));
    assert_eq!(
        (disk, parts[0], parts[2]),
        (Guid::from_random([1; 16]), Guid::from_random([2; 16]), Guid::from_random([3; 16]))
    );
    assert_eq!(parts[1], Guid::from_digest(&[8; 32].into(), "rocbed-root"));
    assert_eq!(parts[1], other_parts[1]);
    assert!(disk != other_disk && parts[0] != other_parts[0] && parts[2] != other_parts[2]);
}

/// The reason why an image would not be written.
fn checked(path: &Path) -> Result<(), String> {
    let source = Source::open(path, None).map_err(|error| error.to_string())?;
    check(&source, &Silent).map_err(|error| error.to_string())
}

#[test]
fn an_image_is_read_to_its_end_before_anything_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    image(&path("disk.img"), 9);
    let file = File::open(path("disk.img")).unwrap();
    let zst = File::create(path("disk.img.zst")).unwrap();
    compress::compress(&file, &zst, compress::CompressOptions { level: 1, threads: 1 }, &Silent).unwrap();
    let map = BlockMap::of(&file, &Silent).unwrap();
    let all = ["disk.img", "disk.img.zst", "disk.img.bmap"];
    let write_map = |map: &BlockMap| {
        std::fs::write(path("disk.img.bmap"), map.to_xml()).unwrap();
        sums(directory.path(), &all);
    };
    write_map(&map);
    for name in &all[..2] {
        assert_eq!(checked(&path(name)), Ok(()), "{name}");
    }

    // A map that leaves something out, or has checksums of something else.
    let mut less = map.clone();
    let root = less.ranges.iter().position(|range| less.bytes(range).contains(&(36 * MIB))).unwrap();
    less.ranges.remove(root);
    write_map(&less);
    for name in &all[..2] {
        assert!(checked(&path(name)).is_err_and(|error| error.contains("the block map leaves out bytes")), "{name}");
    }
    let mut other = map.clone();
    other.ranges[root].sha256 = Some([0; 32].into());
    write_map(&other);
    assert!(checked(&path("disk.img")).is_err_and(|error| error.contains("do not have the checksum")));
    write_map(&map);

    // Truncated, and without a digest.
    std::fs::remove_file(path("SHA256SUMS")).unwrap();
    for name in &all[..2] {
        let bytes = std::fs::read(path(name)).unwrap();
        std::fs::write(path(name), &bytes[..bytes.len() - 9]).unwrap();
        assert!(checked(&path(name)).is_err(), "{name}");
    }
}

#[test]
fn compressed_and_mapped_images_give_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    image(&path, 3);
    let plain = Memory::new(noise(5, 60 << 20), SectorSize::Bytes512, Faults::default());
    flash(&path, &plain, &[]).unwrap();
    let plain = bootable(&plain.after_cut()).unwrap();

    let file = File::open(&path).unwrap();
    let zst = File::create(directory.path().join("disk.img.zst")).unwrap();
    compress::compress(&file, &zst, compress::CompressOptions { level: 1, threads: 1 }, &Silent).unwrap();
    let map = BlockMap::of(&file, &Silent).unwrap();
    std::fs::write(directory.path().join("disk.img.bmap"), map.to_xml()).unwrap();
    for names in [&["disk.img.zst"][..], &["disk.img.zst", "disk.img.bmap", "disk.img"]] {
        sums(directory.path(), names);
        let disk = Memory::new(vec![0; 60 << 20], SectorSize::Bytes512, Faults::default());
        flash(&directory.path().join("disk.img.zst"), &disk, &[]).unwrap();
        assert_eq!(bootable(&disk.after_cut()).unwrap(), plain, "{names:?}");
    }
}

#[test]
fn a_damaged_image_never_becomes_bootable() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    image(&path, 4);
    sums(directory.path(), &["disk.img"]);
    File::options().write(true).open(&path).unwrap().write_all_at(b"?", 40 * MIB).unwrap();
    let disk = Memory::new(vec![0; 60 << 20], SectorSize::Bytes512, Faults::default());
    let error = flash(&path, &disk, &[]).unwrap_err().to_string();
    assert!(error.contains("damaged or was changed"), "{error}");
    assert!(bootable(&disk.after_cut()).is_none());
}

#[test]
fn broken_and_counterfeit_sticks_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    image(&path, 5);
    let on = |faults| flash(&path, &Memory::new(vec![0; 200 << 20], SectorSize::Bytes512, faults), &[]).unwrap_err();
    let error = on(Faults { bad_byte: Some(36 * MIB + 77), ..Faults::default() });
    assert!(matches!(error, WriteError::Differs { at } if (32 * MIB..=36 * MIB).contains(&at)), "{error}");
    let error = on(Faults { real_size: Some(128 * MIB), ..Faults::default() });
    assert!(matches!(error, WriteError::Counterfeit { real, .. } if real <= 129 * MIB), "{error}");
    assert!(error.to_string().contains("counterfeit"), "{error}");
}

#[test]
fn too_small_a_stick_is_refused_before_anything_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    image(&path, 6);
    let disk = Memory::new(vec![7; 50 << 20], SectorSize::Bytes512, Faults::default());
    let error = flash(&path, &disk, &[]).unwrap_err();
    assert!(matches!(error, WriteError::Fit(FitError::TooSmall { .. })), "{error}");
    assert!(disk.after_cut().iter().all(|byte| *byte == 7));
}

#[test]
fn an_image_with_a_data_partition_in_use_keeps_its_zeros() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    let layout = image(&path, 7);
    let data = layout.partitions[2].start;
    File::options().write(true).open(&path).unwrap().write_all_at(&noise(1, 5000), data + 1024).unwrap();
    let disk = Memory::new(noise(2, 60 << 20), SectorSize::Bytes512, Faults::default());
    flash(&path, &disk, &[]).unwrap();
    let range = data as usize..(data + 6 * MIB) as usize;
    assert!(disk.after_cut()[range.clone()] == bytes_of(&path)[range]);
}

#[test]
fn cut_at_any_point_the_stick_is_the_old_one_or_the_new_one_or_does_not_boot() {
    let directory = tempfile::tempdir().unwrap();
    let (old_path, new_path) = (directory.path().join("old.img"), directory.path().join("new.img"));
    image(&old_path, 10);
    image(&new_path, 20);
    let mut old = Memory::new(vec![0; 52 << 20], SectorSize::Bytes512, Faults::default());
    flash(&old_path, &old, &[]).unwrap();
    let old_bytes = old.after_cut();
    old = Memory::new(old_bytes.clone(), SectorSize::Bytes512, Faults::default());
    flash(&new_path, &old, &[]).unwrap();
    let total = old.written();
    let (before, after) = (bootable(&old_bytes), bootable(&old.after_cut()));
    assert!(before.is_some() && after.is_some() && before != after);

    let mut seen = [0; 3];
    for number in 0..50_u64 {
        // The first and the last MiB are where it matters most: a third of the cuts each.
        let within = u64::from_le_bytes(noise(number + 1, 8).try_into().unwrap());
        let cut = match number % 3 {
            0 => within % (2 * MIB + MIB / 2),
            1 => total - within % (2 * MIB + MIB / 2),
            _ => within % total,
        };
        let disk =
            Memory::new(old_bytes.clone(), SectorSize::Bytes512, Faults { cut_after: Some(cut), ..Faults::default() });
        flash_and(false, &new_path, &disk, &[]).unwrap_err(); // reading back writes nothing
        let left = bootable(&disk.after_cut());
        let which = if left.is_none() {
            0
        } else if left == before {
            1
        } else {
            2
        };
        assert!(which != 2 || left == after, "cut at byte {cut} of {total}: it boots into a mixture");
        seen[which] += 1;
    }
    assert!(seen[0] > 20, "{seen:?}");
}

#[test]
fn interrupting_leaves_nothing_that_boots() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    image(&path, 8);
    let disk = Memory::new(bytes_of(&path), SectorSize::Bytes512, Faults::default());
    let source = Source::open(&path, None).unwrap();
    let mut image = Image::open(source.reader().unwrap(), None).unwrap();
    let fit = image.fit(disk.size(), disk.sector_size(), &[], 0).unwrap();
    let error = write(image, &fit, &disk, true, &AtomicBool::new(true), &Silent).unwrap_err();
    assert!(matches!(error, WriteError::Interrupted));
}
