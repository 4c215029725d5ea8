//! Finds out which of several disks with the same image the firmware started: systemd-stub, the program that it
//! starts from the EFI system partition, stores the partition's GUID in a variable (systemd's Boot Loader Interface,
//! `LoaderDevicePartUUID`).

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::drivers::Drivers;
use crate::system::{MountMode, System};
use appliance::block::BlockDevice;
use appliance::paths::{EFI_VARIABLES, START_PARTITION};

/// The variable, with its vendor's GUID, as efivarfs names it.
const VARIABLE: &str = "LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// This directory exists under UEFI.
const FIRMWARE: &str = "/sys/firmware/efi";

/// How long to wait for the disk that was started, when its image is already found on another one. It was there when
/// the firmware read it; some sticks take seconds to come back.
pub const PATIENCE: Duration = Duration::from_secs(8);

/// Why it is not known which disk the firmware started.
#[derive(Debug, thiserror::Error)]
pub enum StartDiskError {
    /// The firmware's variables cannot be reached.
    #[error("mounting the firmware's variables: {0}")]
    Mount(#[source] io::Error),
    /// They stay mounted.
    #[error("unmounting the firmware's variables: {0}")]
    Unmount(#[source] io::Error),
    /// The variable cannot be read.
    #[error("reading the firmware's variable LoaderDevicePartUUID: {0}")]
    Read(#[source] io::Error),
    /// The variable has another content.
    #[error("the firmware's variable LoaderDevicePartUUID does not hold a GUID")]
    NotAGuid,
    /// The second stage will not learn it.
    #[error("writing {START_PARTITION}: {0}")]
    Keep(#[source] io::Error),
}

/// The partition that the machine was started from, if the firmware tells.
///
/// # Errors
/// None is fatal: with only one disk that has the image there is no doubt.
pub fn ask(drivers: &mut Drivers, system: &mut dyn System) -> Result<Option<String>, StartDiskError> {
    if !Path::new(FIRMWARE).exists() {
        return Ok(None);
    }
    // It may be built in; if it is missing, mounting fails.
    let _ = drivers.load("efivarfs", system);
    let target = Path::new(EFI_VARIABLES);
    system
        .create_directory(target)
        .and_then(|()| system.mount("efivarfs", target, "efivarfs", MountMode::ReadOnly, ""))
        .map_err(StartDiskError::Mount)?;
    let read = std::fs::read(target.join(VARIABLE));
    let unmounted = system.unmount(target);
    match read {
        Ok(bytes) => {
            unmounted.map_err(StartDiskError::Unmount)?;
            let id = parse(&bytes).ok_or(StartDiskError::NotAGuid)?;
            let kept = system.write_file(Path::new(START_PARTITION), &id);
            kept.map_err(StartDiskError::Keep).map(|()| Some(id))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StartDiskError::Read(error)),
    }
}

/// The variable's GUID in lower case. The variable begins with four bytes of attributes (the kernel's documentation
/// of efivarfs), and is text in UTF-16 with a NUL at its end.
fn parse(bytes: &[u8]) -> Option<String> {
    let (units, _) = bytes.get(4..)?.as_chunks::<2>();
    let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    let text = String::from_utf16(&units).ok()?;
    let id: diskimage::Guid = text.trim_end_matches('\0').parse().ok()?;
    Some(id.to_string())
}

/// The disk with this partition, if there is exactly one: copies of a whole stick have the same GUIDs.
pub fn disk_of<'a>(id: &str, devices: &'a [BlockDevice]) -> Option<&'a str> {
    let mut found = devices.iter().filter(|device| device.part_uuid.as_deref() == Some(id));
    let disk = found.next()?.disk.as_deref();
    if found.next().is_some() { None } else { disk }
}

/// Chooses one of these roots, `None` for none yet: the one on the disk that was started, if the firmware has told
/// which disk that is and it has such a root; another one after the time to wait is over.
pub fn choose<'a>(
    candidates: &[&'a BlockDevice],
    started: Option<&str>,
    devices: &[BlockDevice],
    waited: Duration,
) -> Option<&'a BlockDevice> {
    let first = candidates.first().copied();
    let Some(id) = started else { return first };
    let on_it = disk_of(id, devices).and_then(|disk| candidates.iter().copied().find(|root| root.is_on(disk)));
    let is_ambiguous = devices.iter().filter(|device| device.part_uuid.as_deref() == Some(id)).count() > 1;
    on_it.or_else(|| first.filter(|_| is_ambiguous || waited >= PATIENCE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, disk: &str, id: &str) -> BlockDevice {
        BlockDevice {
            name: name.into(),
            number: "8:0".into(),
            size: 1,
            read_only: true,
            disk: Some(disk.into()),
            part_uuid: Some(id.into()),
            part_label: None,
        }
    }

    #[test]
    fn the_variable_is_a_guid_in_utf_16_after_its_attributes() {
        let variable = |text: &str| {
            let units = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
            [6, 0, 0, 0].into_iter().chain(units).collect::<Vec<u8>>()
        };
        let expected = Some("4f68bce3-e8cd-4db1-96e7-fbcaf984b709".to_owned());
        assert_eq!(parse(&variable("4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709")), expected);
        for bytes in [&b""[..], &[6, 0, 0], &[6, 0, 0, 0], &variable("sda1"), &[6, 0, 0, 0, 0, 0xd8, 0x34]] {
            assert_eq!(parse(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn of_two_sticks_with_one_image_that_which_was_started_is_taken() {
        let devices = [
            part("sda1", "sda", "e1"),
            part("sda2", "sda", "root"),
            part("sdb1", "sdb", "e2"),
            part("sdb2", "sdb", "root"),
        ];
        let roots = [&devices[1], &devices[3]];
        let name = |started, devices: &[BlockDevice], waited| {
            choose(&roots, started, devices, Duration::from_secs(waited)).map(|root| root.name.clone())
        };
        assert_eq!(name(Some("e2"), &devices, 0).as_deref(), Some("sdb2"));
        assert_eq!(name(Some("e1"), &devices, 0).as_deref(), Some("sda2"));
        assert_eq!(name(None, &devices, 0).as_deref(), Some("sda2"));
        // Not there yet, or a partition of a disk without our root: the first one after a while.
        assert_eq!(name(Some("e2"), &devices[..2], 0), None);
        assert_eq!(name(Some("elsewhere"), &devices, PATIENCE.as_secs()).as_deref(), Some("sda2"));
        // Copied byte by byte: they cannot be distinguished.
        let copies = [part("sda1", "sda", "e1"), devices[1].clone(), part("sdb1", "sdb", "e1"), devices[3].clone()];
        assert_eq!(disk_of("e1", &copies), None);
        assert_eq!(name(Some("e1"), &copies, 0).as_deref(), Some("sda2"));
        assert_eq!(disk_of("e1", &devices), Some("sda"));
    }
}
