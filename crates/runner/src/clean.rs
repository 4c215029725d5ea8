//! Removes dangerous files from autopkgtest's output directory: the last check after copies from testbeds.
//!
//! Only directories, regular files and links that stay inside remain, with plain permissions and without extended
//! attributes, so that nothing in the directory has an effect on this machine.

use std::collections::HashMap;
use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

/// Deepest nesting of directories; deeper ones are removed.
const DEEPEST: usize = 100;
/// Most notes about removed files; the rest is only counted.
const MOST_NOTES: usize = 20;

/// Cleans a directory; returns notes about what was removed. No other process may change it meanwhile.
///
/// # Errors
///
/// If something that must not stay can be neither changed nor removed.
pub(crate) fn clean(directory: &Path) -> io::Result<Vec<String>> {
    let mut cleaning = Cleaning { directory, removed: Vec::new(), more: 0, names: HashMap::new() };
    let mut waiting = vec![(PathBuf::new(), 0)];
    while let Some((path, depth)) = waiting.pop() {
        let full = directory.join(&path);
        let named = |error: io::Error| io::Error::new(error.kind(), format!("cleaning {}: {error}", full.display()));
        make_plain(&full, &full.symlink_metadata().map_err(named)?, 0o700).map_err(named)?;
        for entry in fs::read_dir(&full).map_err(named)? {
            let path = path.join(entry.map_err(named)?.file_name());
            if cleaning.entry(&path, depth).map_err(named)? {
                waiting.push((path, depth + 1));
            }
        }
    }
    cleaning.cut_ties()?;
    let more = (cleaning.more > 0).then(|| format!("not kept: {} more", cleaning.more));
    Ok(cleaning.removed.into_iter().chain(more).collect())
}

struct Cleaning<'a> {
    directory: &'a Path,
    removed: Vec<String>,
    more: usize,
    /// Files with several hard links: the number of links, and the paths found so far.
    names: HashMap<(u64, u64), (u64, Vec<PathBuf>)>,
}

impl Cleaning<'_> {
    /// Checks one entry; returns whether it is a directory to descend into.
    fn entry(&mut self, path: &Path, depth: usize) -> io::Result<bool> {
        let full = self.directory.join(path);
        let metadata = full.symlink_metadata()?;
        let kind = metadata.file_type();
        if kind.is_dir() && depth < DEEPEST {
            return Ok(true);
        }
        if kind.is_dir() {
            fs::remove_dir_all(&full)?;
            self.note(path, "it is too deep");
        } else if kind.is_symlink() {
            let target = fs::read_link(&full)?;
            if !stays_below(path, &target) {
                fs::remove_file(&full)?;
                self.note(path, "it is a link to elsewhere");
            }
        } else if !kind.is_file() {
            fs::remove_file(&full)?;
            self.note(path, "it is neither a file nor a directory");
        } else if metadata.nlink() > 1 {
            let names = self.names.entry((metadata.dev(), metadata.ino())).or_default();
            names.0 = metadata.nlink();
            names.1.push(path.to_owned());
        } else {
            self.file(path, &metadata)?;
        }
        Ok(false)
    }

    /// Removes a regular file's special permissions and attributes.
    fn file(&mut self, path: &Path, metadata: &Metadata) -> io::Result<()> {
        if make_plain(&self.directory.join(path), metadata, 0o600)? {
            self.note(path, "its set-id bits or capabilities; the file is kept");
        }
        Ok(())
    }

    /// Removes files with hard links from elsewhere: changing them here would change them there.
    fn cut_ties(&mut self) -> io::Result<()> {
        for (count, paths) in std::mem::take(&mut self.names).into_values() {
            if count == paths.len() as u64 {
                let Some(first) = paths.first().map(|path| self.directory.join(path)) else { continue };
                let metadata = first.symlink_metadata()?;
                let path = paths.into_iter().next().unwrap_or_default();
                self.file(&path, &metadata)?;
                continue;
            }
            for path in paths {
                fs::remove_file(self.directory.join(&path))?;
                self.note(&path, "it is a hard link to elsewhere");
            }
        }
        Ok(())
    }

    fn note(&mut self, path: &Path, reason: &str) {
        if self.removed.len() < MOST_NOTES {
            let name: String = path.to_string_lossy().chars().filter(|char| !char.is_control()).take(300).collect();
            self.removed.push(format!("not kept: {name}: {reason}"));
        } else {
            self.more += 1;
        }
    }
}

