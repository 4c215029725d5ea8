//! [`Memory`]: sizes from `/proc/meminfo`.

use std::fs;
use std::io;

/// The machine's memory (`proc_meminfo(5)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All of it that the kernel manages, in bytes: `MemTotal`.
    pub total: u64,
    /// What programs can still use without swapping, in bytes: `MemAvailable`.
    pub available: u64,
}

impl Memory {
    /// Where the kernel tells it.
    pub const PATH: &str = "/proc/meminfo";

    /// The memory of this machine, now.
    ///
    /// # Errors
    /// If the file cannot be read, or does not have both sizes.
    pub fn read() -> io::Result<Self> {
        let text = fs::read_to_string(Self::PATH)?;
        Self::parse(&text).ok_or_else(|| io::Error::other("it has no MemTotal or no MemAvailable"))
    }

    /// Takes the sizes from the text of the file; `None` if one of them is missing or not a number of kB.
    pub fn parse(meminfo: &str) -> Option<Self> {
        Some(Self { total: bytes(meminfo, "MemTotal")?, available: bytes(meminfo, "MemAvailable")? })
    }

    /// Memory that is not available to programs, in bytes: data that exists only in memory, such as a root from the
    /// network, and not data that could be read from a disk again.
    pub fn in_use(&self) -> u64 {
        self.total.saturating_sub(self.available)
    }
}

fn bytes(meminfo: &str, name: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_bytes() {
        let text = "MemTotal:        2048000 kB\nMemFree: 1 kB\nMemAvailable:    1024000 kB\n";
        let memory = Memory::parse(text).expect("both sizes");
        assert_eq!((memory.total >> 20, memory.available >> 20, memory.in_use() >> 20), (2000, 1000, 1000));
    }

    #[test]
    fn a_text_without_both_sizes_is_refused() {
        for text in
            ["", "MemTotal: 1 kB\n", "MemTotal: 1 kB\nMemAvailable: many\n", "MemTotal: 1 kB\nMemAvailable: 7\n"]
        {
            assert_eq!(Memory::parse(text), None, "{text:?}");
        }
        assert_eq!(Memory::parse("MemTotal: 1 kB\nMemAvailable: 99999999999999999999 kB\n"), None);
    }

    #[test]
    fn this_machine_has_memory() {
        let memory = Memory::read().expect("/proc is mounted");
        assert!(memory.available <= memory.total && memory.total > 0, "{memory:?}");
    }
}
