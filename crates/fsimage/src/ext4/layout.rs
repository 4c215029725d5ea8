//! Assigns positions in the image, and finds the size of the image.

use std::ops::Range;

use super::directory::{self, DirectoryBlocks};
use super::error::{WriteError, shown};
use super::extents::{self, Extent};
use super::format::{BLOCK_SIZE, BLOCKS_PER_GROUP, FAST_SYMLINK};
use super::geometry::{Allocator, Geometry, Unfit, last_group_shortfall};
use super::holes::{self, Runs};
use super::inventory::Item;
use super::options::{Ext4Options, Inodes, Size};
use super::xattrs::{self, Xattrs};
use super::{checksum, journal};
use crate::tree::NodeKind;

/// Default number of bytes for each inode.
const BYTES_PER_INODE: u64 = 16 * 1024;
/// Maximum number of blocks in a file.
const MOST_FILE_BLOCKS: u64 = u32::MAX as u64;
/// Maximum number of blocks of a file system in the kernel.
const MOST_BLOCKS: u64 = 1 << 48;

/// An inode with everything that is known without positions.
pub(super) struct Draft<'t> {
    pub(super) item: Item<'t>,
    pub(super) xattrs: Xattrs,
    pub(super) directory: Option<DirectoryBlocks>,
    /// Its data ranges, in the file's own block numbers.
    runs: Runs,
}

impl<'t> Draft<'t> {
    /// Reads what is necessary of the item, and makes the parts that do not depend on positions.
    pub(super) fn new(item: Item<'t>, options: &Ext4Options) -> Result<Self, WriteError> {
        let xattrs = xattrs::encode(item.path, &item.node.metadata.xattrs)?;
        let mut directory = None;
        let mut runs = Vec::new();
        match (&item.node.kind, &item.directory) {
            (_, Some(list)) => {
                let seed = checksum::inode_seed(checksum::file_system_seed(&options.uuid), item.number, 0);
                let blocks =
                    directory::encode(item.number, list.parent, &list.entries, seed, &options.hash_seed).ok_or_else(
                        || WriteError::DirectoryTooLarge { path: shown(item.path), entries: list.entries.len() },
                    )?;
                runs.push((0, blocks.bytes.len() as u64 / BLOCK_SIZE));
                directory = Some(blocks);
            }
            (NodeKind::File(content), _) => {
                if content.len() > MOST_FILE_BLOCKS * BLOCK_SIZE {
                    return Err(WriteError::FileTooLarge { path: shown(item.path), length: content.len() });
                }
                runs = holes::runs(item.path, content)?;
            }
            (NodeKind::Symlink(target), _) => {
                if target.is_empty() || target.len() >= BLOCK_SIZE as usize {
                    return Err(WriteError::BadSymlink { path: shown(item.path), length: target.len() });
                }
                if target.len() >= FAST_SYMLINK {
                    runs.push((0, 1));
                }
            }
            _ => {}
        }
        Ok(Self { item, xattrs, directory, runs })
    }

    fn blocks(&self) -> u64 {
        self.runs.iter().map(|(_, count)| count).sum::<u64>() + u64::from(self.xattrs.block.is_some())
    }
}

/// Positions of an inode's blocks.
#[derive(Debug, Default)]
pub(super) struct InodePlacement {
    /// Block of the extended attributes; 0 for none.
    pub(super) xattr_block: u64,
    /// Content, in extents of any length.
    pub(super) extents: Vec<Extent>,
    /// Blocks for the nodes of the extent tree.
    pub(super) tree_blocks: Vec<Range<u64>>,
}

impl InodePlacement {
    fn content(allocator: &mut Allocator<'_>, runs: &[(u64, u64)]) -> Self {
        let mut extents: Vec<Extent> = Vec::with_capacity(runs.len());
        for (first, count) in runs {
            let mut logical = *first;
            for range in allocator.take(*count) {
                let length = range.end - range.start;
                extents.push(Extent { logical, physical: range.start, length });
                logical += length;
            }
        }
        let tree_blocks = allocator.take(extents::tree_blocks(extents::split(&extents).len()));
        Self { xattr_block: 0, extents, tree_blocks }
    }
}

/// A whole file system with all positions assigned.
pub(super) struct Layout {
    pub(super) geometry: Geometry,
    /// Positions for the drafts, in the same order.
    pub(super) places: Vec<InodePlacement>,
    pub(super) journal: Option<InodePlacement>,
    /// Blocks in use besides the fixed ones.
    pub(super) taken: Vec<Range<u64>>,
    /// Size of the image in bytes.
    pub(super) size: u64,
}

