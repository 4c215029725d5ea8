//! User and group ids of testbeds.
//!
//! All testbeds of a server share one user namespace (`user_namespaces(7)`). If the caller is the machine's root, its
//! ids are ones that exist nowhere else, so that a process that escapes has no rights; an id-mapped mount
//! (`mount_setattr(2)`) shifts the owners of the root directory to them. For any other caller there are two namespaces:
//! the outer one has the caller as root and the subordinate ids as all others, and mounts are made in it; the inner one
//! has the same ids, and its root, the testbed's, cannot undo those mounts.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::process::Command;

use ::confine::process::unshare;
use rustix::process::{DumpableBehavior, Gid, Uid};
use rustix::thread::{CapabilitySets, UnshareFlags};

use crate::Error;
use crate::process::{self, fork};

/// Number of ids in a testbed: all that a Debian system uses.
const IDS: u32 = 65536;
/// Start of the shifted ranges, above real users and the ranges that other programs allocate.
const FIRST: u32 = 0x4000_0000;
/// Number of ranges. Simultaneous servers have different ones, unless their process ids differ by a multiple of this.
const RANGES: u32 = 8192;

/// User namespace of a server's testbeds.
#[derive(Debug)]
pub(crate) struct Identity {
    /// The testbeds' user namespace.
    pub(crate) inner: OwnedFd,
    /// The outer namespace between the user's and the testbeds', which processes from outside have to join first.
    pub(crate) outer: Option<OwnedFd>,
    /// The id of the testbed's root in the server's user namespace.
    pub(crate) base: u32,
    /// Whether mounts are made in a user namespace too.
    pub(crate) nested: bool,
}

impl Identity {
    /// Makes the namespace; an unprivileged caller becomes root of an outer one. All processes of a testbed together,
    /// including threads, are limited to `processes`.
    pub(crate) fn make(processes: u64) -> Result<Self, Error> {
        let outer = if rustix::process::geteuid().is_root() {
            None
        } else {
            become_root()?;
            Some(own_namespace()?)
        };
        let shifted = FIRST + (std::process::id() % RANGES) * IDS;
        let base = if is_mapped(&own_map("uid_map")?, shifted) { shifted } else { 0 };
        let nested = base == 0;
        Ok(Self { inner: make_namespace(base, processes)?, outer, base, nested })
    }

    /// The outside id for an id inside.
    pub(crate) fn outside(&self, id: u32) -> u32 {
        self.base.saturating_add(id)
    }
}

/// Gives this process the ids of root in the user namespace that it has joined.
pub(crate) fn become_its_root(keep_groups: bool) -> Result<(), Error> {
    if !keep_groups {
        rustix::thread::set_thread_groups(&[]).map_err(Error::step("leaving groups"))?;
    }
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)
        .and_then(|()| rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT))
        .map_err(Error::step("becoming root in the testbed"))
}

fn own_namespace() -> Result<OwnedFd, Error> {
    fs::File::open("/proc/self/ns/user").map(Into::into).map_err(Error::step("opening /proc/self/ns/user"))
}

fn own_map(file: &str) -> Result<String, Error> {
    let path = format!("/proc/self/{file}");
    fs::read_to_string(&path).map_err(Error::step(format!("reading {path}")))
}

/// An id map that keeps a namespace's ids; the kernel requires a line for each line of the given map.
fn same_ids(map: &str) -> String {
    let lines = numbers(map).filter(|[inside, _, _]| *inside < u64::from(IDS)).map(|[inside, _, count]| {
        let count = count.min(u64::from(IDS) - inside);
        format!("{inside} {inside} {count}\n")
    });
    lines.collect()
}

/// The lines of a `uid_map`: first id inside, first id outside, count.
fn numbers(map: &str) -> impl Iterator<Item = [u64; 3]> {
    map.lines().filter_map(|line| {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        numbers.try_into().ok()
    })
}

