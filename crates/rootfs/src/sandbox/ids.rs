//! Subordinate ids (subuid(5), subgid(5)) and the programs that map them (newuidmap(1), newgidmap(1)).

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::SandboxError;
use super::refused::Facts;

const UID_MAP: &str = "/proc/self/uid_map";
const GID_MAP: &str = "/proc/self/gid_map";

/// Programs that map subordinate ids: of users, and of groups.
const MAPPERS: [&str; 2] = ["newuidmap", "newgidmap"];

/// Number of ids that a Debian system needs besides root's: up to `nogroup` (65534) and one more.
const NEEDED: u32 = 65535;

/// Number of ids including root's.
pub(super) const ALL: u64 = NEEDED as u64 + 1;

/// Range for the ids of sandboxes: above the ids that systemd, useradd and container engines assign to users and
/// containers, and those of testbeds, and below systemd's range for foreign images (its page "Users, Groups, UIDs and
/// GIDs" leaves these unassigned).
const SPARE: std::ops::Range<u64> = 0x7000_0000..0x7ffe_0000;

/// A line of `/etc/subuid` or `/etc/subgid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u32,
    pub(super) count: u32,
}

/// The first large enough range of a user, given by name or number. Malformed lines are taken to be for other users.
pub(super) fn find(text: &str, name: &str, id: u32) -> Option<Range> {
    text.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let start = fields.next()?.parse().ok()?;
        let count: u32 = fields.next()?.parse().ok()?;
        let ours = owner == name || owner.parse() == Ok(id);
        (ours && count >= NEEDED).then_some(Range { start, count: NEEDED })
    })
}

/// Id mapping of a user namespace.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mapping {
    /// Root is the calling user, all other ids are the user's subordinate ids.
    Subordinate(Range, Range),
    /// All ids are the same as outside, including a range for sandboxes: for a root with few rights.
    Same,
}

/// The mapping for the calling user, or all errors that prevent it.
pub(super) fn of_user(facts: &Facts) -> Result<Mapping, Vec<SandboxError>> {
    let uid = rustix::process::getuid().as_raw();
    let user = user_name(uid);
    // A missing file grants nothing.
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let texts = ["/etc/subuid", "/etc/subgid"].map(|file| (file, read(file)));
    let [uids, gids] = &texts;
    let all = format!("{}\n{}", uids.1, gids.1);
    let mut missing = Vec::new();
    let mut range = |(file, text): &(&'static str, String)| {
        let found = find(text, &user, uid);
        if found.is_none() {
            let remedy = remedy(&user, &all, &read(UID_MAP));
            missing.push(SandboxError::NoSubordinateIds { user: user.clone(), file, remedy });
        }
        found
    };
    let ranges = (range(uids), range(gids));
    missing.extend(MAPPERS.into_iter().filter(|program| find_program(program).is_none()).map(SandboxError::NoMapper));
    if facts.no_new_privileges {
        missing.push(SandboxError::NoNewPrivileges);
    }
    match ranges {
        (Some(uids), Some(gids)) if missing.is_empty() => Ok(Mapping::Subordinate(uids, gids)),
        _ => Err(missing),
    }
}

/// The mapping for root, which needs all ids of a Debian system to exist.
pub(super) fn of_root() -> Result<Mapping, SandboxError> {
    for (file, what) in [(UID_MAP, "user"), (GID_MAP, "group")] {
        let count = same(&fs::read_to_string(file).unwrap_or_default()).map(|(_, count)| count).sum::<u64>();
        if count < ALL {
            return Err(SandboxError::RootsIds {
                reason: format!("there are {count} {what} ids here, and a Debian system has {ALL}"),
                remedy: format!("give whoever starts the container {ALL} subordinate ids, or start it as root").into(),
            });
        }
    }
    Ok(Mapping::Same)
}

/// First id of a range of [`ALL`] ids that exist here and are unassigned; `None` in the user namespace of a user or a
/// container, which has only the ids it uses.
pub(super) fn spare() -> Option<u32> {
    // A missing file grants nothing.
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let granted = [read("/etc/subuid"), read("/etc/subgid")];
    spare_among([&read(UID_MAP), &read(GID_MAP)], [&granted[0], &granted[1]])
}

fn spare_among(maps: [&str; 2], granted: [&str; 2]) -> Option<u32> {
    let is_granted = |first: u64| {
        let mut taken = granted.iter().flat_map(|text| granted_ranges(text));
        taken.any(|(start, end)| start < first + ALL && first < end)
    };
    let exists = |first: u64| {
        maps.iter().all(|map| ranges(map).any(|(start, count)| start <= first && first + ALL <= start + count))
    };
    let first = SPARE.step_by(ALL as usize).find(|first| exists(*first) && !is_granted(*first))?;
    u32::try_from(first).ok()
}

/// First id, and the id after the last, of each line of `/etc/subuid`.
fn granted_ranges(text: &str) -> impl Iterator<Item = (u64, u64)> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':').skip(1).map(|field| field.parse::<u64>().ok());
        let start = fields.next()??;
        Some((start, start.saturating_add(fields.next()??)))
    })
}

/// The part of a map that covers a Debian system's ids, split like the map: the kernel accepts no line that spans two
/// of its lines.
fn same(map: &str) -> impl Iterator<Item = (u64, u64)> {
    ranges(map).filter(|(first, _)| *first < ALL).map(|(first, count)| (first, count.min(ALL - first)))
}

/// First id and number of ids of each line of a map.
fn ranges(map: &str) -> impl Iterator<Item = (u64, u64)> {
    map.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().map(|field| field.parse::<u64>().ok());
        Some((fields.next()??, fields.nth(1)??))
    })
}

