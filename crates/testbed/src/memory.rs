//! How much memory a testbed may use: the value of `--memory`.

use std::fs;
use std::io;

use crate::Error;

/// Upper limit for a testbed's memory, files in memory included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// A number of bytes.
    Bytes(u64),
    /// Percent of the memory that is available when the testbed is made (`MemAvailable` of `proc_meminfo(5)`).
    Percent(u8),
}

impl Memory {
    /// The limit in bytes on this machine, now.
    ///
    /// # Errors
    /// If `/proc/meminfo` cannot be read.
    pub(crate) fn bytes(self) -> Result<u64, Error> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Percent(percent) => {
                let step = "reading how much memory is available from /proc/meminfo";
                let text = fs::read_to_string("/proc/meminfo").map_err(Error::step(step))?;
                let available = available(&text).ok_or_else(|| io::Error::other("it has no line MemAvailable"));
                Ok(available.map_err(Error::step(step))? / 100 * u64::from(percent))
            }
        }
    }
}

/// The bytes of `MemAvailable`.
fn available(meminfo: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_available() {
        let text = "MemTotal:       24587000 kB\nMemFree:         5000000 kB\nMemAvailable:   20000000 kB\n";
        assert_eq!(available(text), Some(20_480_000_000));
        assert_eq!(available("MemTotal: 1 kB\n"), None);
        assert_eq!(available("MemAvailable: 99999999999999999999 kB\n"), None);
    }

    #[test]
    fn a_percentage_is_of_what_is_available() {
        assert_eq!(Memory::Bytes(7).bytes().unwrap(), 7);
        let (half, whole) = (Memory::Percent(50).bytes().unwrap(), Memory::Percent(100).bytes().unwrap());
        assert!(half > 0 && half < whole, "{half} {whole}");
    }
}
