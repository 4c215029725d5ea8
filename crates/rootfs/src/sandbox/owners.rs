//! Changes the owners of all files below a directory to a range of ids, and back.
//!
//! The files are from packages and their names are not trusted: every directory is opened without following links, and
//! no process runs in it meanwhile.

use std::collections::HashSet;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags};
use rustix::io::Errno;

use super::ids::ALL;

/// Extended attribute with a file's capabilities (capabilities(7), "File capability extended attribute versioning").
const CAPABILITIES: &CStr = c"security.capability";
/// Length of version 3: 24 bytes, the last four of which are root's id in the namespace they apply to.
const LENGTH_WITH_ROOT: usize = 24;
/// Length of version 2, which applies everywhere.
const LENGTH: usize = 20;
const VERSION_2: u8 = 2;

/// Adds `base` to all owners and groups below `root`.
pub(super) fn give(root: &Path, base: u32) -> io::Result<()> {
    walk(root, |id| if u64::from(id) < ALL { id.checked_add(base) } else { None })
}

/// The reverse of [`give`]. Ids outside of the range stay as they are.
pub(super) fn take_back(root: &Path, base: u32) -> io::Result<()> {
    walk(root, |id| id.checked_sub(base).filter(|id| u64::from(*id) < ALL))
}

/// Changes owners; `None` leaves an id unchanged.
fn walk(root: &Path, change: impl Fn(u32) -> Option<u32>) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = fs::open(root, flags, Mode::empty())?;
    let stat = fs::fstat(&directory)?;
    let mut pending = vec![directory];
    let mut done = HashSet::new();
    let chown = |at: &OwnedFd, name: &CStr, stat: &Stat, flags| {
        let (uid, gid) = (change(stat.st_uid).map(Uid::from_raw), change(stat.st_gid).map(Gid::from_raw));
        if uid.is_none() && gid.is_none() { Ok(()) } else { fs::chownat(at, name, uid, gid, flags) }
    };
    if let Some(root) = pending.first() {
        chown(root, c"", &stat, AtFlags::EMPTY_PATH)?;
    }
    while let Some(directory) = pending.pop() {
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if [c".", c".."].contains(&name) {
                continue;
            }
            let stat = fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            if !kind.is_dir() && stat.st_nlink > 1 && !done.insert((stat.st_dev, stat.st_ino)) {
                continue;
            }
            if kind.is_file() {
                let file =
                    fs::openat(&directory, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
                let capabilities = capabilities(&file)?;
                chown(&file, c"", &stat, AtFlags::EMPTY_PATH)?;
                // The kernel cleared these bits when the owner changed.
                if stat.st_mode & 0o6000 != 0 {
                    fs::fchmod(&file, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
                }
                if let Some(value) = capabilities {
                    fs::fsetxattr(&file, CAPABILITIES, &value, XattrFlags::empty())?;
                }
                continue;
            }
            chown(&directory, name, &stat, AtFlags::SYMLINK_NOFOLLOW)?;
            if kind.is_dir() {
                pending.push(fs::openat(&directory, name, flags, Mode::empty())?);
            }
        }
    }
    Ok(())
}

/// A file's capabilities in the form that applies without a namespace.
fn capabilities(file: &OwnedFd) -> io::Result<Option<Vec<u8>>> {
    let mut value = [0; LENGTH_WITH_ROOT];
    match fs::fgetxattr(file.as_fd(), CAPABILITIES, &mut value[..]) {
        Ok(LENGTH_WITH_ROOT) => {
            // The version is the highest byte of the first word, which is little-endian.
            value[3] = VERSION_2;
            Ok(Some(value[..LENGTH].to_vec()))
        }
        Ok(length) => Ok(value.get(..length).map(<[u8]>::to_vec)),
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn owners_go_and_come_back_with_modes_and_nothing_outside_is_touched() {
        if !rustix::process::geteuid().is_root() {
            return; // only root may give files away; the tests of the sandbox run as somebody's root
        }
        let at = tempfile::tempdir().unwrap();
        let (root, outside) = (at.path().join("root"), at.path().join("outside"));
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::write(&outside, "").unwrap();
        std::fs::write(root.join("bin/su"), "").unwrap();
        std::fs::set_permissions(root.join("bin/su"), PermissionsExt::from_mode(0o4755)).unwrap();
        std::fs::hard_link(root.join("bin/su"), root.join("bin/sudo")).unwrap();
        symlink(&outside, root.join("link")).unwrap();
        std::os::unix::fs::lchown(root.join("link"), Some(7), Some(8)).unwrap();
        let ids = |path: &str| {
            let found = std::fs::symlink_metadata(root.join(path)).unwrap();
            (found.uid(), found.gid(), found.mode() & 0o7777)
        };
        let before = ["", "bin", "bin/su", "bin/sudo"].map(ids);
        give(&root, 70_000).unwrap();
        assert_eq!(ids("bin/sudo"), (70_000, 70_000, 0o4755));
        assert_eq!((ids("link").0, ids("link").1), (70_007, 70_008));
        assert_eq!(std::fs::metadata(&outside).unwrap().uid(), 0);
        take_back(&root, 70_000).unwrap();
        assert_eq!(["", "bin", "bin/su", "bin/sudo"].map(ids), before);
        assert_eq!((ids("link").0, ids("link").1), (7, 8));
    }
}
