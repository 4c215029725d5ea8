//! The digest of a whole root directory: it changes whenever the image made from the directory would.
//!
//! It covers paths, types, modes, owners, modification times, file capabilities, link targets, device numbers, hard
//! links, and the content of files, which are read in parallel. Other extended attributes, such as labels, belong to
//! the machine.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat, lgetxattr, lstat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha256::{Digest, Hasher};

use crate::StoreError;

/// Read buffer in bytes.
const BUFFER: usize = 128 * 1024;

/// Digest of a root directory's content when it was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Content {
    /// Digest of everything in the directory that an image would have.
    pub(crate) sha256: Digest,
    /// User namespace mapping of the owners' ids: seen from another user namespace the owners differ.
    ids: String,
}

impl Content {
    /// Computes the digest of the directory as it is now.
    pub(crate) fn of(directory: &Path) -> Result<Self, StoreError> {
        Ok(Self { sha256: digest(directory)?, ids: ids() })
    }

    /// Whether owner ids look the same here, so that the digests can be compared.
    pub(crate) fn is_comparable(&self) -> bool {
        self.ids == ids()
    }
}

/// The id mapping of this process (`user_namespaces(7)`), in short form.
fn ids() -> String {
    let maps = ["/proc/self/uid_map", "/proc/self/gid_map"].map(|path| fs::read_to_string(path).unwrap_or_default());
    maps.iter().flat_map(|map| map.split_whitespace()).collect::<Vec<_>>().join(" ")
}

/// An entry of the directory.
struct Name {
    /// Path relative to the directory.
    path: Vec<u8>,
    /// All metadata that is hashed.
    facts: Vec<u8>,
    /// For a regular file to be read: its path, and its length when it was found.
    file: Option<(PathBuf, u64)>,
}

