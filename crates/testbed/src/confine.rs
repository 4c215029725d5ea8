//! Limits on a command besides its namespaces, applied just before it is executed.
//!
//! The testbed's root never has rights over the machine. With these limits it also has few rights over its own
//! namespaces: it cannot reach the kernel's code for mounts, networks and devices, or cause kernel modules to be
//! loaded.

use std::io;

use ::confine::process::{leave_session_keyring, limit_capabilities};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::Error;
use crate::process;
use crate::seccomp::Filters;

/// Capabilities that are kept: podman's default, and one each for debuggers and for `ping`. Both affect only the
/// testbed's processes and network.
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

/// Additional capabilities for tests that make containers: mounts, namespaces and networks of their own.
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
    /// Prepares the limits. `containers` allows tests to make containers; `processes` is the limit for each user of the
    /// testbed.
    pub(crate) fn prepare(containers: bool, processes: Option<u64>) -> Result<Self, Error> {
        let capabilities = if containers { FOR_CONTAINERS } else { KEPT };
        Ok(Self { filters: Filters::make(containers)?, capabilities, processes })
    }

    /// Confines this process, which is root of the testbed's user namespace, and all processes that it starts.
    pub(crate) fn apply(&self) -> io::Result<()> {
        leave_session_keyring()?;
        if let Some(processes) = self.processes {
            process::limit_processes(processes)?;
        }
        self.filters.apply()?;
        limit_capabilities(self.capabilities)?;
        let kept = self.capabilities;
        let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
        rustix::thread::set_capabilities(None, sets)?;
        Ok(())
    }
}
