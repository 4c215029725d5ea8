//! Safety checks: the reasons why a device is not written, as far as they are known before it is opened.

use std::fs::{self, FileType};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use advice::{Advise, Help};
use diskimage::SectorSize;

use crate::devices::{Device, Listing, Transport, Use};

/// The kind of file at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// There is no file.
    Missing,
    /// A directory.
    Directory,
    /// A regular file: its device and inode, which tell whether two paths are one file.
    File {
        /// Number of the device that it is on.
        device: u64,
        /// Inode number there.
        inode: u64,
    },
    /// A block device with this `MAJOR:MINOR`.
    Block(String),
    /// A character device, such as `/dev/null` or a terminal.
    Character,
    /// A pipe or a socket.
    Other,
}

impl Node {
    /// Determines what is at a path, following symbolic links such as those of `/dev/disk/by-id`.
    ///
    /// # Errors
    /// The error of stat(2), unless it is that nothing is there.
    pub fn at(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Self::of(metadata.file_type(), &metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::Missing),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn of(kind: FileType, metadata: &fs::Metadata) -> Self {
        if kind.is_dir() {
            Self::Directory
        } else if kind.is_file() {
            Self::File { device: metadata.dev(), inode: metadata.ino() }
        } else if kind.is_block_device() {
            let number = metadata.rdev();
            Self::Block(format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number)))
        } else if kind.is_char_device() {
            Self::Character
        } else {
            Self::Other
        }
    }
}

/// Requirements for a target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetRequirements {
    /// The needed size in bytes; 0 if it is not known yet.
    pub size: u64,
    /// Whether a disk that is not removable may be written.
    pub fixed: bool,
    /// Whether the path is meant to be a regular file.
    pub file: bool,
    /// The image's own file, if it is one.
    pub image: Option<Node>,
}

/// The reason why a target is not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing is there.
    #[error("there is no {path}")]
    Missing {
        /// The path.
        path: String,
        /// The device with that name, or with the nearest one.
        meant: Option<String>,
    },
    /// It would be a new file in one of the kernel's directories.
    #[error("{0} would be a file among the devices")]
    FileAmongDevices(String),
    /// It is a directory.
    #[error("{0} is a directory, not a device")]
    Directory(String),
    /// It is a character device.
    #[error("{0} is a character device, not a disk")]
    Character(String),
    /// It is a pipe or a socket.
    #[error("{0} is a pipe or a socket, not a disk")]
    Pipe(String),
    /// It is a file, but a device was expected.
    #[error("{0} is a file, not a device")]
    File(String),
    /// It is a device, but a file was expected.
    #[error("{0} is a device, and --file was given")]
    NotAFile(String),
    /// It is the image itself.
    #[error("{0} is the image itself")]
    SameAsImage(String),
    /// It is a block device that sysfs does not show.
    #[error("{0} is a block device that the kernel no longer has")]
    Gone(String),
    /// It is a partition, not a whole disk.
    #[error("{partition} is a partition of {disk}; an image has partitions of its own and takes the whole disk")]
    Partition {
        /// The partition.
        partition: String,
        /// The disk that it is on.
        disk: String,
    },
    /// The running system needs it.
    #[error("{device} holds this system: {why}")]
    System {
        /// The disk.
        device: String,
        /// The part of the system that is on it.
        why: String,
    },
    /// It is used as swap space.
    #[error("{device} is in use: this system swaps to {part}")]
    Swap {
        /// The disk.
        device: String,
        /// The swap area's path.
        part: String,
    },
    /// A file system on it is mounted.
    #[error("{device} is in use: {part} is mounted at {at}")]
    Mounted {
        /// The disk.
        device: String,
        /// The mounted part's path.
        part: String,
        /// The mount point.
        at: String,
    },
    /// Other devices are built on it.
    #[error("{device} is in use: {part} is part of {by} ({what})")]
    Held {
        /// The disk.
        device: String,
        /// The part's path.
        part: String,
        /// The device that is built on it.
        by: String,
        /// The kind of that device.
        what: &'static str,
    },
    /// It is a device of LVM, RAID or encryption.
    #[error("{device} is made of other disks ({title}); an image goes to a whole disk")]
    Mapped {
        /// The device.
        device: String,
        /// Vendor and model, or its owner's name for it.
        title: String,
    },
    /// It is a CD, floppy or memory device.
    #[error("{device} is {what}, from which this image does not boot")]
    Kind {
        /// The device.
        device: String,
        /// The kind of device.
        what: &'static str,
    },
    /// It is a reader without a card.
    #[error("there is no medium in {device} ({title})")]
    NoMedium {
        /// The device.
        device: String,
        /// Vendor and model.
        title: String,
    },
    /// It is write-protected.
    #[error("{device} ({title}) is write-protected")]
    ReadOnly {
        /// The device.
        device: String,
        /// Vendor and model.
        title: String,
    },
    /// It is too small.
    #[error("{device} is too small: it has {size} bytes ({} MiB), and the image needs {needed} ({} MiB)", size >> 20, needed.div_ceil(1 << 20))]
    TooSmall {
        /// The device.
        device: String,
        /// Its size in bytes.
        size: u64,
        /// The needed size in bytes.
        needed: u64,
    },
    /// Its sector size is not supported, such as 520 or 2048 bytes.
    #[error("{device} has sectors of {sector_size} bytes; images are for 512 and 4096")]
    SectorSize {
        /// The device.
        device: String,
        /// Its sector size in bytes.
        sector_size: u64,
    },
    /// It is a built-in disk.
    #[error("{device} ({title}) is not removable: it may be this machine's own disk")]
    Fixed {
        /// The device.
        device: String,
        /// Vendor and model.
        title: String,
    },
}

