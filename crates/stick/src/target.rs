//! Opening what is to be written: exclusively, and only what was looked at before.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use diskimage::SectorSize;
use rustix::fs::OFlags;

use crate::devices::{Device, Machine};
use crate::disk::FileDisk;
use crate::refuse::{self, Node, Refusal, Wanted};

/// Why a target cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// It is the wrong one.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Looking at the machine's devices failed.
    #[error("looking at the devices of this machine: {0}")]
    Listing(io::Error),
    /// Looking at the path failed.
    #[error("examining {path}: {source}")]
    Examine {
        /// The path.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// Somebody else has it, though no mount tells: another namespace, another program.
    #[error(
        "{0} is in use by another program (or mounted in another namespace, or part of a ZFS pool)\n  help: `lsblk` and `fuser -v {0}` may tell by what"
    )]
    Busy(PathBuf),
    /// This user may not write it.
    #[error("{0} may not be written by this user\n  help: run it with sudo")]
    Permission(PathBuf),
    /// Opening failed.
    #[error("opening {path}: {source}")]
    Open {
        /// The path.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// Between looking and opening, something was plugged.
    #[error(
        "{0} is no longer the device that it was a moment ago; nothing was written\n  help: look with `rocbed flash --list` and try again"
    )]
    Changed(PathBuf),
}

/// What to write, looked at and not yet open.
#[derive(Debug)]
pub struct Choice {
    path: PathBuf,
    wanted: Wanted,
    /// The disk as it was looked at; `None` is a file.
    pub device: Option<Device>,
}

/// How a regular file is to look as a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileShape {
    /// Bytes.
    pub size: u64,
    /// Bytes per sector.
    pub sector_size: SectorSize,
}

/// Looks at a path and says whether it may be written. Nothing is opened.
///
/// # Errors
/// The [`Refusal`], or what looking says.
pub fn choose(machine: &Machine, path: &Path, wanted: &Wanted) -> Result<Choice, TargetError> {
    let node = Node::at(path).map_err(|source| TargetError::Examine { path: path.to_owned(), source })?;
    let listing = machine.list().map_err(TargetError::Listing)?;
    let device = refuse::check(path, &node, &listing, wanted)?.cloned();
    // From here on by its real name: a link of /dev/disk/by-id may lead elsewhere in a moment.
    let path = device.as_ref().map_or_else(|| path.to_owned(), |device| device.path.clone());
    Ok(Choice { path, wanted: wanted.clone(), device })
}

impl Choice {
    /// Says how many bytes are needed, now that it is known.
    ///
    /// # Errors
    /// [`Refusal::TooSmall`].
    pub fn require(&mut self, size: u64) -> Result<(), Refusal> {
        self.wanted.size = size;
        self.device.as_ref().map_or(Ok(()), |device| refuse::check_device(device, &self.wanted))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the device for this process alone (`O_EXCL`: what is mounted or held is refused by the kernel too), and
    /// makes sure that what is open is what was looked at.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub fn open(&self, machine: &Machine, file: FileShape) -> Result<FileDisk, TargetError> {
        let Some(device) = &self.device else { return self.open_file(file) };
        let disk = open_device(machine, device, &self.path, true)?;
        // What was mounted since then is in the list; what is mounted from now on fails, for we have it.
        let listing = machine.list().map_err(TargetError::Listing)?;
        let again = refuse::check(&self.path, &Node::Block(device.number.clone()), &listing, &self.wanted)?;
        let same = again.is_some_and(|again| {
            again.sequence == device.sequence && again.serial == device.serial && again.size == device.size
        });
        if same { Ok(disk) } else { Err(TargetError::Changed(self.path.clone())) }
    }

    /// An empty file of that size: whatever it held is gone, and everything not written is zero.
    fn open_file(&self, shape: FileShape) -> Result<FileDisk, TargetError> {
        let failed = |source| TargetError::Open { path: self.path.clone(), source };
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.path);
        let file = file.map_err(|error| open_error(&self.path, error))?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() || self.wanted.image == Some(Node::of(metadata.file_type(), &metadata)) {
            return Err(TargetError::Changed(self.path.clone()));
        }
        file.set_len(0).and_then(|()| file.set_len(shape.size)).map_err(failed)?;
        FileDisk::file(file, shape.sector_size, false).map_err(failed)
    }
}

/// Opens a disk that was listed, past the page cache.
pub(crate) fn open_device(
    machine: &Machine,
    device: &Device,
    path: &Path,
    write: bool,
) -> Result<FileDisk, TargetError> {
    let failed = |source| TargetError::Open { path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    options.read(true).write(write);
    let flags = OFlags::EXCL | OFlags::DIRECT;
    let file = options.custom_flags(flags.bits().cast_signed()).open(path).map_err(|error| open_error(path, error))?;
    let metadata = file.metadata().map_err(failed)?;
    let changed = || TargetError::Changed(path.to_owned());
    if Node::of(metadata.file_type(), &metadata) != Node::Block(device.number.clone()) {
        return Err(changed());
    }
    let sector_size = rustix::fs::ioctl_blksszget(&file).map_err(|error| failed(error.into()))?;
    let size = size_of(&file).map_err(failed)?;
    let now = machine.list().map_err(TargetError::Listing)?;
    let same_medium = now.disk(&device.number).is_some_and(|now| now.sequence == device.sequence);
    if size != device.size || u64::from(sector_size) != device.sector_size || !same_medium {
        return Err(changed());
    }
    let sector_size = if sector_size == 4096 { SectorSize::Bytes4096 } else { SectorSize::Bytes512 };
    Ok(FileDisk::device(file, size, sector_size, true))
}

fn size_of(mut file: &File) -> io::Result<u64> {
    file.seek(SeekFrom::End(0))
}

fn open_error(path: &Path, source: io::Error) -> TargetError {
    match source.kind() {
        io::ErrorKind::ResourceBusy => TargetError::Busy(path.to_owned()),
        io::ErrorKind::PermissionDenied => TargetError::Permission(path.to_owned()),
        _ => TargetError::Open { path: path.to_owned(), source },
    }
}
