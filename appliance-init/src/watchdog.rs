//! The watchdog: hardware that resets the machine unless it is fed (kernel Documentation/watchdog/watchdog-api.rst).
//! Only PID 1's own loop feeds it, so that a hanging kernel or PID 1 leads to a restart.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::path::Path;
use std::time::Duration;

use crate::ioctl::set_watchdog_timeout;

/// A watchdog that has to be fed.
pub trait Watchdog {
    /// Feeds the watchdog.
    fn feed(&mut self) -> io::Result<()>;
}

/// `/dev/watchdog0`. It is never switched off: it also guards the time after PID 1.
#[derive(Debug)]
pub struct Device {
    /// Never closed: the kernel would complain that the watchdog was left running.
    file: ManuallyDrop<File>,
    timeout: Duration,
}

impl Device {
    /// Starts a watchdog with the wanted timeout. `None` if the machine has none.
    ///
    /// # Errors
    /// If there is one and it cannot be used.
    pub fn start(path: &Path, wanted: Duration) -> io::Result<Option<Self>> {
        let file = match OpenOptions::new().write(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let seconds = i32::try_from(wanted.as_secs()).unwrap_or(i32::MAX);
        // A device may not support setting a timeout, or not such a long one; then it has to be fed often enough.
        let timeout =
            set_watchdog_timeout(&file, seconds).map_or(wanted, |real| Duration::from_secs(real.max(1) as u64));
        Ok(Some(Self { file: ManuallyDrop::new(file), timeout }))
    }

    /// The timeout after which it resets the machine.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

impl Watchdog for Device {
    fn feed(&mut self) -> io::Result<()> {
        // Any byte but `V`, which would say that we mean to stop.
        self.file.write_all(b"f")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_one_is_fine() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        assert!(Device::start(&directory.path().join("watchdog0"), Duration::from_secs(60))?.is_none());
        Ok(())
    }

    #[test]
    fn feeding_writes() -> io::Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        let mut device = Device::start(file.path(), Duration::from_secs(60))?.expect("a file is there");
        device.feed()?;
        device.feed()?;
        assert_eq!(std::fs::read(file.path())?, b"ff");
        Ok(())
    }
}