impl Advise for Refusal {
    fn help(&self) -> Help {
        const DEVICES: &str = "`rocbed flash --list` shows the devices that there are";
        const DISKS: &str = "`rocbed flash --list` shows disks";
        match self {
            Self::Missing { meant: Some(meant), .. } => format!("did you mean {meant}? {DEVICES}").into(),
            Self::Missing { meant: None, .. } | Self::FileAmongDevices(_) => DEVICES.into(),
            Self::Directory(_) => "`rocbed flash --list` shows devices; with --file, give the file's name too".into(),
            Self::Character(_) | Self::Pipe(_) => DISKS.into(),
            Self::File(_) => "--file writes a disk image into a file".into(),
            Self::NotAFile(_) => "leave --file away if you want the device to be written".into(),
            Self::Gone(_) => "was it unplugged? `rocbed flash --list` shows what is there".into(),
            Self::Partition { disk, .. } => format!("give {disk}").into(),
            Self::System { .. } => "it is never written, whatever options are given".into(),
            Self::Swap { part, .. } => format!("swapoff {part}, if it is really the disk that you mean").into(),
            Self::Mounted { at, .. } => format!("umount {at}").into(),
            Self::Held { what, by, .. } => release(what, by).into(),
            Self::NoMedium { .. } => "put the card in, or was it a reader's other slot?".into(),
            Self::ReadOnly { .. } => "cards and some sticks have a switch on the side".into(),
            Self::Fixed { .. } => "if it is really the one you mean, add --i-know".into(),
            Self::SameAsImage(_) => "give the image first and the device after it".into(),
            Self::Mapped { .. } => "give one of the disks that it is made of, once it is stopped".into(),
            Self::Kind { .. } => format!("give a USB stick, a card or a disk: {DEVICES}").into(),
            Self::TooSmall { .. } => "take a larger one, or build the image with a smaller data-size".into(),
            Self::SectorSize { .. } => {
                "take another device, or format this one for 512 or 4096 (nvme format, sg_format)".into()
            }
        }
    }
}

fn release(what: &str, by: &str) -> String {
    match what {
        "LVM" => format!("vgchange -an, for the volume group of {by}"),
        "encryption" => format!("cryptsetup close {by}"),
        "RAID" => format!("mdadm --stop /dev/{by}"),
        _ => format!("dmsetup remove {by}"),
    }
}