fn digest(directory: &Path) -> Result<Digest, StoreError> {
    let names = list(directory)?;
    let contents = read_all(&names)?;
    let mut hash = Hasher::new();
    for (name, content) in names.iter().zip(contents) {
        for part in [name.path.as_slice(), &name.facts, content.as_ref().map_or(&[], |digest| digest.as_bytes())] {
            // With lengths, so that no two lists are hashed as the same bytes.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    Ok(hash.finish())
}

/// All entries in a directory and below, sorted by the bytes of their paths.
fn list(directory: &Path) -> Result<Vec<Name>, StoreError> {
    let (mut names, mut pending) = (Vec::new(), vec![(directory.to_owned(), Vec::new())]);
    let mut facts = |host: PathBuf, path: Vec<u8>| -> Result<bool, StoreError> {
        let stat = lstat(&host).map_err(|error| StoreError::io("examining", &host)(error.into()))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let facts = describe(&host, &stat, kind)?;
        let linked = (!kind.is_dir() && stat.st_nlink > 1).then_some((stat.st_dev, stat.st_ino));
        let length = u64::try_from(stat.st_size).unwrap_or(0);
        names.push((Name { path, facts, file: kind.is_file().then_some((host, length)) }, linked));
        Ok(kind.is_dir())
    };
    facts(directory.to_owned(), Vec::new())?;
    while let Some((host, path)) = pending.pop() {
        for entry in fs::read_dir(&host).map_err(StoreError::io("listing", &host))? {
            let name = entry.map_err(StoreError::io("listing", &host))?.file_name();
            let path = [path.as_slice(), b"/", name.as_bytes()].concat();
            let host = host.join(&name);
            if facts(host.clone(), path.clone())? {
                pending.push((host, path));
            }
        }
    }
    names.sort_unstable_by(|(a, _), (b, _)| a.path.cmp(&b.path));
    // A file with several names is hashed under the first one; the others refer to it.
    let mut first_names = HashMap::new();
    let names = names.into_iter().map(|(mut name, linked)| {
        if let Some(inode) = linked {
            let first: &mut Vec<u8> = first_names.entry(inode).or_insert_with(|| name.path.clone());
            if *first != name.path {
                name.facts.extend_from_slice(first);
                name.file = None;
            }
        }
        name
    });
    Ok(names.collect())
}

fn describe(host: &Path, stat: &Stat, kind: FileType) -> Result<Vec<u8>, StoreError> {
    let (mode, uid, gid) = (stat.st_mode, stat.st_uid, stat.st_gid);
    let mut facts = format!("{mode:o} {uid} {gid} {} {} ", stat.st_mtime, stat.st_mtime_nsec).into_bytes();
    match kind {
        FileType::Symlink => {
            let target = fs::read_link(host).map_err(StoreError::io("reading the link", host))?;
            facts.extend_from_slice(target.as_os_str().as_bytes());
        }
        FileType::CharacterDevice | FileType::BlockDevice => facts.extend(stat.st_rdev.to_le_bytes()),
        FileType::RegularFile => {
            facts.extend(stat.st_size.to_le_bytes());
            let mut value = [0; 64];
            match lgetxattr(host, c"security.capability", &mut value[..]) {
                Ok(length) => facts.extend_from_slice(value.get(..length).unwrap_or_default()),
                Err(Errno::NODATA | Errno::NOTSUP) => {}
                Err(error) => return Err(StoreError::io("reading the capabilities of", host)(error.into())),
            }
        }
        _ => {}
    }
    Ok(facts)
}

/// Digests of the files among these entries, in the same order.
fn read_all(names: &[Name]) -> Result<Vec<Option<Digest>>, StoreError> {
    let mut files: Vec<(usize, &PathBuf, u64)> = Vec::new();
    files.extend(names.iter().enumerate().filter_map(|(at, name)| {
        let (path, length) = name.file.as_ref()?;
        Some((at, path, *length))
    }));
    // The largest first: otherwise one thread would be busy with it after all others are done.
    files.sort_by_key(|(_, _, length)| std::cmp::Reverse(*length));
    let read_one = |buffer: &mut Vec<u8>, (at, path, _): (usize, &PathBuf, u64)| {
        read(path, buffer).map(|digest| (at, digest)).map_err(StoreError::io("reading", path))
    };
    let digests = parallel::try_map_with(files, parallel::processors(), || vec![0; BUFFER], read_one)?;
    let mut contents = vec![None; names.len()];
    for (at, digest) in digests {
        if let Some(content) = contents.get_mut(at) {
            *content = Some(digest);
        }
    }
    Ok(contents)
}

fn read(path: &Path, buffer: &mut [u8]) -> io::Result<Digest> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let mut hash = Hasher::new();
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok(hash.finish()),
            Ok(read) => hash.update(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::{Duration, SystemTime};

    use super::*;

    fn sample(root: &Path) {
        fs::create_dir_all(root.join("etc/empty")).unwrap();
        fs::write(root.join("etc/file"), "content").unwrap();
        fs::write(root.join("etc/other"), "content").unwrap();
        symlink("file", root.join("etc/link")).unwrap();
        fs::hard_link(root.join("etc/file"), root.join("name")).unwrap();
        for path in ["etc/file", "etc/other", "etc/empty", "etc", ""] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
            File::open(root.join(path)).unwrap().set_modified(time).unwrap();
        }
        let links = fs::symlink_metadata(root.join("etc/link")).unwrap();
        assert!(links.is_symlink());
    }

    #[test]
    fn whatever_would_make_another_image_changes_the_digest() {
        type Change = fn(&Path) -> io::Result<()>;
        let changes: [(&str, Change); 8] = [
            ("content", |root| {
                let time = fs::metadata(root.join("etc/file"))?.modified()?;
                fs::write(root.join("etc/file"), "cOntent")?;
                File::open(root.join("etc/file"))?.set_modified(time)
            }),
            ("mode", |root| fs::set_permissions(root.join("etc/file"), PermissionsExt::from_mode(0o4755))),
            ("directory's mode", |root| fs::set_permissions(root, PermissionsExt::from_mode(0o700))),
            ("time", |root| File::open(root.join("etc/file"))?.set_modified(SystemTime::UNIX_EPOCH)),
            ("name", |root| fs::rename(root.join("etc/file"), root.join("etc/File"))),
            ("directory", |root| fs::create_dir(root.join("new"))),
            ("link", |root| {
                fs::remove_file(root.join("etc/link"))?;
                symlink("flie", root.join("etc/link"))
            }),
            ("hard link", |root| {
                fs::remove_file(root.join("name"))?;
                fs::copy(root.join("etc/file"), root.join("name"))?;
                Ok(())
            }),
        ];
        for (what, change) in changes {
            let directory = tempfile::tempdir().unwrap();
            sample(directory.path());
            let before = Content::of(directory.path()).unwrap();
            assert_eq!(Content::of(directory.path()).unwrap(), before);
            assert!(before.is_comparable());
            change(directory.path()).unwrap();
            assert_ne!(Content::of(directory.path()).unwrap().sha256, before.sha256, "{what}");
        }
    }
}
