//! Access to GPUs: sets groups and modes of their device nodes, as udev's rules would.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Read and write for owner and group.
const MODE: u32 = 0o660;

/// Gives `/dev/kfd` and render nodes to the group `render`, cards to `video`, with the ids from this `/etc/group`.
/// Returns the errors. Missing groups are skipped, as are nodes that have their group and mode already.
pub fn hand_out(dev: &Path, groups: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, group) in nodes(dev) {
        let Some(id) = group_id(groups, group) else { continue };
        if let Err(error) = give(&path, id) {
            problems.push(format!("giving {} to the group {group}: {error}", path.display()));
        }
    }
    problems
}

fn nodes(dev: &Path) -> Vec<(PathBuf, &'static str)> {
    let mut found = Vec::new();
    let kfd = dev.join("kfd");
    if kfd.exists() {
        found.push((kfd, "render"));
    }
    for entry in fs::read_dir(dev.join("dri")).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let group = match name.as_bytes() {
            [b'r', b'e', b'n', b'd', b'e', b'r', ..] => "render",
            [b'c', b'a', b'r', b'd', ..] => "video",
            _ => continue,
        };
        found.push((dev.join("dri").join(OsStr::from_bytes(name.as_bytes())), group));
    }
    found
}

fn give(path: &Path, group: u32) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    if metadata.gid() != group {
        std::os::unix::fs::chown(path, None, Some(group))?;
    }
    if metadata.mode() & 0o777 != MODE {
        fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    }
    Ok(())
}

/// A group's id by group(5).
fn group_id(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_for_their_groups() -> io::Result<()> {
        let dev = tempfile::tempdir()?;
        fs::create_dir(dev.path().join("dri"))?;
        for name in ["kfd", "dri/renderD128", "dri/card0", "null"] {
            fs::write(dev.path().join(name), "")?;
            fs::set_permissions(dev.path().join(name), fs::Permissions::from_mode(0o600))?;
        }
        // The test's own group, so that it needs no privileges.
        let own = fs::metadata(dev.path())?.gid();
        let groups = format!("root:x:0:\nrender:x:{own}:tester\nvideo:x:{own}:tester\n");
        assert!(hand_out(dev.path(), &groups).is_empty());
        let mode = |name| Ok::<_, io::Error>(fs::metadata(dev.path().join(name))?.mode() & 0o777);
        assert_eq!((mode("kfd")?, mode("dri/renderD128")?, mode("dri/card0")?), (MODE, MODE, MODE));
        assert_eq!(mode("null")?, 0o600);
        Ok(())
    }

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        assert_eq!(group_id("rendering:x:5:\nrender:x:992:tester\nvideo:x:\n", "render"), Some(992));
        assert_eq!(group_id("rendering:x:5:\n", "render"), None);
        assert_eq!(group_id("render:x\n", "render"), None);
    }
}