/// Whether a complete range of ids exists in the namespace with this `uid_map`.
fn is_mapped(map: &str, first: u32) -> bool {
    let end = u64::from(first) + u64::from(IDS);
    numbers(map).any(|[inside, _, count]| inside <= u64::from(first) && end <= inside.saturating_add(count))
}

/// Makes a user namespace, after changing to an id to which the limit of processes applies.
///
/// The kernel counts the processes of a namespace, of all its users, as those of the user who made it, up to the limit
/// of the making process (`RLIMIT_NPROC`; since Linux 5.14). The machine's root has no limit, so an id of the testbed
/// makes the namespace.
fn unshare_limited(base: u32, processes: u64) -> io::Result<()> {
    if base != 0 {
        let (user, group) = (Uid::from_raw(base), Gid::from_raw(base));
        // This process stays privileged to make the namespace if the machine forbids user namespaces to users.
        rustix::thread::set_keep_capabilities(true)?;
        rustix::thread::set_thread_res_gid(group, group, group)?;
        rustix::thread::set_thread_res_uid(user, user, user)?;
        let sets = rustix::thread::capabilities(None)?;
        rustix::thread::set_capabilities(None, CapabilitySets { effective: sets.permitted, ..sets })?;
    }
    process::limit_processes(processes)?;
    unshare(UnshareFlags::NEWUSER)
}

/// Makes a namespace that exists as long as it is open; the process that made it is not needed.
fn make_namespace(base: u32, processes: u64) -> Result<OwnedFd, Error> {
    let pipe = || io::pipe().map_err(Error::step("making a pipe"));
    let (mut ready, mut is_ready) = pipe()?;
    let (mut end, may_end) = pipe()?;
    let may_end = std::cell::Cell::new(Some(may_end));
    let child = fork(|| {
        drop(may_end.take());
        let work = unshare_limited(base, processes)
            // Otherwise its files in /proc would belong to root.
            .and_then(|()| rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(Into::into))
            .and_then(|()| is_ready.write_all(b"k"))
            .and_then(|()| end.read(&mut [0]));
        u8::from(work.is_err())
    })
    .map_err(Error::step("starting a process"))?;
    drop(is_ready);
    let result = ready.read_exact(&mut [0]).map_err(|_| forbidden()).and_then(|()| {
        let directory = format!("/proc/{}", child.pid().as_raw_nonzero());
        for file in ["uid_map", "gid_map"] {
            let path = format!("{directory}/{file}");
            let map = if base == 0 { same_ids(&own_map(file)?) } else { format!("0 {base} {IDS}") };
            fs::write(&path, map).map_err(Error::step(format!("mapping the testbed's ids with {path}")))?;
        }
        let path = format!("{directory}/ns/user");
        fs::File::open(&path).map(Into::into).map_err(Error::step(format!("opening {path}")))
    });
    drop(may_end.take());
    child.wait().map_err(Error::step("waiting for a process"))?;
    result
}

