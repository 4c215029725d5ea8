//! Creates files inside a root directory and nowhere else.
//!
//! Every directory is opened as [`Inside`] does: the kernel resolves symbolic links, including absolute ones, as if
//! the process were chrooted there. Files are created in the opened directory, never through a link.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::sync::Mutex;

use fsimage::{FileTree, Metadata, Node, NodeKind, Timestamp};
use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::claims::DirectoryClaim;
use crate::Error;
use crate::inside::{Inside, timestamp};
use debian::deb::{Entry, EntryKind};

/// A device node that could not be created without the host's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Path, relative to the root.
    pub path: Vec<u8>,
    /// Type, numbers and metadata.
    pub node: Node,
}

/// Adds device nodes that could not be created on disk to the tree scanned from there.
pub fn add_devices(tree: &mut FileTree, devices: &[Device]) -> Result<(), Error> {
    for device in devices {
        tree.insert(&device.path, device.node.clone())?;
    }
    Ok(())
}

/// The root directory to fill.
pub(super) struct UnpackTarget {
    root: Inside,
    devices: Mutex<Vec<Device>>,
}

/// An open directory and its identity.
pub(super) struct Directory {
    pub(super) fd: OwnedFd,
    pub(super) device: u64,
    pub(super) inode: u64,
}

impl UnpackTarget {
    pub(super) fn open(root: &Path) -> Result<Self, Error> {
        Ok(Self { root: Inside::open(root)?, devices: Mutex::new(Vec::new()) })
    }

    /// Opens a directory in the root, following links as inside a chroot.
    pub(super) fn directory(&self, path: &[u8]) -> Result<Rc<Directory>, Error> {
        let fd = self.root.directory(path)?;
        let stat = fs::fstat(&fd).map_err(Error::io("reading the status of", path))?;
        Ok(Rc::new(Directory { fd, device: stat.st_dev, inode: stat.st_ino }))
    }

    pub(super) fn create_directory(parent: &Directory, name: &[u8], path: &[u8]) -> Result<(), Error> {
        fs::mkdirat(&parent.fd, name, Mode::RWXU).map_err(Error::io("making the directory", path))
    }

    /// Removes a file or link that is about to be created again.
    pub(super) fn remove(parent: &Directory, name: &[u8], path: &[u8]) -> Result<(), Error> {
        match fs::unlinkat(&parent.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(Error::io("removing", path)(error)),
        }
    }

