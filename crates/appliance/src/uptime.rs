//! Time since the kernel started.

use std::time::Duration;

/// `CLOCK_BOOTTIME` of `clock_gettime(2)`: monotonic, and it counts on while the machine sleeps.
pub fn uptime() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}
