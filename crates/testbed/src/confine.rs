//! What a command is confined by besides its namespaces, from just before it is executed.
//!
//! The testbed's root has no rights over the machine in any case. With these limits it has few over its own namespaces
//! either: the kernel's code for mounts, networks and devices is out of its reach, and so are the modules that it loads.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::Error;
use crate::process;
use crate::seccomp::Filters;

/// podman's default, and two for debuggers and for `ping`: neither reaches beyond the testbed's processes and network.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::NET_RAW);

/// For tests that make containers: mounts, namespaces and networks of their own.
const FOR_CONTAINERS: CapabilitySet =
    KEPT.union(CapabilitySet::SYS_ADMIN).union(CapabilitySet::NET_ADMIN).union(CapabilitySet::DAC_READ_SEARCH);

/// The limits of a command.
#[derive(Debug)]
pub(crate) struct Confinement {
    filters: Filters,
    capabilities: CapabilitySet,
    processes: Option<u64>,
}

impl Confinement {
    /// Prepares it: `containers` allows what tests need that make containers; `processes` is how many of the testbed
    /// each of its users may have.
    pub(crate) fn prepare(containers: bool, processes: Option<u64>) -> Result<Self, Error> {
        let capabilities = if containers { FOR_CONTAINERS } else { KEPT };
        Ok(Self { filters: Filters::make(containers)?, capabilities, processes })
    }

    /// Confines this process, which is root of the testbed's user namespace, and all that it starts.
    pub(crate) fn apply(&self) -> io::Result<()> {
        // The caller's session keyring may hold the keys to its file systems, and its tickets.
        process::leave_session_keyring()?;
        if let Some(processes) = self.processes {
            process::limit_processes(processes)?;
        }
        self.filters.apply()?;
        for number in 0..u64::BITS {
            let capability = CapabilitySet::from_bits_retain(1 << number);
            if self.capabilities.contains(capability) {
                continue;
            }
            match rustix::thread::remove_capability_from_bounding_set(capability) {
                // This kernel has no more of them.
                Err(rustix::io::Errno::INVAL) => break,
                other => other?,
            }
        }
        let kept = self.capabilities;
        let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
        rustix::thread::set_capabilities(None, sets)?;
        Ok(())
    }
}
