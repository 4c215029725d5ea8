//! The system calls that maintainer scripts do not get (seccomp(2)).
//!
//! Their namespaces, ids and capabilities already keep them from most of what is refused here. The filters keep them
//! from the kernel's code for it, which is where the holes are found: what podman and Docker refuse by default, and what
//! a script that installs a package has no use for. The lists are data, so that other sandboxes can use them.
//!
//! Syncing to disk is made free at the same place: a root directory that is not finished is worth nothing after a power
//! cut, and dpkg syncs several times per package.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// Calls that do nothing and say that all went well.
const SYNC: &[i64] =
    &[libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_sync, libc::SYS_syncfs, libc::SYS_sync_file_range];

/// Calls that are not permitted (`EPERM`), as they are not to anybody without the capabilities they need.
const REFUSED: &[i64] = &[
    // Keys: a session's keyring is its owner's, and no namespace divides them.
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
    // Other people's files, and watching all of a file system.
    libc::SYS_fanotify_init,
    libc::SYS_open_by_handle_at,
    // Pages of other processes, and of pipes.
    libc::SYS_migrate_pages,
    libc::SYS_vmsplice,
];

/// More of them, on x86 only.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] =
    &[libc::SYS_ioperm, libc::SYS_iopl, libc::SYS__sysctl, libc::SYS_sysfs, libc::SYS_uselib, libc::SYS_ustat];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[i64] = &[];

/// Calls that the kernel seems not to have (`ENOSYS`): C libraries and programs then use older ones. The flags of `clone3`
/// lie in memory, where no filter sees them.
const ABSENT: &[i64] =
    &[libc::SYS_clone3, libc::SYS_io_uring_enter, libc::SYS_io_uring_register, libc::SYS_io_uring_setup];

/// Flags of `clone` and `unshare` that make namespaces.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
];

/// The calls of x86-64's second interface have the same numbers with this bit.
const X32: i64 = 0x4000_0000;

/// The filters, to be applied one after the other: a filter has one answer for all calls that it names.
pub(super) struct Filters(Vec<BpfProgram>);

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

impl Filters {
    /// Fails on an architecture that filters cannot be made for.
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
        let shared = |rules: Result<confine::Rules, seccompiler::BackendError>| rules.map_err(io::Error::other);
        for (call, rules) in shared(confine::refused_requests())? {
            add(&mut refused, call, &rules);
        }
        add(&mut refused, libc::SYS_socket, &raw_sockets()?);
        // As a kernel without them answers: programs such as useradd, which asks for the audit log, go on without then.
        let mut families = Rules::new();
        for (call, rules) in shared(confine::other_families())? {
            add(&mut families, call, &rules);
        }
        let mut protocols = Rules::new();
        for (call, rules) in shared(confine::other_protocols())? {
            add(&mut protocols, call, &rules);
        }
        let filters = [
            // The error number 0 is what a successful call returns.
            (all_of(SYNC.iter()), error(0)),
            (refused, error(libc::EPERM)),
            (families, error(libc::EAFNOSUPPORT)),
            (protocols, error(libc::EPROTONOSUPPORT)),
            (all_of(ABSENT.iter()), error(libc::ENOSYS)),
        ];
        filters.into_iter().map(|(rules, action)| program(rules, action)).collect::<io::Result<_>>().map(Self)
    }

    /// Applies them to this process and all it starts, none of which gains anything from set-uid programs afterwards.
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

/// Whatever their arguments are.
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

/// Raw protocols of the Internet's, which scripts of packages have no use for.
fn raw_sockets() -> io::Result<Vec<SeccompRule>> {
    let raw = u64::from(libc::IPPROTO_RAW.cast_unsigned());
    let of = |family: libc::c_int| {
        let family = condition(0, SeccompCmpOp::Eq, u64::from(family.cast_unsigned()))?;
        rule(vec![family, condition(2, SeccompCmpOp::Eq, raw)?])
    };
    [libc::AF_INET, libc::AF_INET6].into_iter().map(of).collect()
}

fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> io::Result<SeccompCondition> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value).map_err(io::Error::other)
}

fn rule(conditions: Vec<SeccompCondition>) -> io::Result<SeccompRule> {
    SeccompRule::new(conditions).map_err(io::Error::other)
}
