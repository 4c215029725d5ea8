//! Layout of the fixed parts of a file system: superblock copies, group descriptors, bitmaps, inode tables.

use std::ops::Range;

use super::format::{BLOCK_SIZE, BLOCKS_PER_GROUP, DESCRIPTOR_SIZE, INODES_PER_BLOCK, LOG_GROUPS_PER_FLEX};

/// Limit on inodes per group: the inode bitmap is one block.
const MOST_INODES_PER_GROUP: u64 = BLOCKS_PER_GROUP;
/// Minimum number of blocks in the last group behind its copy of the descriptors, to be worth having.
const LEAST_LAST_GROUP: u64 = 64;

/// Positions of the bitmaps and inode table of one group.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroupPlace {
    pub(super) block_bitmap: u64,
    pub(super) inode_bitmap: u64,
    pub(super) inode_table: u64,
}

/// The fixed parts of a file system of a given size.
#[derive(Debug)]
pub(super) struct Geometry {
    /// Number of blocks of the file system.
    pub(super) blocks: u64,
    pub(super) inodes_per_group: u32,
    pub(super) groups: Vec<GroupPlace>,
    /// Superblocks and descriptors, by group.
    pub(super) copies: Vec<Range<u64>>,
    /// All fixed parts in order, adjacent ones joined.
    pub(super) fixed: Vec<Range<u64>>,
}

/// Reason why a size is not sufficient.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// Number of additional blocks that would help.
    Short(u64),
    /// Minimum number of groups.
    TooFewGroups(u64),
}

/// Whether a group keeps a copy of the superblock (`sparse_super`): 0, 1 and the powers of 3, 5 and 7.
pub(super) fn has_copy(group: u64) -> bool {
    let power_of = |base: u64| {
        let mut power = base;
        while power < group {
            power *= base;
        }
        power == group
    };
    group < 2 || power_of(3) || power_of(5) || power_of(7)
}

/// Number of blocks of group descriptors in a file system with this many groups.
fn descriptor_blocks(groups: u64) -> u64 {
    groups.div_ceil(BLOCK_SIZE / DESCRIPTOR_SIZE as u64)
}

/// The number of blocks that the last group lacks to be worth having, and its length.
pub(super) fn last_group_shortfall(blocks: u64) -> (u64, u64) {
    let groups = blocks.div_ceil(BLOCKS_PER_GROUP);
    let last = blocks - groups.saturating_sub(1) * BLOCKS_PER_GROUP;
    let copy = if has_copy(groups.saturating_sub(1)) { 1 + descriptor_blocks(groups) } else { 0 };
    ((copy + LEAST_LAST_GROUP).saturating_sub(last), last)
}

impl Geometry {
    /// Lays out a file system with `blocks` blocks and at least `inodes` inodes.
    pub(super) fn new(blocks: u64, inodes: u64) -> Result<Self, Unfit> {
        let groups = blocks.div_ceil(BLOCKS_PER_GROUP).max(1);
        let inodes_per_group = inodes.div_ceil(groups).next_multiple_of(u64::from(INODES_PER_BLOCK));
        // Inode numbers have 32 bits; more groups do not change that, but then fewer inodes per group are requested.
        if inodes_per_group > MOST_INODES_PER_GROUP {
            return Err(Unfit::TooFewGroups(inodes.div_ceil(MOST_INODES_PER_GROUP)));
        }
        let descriptor_blocks = descriptor_blocks(groups);
        let copies: Vec<_> = (0..groups)
            .map(|group| {
                let start = group * BLOCKS_PER_GROUP;
                start..start + if has_copy(group) { 1 + descriptor_blocks } else { 0 }
            })
            .collect();
        let table_blocks = inodes_per_group / u64::from(INODES_PER_BLOCK);
        let mut places = Vec::new();
        let mut fixed: Vec<_> = copies.iter().filter(|copy| !copy.is_empty()).cloned().collect();
        let end = copies.last().map_or(0, |copy| copy.end);
        let mut short = end.saturating_sub(blocks);
        let flex = 1u64 << LOG_GROUPS_PER_FLEX;
        for first in (0..groups).step_by(flex as usize) {
            let count = flex.min(groups - first);
            let mut cursor = first * BLOCKS_PER_GROUP;
            let mut place = |length: u64| {
                let at = next_gap(&copies, cursor, length);
                cursor = at + length;
                fixed.push(at..cursor);
                at
            };
            let block_bitmaps = place(count);
            let inode_bitmaps = place(count);
            places.extend((0..count).map(|group| GroupPlace {
                block_bitmap: block_bitmaps + group,
                inode_bitmap: inode_bitmaps + group,
                inode_table: place(table_blocks),
            }));
            short = short.max(cursor.saturating_sub(blocks));
        }
        if short > 0 {
            return Err(Unfit::Short(short));
        }
        Ok(Self { blocks, inodes_per_group: inodes_per_group as u32, groups: places, copies, fixed: merged(fixed) })
    }

