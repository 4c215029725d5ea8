//! On the real root. For now: tell what is here, and power off. Network, GPU detection and the agent come next.

use std::convert::Infallible;
use std::path::Path;

use crate::block::{self, BlockDevice};
use crate::console::Console;
use crate::fatal::Fatal;
use crate::system::{Ending, System};

/// Tells the kernel's version, the number of installed packages, the memory, the block devices that can be written to
/// and the seconds since the kernel started, a line each, then powers off.
pub fn run(system: &mut dyn System, console: &mut Console) -> Result<Infallible, Fatal> {
    console.say(&format!("kernel {}", rustix::system::uname().release().to_string_lossy()));
    let status = read_text(Path::new("/var/lib/dpkg/status"))?;
    console.say(&format!("packages {}", installed(&status)));
    console.say(&format!("memory {} MiB", memory_mib(&read_text(Path::new("/proc/meminfo"))?)));
    console.say(&format!("writable {}", writable(&block::list(Path::new("/sys/class/block")))));
    system.reap();
    console.say(&format!("uptime {:.2}", system.uptime().as_secs_f64()));
    console.say("powering off");
    match system.end(Ending::PowerOff) {
        Ok(()) => Err(Fatal::new("the kernel returned from powering off", "switch the machine off")),
        Err(error) => Err(Fatal::new(format!("powering off: {error}"), "switch the machine off")),
    }
}

fn read_text(path: &Path) -> Result<String, Fatal> {
    let failed = |error| {
        let advice = "the root is no complete Debian system: build the image again";
        Fatal::new(format!("reading {}: {error}", path.display()), advice)
    };
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(failed)
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
fn memory_mib(meminfo: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    total.and_then(|text| text.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).unwrap_or_default() >> 10
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
    }
}
