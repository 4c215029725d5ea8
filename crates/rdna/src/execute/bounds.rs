//! [`Bounds`]: which accesses of a buffer are within it (`OOB_SELECT` and what is compared, in the sections on range checking of
//! AMD's "RDNA 2" and "RDNA 3" instruction set architecture documents).

use crate::problem::Obstacle;

/// What is compared with `NUM_RECORDS` and `STRIDE` of a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    /// The index with the number of items, and the offset with the length of an item.
    IndexAndOffset,
    /// The index with the number of items.
    Index,
    /// Nothing; a buffer of no items has nothing.
    Empty,
    /// The offset with the number of bytes.
    Offset,
}

/// A buffer that is not interleaved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    check: Check,
    stride: u64,
    records: u64,
}

/// Where a lane's access begins: the item's number, bytes from its start on, and bytes that are the same for all lanes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) index: u64,
    pub(super) offset: u64,
    pub(super) scalar_offset: u64,
}

impl Bounds {
    /// The bounds that a descriptor's words name, for an instruction with an index or without.
    pub(super) fn of([_, high, records, flags]: [u32; 4], has_index: bool) -> Result<Self, Obstacle> {
        let stride = u64::from(high >> 16 & 0x3fff);
        let check = match flags >> 28 & 3 {
            0 if stride == 0 => {
                return Err(Obstacle::Unsupported("a buffer whose items are checked and have no length"));
            }
            0 => Check::IndexAndOffset,
            1 => Check::Index,
            2 => Check::Empty,
            _ if stride != 0 && has_index => {
                return Err(Obstacle::Unsupported("an index of a buffer whose bytes are checked"));
            }
            _ => Check::Offset,
        };
        Ok(Self { check, stride, records: records.into() })
    }

    /// The address of an access, from the buffer's start on.
    pub(super) fn distance(&self, start: Start) -> u64 {
        start.scalar_offset.wrapping_add(start.index * self.stride).wrapping_add(start.offset)
    }

    /// Whether so many bytes are within the buffer. `None` where the documents leave it open, or the generations differ: only the
    /// first ones are, or it depends on whether the scalar offset counts.
    pub(super) fn contains(&self, start: Start, length: u64) -> Option<bool> {
        let Start { index, offset, scalar_offset } = start;
        match self.check {
            Check::IndexAndOffset | Check::Index if index >= self.records => Some(false),
            Check::IndexAndOffset => is_within(offset, length, self.stride),
            Check::Index => Some(true),
            Check::Empty => Some(self.records != 0),
            Check::Offset => {
                let without = is_within(offset, length, self.records);
                without.filter(|_| without == is_within(offset + scalar_offset, length, self.records))
            }
        }
    }
}

/// Whether bytes from an offset on are among so many; `None` if only the first ones are.
fn is_within(offset: u64, length: u64, all: u64) -> Option<bool> {
    match () {
        () if offset + length <= all => Some(true),
        () if offset >= all => Some(false),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bounds with `OOB_SELECT`, `STRIDE` and `NUM_RECORDS`.
    fn bounds(select: u32, stride: u32, records: u32) -> Bounds {
        Bounds::of([0, stride << 16, records, select << 28], false).expect("bounds")
    }

    fn at(index: u64, offset: u64) -> Start {
        Start { index, offset, scalar_offset: 0 }
    }

    #[test]
    fn items_are_checked_by_index_and_offset() {
        let bounds = bounds(0, 8, 3);
        assert_eq!(bounds.contains(at(2, 4), 4), Some(true));
        assert_eq!(bounds.contains(at(3, 0), 4), Some(false));
        assert_eq!(bounds.contains(at(0, 8), 4), Some(false));
        assert_eq!(bounds.contains(at(0, 6), 4), None);
        // The scalar offset does not count.
        assert_eq!(bounds.contains(Start { scalar_offset: 100, ..at(0, 0) }, 8), Some(true));
        assert_eq!(bounds.distance(Start { scalar_offset: 100, ..at(2, 3) }), 119);
    }

    #[test]
    fn items_are_checked_by_index_only() {
        let bounds = bounds(1, 8, 3);
        assert_eq!(bounds.contains(at(2, 6), 4), Some(true));
        assert_eq!(bounds.contains(at(0, 100), 4), Some(true));
        assert_eq!(bounds.contains(at(3, 0), 1), Some(false));
    }

    #[test]
    fn all_of_a_buffer_that_is_not_empty_is_there() {
        assert_eq!(bounds(2, 8, 1).contains(at(9, 100), 4), Some(true));
        assert_eq!(bounds(2, 8, 0).contains(at(0, 0), 1), Some(false));
    }

    #[test]
    fn bytes_are_checked_without_a_stride() {
        let bounds = bounds(3, 0, 16);
        assert_eq!(bounds.contains(at(0, 12), 4), Some(true));
        assert_eq!(bounds.contains(at(0, 16), 4), Some(false));
        assert_eq!(bounds.contains(at(0, 12), 8), None);
        // The index is of items without a length.
        assert_eq!((bounds.contains(at(99, 0), 16), bounds.distance(at(99, 5))), (Some(true), 5));
        for (scalar_offset, within) in [(4, Some(true)), (8, None), (100, None)] {
            assert_eq!(bounds.contains(Start { scalar_offset, ..at(0, 8) }, 4), within, "{scalar_offset}");
        }
    }

    #[test]
    fn what_the_documents_do_not_explain_is_refused() {
        let is_refused = |select: u32, stride: u32, has_index| {
            let bounds = Bounds::of([0, stride << 16, 5, select << 28], has_index);
            matches!(bounds, Err(Obstacle::Unsupported(_)))
        };
        assert!(is_refused(0, 0, false) && is_refused(0, 0, true) && is_refused(3, 4, true));
        assert!(!is_refused(3, 4, false) && !is_refused(1, 0, true) && !is_refused(2, 0, true));
    }
}
