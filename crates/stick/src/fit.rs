//! Fits an image's layout to a device of another size or with another sector size.

use std::fs::File;
use std::io;

use advice::{Advise, Help};
use diskimage::fat::{self, FatError, ReadError, Volume};
use diskimage::gpt::{self, GptError, Partition, types};
use diskimage::layout::ALIGNMENT;
use diskimage::{Guid, SectorSize};
use fsimage::{Content, FileTree, Metadata, Node, NodeKind, Timestamp};

use crate::image::{HEAD, Image};

/// Free space in bytes on a newly made EFI system partition, for settings and job lists.
const ROOM: u64 = 8 << 20;

/// A file for the top directory of the EFI system partition: name and content.
pub type NewFile = (String, Vec<u8>);

/// The reason why an image does not fit a device.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// The device is too small.
    #[error("the image does not fit: it needs {needed} bytes ({} MiB) and there are {size}", needed.div_ceil(1 << 20))]
    TooSmall {
        /// The needed size in bytes.
        needed: u64,
        /// The device's size in bytes.
        size: u64,
    },
    /// The image's EFI system partition cannot be read.
    #[error("reading the image's EFI system partition")]
    Read(#[from] ReadError),
    /// The new EFI system partition cannot be made.
    #[error("making an EFI system partition for sectors of the device's size")]
    Make(#[source] FatError),
    /// A file cannot be put there.
    #[error("putting {name} onto the EFI system partition")]
    Put {
        /// The file's name.
        name: String,
        /// What failed.
        source: fat::EditError,
    },
    /// The partition tables cannot be made.
    #[error(transparent)]
    Table(#[from] GptError),
    /// A temporary file cannot be used.
    #[error("preparing the partition table in a temporary file: {0}")]
    Spool(#[from] io::Error),
}

impl Advise for FitError {
    fn help(&self) -> Help {
        match self {
            Self::TooSmall { .. } => "take a larger stick, or build with a smaller data-size".into(),
            Self::Table(error) => error.help(),
            Self::Read(_) | Self::Make(_) | Self::Put { .. } | Self::Spool(_) => Help::none(),
        }
    }
}

/// The source and destination of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The partition in the image.
    pub from: Partition,
    /// The partition on the device.
    pub to: Partition,
}

/// An image's layout on a device.
#[derive(Debug)]
pub struct Fit {
    /// The partitions, by offset; the first is the EFI system partition.
    pub moves: Vec<Move>,
    /// Size of the device in bytes.
    pub size: u64,
    /// Sector size of the device.
    pub sector_size: SectorSize,
    disk_guid: Guid,
    /// The partitions' GUIDs in the image, in the order of its table.
    order: Vec<Guid>,
}

impl Image<'_> {
    /// The smallest size in bytes of a device with this sector size.
    ///
    /// # Errors
    /// If the EFI system partition has to be made again and its files cannot be read.
    pub fn needed(&mut self, sector_size: SectorSize) -> Result<u64, FitError> {
        let (moves, _) = self.places(sector_size)?;
        Ok(moves.last().map_or(0, |last| last.to.start + last.to.size) + ALIGNMENT)
    }

    /// Fits the image to a device, after putting files onto its EFI system partition, which is made again if the
    /// device's sector size is not the image's.
    ///
    /// # Errors
    /// See [`FitError`]. Nothing has been written to the device.
    pub fn fit(&mut self, size: u64, sector_size: SectorSize, files: &[NewFile], now: i64) -> Result<Fit, FitError> {
        let (mut moves, tree) = self.places(sector_size)?;
        let end = moves.last().map_or(0, |last| last.to.start + last.to.size);
        if size < end + ALIGNMENT {
            return Err(FitError::TooSmall { needed: end + ALIGNMENT, size });
        }
        if let Some(last) = moves.last_mut().filter(|last| Image::is_data(&last.to)) {
            // The backup table takes the last MiB, and the rest of a device whose size is not a multiple of a MiB.
            last.to.size = last.to.size.max((size - ALIGNMENT) / ALIGNMENT * ALIGNMENT - last.to.start);
        }
        if let (Some(tree), Some(esp)) = (tree, moves.first()) {
            let fresh = tempfile::tempfile()?;
            fresh.set_len(esp.to.size)?;
            let options = fat::FatOptions {
                size: esp.to.size,
                sector_size,
                volume_id: Volume::open(&self.esp, 0)?.volume_id(),
                label: Some("ROCBED".into()),
                timestamp: Timestamp::from_seconds(now),
            };
            fat::write(&tree, &fresh, 0, &options, &progress::Silent).map_err(FitError::Make)?;
            self.esp = fresh;
        }
        for (name, bytes) in files {
            fat::put(&self.esp, 0, name, bytes, Timestamp::from_seconds(now))
                .map_err(|source| FitError::Put { name: name.clone(), source })?;
        }
        let order = self.table.partitions.iter().map(|(_, partition)| partition.unique_guid).collect();
        Ok(Fit { moves, size, sector_size, disk_guid: self.table.disk_guid, order })
    }

    /// The smallest layout of the partitions, and the files of an EFI system partition that has to be made again.
    fn places(&mut self, sector_size: SectorSize) -> Result<(Vec<Move>, Option<FileTree>), FitError> {
        let mut moves: Vec<_> =
            self.partitions.iter().map(|from| Move { from: from.clone(), to: from.clone() }).collect();
        if sector_size == self.table.sector_size {
            return Ok((moves, None));
        }
        let tree = esp_tree(&self.esp)?;
        let needed = fat::required_size(&tree, sector_size).map_err(FitError::Make)?.saturating_add(ROOM);
        let mut at = HEAD;
        for (index, Move { to, .. }) in moves.iter_mut().enumerate() {
            let size = if index == 0 { to.size.max(needed) } else { to.size };
            (to.start, to.size) = (at, size.next_multiple_of(ALIGNMENT));
            at += to.size;
        }
        Ok((moves, Some(tree)))
    }
}

impl Fit {
    /// Gives the disk and its partitions new GUIDs, so that two sticks with one image can be distinguished. The root
    /// partition keeps its GUID: it follows from the root's content, and the kernel command line uses it.
    ///
    /// # Errors
    /// If `draw` fails.
    pub fn draw_guids<E>(&mut self, mut draw: impl FnMut() -> Result<Guid, E>) -> Result<(), E> {
        self.disk_guid = draw()?;
        for one in self.moves.iter_mut().filter(|one| one.from.type_guid != types::ROOT_X86_64) {
            one.to.unique_guid = draw()?;
        }
        Ok(())
    }

    /// The first and the last MiB of the device, with both partition tables.
    pub(crate) fn tables(&self) -> Result<(Vec<u8>, Vec<u8>), FitError> {
        use std::os::unix::fs::FileExt;
        // In a sparse file only written data takes space.
        let disk = tempfile::tempfile()?;
        disk.set_len(self.size)?;
        let by_guid = |guid: &Guid| self.moves.iter().find(|one| one.from.unique_guid == *guid);
        let partitions: Vec<_> = self.order.iter().filter_map(by_guid).map(|one| one.to.clone()).collect();
        gpt::write(&disk, self.disk_guid, self.sector_size, &partitions)?;
        let (mut first, mut last) = (vec![0; HEAD as usize], vec![0; (self.size - self.tail()) as usize]);
        disk.read_exact_at(&mut first, 0)?;
        disk.read_exact_at(&mut last, self.tail())?;
        Ok((first, last))
    }

    /// The offset of the last MiB, a multiple of 4096 bytes.
    pub(crate) fn tail(&self) -> u64 {
        tail(self.size)
    }
}

/// The offset of the last MiB of a device.
pub(crate) fn tail(size: u64) -> u64 {
    size.saturating_sub(ALIGNMENT) / 4096 * 4096
}

/// Reads all files of a FAT file system.
fn esp_tree(esp: &File) -> Result<FileTree, FitError> {
    let mut volume = Volume::open(esp, 0)?;
    let directory = Metadata::root(0o755, Timestamp::from_seconds(0));
    let mut tree = FileTree::new(directory.clone());
    let impossible = |path: &str| ReadError::Damaged { path: path.to_owned(), flaw: "its name cannot be kept" };
    for entry in volume.list()? {
        if entry.is_directory {
            tree.create_directories(&entry.path, &directory).map_err(|_| impossible(&entry.path))?;
            continue;
        }
        let kind = NodeKind::File(Content::from(volume.read(&entry.path)?));
        let node = Node { kind, metadata: Metadata::root(0o755, Timestamp::from_seconds(0)) };
        tree.insert(&entry.path, node).map_err(|_| impossible(&entry.path))?;
    }
    Ok(tree)
}