/// The error with the setting that forbids user namespaces, if it is a known one.
fn forbidden() -> Error {
    for (path, bad, good) in [
        ("user/max_user_namespaces", "0", "10000"),
        ("kernel/unprivileged_userns_clone", "0", "1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
    ] {
        let setting = fs::read_to_string(format!("/proc/sys/{path}"));
        if setting.is_ok_and(|text| text.trim() == bad) {
            let name = path.replace('/', ".");
            return Error::Mapping(format!(
                "user namespaces are not allowed here, as {name} is {bad}; as root, run: sysctl {name}={good}"
            ));
        }
    }
    Error::Mapping("user namespaces are not allowed here; in a container, its seccomp profile may forbid them".into())
}

/// Makes this process root of a new user namespace and gives it mounts of its own.
///
/// Programs that may map subordinate ids (`newuidmap(1)`) have to run outside of it, in a process that is forked
/// before.
fn become_root() -> Result<(), Error> {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let (uids, gids) = (subordinate("/etc/subuid", uid)?, subordinate("/etc/subgid", uid)?);
    let pid = std::process::id();
    let pipe = || io::pipe().map_err(Error::step("making a pipe"));
    let (mut go, mut may_go) = pipe()?;
    let (mut failures, failure) = pipe()?;
    let helper = fork(|| {
        let work = go.read_exact(&mut [0]).map_err(|error| error.to_string()).and_then(|()| {
            run_mapper("newuidmap", pid, uid, uids)?;
            run_mapper("newgidmap", pid, gid, gids)
        });
        match work {
            Ok(()) => 0,
            Err(message) => {
                // If even this fails, the exit status reports it.
                let _ = (&failure).write_all(message.as_bytes());
                1
            }
        }
    })
    .map_err(Error::step("starting a process"))?;
    drop(failure);
    let unshared = unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS);
    if unshared.is_err() {
        helper.kill();
    }
    unshared.map_err(|_| forbidden())?;
    // Its files in /proc have to belong to the user, so that commands for the testbed can find its namespaces there.
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(Error::step("preparing to map ids"))?;
    may_go.write_all(b"g").map_err(Error::step("mapping subordinate ids"))?;
    let mut message = String::new();
    failures.read_to_string(&mut message).map_err(Error::step("mapping subordinate ids"))?;
    let status = helper.wait().map_err(Error::step("waiting for a process"))?;
    if status.and_then(|status| status.exit_status()) != Some(0) {
        return Err(Error::Mapping(message));
    }
    become_its_root(true)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(Error::step("becoming root"))
}

/// The first large enough subordinate range of a user (`subuid(5)`).
fn subordinate(file: &'static str, uid: u32) -> Result<u32, Error> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2).and_then(|field| field.parse().ok()) == Some(uid))
        .and_then(|fields| fields.first().map(|name| (*name).to_owned()))
        .unwrap_or_else(|| uid.to_string());
    // An unreadable file grants nothing.
    let text = fs::read_to_string(file).unwrap_or_default();
    let range = find_range(&text, &user, uid);
    range.ok_or(Error::NoSubordinateIds { user, file })
}

fn find_range(text: &str, user: &str, uid: u32) -> Option<u32> {
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.trim().split(':').collect();
        let &[owner, start, count] = fields.as_slice() else { return None };
        let ours = owner == user || owner.parse() == Ok(uid);
        let enough = count.parse::<u32>().is_ok_and(|count| count >= IDS - 1);
        if ours && enough { start.parse().ok() } else { None }
    })
}

fn run_mapper(program: &str, pid: u32, own: u32, first: u32) -> Result<(), String> {
    let numbers = [pid, 0, own, 1, 1, first, IDS - 1].map(|number| number.to_string());
    let output = Command::new(program).args(&numbers).output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("{program} is not installed; install the package uidmap"),
        _ => format!("starting {program}: {error}"),
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", numbers.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_users_range() {
        let text = "ann:165536:10\nann:200000:65536\n1001:300000:65535\nbroken\n";
        assert_eq!(find_range(text, "ann", 1000), Some(200_000));
        assert_eq!(find_range(text, "bob", 1001), Some(300_000));
        assert_eq!(find_range(text, "eve", 1002), None);
    }

    #[test]
    fn leaves_ids_as_they_are() {
        assert_eq!(
            same_ids("         0       1000          1\n         1     100000      70000\n"),
            "0 0 1\n1 1 65535\n"
        );
        assert_eq!(same_ids("0 0 4294967295\n"), "0 0 65536\n");
    }

    #[test]
    fn knows_which_ids_exist() {
        assert!(is_mapped("         0          0 4294967295\n", FIRST));
        assert!(!is_mapped("0 1000 1\n1 100000 65535\n", FIRST), "a user's namespace");
        assert!(is_mapped("0 1000 1\n1 100000 65536\n", 1));
        assert!(!is_mapped("nonsense", 0));
    }
}
