//! [`Clock`]: the machine's clock, and one for tests.

use std::io;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_settime};

/// A clock that can be read and set.
pub trait Clock {
    /// The time that it shows.
    fn now(&self) -> SystemTime;
    /// Sets it.
    fn set(&mut self, to: SystemTime) -> io::Result<()>;
}

/// The machine's clock (`CLOCK_REALTIME`). Setting it needs `CAP_SYS_TIME`. The hardware clock is not touched.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn set(&mut self, to: SystemTime) -> io::Result<()> {
        // The kernel does not take times before 1970.
        let since = to.duration_since(UNIX_EPOCH).map_err(|_| io::ErrorKind::InvalidInput)?;
        let time = Timespec::try_from(since).map_err(|_| io::ErrorKind::InvalidInput)?;
        Ok(clock_settime(ClockId::Realtime, time)?)
    }
}

/// A clock for tests: it runs, and records the times that it was set to.
#[derive(Debug, Clone)]
pub struct RecordingClock {
    showed: SystemTime,
    at: Instant,
    /// Every time that it was set to, in order.
    pub set_to: Vec<SystemTime>,
}

impl RecordingClock {
    /// A clock that shows `now`.
    pub fn showing(now: SystemTime) -> Self {
        Self { showed: now, at: Instant::now(), set_to: Vec::new() }
    }
}

impl Clock for RecordingClock {
    fn now(&self) -> SystemTime {
        self.showed + self.at.elapsed()
    }

    fn set(&mut self, to: SystemTime) -> io::Result<()> {
        (self.showed, self.at) = (to, Instant::now());
        self.set_to.push(to);
        Ok(())
    }
}
