//! Finds virtio-serial ports (virtio 1.2, section 5.3) by their names.

use std::fs;
use std::path::{Path, PathBuf};

/// The directory with the ports and their names (kernel Documentation/ABI/testing/sysfs-class-virtio-ports in short).
pub const CLASS: &str = "/sys/class/virtio-ports";

/// The device node of the port with this name, if this machine has it. `class` is [`CLASS`], `dev` is `/dev`.
pub fn find(class: &Path, dev: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(class).ok()?;
    let ours = entries
        .flatten()
        .find(|entry| fs::read_to_string(entry.path().join("name")).is_ok_and(|found| found.trim_end() == name))?;
    Some(dev.join(ours.file_name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_port_by_its_name() -> std::io::Result<()> {
        let class = tempfile::tempdir()?;
        for (port, name) in [("vport1p1", "com.redhat.spice.0"), ("vport1p2", "org.example")] {
            fs::create_dir(class.path().join(port))?;
            fs::write(class.path().join(port).join("name"), format!("{name}\n"))?;
        }
        assert_eq!(find(class.path(), Path::new("/dev"), "org.example"), Some("/dev/vport1p2".into()));
        assert_eq!(find(&class.path().join("none"), Path::new("/dev"), "org.example"), None);
        Ok(())
    }
}
