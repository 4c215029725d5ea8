//! The image's layout on a device of another size, or with other sectors.

use std::fs::File;
use std::io;

use diskimage::fat::{self, FatError, ReadError, Volume};
use diskimage::gpt::{self, GptError, Partition, types};
use diskimage::layout::ALIGNMENT;
use diskimage::{Guid, SectorSize};
use fsimage::{Content, FileTree, Metadata, Node, NodeKind, Timestamp};

use crate::image::{HEAD, Image};

/// Room on an EFI system partition made anew, beyond its files, for settings and job lists.
const ROOM: u64 = 8 << 20;

/// A file to be put onto the EFI system partition, by its name in the top directory.
pub type NewFile = (String, Vec<u8>);

/// Why an image does not go onto a device.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// Too small.
    #[error("the image does not fit: it needs {needed} bytes ({} MiB) and there are {size}\n  help: take a larger stick, or build with a smaller data-size", needed.div_ceil(1 << 20))]
    TooSmall {
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that there are.
        size: u64,
    },
    /// The image's EFI system partition.
    #[error("reading the image's EFI system partition")]
    Read(#[from] ReadError),
    /// The new one.
    #[error("making an EFI system partition for sectors of the device's size")]
    Make(#[source] FatError),
    /// Files that were to be put there.
    #[error("putting {name} onto the EFI system partition")]
    Put {
        /// The file.
        name: String,
        /// What failed.
        source: fat::EditError,
    },
    /// The tables.
    #[error(transparent)]
    Table(#[from] GptError),
    /// A temporary file.
    #[error("preparing the partition table in a temporary file: {0}")]
    Spool(#[from] io::Error),
}

/// Where a partition of the image goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// In the image.
    pub from: Partition,
    /// On the device.
    pub to: Partition,
}

/// An image's layout on a device.
#[derive(Debug)]
pub struct Fit {
    /// The partitions, by place; the first is the EFI system partition.
    pub moves: Vec<Move>,
    /// Bytes of the device.
    pub size: u64,
    /// Its sectors.
    pub sector_size: SectorSize,
    disk_guid: Guid,
    /// GUIDs that the partitions have in the image, in the order of its table.
    order: Vec<Guid>,
}

impl Image<'_> {
    /// The fewest bytes that a device with such sectors has to have.
    ///
    /// # Errors
    /// Where the EFI system partition has to be made anew and its files cannot be read.
    pub fn needed(&mut self, sector_size: SectorSize) -> Result<u64, FitError> {
        let (moves, _) = self.places(sector_size)?;
        Ok(moves.last().map_or(0, |last| last.to.start + last.to.size) + ALIGNMENT)
    }

    /// Lays the image out on a device, after putting files onto its EFI system partition, which is made anew where the
    /// device's sectors are others than the image's.
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
            // The last MiB, and what a device has over a whole number of them, is for the backup table.
            last.to.size = last.to.size.max((size - ALIGNMENT) / ALIGNMENT * ALIGNMENT - last.to.start);
        }
        if let (Some(tree), Some(esp)) = (tree, moves.first()) {
            let fresh = tempfile::tempfile()?;
            fresh.set_len(esp.to.size)?;
            let options = fat::Options {
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

    /// Where each partition goes at least, and what is on an EFI system partition that has to be made anew.
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
    /// Gives the disk and its partitions GUIDs of their own, so that two sticks with one image can be told apart. The
    /// root's stays: it follows from the root's content, and the kernel command line names it.
    ///
    /// # Errors
    /// What drawing one says.
    pub fn draw_guids<E>(&mut self, mut draw: impl FnMut() -> Result<Guid, E>) -> Result<(), E> {
        self.disk_guid = draw()?;
        for one in self.moves.iter_mut().filter(|one| one.from.type_guid != types::ROOT_X86_64) {
            one.to.unique_guid = draw()?;
        }
        Ok(())
    }

    /// The first MiB of the device and its last, with both partition tables.
    pub(crate) fn tables(&self) -> Result<(Vec<u8>, Vec<u8>), FitError> {
        use std::os::unix::fs::FileExt;
        // Only what is written takes room in a sparse file.
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

    /// Where the last MiB begins, at a multiple of 4096 bytes.
    pub(crate) fn tail(&self) -> u64 {
        tail(self.size)
    }
}

/// Where the last MiB of a device begins.
pub(crate) fn tail(size: u64) -> u64 {
    size.saturating_sub(ALIGNMENT) / 4096 * 4096
}

/// All files of a FAT file system.
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
