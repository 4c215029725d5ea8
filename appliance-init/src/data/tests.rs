use super::*;
use crate::system::recording::Recording;
use diskimage::gpt::{Attributes, types};
use diskimage::layout::{PartitionSpec, layout};
use diskimage::{Guid, SectorSize};
use fsimage::ext4::{Limits, Reader};
use std::os::unix::fs::FileExt;

const MIB: u64 = 1 << 20;

/// A stick of 100 MiB with an image of 12 MiB on it, as files in a directory that stands for /dev.
struct Stick {
    dev: tempfile::TempDir,
    devices: Vec<BlockDevice>,
    system: Recording,
    said: Vec<String>,
    /// The partition that the firmware reports as started.
    started: Option<&'static str>,
}

impl Stick {
    fn new(names: [&str; 3]) -> Self {
        let dev = tempfile::tempdir().unwrap();
        let spec = |number: u8, name: &str| PartitionSpec {
            type_guid: types::LINUX_GENERIC,
            unique_guid: Guid::from_bytes([number; 16]),
            name: name.into(),
            size: 4 * MIB,
            attributes: Attributes::default(),
        };
        let layout = layout(&[spec(1, names[0]), spec(2, names[1]), spec(3, names[2])]).unwrap();
        let disk = File::create_new(dev.path().join("sda")).unwrap();
        disk.set_len(layout.disk_size).unwrap();
        gpt::write(&disk, Guid::from_bytes([9; 16]), SectorSize::Bytes512, &layout.partitions).unwrap();
        disk.set_len(100 * MIB).unwrap();
        File::create_new(dev.path().join("sda3")).unwrap().set_len(91 * MIB).unwrap();
        let device = |name: &str, disk: Option<&str>, part: Option<(&str, Guid)>| BlockDevice {
            name: name.into(),
            number: "8:0".into(),
            size: 1,
            read_only: false,
            disk: disk.map(str::to_owned),
            part_uuid: part.map(|(_, guid)| guid.to_string()),
            part_label: part.map(|(label, _)| label.to_owned()),
        };
        let devices = vec![
            device("sda", None, None),
            device("sda3", Some("sda"), Some(("rocbed-data", Guid::from_bytes([3; 16])))),
            device("sdb3", Some("sdb"), Some(("rocbed-data", Guid::from_bytes([4; 16])))),
        ];
        Self { dev, devices, system: Recording { free: 1000, ..Recording::default() }, said: Vec::new(), started: None }
    }

    fn ours() -> Self {
        Self::new(LAYOUT)
    }

    fn prepare(&mut self) -> Result<(), String> {
        let said = &mut self.said;
        let say = &mut |text: &str| said.push(text.to_owned());
        let result = prepare("sda", self.started, &self.devices, self.dev.path(), &mut self.system, say);
        let dev = self.dev.path().display().to_string();
        for text in self.said.iter_mut().chain(&mut self.system.calls) {
            *text = text.replace(&dev, "/dev");
        }
        result.map_err(|problem| problem.in_one_line().replace(&dev, "/dev"))
    }

    fn file(&self, name: &str) -> File {
        File::options().read(true).write(true).open(self.dev.path().join(name)).unwrap()
    }
}

#[test]
fn the_first_start_grows_formats_and_mounts() {
    let mut stick = Stick::ours();
    assert_eq!(stick.prepare(), Ok(()));
    assert_eq!(
        stick.system.calls,
        [
            "resize /dev/sda 3 90 MiB at 9 MiB",
            "directory /var/lib/rocbed",
            "mount /dev/sda3 /var/lib/rocbed ext4 Kept data=ordered,barrier=1,errors=remount-ro",
            "write /run/rocbed/data /dev/sda3",
            "room /var/lib/rocbed",
        ]
    );
    assert_eq!(
        stick.said,
        [
            "growing /dev/sda3 from 4 MiB to 90 MiB",
            "making a file system of 91 MiB on /dev/sda3",
            "results are kept on /dev/sda3, 1000 MiB of 1024 GiB free",
        ]
    );
    let table = gpt::read(&mut stick.file("sda")).unwrap();
    assert_eq!(table.partitions[2].1.size, 90 * MIB);
    let mut reader = Reader::open(stick.file("sda3"), 0).unwrap();
    assert_eq!(reader.tree(Limits::default()).unwrap().iter().count(), 2);
}

