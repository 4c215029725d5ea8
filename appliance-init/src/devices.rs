//! The devices that were there before anyone listened.

use std::collections::BTreeSet;
use std::path::Path;

/// The modaliases of all devices below `/sys/devices` (kernel Documentation/ABI/testing/sysfs-bus-pci and others).
/// Directories that vanish while we look are passed over: devices do that, and an event tells of what comes instead.
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
}
