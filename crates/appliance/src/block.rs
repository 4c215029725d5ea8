//! The block devices of the machine, as sysfs shows them.

use std::path::Path;

/// A disk or a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockDevice {
    /// Name below /dev.
    pub name: String,
    /// `MAJOR:MINOR`.
    pub number: String,
    /// Size in bytes.
    pub size: u64,
    /// Whether the kernel refuses to write to it.
    pub read_only: bool,
    /// The disk that a partition is on.
    pub disk: Option<String>,
    /// GPT partition GUID or MBR `xxxxxxxx-nn`, lower case.
    pub part_uuid: Option<String>,
    /// Name of a GPT partition.
    pub part_label: Option<String>,
}

impl BlockDevice {
    /// Whether it is this disk or a partition of it.
    pub fn is_on(&self, disk: &str) -> bool {
        self.name == disk || self.disk.as_deref() == Some(disk)
    }

    /// Describes it in one line for people.
    pub fn describe(&self) -> String {
        let id = self.part_uuid.as_ref().map(|id| format!(" PARTUUID={id}")).unwrap_or_default();
        let label = self.part_label.as_ref().map(|label| format!(" PARTLABEL={label}")).unwrap_or_default();
        format!("/dev/{} {} MiB{id}{label}", self.name, self.size >> 20)
    }
}

/// All disks and partitions, by name. `class` is `/sys/class/block`. Loop devices, RAM disks and those of device-mapper are not
/// hardware and are left out, and so are drives without a medium.
pub fn list(class: &Path) -> Vec<BlockDevice> {
    let Ok(entries) = std::fs::read_dir(class) else { return Vec::new() };
    let mut devices: Vec<_> = entries.flatten().filter_map(|entry| hardware(&entry.path())).collect();
    devices.sort_by(|a, b| a.name.cmp(&b.name));
    devices
}

/// Reads a device; `None` if it is not hardware, has no medium, or vanishes while it is read.
fn hardware(directory: &Path) -> Option<BlockDevice> {
    let device = read(directory)?;
    let hardware = device.size > 0 && !["loop", "ram", "zram", "dm-"].iter().any(|kind| device.name.starts_with(kind));
    hardware.then_some(device)
}

/// The name of the device that another one, of device-mapper, is made of; `None` for other devices. `class` is `/sys/class/block`.
pub fn below(class: &Path, name: &str) -> Option<String> {
    let mut entries = std::fs::read_dir(class.join(name).join("slaves")).ok()?.flatten();
    entries.next().and_then(|entry| entry.file_name().into_string().ok())
}

/// Reads the device with this directory below `/sys/class/block`; `None` if there is none.
pub fn read(directory: &Path) -> Option<BlockDevice> {
    let uevent = std::fs::read_to_string(directory.join("uevent")).ok()?;
    let field = |key: &str| uevent.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix('=')?.to_owned()));
    let name = field("DEVNAME")?;
    let sectors: u64 = std::fs::read_to_string(directory.join("size")).ok()?.trim().parse().ok()?;
    let disk = || Some(directory.canonicalize().ok()?.parent()?.file_name()?.to_str()?.to_owned());
    Some(BlockDevice {
        number: format!("{}:{}", field("MAJOR")?, field("MINOR")?),
        size: sectors.saturating_mul(512), // sysfs counts in 512 bytes whatever the device's sectors are
        read_only: std::fs::read_to_string(directory.join("ro")).is_ok_and(|text| text.trim() == "1"),
        disk: field("DEVTYPE").filter(|kind| kind == "partition").and_then(|_| disk()),
        part_uuid: field("PARTUUID").map(|id| id.to_ascii_lowercase()),
        part_label: field("PARTNAME"),
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::add_disk;
    use std::io;

    #[test]
    fn reads_disks_and_partitions() -> io::Result<()> {
        let sys = tempfile::tempdir()?;
        add_disk(sys.path(), "sda", &[("sda1", "AB-01")])?;
        add_disk(sys.path(), "loop0", &[])?;
        add_disk(sys.path(), "dm-0", &[])?;
        let devices = list(&sys.path().join("class/block"));
        let shown: Vec<_> = devices.iter().map(BlockDevice::describe).collect();
        assert_eq!(shown, ["/dev/sda 100 MiB", "/dev/sda1 1 MiB PARTUUID=ab-01"]);
        assert_eq!(devices[1].disk.as_deref(), Some("sda"));
        assert_eq!(devices[1].number, "254:1");
        Ok(())
    }

    #[test]
    fn a_device_of_device_mapper_is_made_of_another() -> io::Result<()> {
        let class = tempfile::tempdir()?;
        std::fs::create_dir_all(class.path().join("dm-0/slaves/sda2"))?;
        std::fs::create_dir_all(class.path().join("sda/slaves"))?;
        assert_eq!(below(class.path(), "dm-0").as_deref(), Some("sda2"));
        for name in ["sda", "sda1"] {
            assert_eq!(below(class.path(), name), None, "{name}");
        }
        Ok(())
    }
}
