//! Unpacks untrusted archives.

use std::fs::{File, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use tarball::{Form, Rules};

use crate::archive::{Item, as_path, of_reader, walk};
use crate::member::MemberKind;
use crate::read::{BundleEntry, decompressed};
use crate::{ReadError, UNPACKED, rules};

/// Number of consecutive zero bytes that become a hole in the file.
const HOLE: usize = 64 << 10;

/// Unpacks a bundle into an empty directory. Nothing is written outside of it whatever the bundle contains: no path
/// leads out, links point to something beside or below them, nothing is written through a link, and nothing replaces an
/// earlier entry. Files keep only their executable bit.
///
/// # Errors
///
/// If it is not a bundle, or a file cannot be written. Files unpacked before the error stay.
pub fn unpack(bundle: impl Read, into: &Path) -> Result<Vec<BundleEntry>, ReadError> {
    let mut entries = Vec::new();
    unpack_archive(decompressed(bundle)?, &rules(UNPACKED), into, &mut |item| entries.push(BundleEntry::of(item)))?;
    Ok(entries)
}

/// Unpacks the tar archive of a source tree into an empty directory, as [`unpack`] does. Links may point anywhere, as
/// they do in source trees: readers of the tree must not follow them out of it.
///
/// # Errors
///
/// If it is not a tar archive, contains anything except files, directories and links, exceeds the rules, or if a file
/// cannot be written.
pub fn unpack_source(tar: impl Read, rules: &Rules, into: &Path) -> Result<(), ReadError> {
    unpack_archive(tar, rules, into, &mut |_| ())
}

fn unpack_archive(tar: impl Read, rules: &Rules, into: &Path, seen: &mut dyn FnMut(&Item)) -> Result<(), ReadError> {
    let top = rustix::fs::open(into, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| failed(&into.display().to_string(), error.into()))?;
    let mut writer = Writer { top, replace: rules.form != Form::Plain, buffer: vec![0; HOLE] };
    walk(tar, rules, &mut |item, content| {
        writer.make(item, content)?;
        seen(item);
        Ok(true)
    })
}

fn failed(name: &str, error: io::Error) -> ReadError {
    match of_reader(error) {
        ReadError::Io(error) => ReadError::Io(io::Error::new(error.kind(), format!("cannot unpack {name}: {error}"))),
        other => other,
    }
}

struct Writer {
    top: OwnedFd,
    replace: bool,
    buffer: Vec<u8>,
}

impl Writer {
    fn make(&mut self, item: &Item, content: &mut dyn Read) -> Result<(), ReadError> {
        let shown = String::from_utf8_lossy(&item.path).into_owned();
        let failed = |error: io::Error| failed(&shown, error);
        let path = as_path(&item.path);
        self.directories(path.parent().unwrap_or(Path::new(""))).map_err(failed)?;
        if self.replace && !matches!(item.kind, MemberKind::Directory) {
            match rustix::fs::unlinkat(&self.top, path, AtFlags::empty()) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(failed(error.into())),
            }
        }
        match &item.kind {
            MemberKind::Directory => self.directories(path).map_err(failed),
            MemberKind::File => {
                let file = self.create(path).map_err(failed)?;
                self.fill(&file, content).map_err(failed)?;
                let mode = if item.executable { 0o755 } else { 0o644 };
                let modified = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(item.modified));
                let modified = modified.unwrap_or(SystemTime::UNIX_EPOCH);
                file.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
                // A time that the file system cannot store is not worth a failure.
                let _ = file.set_modified(modified);
                Ok(())
            }
            MemberKind::Link(target) => {
                rustix::fs::symlinkat(as_path(target), &self.top, path).map_err(|error| failed(error.into()))
            }
            MemberKind::HardLink(target) => {
                // The target is a path of this archive, so none of its parts is a link.
                rustix::fs::linkat(&self.top, as_path(target), &self.top, path, AtFlags::empty())
                    .map_err(|error| failed(error.into()))
            }
        }
    }

    /// Creates the directories of a path. Each must be a real directory, not a link from an earlier entry.
    fn directories(&self, path: &Path) -> io::Result<()> {
        let mut at = self.top.as_fd().try_clone_to_owned()?;
        for part in path {
            match rustix::fs::mkdirat(&at, part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            at = rustix::fs::openat(&at, part, flags, Mode::empty())?;
        }
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        Ok(rustix::fs::openat2(&self.top, path, flags, Mode::from_raw_mode(0o600), resolve)?.into())
    }

    /// Copies a content; long runs of zeros become holes.
    fn fill(&mut self, mut file: &File, content: &mut dyn Read) -> io::Result<()> {
        let mut length = 0_u64;
        loop {
            let mut filled = 0;
            while filled < HOLE {
                match content.read(self.buffer.get_mut(filled..).unwrap_or_default())? {
                    0 => break,
                    read => filled += read,
                }
            }
            let bytes = self.buffer.get(..filled).unwrap_or_default();
            if filled == HOLE && bytes.iter().all(|byte| *byte == 0) {
                file.seek(SeekFrom::Start(length + HOLE as u64))?;
            } else {
                file.write_all(bytes)?;
            }
            length += filled as u64;
            if filled < HOLE {
                return file.set_len(length);
            }
        }
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tar::{Builder, EntryType, Header};

    type Item<'a> = (&'a str, EntryType, &'a str, u32);

    /// A `.tar.zst` with unchecked paths and targets, which the tar crate would refuse to write.
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
