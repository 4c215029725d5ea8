//! System calls that are refused to maintainer scripts (seccomp(2)).
//!
//! Namespaces, ids and capabilities already prevent most of what is refused here. The filters also block access to the
//! kernel code behind it, where the vulnerabilities are found: what podman and Docker refuse by default, and what a
//! script that installs a package does not need. The lists are data, so that other sandboxes can use them.
//!
//! The filters also make syncing to disk a no-op: an unfinished root directory is worthless after a power cut, and
//! dpkg syncs several times per package.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// Calls that do nothing and succeed.
const SYNC: &[i64] =
    &[libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_sync, libc::SYS_syncfs, libc::SYS_sync_file_range];

/// Calls that fail with `EPERM`, as they do without the capabilities they need.
const REFUSED: &[i64] = &[
    // Keys: a session's keyring belongs to its user, and namespaces do not separate them.
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
    // Programs and buffers in the kernel.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    // The kernel itself and the machine.
    libc::SYS_acct,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    // The clock.
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_settimeofday,
    // Mounts and namespaces.
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_pivot_root,
    libc::SYS_setns,
    libc::SYS_umount2,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    // Other users' files, and watching a whole file system.
    libc::SYS_fanotify_init,
    libc::SYS_open_by_handle_at,
];

/// Further ones, on x86 only.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] =
    &[libc::SYS_ioperm, libc::SYS_iopl, libc::SYS__sysctl, libc::SYS_sysfs, libc::SYS_uselib, libc::SYS_ustat];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[i64] = &[];

/// Calls that fail with `ENOSYS`: C libraries and programs then use older ones. The flags of `clone3` are in memory,
/// where filters cannot read them.
const ABSENT: &[i64] =
    &[libc::SYS_clone3, libc::SYS_io_uring_enter, libc::SYS_io_uring_register, libc::SYS_io_uring_setup];

/// Flags of `clone` and `unshare` that create namespaces.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
];

/// Allowed socket families. For others, the kernel might load a module for the family or protocol.
const FAMILIES: [libc::c_int; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
const PROTOCOLS: [libc::c_int; 5] = [0, libc::IPPROTO_ICMP, libc::IPPROTO_TCP, libc::IPPROTO_UDP, libc::IPPROTO_ICMPV6];

/// Bit in the call numbers of x86-64's second interface, x32.
const X32: i64 = 0x4000_0000;

/// The filters, to be applied one after the other: each has one action for all its calls.
pub(super) struct Filters(Vec<BpfProgram>);

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

impl Filters {
    /// Fails on an architecture without filter support.
    pub(super) fn make() -> io::Result<Self> {
        let error = |errno: libc::c_int| SeccompAction::Errno(errno.cast_unsigned());
        let mut refused = all_of(REFUSED.iter().chain(REFUSED_HERE));
        let flags = |flag: &libc::c_int| {
            let flag = u64::from(flag.cast_unsigned());
            rule(vec![condition(0, SeccompCmpOp::MaskedEq(flag), flag)?])
        };
        let making: Vec<SeccompRule> = NAMESPACES.iter().map(flags).collect::<io::Result<_>>()?;
        add(&mut refused, libc::SYS_clone, &making);
        add(&mut refused, libc::SYS_unshare, &making);
        let sockets = sockets()?;
        add(&mut refused, libc::SYS_socket, &sockets);
        add(&mut refused, libc::SYS_socketpair, &sockets);
        let filters = [
            // Error number 0 makes a call return success.
            (all_of(SYNC.iter()), error(0)),
            (refused, error(libc::EPERM)),
            (all_of(ABSENT.iter()), error(libc::ENOSYS)),
        ];
        filters.into_iter().map(|(rules, action)| program(rules, action)).collect::<io::Result<_>>().map(Self)
    }

    /// Applies the filters to this process and its descendants, for which setuid programs gain no privileges
    /// afterwards.
    pub(super) fn apply(&self) -> io::Result<()> {
        self.0.iter().try_for_each(|program| seccompiler::apply_filter(program).map_err(other))
    }
}

fn program(rules: Rules, action: SeccompAction) -> io::Result<BpfProgram> {
    let architecture = TargetArch::try_from(ARCH).map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, architecture).map_err(io::Error::other)?;
    filter.try_into().map_err(io::Error::other)
}

fn other(error: seccompiler::Error) -> io::Error {
    match error {
        seccompiler::Error::Prctl(source) | seccompiler::Error::Seccomp(source) => source,
        other => io::Error::other(other.to_string()),
    }
}

/// Rules for calls with any arguments.
fn all_of<'a>(calls: impl Iterator<Item = &'a i64>) -> Rules {
    let mut rules = Rules::new();
    calls.for_each(|call| add(&mut rules, *call, &[]));
    rules
}

fn add(rules: &mut Rules, call: i64, new: &[SeccompRule]) {
    rules.insert(call, new.to_vec());
    if cfg!(target_arch = "x86_64") {
        rules.insert(call | X32, new.to_vec());
    }
}

/// Rules for socket families, and Internet protocols, that are not in the list.
fn sockets() -> io::Result<Vec<SeccompRule>> {
    let others = |argument: u8, known: &[libc::c_int]| {
        let not = |value: &libc::c_int| condition(argument, SeccompCmpOp::Ne, u64::from(value.cast_unsigned()));
        known.iter().map(not).collect::<io::Result<Vec<_>>>()
    };
    let mut rules = vec![rule(others(0, &FAMILIES)?)?];
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut conditions = vec![condition(0, SeccompCmpOp::Eq, u64::from(family.cast_unsigned()))?];
        conditions.extend(others(2, &PROTOCOLS)?);
        rules.push(rule(conditions)?);
    }
    Ok(rules)
}

fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> io::Result<SeccompCondition> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value).map_err(io::Error::other)
}

fn rule(conditions: Vec<SeccompCondition>) -> io::Result<SeccompRule> {
    SeccompRule::new(conditions).map_err(io::Error::other)
}
