//! How long the steps of a virtual machine's start and end may take.
//!
//! The machine goes on without what is late, so that a driver or a service that hangs does not cost the test. The host
//! waits for all of them together, and ends a machine that does not take commands then. Without KVM, what systemd does takes
//! [`SLOWER`] times as long: the host knows which accelerator it has chosen, and the machine the name of its processors.

use std::time::Duration;

use machineinfo::Processors;
use vm::Accelerator;

/// How many times as long services may take where QEMU translates instructions. On an idle host they take a tenth of that, but
/// several machines may share it.
const SLOWER: u32 = 3;

/// How long the machine waits for its disk, which is there from the start.
pub const DISK: Duration = Duration::from_secs(30);

/// How long the machine waits for drivers and the network. A GPU's driver may take minutes, and has a limit of its own.
pub const DRIVERS: Duration = Duration::from_secs(240);

/// How long the machine waits until systemd has started everything. Debian's units have 90 s each.
const SERVICES: Duration = Duration::from_secs(300);

/// How long the machine's init may take to end everything before a restart: units have 90 s each for that too.
const SHUTDOWN: Duration = Duration::from_secs(300);

/// How long this machine waits until systemd has started everything.
pub fn services(processors: &Processors) -> Duration {
    if processors.are_emulated() { SERVICES.saturating_mul(SLOWER) } else { SERVICES }
}

/// How long the host waits for a machine's init to end everything before a restart.
pub(crate) const fn shutdown(accelerator: Accelerator) -> Duration {
    match accelerator {
        Accelerator::Kvm => SHUTDOWN,
        Accelerator::Tcg => SHUTDOWN.saturating_mul(SLOWER),
    }
}

/// How long the host waits for the machine to take commands.
pub(crate) const fn start(accelerator: Accelerator) -> Duration {
    // The others: the firmware, the kernel, and the steps of the machine's programs that have no limit of their own.
    let (services, others) = match accelerator {
        Accelerator::Kvm => (SERVICES, Duration::from_secs(60)),
        Accelerator::Tcg => (SERVICES.saturating_mul(SLOWER), Duration::from_secs(300)),
    };
    DISK.saturating_add(DRIVERS).saturating_add(services).saturating_add(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_waits_longer_than_the_machine() {
        let named = |name: &str| Processors { count: 1, name: Some(name.into()) };
        for (accelerator, name, seconds) in [
            (Accelerator::Kvm, "AMD EPYC 9654 96-Core Processor", 300),
            (Accelerator::Tcg, "QEMU TCG CPU version 2.5+", 900),
        ] {
            let services = services(&named(name));
            assert_eq!(services, Duration::from_secs(seconds), "{accelerator:?}");
            assert!(start(accelerator) > DISK + DRIVERS + services, "{accelerator:?}");
        }
    }
}
