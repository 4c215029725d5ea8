//! How long the steps of a virtual machine's start may take.
//!
//! The machine goes on without what is late, so that a driver or a service that hangs does not cost the test. The host
//! waits for all of them together, and ends a machine that does not take commands then.

use std::time::Duration;

use vm::Accelerator;

/// How long the machine waits for its disk, which is there from the start.
pub const DISK: Duration = Duration::from_secs(30);

/// How long the machine waits for drivers and the network. A GPU's driver may take minutes, and has a limit of its own.
pub const DRIVERS: Duration = Duration::from_secs(240);

/// How long the machine waits until systemd has started everything. Debian's units have 90 s each.
pub const SERVICES: Duration = Duration::from_secs(300);

/// How long the machine's init may take to end everything before a restart: units have 90 s each for that too.
pub(crate) const SHUTDOWN: Duration = Duration::from_secs(300);

/// How long the host waits for the machine to take commands.
pub(crate) const fn start(accelerator: Accelerator) -> Duration {
    // The firmware, the kernel, and the steps of the machine's programs that have no limit of their own.
    let others = match accelerator {
        Accelerator::Kvm => Duration::from_secs(60),
        Accelerator::Tcg => Duration::from_secs(300),
    };
    DISK.saturating_add(DRIVERS).saturating_add(SERVICES).saturating_add(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_waits_longer_than_the_machine() {
        for accelerator in [Accelerator::Kvm, Accelerator::Tcg] {
            assert!(start(accelerator) > DISK + DRIVERS + SERVICES, "{accelerator:?}");
        }
    }
}
