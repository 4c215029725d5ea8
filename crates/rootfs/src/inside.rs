//! Writes into a root directory whose links may point anywhere: packages, which are not trusted, created it.
//!
//! Directories are opened with `openat2(RESOLVE_IN_ROOT)`, so a link to `/etc` means the root's own; files are never
//! written through a link.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use debian::deb::Time;
use fsimage::Timestamp;
use rustix::fs::{self, AtFlags, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;

use crate::Error;

/// A time in an archive as one in a file system.
pub(crate) fn timestamp(time: Time) -> Timestamp {
    Timestamp { seconds: time.seconds, nanoseconds: time.nanoseconds }
}

/// An open root directory.
#[derive(Debug)]
pub(crate) struct Inside(OwnedFd);

impl Inside {
    pub(crate) fn open(root: &Path) -> Result<Self, Error> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let fd = fs::open(root, flags, Mode::empty());
        fd.map(Self).map_err(Error::io("opening", root.as_os_str().as_encoded_bytes()))
    }

    /// Opens a directory, following links as inside a chroot; the empty path is the root.
    pub(crate) fn directory(&self, path: &[u8]) -> Result<OwnedFd, Error> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let relative = if path.is_empty() { b".".as_slice() } else { path };
        loop {
            match fs::openat2(&self.0, relative, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
                // The kernel could not rule out a race with a rename elsewhere, and asks to try again.
                Err(Errno::AGAIN) => {}
                // Linux before 5.6, or a container's seccomp profile.
                Err(Errno::NOSYS) => {
                    let source = io::Error::new(io::ErrorKind::Unsupported, "openat2(2) is needed (Linux 5.6)");
                    return Err(Error::io("opening the directory", path)(source));
                }
                other => return other.map_err(Error::io("opening the directory", path)),
            }
        }
    }

    /// Creates a directory and its parents, 0755; existing ones stay as they are.
    pub(crate) fn make_directories(&self, path: &str) -> Result<(), Error> {
        let ends = path.match_indices('/').map(|(at, _)| at);
        for end in ends.chain([path.len()]) {
            let (parent, name) = split(&path[..end]);
            let parent = self.directory(parent.as_bytes())?;
            match fs::mkdirat(&parent, name, Mode::RWXU) {
                // Sets the mode again: the umask may have removed bits.
                Ok(()) => fs::chmodat(&parent, name, Mode::from_raw_mode(0o755), AtFlags::empty())
                    .map_err(Error::io("setting the mode of", path))?,
                Err(Errno::EXIST) => {}
                Err(error) => return Err(Error::io("making the directory", path)(error)),
            }
        }
        Ok(())
    }

    /// Creates or empties a file for writing.
    fn create(&self, path: &str, mode: u32) -> Result<File, Error> {
        let (parent, name) = split(path);
        let parent = self.directory(parent.as_bytes())?;
        let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(&parent, name, flags, Mode::RUSR | Mode::WUSR).map_err(Error::io("creating", path))?;
        fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(Error::io("setting the mode of", path))?;
        Ok(file.into())
    }

    /// Writes a whole file.
    pub(crate) fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<(), Error> {
        self.create(path, mode)?.write_all(content).map_err(Error::io("writing", path))
    }

    /// Writes a whole file and sets its time.
    pub(crate) fn write_at(&self, path: &str, content: &[u8], mode: u32, mtime: Timestamp) -> Result<(), Error> {
        let mut file = self.create(path, mode)?;
        file.write_all(content).map_err(Error::io("writing", path))?;
        let time = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanoseconds.into() };
        let times = Timestamps { last_access: time, last_modification: time };
        fs::futimens(&file, &times).map_err(Error::io("setting the time of", path))
    }

    /// Writes a file from a reader.
    pub(crate) fn copy(&self, source: &mut impl Read, path: &str) -> Result<(), Error> {
        let mut file = self.create(path, 0o644)?;
        io::copy(source, &mut file).map_err(Error::io("copying to", path))?;
        Ok(())
    }

    /// Reads a whole file.
    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>, Error> {
        let (parent, name) = split(path);
        let parent = self.directory(parent.as_bytes())?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(fs::openat(&parent, name, flags, Mode::empty()).map_err(Error::io("opening", path))?);
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(Error::io("reading", path))?;
        Ok(content)
    }

    /// Whether the path exists.
    pub(crate) fn exists(&self, path: &str) -> Result<bool, Error> {
        let (parent, name) = split(path);
        match fs::statat(&self.directory(parent.as_bytes())?, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(Error::io("looking for", path)(error)),
        }
    }

    /// Removes a file.
    pub(crate) fn remove_file(&self, path: &str) -> Result<(), Error> {
        let (parent, name) = split(path);
        let parent = self.directory(parent.as_bytes())?;
        fs::unlinkat(&parent, name, AtFlags::empty()).map_err(Error::io("removing", path))
    }

    /// Removes an empty directory.
    pub(crate) fn remove_directory(&self, path: &str) -> Result<(), Error> {
        let (parent, name) = split(path);
        let parent = self.directory(parent.as_bytes())?;
        fs::unlinkat(&parent, name, AtFlags::REMOVEDIR).map_err(Error::io("removing", path))
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_nothing_outside_whatever_links_say() {
        let outside = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("var")).unwrap();
        std::os::unix::fs::symlink("/", root.path().join("slash")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("file"), root.path().join("link")).unwrap();
        let inside = Inside::open(root.path()).unwrap();
        assert!(inside.make_directories("var/lib").is_err(), "the link leads nowhere inside");
        assert!(inside.write("link", b"x", 0o644).is_err());
        inside.write("slash/x", b"x", 0o644).unwrap();
        assert!(root.path().join("x").is_file());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