    /// Creates a regular file; `observe` is called with all its bytes.
    pub(super) fn create_file(
        parent: &Directory,
        name: &[u8],
        entry: &Entry,
        content: &mut impl Read,
        buffer: &mut [u8],
        mut observe: impl FnMut(&[u8]),
    ) -> Result<(), Error> {
        let path = entry.path.as_slice();
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(&parent.fd, name, flags, Mode::RUSR | Mode::WUSR).map_err(Error::io("creating", path))?;
        loop {
            let read = match content.read(buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::io("unpacking", path)(error)),
            };
            let mut rest = &buffer[..read];
            observe(rest);
            while !rest.is_empty() {
                let written =
                    rustix::io::retry_on_intr(|| rustix::io::write(&file, rest)).map_err(Error::io("writing", path))?;
                rest = &rest[written..];
            }
        }
        // The owner first: changing it drops setuid bits and capabilities.
        if (entry.uid, entry.gid) != (0, 0) {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            fs::fchown(&file, Some(uid), Some(gid)).map_err(Error::io("setting the owner of", path))?;
        }
        fs::fchmod(&file, Mode::from_raw_mode(entry.mode.into())).map_err(Error::io("setting the mode of", path))?;
        for (key, value) in &entry.xattrs {
            fs::fsetxattr(&file, key.as_slice(), value, XattrFlags::empty())
                .map_err(Error::io("setting an extended attribute of", path))?;
        }
        fs::futimens(&file, &times(timestamp(entry.mtime))).map_err(Error::io("setting the time of", path))
    }

    /// Creates a symbolic link, device or pipe.
    pub(super) fn create_special(&self, parent: &Directory, name: &[u8], entry: &Entry) -> Result<(), Error> {
        let path = entry.path.as_slice();
        let (kind, device) = match &entry.kind {
            EntryKind::Symlink(target) => {
                fs::symlinkat(target.as_slice(), &parent.fd, name).map_err(Error::io("creating the link", path))?;
                return Self::set_special(parent, name, entry);
            }
            EntryKind::CharDevice { major, minor } => (FileType::CharacterDevice, fs::makedev(*major, *minor)),
            EntryKind::BlockDevice { major, minor } => (FileType::BlockDevice, fs::makedev(*major, *minor)),
            _ => (FileType::Fifo, 0),
        };
        match fs::mknodat(&parent.fd, name, kind, Mode::from_raw_mode(entry.mode.into()), device) {
            Ok(()) => Self::set_special(parent, name, entry),
            Err(Errno::PERM) if kind != FileType::Fifo => {
                self.remember_device(entry);
                Ok(())
            }
            Err(error) => Err(Error::io("creating the node", path)(error)),
        }
    }

    fn set_special(parent: &Directory, name: &[u8], entry: &Entry) -> Result<(), Error> {
        let path = entry.path.as_slice();
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if (entry.uid, entry.gid) != (0, 0) {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            fs::chownat(&parent.fd, name, Some(uid), Some(gid), flags)
                .map_err(Error::io("setting the owner of", path))?;
        }
        if !matches!(entry.kind, EntryKind::Symlink(_)) {
            // We have just created the name in a directory without other writers: it is not a link.
            fs::chmodat(&parent.fd, name, Mode::from_raw_mode(entry.mode.into()), AtFlags::empty())
                .map_err(Error::io("setting the mode of", path))?;
        }
        fs::utimensat(&parent.fd, name, &times(timestamp(entry.mtime)), flags)
            .map_err(Error::io("setting the time of", path))
    }

    /// Adds a hard link to an existing file. A symbolic link is not followed: it gets the new name itself.
    pub(super) fn create_hard_link(
        old: (&Directory, &[u8]),
        new: (&Directory, &[u8]),
        path: &[u8],
    ) -> Result<(), Error> {
        fs::linkat(&old.0.fd, old.1, &new.0.fd, new.1, AtFlags::empty())
            .map_err(Error::io("making the hard link", path))
    }

    /// Sets owners, modes and times of directories; last, because creating files in them changes their times.
    pub(super) fn set_directories(&self, directories: &[DirectoryClaim]) -> Result<(), Error> {
        for DirectoryClaim { path, metadata, .. } in directories {
            let directory = self.directory(path)?;
            let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
            fs::fchown(&directory.fd, Some(uid), Some(gid)).map_err(Error::io("setting the owner of", path))?;
            fs::fchmod(&directory.fd, Mode::from_raw_mode(metadata.mode.into()))
                .map_err(Error::io("setting the mode of", path))?;
            for (key, value) in &metadata.xattrs {
                fs::fsetxattr(&directory.fd, key.as_slice(), value, XattrFlags::empty())
                    .map_err(Error::io("setting an extended attribute of", path))?;
            }
            fs::futimens(&directory.fd, &times(metadata.mtime)).map_err(Error::io("setting the time of", path))?;
        }
        Ok(())
    }

    fn remember_device(&self, entry: &Entry) {
        let kind = match entry.kind {
            EntryKind::BlockDevice { major, minor } => NodeKind::BlockDevice { major, minor },
            EntryKind::CharDevice { major, minor } => NodeKind::CharDevice { major, minor },
            _ => return,
        };
        let node = Node { kind, metadata: metadata(entry) };
        let mut devices = self.devices.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        devices.push(Device { path: entry.path.clone(), node });
    }

    pub(super) fn take_devices(&self) -> Vec<Device> {
        let mut devices = self.devices.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut devices = std::mem::take(&mut *devices);
        devices.sort_by(|a, b| a.path.cmp(&b.path));
        devices
    }
}

pub(super) fn metadata(entry: &Entry) -> Metadata {
    Metadata {
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        mtime: timestamp(entry.mtime),
        xattrs: entry.xattrs.clone(),
    }
}

fn times(mtime: Timestamp) -> Timestamps {
    let time = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}
