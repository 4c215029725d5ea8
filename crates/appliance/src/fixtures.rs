//! Simulated devices for tests of the crates that read them.

use std::fs;
use std::io;
use std::path::Path;

/// Adds a disk to a directory in the form of /sys; partitions are (name, PARTUUID).
pub fn add_disk(sys: &Path, disk: &str, partitions: &[(&str, &str)]) -> io::Result<()> {
    let class = sys.join("class/block");
    let device = sys.join("devices").join(disk);
    fs::create_dir_all(&class)?;
    fs::create_dir_all(&device)?;
    fs::write(device.join("size"), "204800\n")?;
    fs::write(device.join("uevent"), format!("MAJOR=254\nMINOR=0\nDEVNAME={disk}\nDEVTYPE=disk\n"))?;
    std::os::unix::fs::symlink(&device, class.join(disk))?;
    for (number, (name, id)) in partitions.iter().enumerate() {
        let device = device.join(name);
        fs::create_dir(&device)?;
        fs::write(device.join("size"), "2048\n")?;
        let minor = number + 1;
        let uevent = format!("MAJOR=254\nMINOR={minor}\nDEVNAME={name}\nDEVTYPE=partition\nPARTUUID={id}\n");
        fs::write(device.join("uevent"), uevent)?;
        std::os::unix::fs::symlink(&device, class.join(name))?;
    }
    Ok(())
}

/// The start of an ext4 file system with this UUID (16 times the byte) and label.
pub fn ext4(uuid: u8, label: &str) -> Vec<u8> {
    let mut start = vec![0; 4096];
    let mut put = |at: usize, bytes: &[u8]| start.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
    put(1024 + 56, &[0x53, 0xef]);
    put(1024 + 104, &[uuid; 16]);
    put(1024 + 120, label.as_bytes());
    start
}
