//! Reads the files that people put on the stick: `rocbed.toml`, its settings, and `jobs.toml`, its jobs, on the EFI
//! system partition of the disk that the root is on.

use std::io;
use std::path::Path;

use crate::drivers::Drivers;
use crate::system::{MountMode, System};
use appliance::block::BlockDevice;
use appliance::paths::{self, ESP, JOB_LIST};

/// Modules that Debian's kernel needs for FAT's names; it asks for them by starting modprobe, which comes too late.
const MODULES: [&str; 3] = ["vfat", "nls_cp437", "nls_ascii"];

/// Name of the EFI system partition, as `rocbed build` sets it.
const LABEL: &str = "rocbed-esp";

/// The disk that the root is on: the source of the mount at this directory in `/proc/self/mountinfo`
/// (`proc_pid_mountinfo(5)`), if it is a partition. `below` names the device that one of device-mapper is made of.
pub fn boot_disk(
    mountinfo: &str,
    target: &str,
    devices: &[BlockDevice],
    below: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    let source = mountinfo.lines().rev().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (before.split(' ').nth(4) == Some(target)).then(|| after.split(' ').nth(1)).flatten()
    })?;
    let mounted = source.strip_prefix("/dev/")?;
    let name = below(mounted).unwrap_or_else(|| mounted.to_owned());
    devices.iter().find(|device| device.name == name)?.disk.clone()
}

/// The partition with settings on a disk.
pub fn settings_partition<'a>(disk: &str, devices: &'a [BlockDevice]) -> Option<&'a BlockDevice> {
    let ours = |device: &&BlockDevice| device.disk.as_deref() == Some(disk);
    devices.iter().filter(ours).find(|device| device.part_label.as_deref() == Some(LABEL))
}

/// Copies `rocbed.toml` from the partition to where [`settings::Settings::of_this_machine`] reads it. Returns the
/// errors; a missing file is fine.
pub fn keep_settings(partition: &BlockDevice, drivers: &mut Drivers, system: &mut dyn System) -> Vec<String> {
    let mut problems: Vec<_> = MODULES.iter().flat_map(|name| drivers.load(name, system)).collect();
    let (device, target) = (format!("/dev/{}", partition.name), Path::new(ESP));
    let mounted =
        system.create_directory(target).and_then(|()| system.mount(&device, target, "vfat", MountMode::ReadOnly, ""));
    if let Err(error) = mounted {
        problems.push(unread(format!("mounting {device} for the stick's settings: {error}"), system));
        return problems;
    }
    match system.copy_file(&target.join("rocbed.toml"), Path::new(paths::STICK_SETTINGS)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            problems.push(unread(format!("reading rocbed.toml from {device}: {error}"), system));
        }
        _ => {}
    }
    // Source trees may be beside the list.
    if target.join(JOB_LIST).exists() {
        return problems;
    }
    if let Err(error) = system.unmount(target) {
        problems.push(format!("unmounting {device}: {error}"));
    }
    problems
}

/// Notes why the settings could not be read: rules of the machine's owner may be in them, so that no jobs are taken.
pub fn unread(problem: String, system: &mut dyn System) -> String {
    match system.write_file(Path::new(paths::STICK_SETTINGS_PROBLEM), &problem) {
        Ok(()) => problem,
        Err(error) => format!("{problem}; and it could not be noted: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::recording::Recording;

    fn device(name: &str, disk: Option<&str>, label: Option<&str>) -> BlockDevice {
        BlockDevice {
            name: name.into(),
            number: "8:0".into(),
            size: 1,
            read_only: true,
            disk: disk.map(str::to_owned),
            part_uuid: None,
            part_label: label.map(str::to_owned),
        }
    }

    const MOUNTS: &str = "21 1 0:5 / /proc rw - proc proc rw\n\
        30 1 8:2 / /run/rocbed/root ro,relatime shared:1 - ext4 /dev/sda2 ro\n31 1 0:30 / / rw - overlay rocbed-root rw\n";

    #[test]
    fn the_root_tells_the_disk_and_the_disk_has_the_settings() {
        let devices = [
            device("sda", None, None),
            device("sda1", Some("sda"), Some("rocbed-esp")),
            device("sda2", Some("sda"), Some("rocbed-root")),
            device("sdb1", Some("sdb"), Some("rocbed-esp")),
        ];
        let boot_disk = |mounts: &str, target, devices: &[_]| super::boot_disk(mounts, target, devices, |_| None);
        let disk = boot_disk(MOUNTS, "/run/rocbed/root", &devices);
        assert_eq!(disk.as_deref(), Some("sda"));
        // A root that the kernel checks.
        let mapped = MOUNTS.replace("sda2", "dm-0");
        let below = |name: &str| (name == "dm-0").then(|| "sda2".to_owned());
        let disk = super::boot_disk(&mapped, "/run/rocbed/root", &devices, below);
        assert_eq!(disk.as_deref(), Some("sda"));
        let partition = settings_partition("sda", &devices).map(|device| device.name.as_str());
        assert_eq!(partition, Some("sda1"));
        // A root that is a whole disk, or memory.
        assert_eq!(boot_disk(MOUNTS, "/run/rocbed/root", &[device("sda2", None, None)]), None);
        assert_eq!(boot_disk(MOUNTS, "/", &devices), None);
    }

    #[test]
    fn a_broken_partition_is_told_and_passed_over() {
        let mut drivers = Drivers::new("/m".into(), kmod::ModuleSet::default());
        let mut system = Recording { fails: vec!["mount"], ..Recording::default() };
        let problems = keep_settings(&device("sda1", Some("sda"), None), &mut drivers, &mut system);
        assert!(problems[0].starts_with("mounting /dev/sda1 for the stick's settings: "), "{problems:?}");
        // No jobs are taken then: rules may be in them.
        assert!(system.calls.iter().any(|call| call.contains(paths::STICK_SETTINGS_PROBLEM)), "{:?}", system.calls);
        let mut system = Recording::default();
        assert!(keep_settings(&device("sda1", Some("sda"), None), &mut drivers, &mut system).is_empty());
        assert_eq!(system.calls.last().map(String::as_str), Some("unmount /run/rocbed/esp"));
    }
}
