//! Simulated devices for tests of the crates that read them, and programs that stand for others.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

/// Writes a shell script that can be run at once.
///
/// A process of its own copies it to its place. While this process had it open for writing, another test could start a
/// program, whose process would for a moment have it open too, and running it would fail with `ETXTBSY` (`execve(2)`).
pub fn program(path: &Path, script: &str) -> io::Result<()> {
    let text = path.with_extension("text");
    fs::write(&text, format!("#!/bin/sh\n{script}\n"))?;
    let status = Command::new("install").arg("--mode=755").arg(&text).arg(path).status()?;
    fs::remove_file(&text)?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("install: {status}"))) }
}

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