#[test]
fn later_starts_only_mount() {
    let mut stick = Stick::ours();
    stick.prepare().unwrap();
    stick.system.calls.clear();
    let before = std::fs::read(stick.dev.path().join("sda3")).unwrap();
    assert_eq!(stick.prepare(), Ok(()));
    assert_eq!(stick.system.calls.len(), 4, "{:?}", stick.system.calls);
    assert!(stick.system.calls[1].starts_with("mount "));
    assert!(std::fs::read(stick.dev.path().join("sda3")).unwrap() == before);
}

#[test]
fn what_is_not_ours_or_is_broken_is_left_alone() {
    let state = |stick: &Stick, at: u64, bytes: &[u8]| stick.file("sda3").write_all_at(bytes, at).unwrap();
    let mut stick = Stick::ours();
    stick.prepare().unwrap();
    state(&stick, 1024 + 58, &[2]);
    stick.system.calls.clear();
    let problem = stick.prepare().unwrap_err();
    assert!(
        problem.starts_with("/dev/sda3 holds results, and its file system has errors; take the stick "),
        "{problem}"
    );
    state(&stick, 1024 + 120, b"photos\0");
    let problem = stick.prepare().unwrap_err();
    assert!(
        problem.starts_with("/dev/sda3 holds something that is not ours (ext4 \"photos\"); write the image again"),
        "{problem}"
    );
    assert!(stick.system.calls.is_empty(), "{:?}", stick.system.calls);

    let mut stick = Stick::ours();
    state(&stick, 3, b"EXFAT   ");
    let problem = stick.prepare().unwrap_err();
    assert!(
        problem.starts_with("/dev/sda3 holds something that is not ours (exFAT); write the image again"),
        "{problem}"
    );
    assert!(stick.system.calls.is_empty() && stick.said.is_empty(), "{:?}", stick.system.calls);
}

#[test]
fn of_two_disks_with_one_image_none_is_written_to() {
    let mut stick = Stick::ours();
    stick.devices[2].part_uuid = stick.devices[1].part_uuid.clone();
    let problem = stick.prepare().unwrap_err();
    assert!(problem.starts_with("/dev/sda and /dev/sdb hold the same image, "), "{problem}");
    assert!(stick.system.calls.is_empty(), "{:?}", stick.system.calls);

    // Sticks that were flashed have data partitions of their own, and one root.
    let mut stick = Stick::ours();
    for (number, disk) in [(2, "sda"), (2, "sdb"), (1, "sda"), (1, "sdb")] {
        let mut device = stick.devices[1].clone();
        (device.name, device.disk) = (format!("{disk}{number}"), Some(disk.to_owned()));
        device.part_label = Some(LAYOUT[number - 1].to_owned());
        device.part_uuid = Some(if number == 2 { "root".to_owned() } else { format!("esp of {disk}") });
        stick.devices.push(device);
    }
    for started in [None, Some("esp of sdb"), Some("esp of another disk")] {
        stick.started = started;
        let problem = stick.prepare().unwrap_err();
        assert!(problem.starts_with("/dev/sda and /dev/sdb hold the same image, "), "{started:?}: {problem}");
    }
    stick.started = Some("esp of sda");
    assert_eq!(stick.prepare(), Ok(()));
}

#[test]
fn a_file_system_that_cannot_be_mounted_is_told() {
    let mut stick = Stick::ours();
    stick.system.fails = vec!["mount"];
    let problem = stick.prepare().unwrap_err();
    assert!(problem.starts_with("mounting /dev/sda3: ") && problem.contains("e2fsck -f"), "{problem}");
    assert!(!stick.system.calls.iter().any(|call| call.starts_with("write ")));
}

#[test]
fn a_disk_of_others_is_not_grown() {
    let mut stick = Stick::new(["EFI", "rocbed-root", "rocbed-data"]);
    assert_eq!(stick.prepare(), Ok(()));
    assert!(stick.said[0].contains("the disk has the partitions EFI, rocbed-root, rocbed-data, and not ours"));
    assert_eq!(gpt::read(&mut stick.file("sda")).unwrap().partitions[2].1.size, 4 * MIB);
    // The data partition of another disk is left alone.
    stick.devices.remove(1);
    assert_eq!(stick.prepare(), Err("/dev/sda has no data partition; write the image to the stick again".into()));
}

#[test]
fn little_room_is_told() {
    let mut stick = Stick::ours();
    stick.system.free = 63;
    let problem = stick.prepare().unwrap_err();
    assert!(problem.starts_with("/dev/sda3 has only 63 MiB free; take results off it"), "{problem}");
}