/// Returns the disk for the node at a path, `None` for a file, or the reason why it is not written. The system's own
/// disk is refused before anything that an option could allow.
///
/// # Errors
/// The first applicable reason in [`Refusal`].
pub fn check<'a>(
    path: &Path,
    node: &Node,
    listing: &'a Listing,
    wanted: &TargetRequirements,
) -> Result<Option<&'a Device>, Refusal> {
    let shown = path.display().to_string();
    if wanted.image.as_ref() == Some(node) && *node != Node::Missing {
        return Err(Refusal::SameAsImage(shown));
    }
    match node {
        Node::Missing if !wanted.file => Err(Refusal::Missing { meant: meant(path, listing), path: shown }),
        Node::Missing | Node::File { .. } if is_kernels(path) => Err(Refusal::FileAmongDevices(shown)),
        Node::File { .. } if !wanted.file => Err(Refusal::File(shown)),
        Node::Missing | Node::File { .. } => Ok(None),
        Node::Directory => Err(Refusal::Directory(shown)),
        Node::Character => Err(Refusal::Character(shown)),
        Node::Other => Err(Refusal::Pipe(shown)),
        Node::Block(number) => {
            if let Some((disk, partition)) = listing.partition(number) {
                let (partition, disk) = (format!("/dev/{}", partition.name), disk.path.display().to_string());
                return Err(Refusal::Partition { partition, disk });
            }
            let device = listing.disk(number).ok_or_else(|| Refusal::Gone(shown.clone()))?;
            check_device(device, wanted)?;
            // Checked last: this message suggests that a file would be created.
            if wanted.file { Err(Refusal::NotAFile(shown)) } else { Ok(Some(device)) }
        }
    }
}

/// Checks whether a disk may be written.
///
/// # Errors
/// The first applicable reason in [`Refusal`].
pub fn check_device(device: &Device, wanted: &TargetRequirements) -> Result<(), Refusal> {
    let path = || device.path.display().to_string();
    let title = || device.title();
    if let Some(why) = device.uses.iter().find(|used| used.is_system() && matches!(used, Use::Mounted { .. })) {
        let Use::Mounted { device: part, at } = why else { return Ok(()) };
        return Err(Refusal::System { device: path(), why: format!("{at} is on {part}") });
    }
    // Mounts and swap are reported before devices that are built on the disk: the innermost has to be released first.
    let in_order = [
        |used: &Use| matches!(used, Use::Swap { .. }),
        |used: &Use| matches!(used, Use::Mounted { .. }),
        |used: &Use| matches!(used, Use::Held { .. }),
    ];
    if let Some(used) = in_order.iter().find_map(|kind| device.uses.iter().find(|used| kind(used))) {
        let part = |name: &str| format!("/dev/{name}");
        return Err(match used {
            Use::Swap { device } => Refusal::Swap { device: path(), part: part(device) },
            Use::Mounted { device, at } => Refusal::Mounted { device: path(), part: part(device), at: at.clone() },
            Use::Held { device, by, what } => {
                Refusal::Held { device: path(), part: part(device), by: by.clone(), what }
            }
        });
    }
    let kinds = [("sr", "an optical drive"), ("fd", "a floppy drive"), ("ram", "memory"), ("zram", "memory")];
    if let Some((_, what)) = kinds.into_iter().find(|(kind, _)| is_numbered(&device.name, kind)) {
        return Err(Refusal::Kind { device: path(), what });
    }
    if device.transport == Transport::Mapped {
        return Err(Refusal::Mapped { device: path(), title: title() });
    }
    if device.size == 0 {
        return Err(Refusal::NoMedium { device: path(), title: title() });
    }
    if device.read_only {
        return Err(Refusal::ReadOnly { device: path(), title: title() });
    }
    if SectorSize::of_bytes(device.sector_size).is_none() {
        return Err(Refusal::SectorSize { device: path(), sector_size: device.sector_size });
    }
    if device.size < wanted.size {
        return Err(Refusal::TooSmall { device: path(), size: device.size, needed: wanted.size });
    }
    if !device.removable && !wanted.fixed {
        return Err(Refusal::Fixed { device: path(), title: title() });
    }
    Ok(())
}

fn is_numbered(name: &str, kind: &str) -> bool {
    name.strip_prefix(kind).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Files there are lost at the next start, and were surely meant to be devices.
fn is_kernels(path: &Path) -> bool {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    ["/dev", "/sys", "/proc"].iter().any(|top| absolute.starts_with(top)) && !absolute.starts_with("/dev/shm")
}

/// The device that was meant: `/dev/sdb` for `sdb`, or the nearest name.
fn meant(path: &Path, listing: &Listing) -> Option<String> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let shown = |device: &Device| Some(PathBuf::from(&device.path).display().to_string());
    if let Some(device) = listing.devices.iter().find(|device| device.name == name) {
        return shown(device);
    }
    let names = listing.devices.iter().filter(|device| device.is_candidate() && device.removable);
    let nearest = nearest::nearest(&name, names.map(|device| device.name.as_str()));
    shown(listing.devices.iter().find(|device| Some(&device.name.as_str()) == nearest.first())?)
}