/// Removes special permissions and attributes of a file or directory; it must not be a link. Returns whether they would
/// have given privileges.
fn make_plain(path: &Path, metadata: &Metadata, least: u32) -> io::Result<bool> {
    let mode = metadata.mode() & 0o7777;
    let plain = mode & 0o755 | least;
    if mode != plain {
        fs::set_permissions(path, Permissions::from_mode(plain))?;
    }
    let mut gave = mode & 0o6000 != 0;
    let mut names = vec![0; 1 << 16];
    let length = match rustix::fs::llistxattr(path, names.as_mut_slice()) {
        Ok(length) => length,
        Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(gave),
        Err(error) => return Err(error.into()),
    };
    for name in names.get(..length).unwrap_or_default().split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        match rustix::fs::lremovexattr(path, name) {
            // The machine's own labels cannot be removed, and a testbed cannot set any.
            Err(_) if name != b"security.capability" => {}
            other => other?,
        }
        gave |= name == b"security.capability";
    }
    Ok(gave)
}

/// Whether a link stays inside the directory: first `..`, no more of them than there are directories, then names.
fn stays_below(path: &Path, target: &Path) -> bool {
    let above = path.parent().map_or(0, |parent| parent.components().count());
    let ups = target.components().take_while(|part| *part == Component::ParentDir).count();
    ups <= above && target.components().skip(ups).all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat};
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_is_left_that_could_do_anything() {
        let place = tempfile::tempdir().unwrap();
        let (directory, outside) = (place.path().join("user"), place.path().join("outside"));
        fs::create_dir_all(directory.join("artifacts/d")).unwrap();
        let at = |name: &str| directory.join("artifacts").join(name);
        fs::write(&outside, "of the host").unwrap();
        fs::set_permissions(&outside, Permissions::from_mode(0o4711)).unwrap();
        for (name, mode) in [("suid", 0o6755), ("all", 0o666), ("none", 0), ("d/two", 0o4755)] {
            fs::write(at(name), name).unwrap();
            fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
        }
        rustix::fs::lsetxattr(at("suid"), "user.x", b"y", XattrFlags::empty()).unwrap();
        if rustix::process::geteuid().is_root() {
            let capability = [1, 0, 0, 2, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            rustix::fs::lsetxattr(at("suid"), "security.capability", &capability, XattrFlags::empty()).unwrap();
        }
        fs::set_permissions(at("d"), Permissions::from_mode(0o1777)).unwrap();
        fs::hard_link(at("d/two"), at("same")).unwrap();
        fs::hard_link(&outside, at("tied")).unwrap();
        for (target, name) in
            [("/etc/shadow", "absolute"), ("../../..", "up"), ("d/../../..", "around"), ("../all", "d/fine")]
        {
            symlink(target, at(name)).unwrap();
        }
        mknodat(CWD, at("fifo"), FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();

        let removed = clean(&directory).unwrap();
        for name in ["absolute", "up", "around", "fifo", "tied"] {
            assert!(!at(name).is_symlink() && !at(name).exists(), "{name}");
            assert!(removed.iter().any(|line| line.contains(&format!("artifacts/{name}: it is "))), "{removed:?}");
        }
        let rights: Vec<&String> = removed.iter().filter(|line| line.contains("its set-id bits")).collect();
        assert_eq!((removed.len(), rights.len()), (7, 2), "{removed:?}");
        let mode = |path: &Path| path.symlink_metadata().unwrap().mode() & 0o7777;
        let modes = ["suid", "all", "none", "d/two", "same", "d"].map(|name| mode(&at(name)));
        assert_eq!(modes, [0o755, 0o644, 0o600, 0o755, 0o755, 0o755]);
        assert_eq!(mode(&outside), 0o4711, "nothing outside is touched");
        assert_eq!(fs::read_to_string(at("d/fine")).unwrap(), "all");
        let mut names = [0; 256];
        let length = rustix::fs::llistxattr(at("suid"), &mut names[..]).unwrap();
        assert!(names[..length].split(|byte| *byte == 0).all(|name| name.is_empty() || name == b"security.selinux"));
    }

    #[test]
    fn what_is_too_deep_goes() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("d/".repeat(150))).unwrap();
        fs::write(place.path().join("kept"), "").unwrap();
        let removed = clean(place.path()).unwrap();
        assert!(removed.len() == 1 && removed[0].ends_with("it is too deep"), "{removed:?}");
        assert!(place.path().join("kept").exists() && place.path().join("d/".repeat(100)).exists());
    }
}
