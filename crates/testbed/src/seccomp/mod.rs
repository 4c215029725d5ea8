//! The system calls that commands in a testbed may make (`seccomp(2)`).
//!
//! The measure is the default of podman (containers-common) for a container without capabilities over the machine: what
//! is not in the list does not exist (`ENOSYS`, as on an older kernel, which libraries cope with), and what is known to
//! reach beyond a container is refused (`EPERM`). Stricter than podman are sockets, ioctls that make the kernel load
//! modules, and namespaces; more is allowed for debuggers, sanitizers and MPI (`ADDR_NO_RANDOMIZE`, `move_pages`).
//!
//! Calls by another ABI of the processor do not get past it: i386 ends the process, x32 is not in the list.

mod calls;

use std::env::consts::ARCH;

use confine::{Rules, other_families, other_protocols, refused_requests, rule};
use libc::{CLONE_NEWCGROUP, CLONE_NEWUSER, EAFNOSUPPORT, EPERM, EPROTONOSUPPORT, SYS_clone, SYS_unshare};
use seccompiler::SeccompCmpOp::MaskedEq;
use seccompiler::{BackendError, BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch};

use self::calls::{ALLOWED, ALLOWED_HERE, ALLOWED_SINCE, REFUSED, REFUSED_HERE};
use crate::Error;
use crate::process;

/// The filters of a testbed's commands, to be applied in this order: where several refuse a call, the last one says how.
#[derive(Debug)]
pub(crate) struct Filters(Vec<BpfProgram>);

impl Filters {
    /// Makes them. With `namespaces`, commands may make user namespaces.
    pub(crate) fn make(namespaces: bool) -> Result<Self, Error> {
        let wrong = |error: BackendError| Error::Inside(format!("making the seccomp filter: {error}"));
        Self::compile(namespaces).map(Self).map_err(wrong)
    }

    fn compile(namespaces: bool) -> Result<Vec<BpfProgram>, BackendError> {
        let architecture = TargetArch::try_from(ARCH)?;
        let filter =
            |rules, matched, otherwise| SeccompFilter::new(rules, otherwise, matched, architecture)?.try_into();
        let errno = |code: i32| SeccompAction::Errno(code.cast_unsigned());
        let plain = |calls: &[&[i64]]| calls.concat().into_iter().map(|call| (call, Vec::new())).collect();
        let allowed: Rules = plain(&[ALLOWED, ALLOWED_HERE, ALLOWED_SINCE]);
        let mut refused: Rules = plain(&[REFUSED, REFUSED_HERE]);
        refused.extend(refused_by_argument(namespaces)?);
        Ok(vec![
            filter(allowed, SeccompAction::Allow, errno(libc::ENOSYS))?,
            filter(refused, errno(EPERM), SeccompAction::Allow)?,
            filter(other_families()?, errno(EAFNOSUPPORT), SeccompAction::Allow)?,
            filter(other_protocols()?, errno(EPROTONOSUPPORT), SeccompAction::Allow)?,
        ])
    }

    /// Applies them to this process and all that it starts. It has to have `CAP_SYS_ADMIN` in its user namespace: what
    /// it executes may still gain rights there, as `sudo` does.
    pub(crate) fn apply(&self) -> std::io::Result<()> {
        self.0.iter().try_for_each(|program| process::apply_filter(program))
    }
}

fn refused_by_argument(namespaces: bool) -> Result<Rules, BackendError> {
    // A control group namespace of its own would show the server's group to a command, and let it freeze the server.
    let mut flags = vec![CLONE_NEWCGROUP];
    if !namespaces {
        flags.push(CLONE_NEWUSER);
    }
    let flags: Vec<u64> = flags.into_iter().map(|flag| u64::from(flag.cast_unsigned())).collect();
    let clones: Vec<SeccompRule> =
        flags.iter().map(|flag| rule(&[(0, MaskedEq(*flag), *flag)])).collect::<Result<_, _>>()?;
    let mut refused = refused_requests()?;
    refused.extend([(SYS_clone, clones.clone()), (SYS_unshare, clones)]);
    Ok(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_are_made_and_fit_the_kernel() {
        for namespaces in [false, true] {
            let filters = Filters::make(namespaces).unwrap();
            // All filters of a process together: 32,768 instructions.
            let length: usize = filters.0.iter().map(Vec::len).sum();
            assert!(length < 4096, "{length}");
        }
    }

    #[test]
    fn no_call_is_in_two_lists() {
        let mut all = [ALLOWED, ALLOWED_HERE, ALLOWED_SINCE, REFUSED, REFUSED_HERE].concat();
        all.sort_unstable();
        let length = all.len();
        all.dedup();
        assert_eq!(all.len(), length);
        // io_uring, and clone3, whose flags are out of a filter's sight.
        assert!(![425, 426, 427, 435].iter().any(|call| all.contains(call)));
    }
}
