//! Rules for seccomp filters (`seccomp(2)`) that the build sandbox and testbeds have in common: requests by which anybody
//! makes the kernel load a module, or reaches a terminal that is not its own. What each does with them, and which calls it
//! allows at all, is its own business. [`process`] has the system calls that both make before they run something, and
//! `attacks` what the tests of both try.

#[cfg(feature = "attacks")]
pub mod attacks;
pub mod process;

use std::collections::BTreeMap;

use libc::{SYS_ioctl, SYS_personality, SYS_socket, SYS_socketpair};
use seccompiler::SeccompCmpArgLen::Dword;
use seccompiler::SeccompCmpOp::{self, Eq, MaskedEq, Ne};
use seccompiler::{BackendError, SeccompCondition, SeccompRule};

/// Rules by the number of the system call; a call is matched if one of its rules is.
pub type Rules = BTreeMap<i64, Vec<SeccompRule>>;
/// An argument's place, how it is compared, and with what.
pub type Condition = (u8, SeccompCmpOp, u64);

/// A rule of conditions that all have to be met.
pub fn rule(conditions: &[Condition]) -> Result<SeccompRule, BackendError> {
    let conditions =
        conditions.iter().map(|(place, op, value)| SeccompCondition::new(*place, Dword, op.clone(), *value));
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

/// A rule for an argument that is none of these values.
pub fn none_of(place: u8, values: &[u64]) -> Vec<Condition> {
    values.iter().map(|value| (place, Ne, *value)).collect()
}

/// Requests to devices and sockets that are refused, and personalities of other systems.
pub fn refused_requests() -> Result<Rules, BackendError> {
    let ioctls = REFUSED_IOCTLS.iter().map(|request| rule(&[(1, Eq, *request)])).collect::<Result<_, _>>()?;
    Ok(BTreeMap::from([(SYS_ioctl, ioctls), (SYS_personality, vec![rule(&none_of(0, &PERSONALITIES))?])]))
}

/// Families whose first socket would load a module.
pub fn other_families() -> Result<Rules, BackendError> {
    let other = vec![rule(&none_of(0, &FAMILIES))?];
    Ok(BTreeMap::from([(SYS_socket, other.clone()), (SYS_socketpair, other)]))
}

/// Types and protocols of the families that would.
pub fn other_protocols() -> Result<Rules, BackendError> {
    let mut rules = Vec::new();
    for family in INTERNET {
        let family = (0, Eq, family);
        let mut others = none_of(2, &INTERNET_PROTOCOLS);
        others.push(family.clone());
        rules.push(rule(&others)?);
        // All types but stream, datagram and raw (1 to 3); flags are above these bits.
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
/// IP (for the type's own), ICMP, TCP, UDP, `ICMPv6`, raw, MPTCP.
const INTERNET_PROTOCOLS: [u64; 7] = [0, 1, 6, 17, 58, 255, 262];
/// Routing, which the C library asks for addresses, and the kernel's events, which libudev listens to.
const NETLINK_PROTOCOLS: [u64; 2] = [0, 15];

/// `PER_LINUX` and `PER_LINUX32` with `UNAME26` or `ADDR_NO_RANDOMIZE`, and the question which it is.
const PERSONALITIES: [u64; 7] = [0, 8, 0x2_0000, 0x2_0008, 0x4_0000, 0x4_0008, 0xffff_ffff];

/// What types into a terminal, and what loads a line discipline, the bridge or VLANs, for anybody who asks.
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
