//! Unpacking a bundle that somebody else made.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Component, Path};

use super::read::{Entry, EntryKind, Raw, ReadError, walk, wrong};

/// Unpacks a bundle into a directory that is empty. Nothing is written outside of it whatever the bundle says: no path
/// leads out, links point to something beside or below them, nothing is written through a link, and nothing replaces
/// what came before. Files keep whether they can be run, and nothing else of their permissions.
///
/// # Errors
/// If it is no bundle, or a file cannot be written. What was unpacked until then stays.
pub fn unpack(bundle: impl Read, into: &Path) -> Result<Vec<Entry>, ReadError> {
    walk(bundle, &mut |entry, raw, content| {
        make(into, entry, raw, content)?;
        Ok(true)
    })
}

fn make(into: &Path, entry: &Entry, raw: &Raw<'_>, content: &mut dyn Read) -> Result<(), ReadError> {
    let path = into.join(raw.path);
    let failed = |error: io::Error| {
        let kind = error.kind();
        ReadError::Io(io::Error::new(kind, format!("cannot unpack {}: {error}", entry.name)))
    };
    directories(into, raw.path.parent().unwrap_or(Path::new("")), &entry.name)?;
    match entry.kind {
        EntryKind::Directory => directories(into, raw.path, &entry.name)?,
        EntryKind::File => {
            let mode = 0o644 | (raw.mode & 0o111);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path).map_err(failed)?;
            if io::copy(&mut content.take(entry.size), &mut file).map_err(failed)? < entry.size {
                return Err(wrong(format!("{} is cut off", entry.name)));
            }
        }
        EntryKind::Link => {
            let stays = raw.target.components().all(|part| matches!(part, Component::Normal(_)));
            if !stays || raw.target.as_os_str().is_empty() {
                return Err(wrong(format!("the link {} leads to elsewhere", entry.name)));
            }
            symlink(raw.target, &path).map_err(failed)?;
        }
    }
    Ok(())
}

/// Makes the directories of a path below another. Each is a real one, not a link that an earlier entry made.
fn directories(into: &Path, path: &Path, name: &str) -> Result<(), ReadError> {
    let mut at = into.to_owned();
    for part in path.components() {
        at.push(part);
        match DirBuilder::new().mode(0o755).create(&at) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !fs::symlink_metadata(&at)?.is_dir() {
                    return Err(wrong(format!("{name} is below something that is no directory")));
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tar::{Builder, EntryType, Header};

    type Item<'a> = (&'a str, EntryType, &'a str, u32);

    /// A `.tar.zst` with paths and targets as they are, which the crate would refuse to write.
    fn bundle(items: &[Item]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (name, kind, content, mode) in items {
            let mut header = Header::new_gnu();
            let old = header.as_old_mut();
            old.name[..name.len()].copy_from_slice(name.as_bytes());
            let is_link = *kind == EntryType::Symlink;
            if is_link {
                old.linkname[..content.len()].copy_from_slice(content.as_bytes());
            }
            let content = if is_link { "" } else { content };
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(*mode);
            header.set_cksum();
            builder.append(&header, content.as_bytes()).unwrap();
        }
        zstd::encode_all(&builder.into_inner().unwrap()[..], 1).unwrap()
    }

    const FILE: EntryType = EntryType::Regular;
    const LINK: EntryType = EntryType::Symlink;

    #[test]
    fn everything_arrives_and_no_more_of_its_permissions_than_is_useful() {
        let to = tempfile::tempdir().unwrap();
        let items = [
            ("result.json", FILE, "{}", 0o600),
            ("user/", EntryType::Directory, "", 0o000),
            ("user/run", FILE, "#!/bin/sh\n", 0o6755),
            ("user/latest", LINK, "run", 0o777),
        ];
        let entries = unpack(&bundle(&items)[..], to.path()).unwrap();
        assert_eq!(entries.len(), 4);
        assert_eq!(fs::read_to_string(to.path().join("user/latest")).unwrap(), "#!/bin/sh\n");
        let mode = |name: &str| fs::metadata(to.path().join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("user/run") & 0o7111, mode("result.json") & 0o7111), (0o111, 0));
    }

    #[test]
    fn nothing_is_written_outside() {
        for items in [
            vec![("../out", FILE, "x", 0o644)],
            vec![("/out", FILE, "x", 0o644)],
            vec![("a/../../out", FILE, "x", 0o644)],
            vec![("link", LINK, "..", 0o777), ("link/out", FILE, "x", 0o644)],
            vec![("link", LINK, "/tmp", 0o777), ("link/out", FILE, "x", 0o644)],
            vec![("d/", EntryType::Directory, "", 0o755), ("l", LINK, "d", 0o777), ("l/out", FILE, "x", 0o644)],
            vec![("a", FILE, "x", 0o644), ("a", FILE, "y", 0o644)],
            vec![("a", LINK, "b", 0o777), ("a", FILE, "y", 0o644)],
            vec![("null", EntryType::Char, "", 0o666)],
        ] {
            let to = tempfile::tempdir().unwrap();
            let inside = to.path().join("inside");
            fs::create_dir(&inside).unwrap();
            assert!(unpack(&bundle(&items)[..], &inside).is_err(), "{items:?}");
            let names: Vec<_> = fs::read_dir(to.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, ["inside"], "{items:?}");
            assert!(!inside.join("d/out").exists());
        }
    }
}
