//! Finds the devices that were there before this program listened to events.

use std::collections::BTreeSet;
use std::path::Path;

/// The modaliases of all devices below `/sys/devices` (kernel Documentation/ABI/testing/sysfs-bus-pci and others).
/// Directories that vanish during the search are skipped: devices do that, and an event reports what comes instead.
pub fn modaliases(devices: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut directories = vec![devices.to_owned()];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => directories.push(entry.path()),
                Ok(kind) if kind.is_file() && entry.file_name() == "modalias" => {
                    if let Ok(text) = std::fs::read_to_string(entry.path()) {
                        found.insert(text.trim_end().to_owned());
                    }
                }
                _ => {} // links lead to devices that are found at their own place
            }
        }
    }
    found.remove("");
    found
}

/// The modaliases of a bus's devices, `/sys/bus/BUS/devices`: far less to read than all devices. Empty for a missing
/// bus.
pub fn bus_modaliases(bus: &Path) -> BTreeSet<String> {
    let devices = std::fs::read_dir(bus).into_iter().flatten().flatten();
    let texts = devices.filter_map(|device| std::fs::read_to_string(device.path().join("modalias")).ok());
    texts.map(|text| text.trim_end().to_owned()).filter(|alias| !alias.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_real_directories_only() -> std::io::Result<()> {
        let sys = tempfile::tempdir()?;
        let deep = sys.path().join("pci0000:00/0000:00:04.0/virtio1");
        std::fs::create_dir_all(&deep)?;
        std::fs::write(deep.join("modalias"), "virtio:d00000002v00001AF4\n")?;
        std::fs::write(deep.join("../modalias"), "pci:v00001AF4\n")?;
        std::os::unix::fs::symlink("..", deep.join("subsystem"))?;
        let found: Vec<_> = modaliases(sys.path()).into_iter().collect();
        assert_eq!(found, ["pci:v00001AF4", "virtio:d00000002v00001AF4"]);
        Ok(())
    }

    #[test]
    fn a_bus_has_its_devices_behind_links() -> std::io::Result<()> {
        let sys = tempfile::tempdir()?;
        let (device, bus) = (sys.path().join("devices/virtio0"), sys.path().join("bus/virtio/devices"));
        std::fs::create_dir_all(&device)?;
        std::fs::create_dir_all(&bus)?;
        std::fs::write(device.join("modalias"), "virtio:d00000002v00001AF4\n")?;
        std::os::unix::fs::symlink(&device, bus.join("virtio0"))?;
        assert_eq!(bus_modaliases(&bus).into_iter().collect::<Vec<_>>(), ["virtio:d00000002v00001AF4"]);
        assert!(bus_modaliases(&sys.path().join("bus/none")).is_empty());
        Ok(())
    }
}
