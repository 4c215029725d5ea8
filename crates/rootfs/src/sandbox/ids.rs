//! Subordinate ids (subuid(5), subgid(5)) and the programs that map them (newuidmap(1), newgidmap(1)).

use std::path::Path;
use std::process::Command;

use super::SandboxError;

/// How many ids besides root's a Debian system uses: everything up to `nogroup` (65534) and one more.
const NEEDED: u32 = 65535;

/// One line of `/etc/subuid` or `/etc/subgid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u32,
    pub(super) count: u32,
}

/// The first range of a user, given by name or number, that is large enough. Lines that are not understood are those
/// of somebody else.
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

/// The ranges of the user who runs this.
pub(super) fn ranges() -> Result<(Range, Range), SandboxError> {
    let uid = rustix::process::getuid().as_raw();
    let user = user_name(uid);
    let range = |file: &'static str| {
        // A file that is not there grants nothing.
        let text = std::fs::read_to_string(file).unwrap_or_default();
        find(&text, &user, uid).ok_or_else(|| SandboxError::NoSubordinateIds { user: user.clone(), file })
    };
    Ok((range("/etc/subuid")?, range("/etc/subgid")?))
}

fn user_name(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2).and_then(|field| field.parse().ok()) == Some(uid))
        .and_then(|fields| fields.first().map(|name| (*name).to_owned()))
        .unwrap_or_else(|| uid.to_string())
}

/// Maps a process's ids: its root is the caller, everything else is subordinate.
pub(super) fn map(pid: u32, uids: Range, gids: Range) -> Result<(), SandboxError> {
    let uid = rustix::process::getuid().as_raw();
    let gid = rustix::process::getgid().as_raw();
    run_mapper("newuidmap", pid, uid, uids)?;
    run_mapper("newgidmap", pid, gid, gids)
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
    })
}

/// Whether a mapping program is installed.
pub(super) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| Path::new(&directory).join(program).is_file())
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
}
