//! The system calls that commands in a testbed may make (`seccomp(2)`).
//!
//! The measure is the default of podman (containers-common) for a container without capabilities over the machine: what
//! is not in the list does not exist (`ENOSYS`, as on an older kernel, which libraries cope with), and what is known to
//! reach beyond a container is refused (`EPERM`). Stricter than podman are sockets, ioctls that make the kernel load
//! modules, and namespaces; more is allowed for debuggers, sanitizers and MPI (`ADDR_NO_RANDOMIZE`, `move_pages`).
//!
//! Calls by another ABI of the processor do not get past it: i386 ends the process, x32 is not in the list.

mod calls;

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use libc::{
    CLONE_NEWCGROUP, CLONE_NEWUSER, EAFNOSUPPORT, EPERM, EPROTONOSUPPORT, SYS_clone, SYS_ioctl, SYS_personality,
    SYS_socket, SYS_socketpair, SYS_unshare,
};
use seccompiler::SeccompCmpArgLen::Dword;
use seccompiler::SeccompCmpOp::{self, Eq, MaskedEq, Ne};
use seccompiler::{BackendError, BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule, TargetArch};

use self::calls::{ALLOWED, ALLOWED_HERE, ALLOWED_SINCE, REFUSED, REFUSED_HERE};
use crate::Error;
use crate::process;

/// The filters for commands in a testbed, in the order in which they are applied: if several refuse a call, the last
/// one decides the error.
#[derive(Debug)]
pub(crate) struct Filters(Vec<BpfProgram>);

impl Filters {
    /// Creates the filters. With `namespaces`, commands may make user namespaces.
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

    /// Applies the filters to this process and all that it starts. It needs `CAP_SYS_ADMIN` in its user namespace, so
    /// that programs such as `sudo` can still gain rights there.
    pub(crate) fn apply(&self) -> std::io::Result<()> {
        self.0.iter().try_for_each(|program| process::apply_filter(program))
    }
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;
/// Index of an argument, comparison, and value.
type Condition = (u8, SeccompCmpOp, u64);

/// A rule whose conditions must all be met.
fn rule(conditions: &[Condition]) -> Result<SeccompRule, BackendError> {
    let conditions =
        conditions.iter().map(|(place, op, value)| SeccompCondition::new(*place, Dword, op.clone(), *value));
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

/// Conditions for an argument that has none of these values.
fn none_of(place: u8, values: &[u64]) -> Vec<Condition> {
    values.iter().map(|value| (place, Ne, *value)).collect()
}

fn refused_by_argument(namespaces: bool) -> Result<Rules, BackendError> {
    // A control group namespace would show the server's group to a command, which could then freeze the server.
    let mut flags = vec![CLONE_NEWCGROUP];
    if !namespaces {
        flags.push(CLONE_NEWUSER);
    }
    let flags: Vec<u64> = flags.into_iter().map(|flag| u64::from(flag.cast_unsigned())).collect();
    let clones: Vec<SeccompRule> =
        flags.iter().map(|flag| rule(&[(0, MaskedEq(*flag), *flag)])).collect::<Result<_, _>>()?;
    let ioctls = REFUSED_IOCTLS.iter().map(|request| rule(&[(1, Eq, *request)])).collect::<Result<_, _>>()?;
    Ok(BTreeMap::from([
        (SYS_clone, clones.clone()),
        (SYS_unshare, clones),
        (SYS_ioctl, ioctls),
        (SYS_personality, vec![rule(&none_of(0, &PERSONALITIES))?]),
    ]))
}

/// Address families whose first socket would load a kernel module.
fn other_families() -> Result<Rules, BackendError> {
    let other = vec![rule(&none_of(0, &FAMILIES))?];
    Ok(BTreeMap::from([(SYS_socket, other.clone()), (SYS_socketpair, other)]))
}

/// Socket types and protocols that would load a kernel module.
fn other_protocols() -> Result<Rules, BackendError> {
    let mut rules = Vec::new();
    for family in INTERNET {
        let family = (0, Eq, family);
        let mut others = none_of(2, &INTERNET_PROTOCOLS);
        others.push(family.clone());
        rules.push(rule(&others)?);
        // All types except stream, datagram and raw (1 to 3); flags are above these bits.
        for (mask, value) in [(0b1111, 0), (0b1100, 0b0100), (0b1000, 0b1000)] {
            rules.push(rule(&[family.clone(), (1, MaskedEq(mask), value)])?);
        }
    }
    let mut others = none_of(2, &NETLINK_PROTOCOLS);
    others.push((0, Eq, NETLINK));
    rules.push(rule(&others)?);
    Ok(BTreeMap::from([(SYS_socket, rules)]))
}

const UNIX: u64 = 1;
const INTERNET: [u64; 2] = [2, 10];
const NETLINK: u64 = 16;
/// `AF_UNIX`, `AF_INET`, `AF_INET6`, `AF_NETLINK`.
const FAMILIES: [u64; 4] = [UNIX, INTERNET[0], INTERNET[1], NETLINK];
/// IP (the default of a type), ICMP, TCP, UDP, `ICMPv6`, raw, MPTCP.
const INTERNET_PROTOCOLS: [u64; 7] = [0, 1, 6, 17, 58, 255, 262];
/// Routing, which the C library uses for addresses, and kernel events, which libudev listens to.
const NETLINK_PROTOCOLS: [u64; 2] = [0, 15];

/// `PER_LINUX` and `PER_LINUX32` with `UNAME26` or `ADDR_NO_RANDOMIZE`, and the query of the current personality.
const PERSONALITIES: [u64; 7] = [0, 8, 0x2_0000, 0x2_0008, 0x4_0000, 0x4_0008, 0xffff_ffff];

/// Requests that type into a terminal, or that cause line disciplines, the bridge or VLAN modules to be loaded.
const REFUSED_IOCTLS: [u64; 9] = [
    0x5412, // TIOCSTI
    0x541c, // TIOCLINUX
    0x5423, // TIOCSETD
    0x8940, // SIOCGIFBR
    0x8941, // SIOCSIFBR
    0x8982, // SIOCGIFVLAN
    0x8983, // SIOCSIFVLAN
    0x89a0, // SIOCBRADDBR
    0x89a1, // SIOCBRDELBR
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_are_made_and_fit_the_kernel() {
        for namespaces in [false, true] {
            let filters = Filters::make(namespaces).unwrap();
            // The limit for all filters of a process together is 32,768 instructions.
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
        // `io_uring`, and `clone3`, whose flags a filter cannot see.
        assert!(![425, 426, 427, 435].iter().any(|call| all.contains(call)));
    }
}
