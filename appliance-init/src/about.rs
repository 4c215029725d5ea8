//! Describes this machine in a few lines whose format stays the same from version to version: programs look for them.

use std::io;
use std::path::Path;

use crate::fatal::Fatal;
use appliance::block::{self, BlockDevice};
use gpu::{Lockdown, Sysfs};
use machineinfo::Memory;

/// Lines with the kernel, the number of installed packages, memory, the block devices that can be written to, and what
/// the kernel forbids.
pub fn lines() -> Result<Vec<String>, Fatal> {
    let status = read_text(Path::new("/var/lib/dpkg/status"))?;
    let memory = Memory::read().map_or(0, |memory| memory.total >> 20);
    Ok(vec![
        format!("kernel {}", rustix::system::uname().release().to_string_lossy()),
        format!("packages {}", installed(&status)),
        format!("memory {memory} MiB"),
        format!("writable {}", writable(&block::list(Path::new("/sys/class/block")))),
        format!("lockdown {}", lockdown(Lockdown::read(&Sysfs::default()))),
    ])
}

/// Reads a file that any Debian system has.
fn read_text(path: &Path) -> Result<String, Fatal> {
    let failed = |error: io::Error| {
        let advice = "the root is not a complete Debian system: build the image again";
        Fatal::new(format!("reading {}: {error}", path.display()), advice)
    };
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(failed)
}

/// Names of the writable devices: those of the disk that we started from, except the root, or `none`.
fn writable(devices: &[BlockDevice]) -> String {
    let names: Vec<_> = devices.iter().filter(|device| !device.read_only).map(|device| device.name.as_str()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(" ") }
}

/// The mode, and what that takes away.
fn lockdown(mode: Option<Lockdown>) -> String {
    mode.map_or_else(|| "none".to_owned(), |mode| format!("{mode}: no {}", Lockdown::TAKES_AWAY))
}

/// The number of packages that are installed and configured, from dpkg's status file (dpkg-query(1), "install ok
/// installed").
fn installed(status: &str) -> usize {
    status.lines().filter(|line| line.trim_end() == "Status: install ok installed").count()
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
    fn says_what_a_locked_down_kernel_takes_away() {
        assert_eq!(lockdown(None), "none");
        let locked = lockdown(Some(Lockdown::Integrity));
        assert!(locked.starts_with("integrity: no debugfs, "), "{locked}");
    }

    #[test]
    fn names_what_can_be_written_to() -> std::io::Result<()> {
        let sys = tempfile::tempdir()?;
        appliance::fixtures::add_disk(sys.path(), "sda", &[("sda1", "a"), ("sda2", "b")])?;
        std::fs::write(sys.path().join("devices/sda/sda2/ro"), "1\n")?;
        let class = sys.path().join("class/block");
        assert_eq!(writable(&block::list(&class)), "sda sda1");
        assert_eq!(writable(&[]), "none");
        Ok(())
    }
}