/// Command that grants a user unassigned subordinate ids. `outside` is the id map of the current namespace: ids
/// outside of it cannot be granted.
fn remedy(user: &str, taken: &str, outside: &str) -> String {
    let first = granted_ranges(taken).map(|(_, end)| end).fold(100_000, u64::max);
    let last = first + u64::from(NEEDED);
    if ranges(outside).any(|(inside, count)| inside <= first && last < inside + count) {
        return format!("as root: usermod --add-subuids {first}-{last} --add-subgids {first}-{last} {user}");
    }
    "there are too few ids in this container to give a user some; run this as its root, which needs none".to_owned()
}

fn user_name(uid: u32) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2).and_then(|field| field.parse().ok()) == Some(uid))
        .and_then(|fields| fields.first().map(|name| (*name).to_owned()))
        .unwrap_or_else(|| uid.to_string())
}

/// Sets the id mapping of a process.
pub(super) fn map(pid: u32, mapping: Mapping) -> Result<(), SandboxError> {
    match mapping {
        Mapping::Subordinate(uids, gids) => {
            run_mapper(MAPPERS[0], pid, rustix::process::getuid().as_raw(), uids)?;
            run_mapper(MAPPERS[1], pid, rustix::process::getgid().as_raw(), gids)
        }
        Mapping::Same => {
            for (file, own) in [("uid_map", UID_MAP), ("gid_map", GID_MAP)] {
                let own = fs::read_to_string(own).map_err(SandboxError::step("reading the map of ids"))?;
                // Also the ids for processes in a sandbox.
                let more = spare().map(|first| (u64::from(first), ALL));
                let map: String =
                    same(&own).chain(more).map(|(first, count)| format!("{first} {first} {count}\n")).collect();
                fs::write(format!("/proc/{pid}/{file}"), map).map_err(|error| SandboxError::RootsIds {
                    reason: format!("writing {file}: {error}"),
                    remedy: "it needs the capabilities CHOWN, DAC_OVERRIDE, FOWNER, SETUID, SETGID and SETFCAP, which \
                            containers have unless they are dropped"
                        .into(),
                })?;
            }
            Ok(())
        }
    }
}

fn run_mapper(program: &'static str, pid: u32, own: u32, range: Range) -> Result<(), SandboxError> {
    let numbers = [pid, 0, own, 1, 1, range.start, range.count].map(|number| number.to_string());
    let output = Command::new(program).args(&numbers).output().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => SandboxError::NoMapper(program),
        _ => SandboxError::Start { program: program.to_owned(), source: error },
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(SandboxError::Mapping {
        command: format!("{program} {}", numbers.join(" ")),
        output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        remedy: vec![
            format!(
            "in a container without CAP_SYS_ADMIN a setuid program may not map ids; there, as root: \
             chmod u-s {newuidmap} {newgidmap}; setcap cap_setuid=ep {newuidmap}; setcap cap_setgid=ep {newgidmap} \
             (package libcap2-bin), or build as the container's root, which needs neither",
            newuidmap = path_of(MAPPERS[0]),
            newgidmap = path_of(MAPPERS[1]),
            ),
            "elsewhere, the program has lost its setuid bit, or is on a file system with nosuid: install the package uidmap \
             anew".to_owned(),
        ]
        .into(),
    })
}

/// Path of a program, if it is installed.
fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|path| path.is_file())
}

fn path_of(program: &str) -> String {
    find_program(program).map_or_else(|| program.to_owned(), |path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_users_range_by_name_or_number() {
        let text = "root:100000:65536\nann:165536:10\nann:200000:65536\n1001:300000:65535\nbroken\n";
        assert_eq!(find(text, "ann", 1000), Some(Range { start: 200_000, count: NEEDED }));
        assert_eq!(find(text, "bob", 1001), Some(Range { start: 300_000, count: NEEDED }));
        assert_eq!(find(text, "eve", 1002), None);
    }

    #[test]
    fn a_users_new_ids_are_those_that_nobody_has() {
        let whole = "         0          0 4294967295\n";
        let told = remedy("eve", "root:100000:65536\nann:165536:65536\n", whole);
        assert_eq!(told, "as root: usermod --add-subuids 231072-296607 --add-subgids 231072-296607 eve");
        assert!(remedy("eve", "", whole).contains("100000-165535"));
        assert!(remedy("eve", "", "0 1000 1\n1 100000 65536\n").contains("too few ids in this container"));
    }

    #[test]
    fn a_sandbox_gets_a_range_that_nobody_has() {
        let whole = "         0          0 4294967295\n";
        assert_eq!(spare_among([whole, whole], ["root:100000:65536\n", ""]), Some(0x7000_0000));
        assert_eq!(spare_among([whole, whole], ["", "ann:1879048192:65537\n"]), Some(0x7002_0000));
        assert_eq!(spare_among([whole, whole], ["ann:0:4294967295\n", ""]), None);
        assert_eq!(spare_among([whole, "0 1000 1\n1 100000 65535\n"], ["", ""]), None, "a user's namespace");
        let own = "0 0 65536\n1879048192 1879048192 65536\n";
        assert_eq!(spare_among([own, own], ["", ""]), Some(0x7000_0000), "one that a container's root has made");
    }

    #[test]
    fn a_containers_root_keeps_its_ids_line_by_line() {
        let same = |map: &str| same(map).collect::<Vec<_>>();
        assert_eq!(same("         0          0 4294967295\n"), [(0, 65536)]);
        assert_eq!(same("0 1000 1\n1 100000 65536\n"), [(0, 1), (1, 65535)]);
        assert_eq!(same("0 1000 1\n70000 5 1\n"), [(0, 1)]);
    }
}
