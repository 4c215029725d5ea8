//! What this machine is, in a few lines that stay the same from version to version: programs look for them.

use std::path::Path;

use crate::block::{self, BlockDevice};
use crate::fatal::Fatal;
use crate::second_stage::read_text;

/// Kernel, number of installed packages, memory, and the block devices that can be written to.
pub fn lines() -> Result<Vec<String>, Fatal> {
    let status = read_text(Path::new("/var/lib/dpkg/status"))?;
    let memory = memory_mib(&read_text(Path::new("/proc/meminfo"))?);
    Ok(vec![
        format!("kernel {}", rustix::system::uname().release().to_string_lossy()),
        format!("packages {}", installed(&status)),
        format!("memory {memory} MiB"),
        format!("writable {}", writable(&block::list(Path::new("/sys/class/block")))),
    ])
}

/// Names of the devices that can be written to: those of the disk that we started from, without the root, or `none`.
fn writable(devices: &[BlockDevice]) -> String {
    let names: Vec<_> = devices.iter().filter(|device| !device.read_only).map(|device| device.name.as_str()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(" ") }
}

/// How many packages are installed and configured, by dpkg's status file (dpkg-query(1), "install ok installed").
fn installed(status: &str) -> usize {
    status.lines().filter(|line| line.trim_end() == "Status: install ok installed").count()
}

/// `MemTotal` of /proc/meminfo (`proc_meminfo(5)`), 0 if it is not there.
pub fn memory_mib(meminfo: &str) -> u64 {
    kibibytes(meminfo, "MemTotal").unwrap_or_default() >> 10
}

/// A line that tells how much memory programs cannot have (`MemTotal` without `MemAvailable`): what is kept in memory only,
/// such as a root from the network, and not what could be read from a disk again.
pub fn memory_in_use(meminfo: &str) -> Option<String> {
    let used = kibibytes(meminfo, "MemTotal")?.saturating_sub(kibibytes(meminfo, "MemAvailable")?);
    Some(format!("memory in use {} MiB", used >> 10))
}

fn kibibytes(meminfo: &str, name: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_installed() {
        let status = "Package: a\nStatus: install ok installed\n\nPackage: b\nStatus: deinstall ok config-files\n\n\
            Package: c\nDescription: x\n Status: install ok installed\n\nPackage: d\nStatus: install ok installed\n";
        assert_eq!(installed(status), 2);
    }

    #[test]
    fn names_what_can_be_written_to() -> std::io::Result<()> {
        let sys = tempfile::tempdir()?;
        block::tests::add_disk(sys.path(), "sda", &[("sda1", "a"), ("sda2", "b")])?;
        std::fs::write(sys.path().join("devices/sda/sda2/ro"), "1\n")?;
        let class = sys.path().join("class/block");
        assert_eq!(writable(&block::list(&class)), "sda sda1");
        assert_eq!(writable(&[]), "none");
        Ok(())
    }

    #[test]
    fn memory_is_in_mib() {
        assert_eq!(memory_mib("MemTotal:        2048000 kB\nMemFree: 1 kB\n"), 2000);
        assert_eq!(memory_mib("nonsense"), 0);
        let meminfo = "MemTotal:        2048000 kB\nMemFree: 1 kB\nMemAvailable:    1024000 kB\n";
        assert_eq!(memory_in_use(meminfo).as_deref(), Some("memory in use 1000 MiB"));
        assert_eq!(memory_in_use("MemTotal: 1 kB\n"), None);
    }
}
