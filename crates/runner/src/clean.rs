//! Taking from autopkgtest's output directory what must not stay on the machine, whoever copied it there.
//!
//! A test owns what it leaves as artifacts: a file that runs as root for whoever starts it, a named pipe that a reader of the
//! results waits for, a link to a file of this machine. None of that is a result.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};

/// More notes are only counted.
const MOST_NOTES: usize = 20;
/// More is not looked through; what is deeper is removed.
const DEEPEST: usize = 200;

/// Set-user-ID, set-group-ID and sticky bits.
const SPECIAL: u32 = 0o7000;

/// Looks through a directory that nobody writes to any more. Returns what was removed, for people.
pub(crate) fn clean(directory: &Path) -> io::Result<Vec<String>> {
    let (mut notes, mut more) = (Vec::new(), 0_usize);
    let mut note = |path: &Path, what: &str| {
        if notes.len() < MOST_NOTES {
            let name = path.strip_prefix(directory).unwrap_or(path).to_string_lossy();
            let name: String = name.chars().filter(|char| !char.is_control()).take(300).collect();
            notes.push(format!("not kept: {name}: {what}"));
        } else {
            more += 1;
        }
    };
    let mut waiting = vec![(directory.to_owned(), 0)];
    while let Some((path, depth)) = waiting.pop() {
        // As root everything can be read; a user's testbed may have left a directory that the user cannot list.
        drop(restrict(&path, &fs::symlink_metadata(&path)?, 0o700));
        for entry in fs::read_dir(&path)? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            let kind = metadata.file_type();
            if kind.is_dir() && depth >= DEEPEST {
                fs::remove_dir_all(&path)?;
                note(&path, "it is too deep");
            } else if kind.is_dir() {
                waiting.push((path, depth + 1));
            } else if kind.is_symlink() {
                let target = fs::read_link(&path)?;
                if leads_out(directory, &path, &target) {
                    fs::remove_file(&path)?;
                    note(&path, "it is a link to elsewhere");
                }
            } else if !kind.is_file() {
                fs::remove_file(&path)?;
                note(&path, "it is neither a file nor a directory");
            } else if restrict(&path, &metadata, 0)? {
                note(&path, "its set-id bits or capabilities; the file is kept");
            }
        }
    }
    if more > 0 {
        notes.push(format!("not kept: {more} more"));
    }
    Ok(notes)
}

/// Takes away special bits and capabilities, and gives the owner what is wanted; whether there was something.
fn restrict(path: &Path, metadata: &Metadata, owner: u32) -> io::Result<bool> {
    let mode = metadata.permissions().mode() & 0o7777;
    let wanted = (mode & !SPECIAL) | owner;
    if mode != wanted {
        fs::set_permissions(path, Permissions::from_mode(wanted))?;
    }
    let capable = rustix::fs::lremovexattr(path, c"security.capability").is_ok();
    Ok(mode & 0o6000 != 0 || capable)
}

/// Whether a link's target is outside of a directory, seen from where the link is.
fn leads_out(directory: &Path, link: &Path, target: &Path) -> bool {
    let from = link.parent().and_then(|parent| parent.strip_prefix(directory).ok()).map(Path::to_owned);
    let mut depth = from.unwrap_or_default().components().count();
    for part in target.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return true,
            },
            Component::RootDir | Component::Prefix(_) => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_stays_that_is_more_than_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join("user/artifacts").join(name);
        fs::create_dir_all(at("deep")).unwrap();
        fs::write(at("suid"), "x").unwrap();
        fs::write(at("plain"), "x").unwrap();
        fs::set_permissions(at("suid"), Permissions::from_mode(0o6755)).unwrap();
        fs::set_permissions(at("plain"), Permissions::from_mode(0o640)).unwrap();
        fs::set_permissions(at("deep"), Permissions::from_mode(0o3777)).unwrap();
        symlink("../plain", at("deep/inside")).unwrap();
        symlink("/etc/passwd", at("absolute")).unwrap();
        symlink("../../../..", at("up")).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let mut notes = clean(&directory.path().join("user")).unwrap();
        notes.sort();
        let expected = [
            "not kept: artifacts/absolute: it is a link to elsewhere",
            "not kept: artifacts/pipe: it is neither a file nor a directory",
            "not kept: artifacts/socket: it is neither a file nor a directory",
            "not kept: artifacts/suid: its set-id bits or capabilities; the file is kept",
            "not kept: artifacts/up: it is a link to elsewhere",
        ];
        assert_eq!(notes, expected);
        let mode = |name: &str| fs::symlink_metadata(at(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("suid"), mode("plain"), mode("deep")), (0o755, 0o640, 0o777));
        assert_eq!(fs::read_to_string(at("deep/inside")).unwrap(), "x");
        let left = fs::read_dir(at("")).unwrap().count();
        assert_eq!(left, 3, "suid, plain, deep");
    }
}
