//! Opens the target: exclusively, and only if it is the device that was examined before.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use advice::{Advise, Help};
use diskimage::SectorSize;
use rustix::fs::OFlags;

use crate::devices::{Device, Machine};
use crate::disk::FileDisk;
use crate::refuse::{self, Node, Refusal, TargetRequirements};

/// The reason why a target cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The safety checks refuse it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The machine's devices cannot be listed.
    #[error("looking at the devices of this machine: {0}")]
    Listing(io::Error),
    /// The path cannot be examined.
    #[error("examining {path}: {source}")]
    Examine {
        /// The path.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// Another program uses it, though it is not mounted here: perhaps it is mounted in another namespace.
    #[error("{0} is in use by another program (or mounted in another namespace, or part of a ZFS pool)")]
    Busy(PathBuf),
    /// This user may not write to it.
    #[error("{0} may not be written by this user")]
    Permission(PathBuf),
    /// It cannot be opened.
    #[error("opening {path}: {source}")]
    Open {
        /// The path.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// It is not the examined device any more: it was replaced in the meantime.
    #[error("{0} is no longer the device that it was a moment ago; nothing was written")]
    Changed(PathBuf),
}

impl Advise for TargetError {
    fn help(&self) -> Help {
        match self {
            Self::Refused(refusal) => refusal.help(),
            Self::Busy(path) => format!("`lsblk` and `fuser -v {}` may tell by what", path.display()).into(),
            Self::Permission(_) => "run it with sudo".into(),
            Self::Changed(_) => "look with `rocbed flash --list` and try again".into(),
            Self::Listing(_) | Self::Examine { .. } | Self::Open { .. } => Help::none(),
        }
    }
}

/// A target that was examined and is not open yet.
#[derive(Debug)]
pub struct Choice {
    path: PathBuf,
    wanted: TargetRequirements,
    /// The disk as it was examined; `None` for a file.
    pub device: Option<Device>,
}

/// The size and sector size for a regular file used as a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileShape {
    /// Size in bytes.
    pub size: u64,
    /// Sector size.
    pub sector_size: SectorSize,
}

/// Examines a path and checks whether it may be written. Opens nothing.
///
/// # Errors
/// The [`Refusal`], or an error of examining it.
pub fn choose(machine: &Machine, path: &Path, wanted: &TargetRequirements) -> Result<Choice, TargetError> {
    let node = Node::at(path).map_err(|source| TargetError::Examine { path: path.to_owned(), source })?;
    let listing = machine.list().map_err(TargetError::Listing)?;
    let device = refuse::check(path, &node, &listing, wanted)?.cloned();
    // From here on its real name is used: a link of /dev/disk/by-id may point elsewhere in a moment.
    let path = device.as_ref().map_or_else(|| path.to_owned(), |device| device.path.clone());
    Ok(Choice { path, wanted: wanted.clone(), device })
}

impl Choice {
    /// Checks the needed size in bytes, once it is known.
    ///
    /// # Errors
    /// [`Refusal::TooSmall`].
    pub fn require(&mut self, size: u64) -> Result<(), Refusal> {
        self.wanted.size = size;
        self.device.as_ref().map_or(Ok(()), |device| refuse::check_device(device, &self.wanted))
    }

    /// The path of the target.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the device exclusively (`O_EXCL`: the kernel refuses if it is mounted or held), and makes sure that the
    /// open device is the one that was examined.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub fn open(&self, machine: &Machine, file: FileShape) -> Result<FileDisk, TargetError> {
        let Some(device) = &self.device else { return self.open_file(file) };
        let disk = open_device(machine, device, &self.path, true)?;
        // Mounts since then are in the list; later ones fail, because the device is open exclusively.
        let listing = machine.list().map_err(TargetError::Listing)?;
        let again = refuse::check(&self.path, &Node::Block(device.number.clone()), &listing, &self.wanted)?;
        let same = again.is_some_and(|again| {
            again.sequence == device.sequence && again.serial == device.serial && again.size == device.size
        });
        if same { Ok(disk) } else { Err(TargetError::Changed(self.path.clone())) }
    }

    /// Makes an empty file of this size: its old content is gone, and everything not written is zero.
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

/// Opens a listed disk, bypassing the page cache.
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
    // The device was of a supported size when it was chosen.
    let sector_size = SectorSize::of_bytes(sector_size.into()).ok_or_else(changed)?;
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