impl Layout {
    /// Finds the size and the positions.
    pub(super) fn new(drafts: &[Draft<'_>], options: &Ext4Options) -> Result<Self, WriteError> {
        match options.size {
            Size::ExactFit { reserve } => Self::exact(drafts, options, reserve.div_ceil(BLOCK_SIZE)),
            Size::Given(bytes) => {
                let mut blocks = bytes / BLOCK_SIZE;
                let (shortfall, last) = last_group_shortfall(blocks);
                if shortfall > 0 && blocks > BLOCKS_PER_GROUP {
                    blocks -= last; // a group that would hold next to nothing
                }
                let mut result = Self::try_size(drafts, options, blocks, 0);
                if let (Err(Unfit::Short(_)), true) = (&result, blocks > BLOCKS_PER_GROUP) {
                    // A short last group may lack room for the tables of the groups that begin with it.
                    let whole_groups = (blocks - 1) / BLOCKS_PER_GROUP * BLOCKS_PER_GROUP;
                    result = Self::try_size(drafts, options, whole_groups, 0).or(result);
                }
                match result {
                    Ok(layout) => Ok(Self { size: bytes, ..layout }),
                    Err(Unfit::TooFewGroups(_)) => {
                        Err(WriteError::TooManyInodes { inodes: inodes(drafts, options, blocks), bytes })
                    }
                    Err(Unfit::Short(_)) => {
                        let needed = Self::exact(drafts, options, 0)?.size.max(bytes.saturating_add(1));
                        Err(WriteError::NoSpace { needed, given: bytes })
                    }
                }
            }
        }
    }

    /// The smallest sufficient size.
    fn exact(drafts: &[Draft<'_>], options: &Ext4Options, reserve: u64) -> Result<Self, WriteError> {
        let mut blocks = drafts.iter().fold(reserve, |sum, draft| sum.saturating_add(draft.blocks()));
        loop {
            blocks = blocks.max(LEAST_BLOCKS).saturating_add(last_group_shortfall(blocks.max(LEAST_BLOCKS)).0);
            if blocks > MOST_BLOCKS {
                return Err(WriteError::TooLarge);
            }
            match Self::try_size(drafts, options, blocks, reserve) {
                Ok(layout) => return Ok(layout),
                Err(Unfit::Short(more)) => blocks = blocks.saturating_add(more),
                Err(Unfit::TooFewGroups(groups)) => blocks = blocks.max(groups.saturating_mul(BLOCKS_PER_GROUP)),
            }
        }
    }

    fn try_size(drafts: &[Draft<'_>], options: &Ext4Options, blocks: u64, reserve: u64) -> Result<Self, Unfit> {
        if blocks < LEAST_BLOCKS {
            return Err(Unfit::Short(LEAST_BLOCKS - blocks));
        }
        let geometry = Geometry::new(blocks, inodes(drafts, options, blocks))?;
        let mut allocator = Allocator::new(&geometry);
        let mut places: Vec<InodePlacement> = Vec::with_capacity(drafts.len());
        // The blocks needed to find files are together at the front.
        for draft in drafts {
            let mut place = match draft.item.node.kind {
                NodeKind::File(_) => InodePlacement::default(),
                _ => InodePlacement::content(&mut allocator, &draft.runs),
            };
            if draft.xattrs.block.is_some() {
                place.xattr_block = allocator.take(1).first().map_or(0, |range| range.start);
            }
            places.push(place);
        }
        let journal = journal::length(options.journal, blocks);
        let journal = journal.map(|length| InodePlacement::content(&mut allocator, &[(0, length)]));
        for (draft, place) in drafts.iter().zip(&mut places) {
            if let NodeKind::File(_) = draft.item.node.kind {
                *place = InodePlacement {
                    xattr_block: place.xattr_block,
                    ..InodePlacement::content(&mut allocator, &draft.runs)
                };
            }
        }
        match allocator.shortfall(&geometry, reserve) {
            0 => {
                let taken = allocator.taken;
                Ok(Self { places, journal, taken, size: blocks * BLOCK_SIZE, geometry })
            }
            more => Err(Unfit::Short(more)),
        }
    }
}

/// Minimum size of a file system in blocks.
const LEAST_BLOCKS: u64 = 64;

/// Number of inodes for a file system with this many blocks.
fn inodes(drafts: &[Draft<'_>], options: &Ext4Options, blocks: u64) -> u64 {
    let needed = drafts.last().map_or(0, |draft| u64::from(draft.item.number));
    let per_bytes = |bytes: u64| (blocks.saturating_mul(BLOCK_SIZE) / bytes.max(1)).min(1 << 31);
    match (options.inodes, options.size) {
        (Inodes::Auto, Size::ExactFit { .. }) => needed,
        (Inodes::Auto, Size::Given(_)) => needed.max(per_bytes(BYTES_PER_INODE)),
        (Inodes::PerBytes(bytes), _) => needed.max(per_bytes(bytes)),
        (Inodes::AtLeast(inodes), _) => needed.max(u64::from(inodes)),
    }
}