    /// Number of blocks of all fixed parts.
    pub(super) fn fixed_blocks(&self) -> u64 {
        self.fixed.iter().map(|range| range.end - range.start).sum()
    }

    /// Number of inodes.
    pub(super) fn inodes(&self) -> u64 {
        self.groups.len() as u64 * u64::from(self.inodes_per_group)
    }

    /// The blocks of a group; the last group may be shorter than the others.
    pub(super) fn group_blocks(&self, group: usize) -> Range<u64> {
        let start = group as u64 * BLOCKS_PER_GROUP;
        start..self.blocks.min(start + BLOCKS_PER_GROUP)
    }
}

/// The first position from `cursor` on where that many blocks do not overlap a superblock copy.
fn next_gap(copies: &[Range<u64>], cursor: u64, length: u64) -> u64 {
    let mut at = cursor;
    loop {
        let first = (at / BLOCKS_PER_GROUP) as usize;
        let hit = copies.iter().skip(first).take_while(|copy| copy.start < at + length).find(|copy| copy.end > at);
        match hit {
            Some(copy) if !copy.is_empty() => at = copy.end,
            _ => return at,
        }
    }
}

/// Sorts ranges and joins adjacent ones.
pub(super) fn merged(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => merged.push(range),
        }
    }
    merged
}

/// Allocates the blocks between the fixed parts in order. It continues behind the end of the file system: the required
/// size is computed from how far it went.
#[derive(Debug)]
pub(super) struct Allocator<'g> {
    fixed: &'g [Range<u64>],
    next_fixed: usize,
    cursor: u64,
    /// Allocated ranges in order, adjacent ones joined.
    pub(super) taken: Vec<Range<u64>>,
}

impl<'g> Allocator<'g> {
    pub(super) fn new(geometry: &'g Geometry) -> Self {
        Self { fixed: &geometry.fixed, next_fixed: 0, cursor: 0, taken: Vec::new() }
    }

    /// Allocates the next `count` blocks, in as few ranges as possible.
    pub(super) fn take(&mut self, mut count: u64) -> Vec<Range<u64>> {
        let mut ranges = Vec::new();
        while count > 0 {
            let limit = match self.fixed.get(self.next_fixed) {
                Some(fixed) if fixed.start <= self.cursor => {
                    self.cursor = self.cursor.max(fixed.end);
                    self.next_fixed += 1;
                    continue;
                }
                Some(fixed) => fixed.start,
                None => u64::MAX,
            };
            let range = self.cursor..limit.min(self.cursor + count);
            count -= range.end - range.start;
            self.cursor = range.end;
            match self.taken.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => self.taken.push(range.clone()),
            }
            ranges.push(range);
        }
        ranges
    }

    /// Number of blocks missing in the file system for the allocated ones and `reserve` free ones.
    pub(super) fn shortfall(&self, geometry: &Geometry, reserve: u64) -> u64 {
        let taken: u64 = self.taken.iter().map(|range| range.end - range.start).sum();
        let wanted = taken + geometry.fixed_blocks() + reserve;
        self.cursor.max(wanted).saturating_sub(geometry.blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_in_groups_0_1_and_powers_of_3_5_7() {
        let groups: Vec<_> = (0..130).filter(|group| has_copy(*group)).collect();
        assert_eq!(groups, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125]);
    }

    #[test]
    fn fixed_parts_never_overlap() {
        for (blocks, inodes) in [(2048, 16), (32768 * 40, 32768 * 40), (32768 * 20 + 100, 1000), (5_242_880, 1_310_720)]
        {
            let geometry = Geometry::new(blocks, inodes).unwrap();
            assert!(geometry.fixed.windows(2).all(|pair| pair[0].end < pair[1].start), "{blocks}");
            let parts: u64 = geometry.copies.iter().map(|copy| copy.end - copy.start).sum::<u64>()
                + geometry.groups.len() as u64 * (2 + u64::from(geometry.inodes_per_group / 16));
            assert_eq!(geometry.fixed_blocks(), parts, "{blocks}");
        }
    }

    #[test]
    fn the_allocator_misses_fixed_parts_and_reports_what_is_missing() {
        let geometry = Geometry::new(40000, 160).unwrap();
        let mut allocator = Allocator::new(&geometry);
        let ranges = allocator.take(39_000);
        assert!(
            ranges
                .iter()
                .all(|range| geometry.fixed.iter().all(|fixed| fixed.end <= range.start || range.end <= fixed.start))
        );
        assert_eq!(allocator.shortfall(&geometry, 0), 0);
        allocator.take(2000);
        assert!(allocator.shortfall(&geometry, 10) > 1000);
    }
}
