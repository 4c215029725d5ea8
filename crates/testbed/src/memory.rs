//! How much memory a testbed may use: the value of `--memory`.

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
                let memory = machineinfo::Memory::read().map_err(Error::step(step))?;
                Ok(memory.available / 100 * u64::from(percent))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_of_what_is_available() {
        assert_eq!(Memory::Bytes(7).bytes().unwrap(), 7);
        let (half, whole) = (Memory::Percent(50).bytes().unwrap(), Memory::Percent(100).bytes().unwrap());
        assert!(half > 0 && half < whole, "{half} {whole}");
    }
}
