//! Layout of partitions on a disk: a pure function.

use crate::Guid;
pub use crate::gpt::{ALIGNMENT, LayoutError};
use crate::gpt::{Attributes, MAX_PARTITIONS, NAME_UNITS, Partition};

/// A requested partition, without a position yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionSpec {
    /// Type; see [`crate::gpt::types`].
    pub type_guid: Guid,
    /// Globally unique identifier.
    pub unique_guid: Guid,
    /// Name, at most 36 UTF-16 code units.
    pub name: String,
    /// Minimum size in bytes.
    pub size: u64,
    /// Attribute flags.
    pub attributes: Attributes,
}

/// Positions of all partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The partitions in the order of the requests, one after the other.
    pub partitions: Vec<Partition>,
    /// Size of the whole disk in bytes, including both partition tables.
    pub disk_size: u64,
}

/// Places each partition at the next [aligned](ALIGNMENT) offset, with its size rounded up, and chooses the smallest
/// aligned disk size for all of them and both partition tables. The result is the same for each [`SectorSize`](crate::SectorSize).
///
/// # Errors
/// See [`LayoutError`].
pub fn layout(specs: &[PartitionSpec]) -> Result<Layout, LayoutError> {
    if specs.len() > MAX_PARTITIONS {
        return Err(LayoutError::TooMany(specs.len()));
    }
    // The primary table (at most 24 KiB) is in the first MiB, the backup table in the last.
    let mut at = ALIGNMENT;
    let mut partitions: Vec<Partition> = Vec::with_capacity(specs.len());
    for spec in specs {
        if spec.size == 0 {
            return Err(LayoutError::Empty(spec.name.clone()));
        }
        if spec.name.encode_utf16().count() > NAME_UNITS {
            return Err(LayoutError::NameTooLong(spec.name.clone()));
        }
        if partitions.iter().any(|other| other.unique_guid == spec.unique_guid) {
            return Err(LayoutError::DuplicateGuid(spec.unique_guid));
        }
        let size = spec.size.checked_next_multiple_of(ALIGNMENT).ok_or(LayoutError::TooLarge)?;
        partitions.push(Partition {
            type_guid: spec.type_guid,
            unique_guid: spec.unique_guid,
            name: spec.name.clone(),
            start: at,
            size,
            attributes: spec.attributes,
        });
        at = at.checked_add(size).filter(|end| *end < 1 << 63).ok_or(LayoutError::TooLarge)?;
    }
    Ok(Layout { partitions, disk_size: at + ALIGNMENT })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spec(number: u8, size: u64) -> PartitionSpec {
        PartitionSpec {
            type_guid: crate::gpt::types::LINUX_GENERIC,
            unique_guid: Guid::from_digest(&[number; 32].into(), "test"),
            name: format!("part{number}"),
            size,
            attributes: Attributes::default(),
        }
    }

    #[test]
    fn partitions_follow_each_other_on_whole_mebibytes() {
        let layout = layout(&[spec(1, 100 << 20), spec(2, 1), spec(3, (5 << 20) + 1)]).unwrap();
        let places: Vec<_> = layout.partitions.iter().map(|part| (part.start >> 20, part.size >> 20)).collect();
        assert_eq!(places, [(1, 100), (101, 1), (102, 6)]);
        assert_eq!(layout.disk_size, 109 << 20);
    }

    #[test]
    fn refuses_what_cannot_be() {
        assert_eq!(layout(&[spec(1, 0)]), Err(LayoutError::Empty("part1".into())));
        assert_eq!(layout(&[spec(1, u64::MAX)]), Err(LayoutError::TooLarge));
        assert_eq!(layout(&[spec(1, 1), spec(1, 1)]), Err(LayoutError::DuplicateGuid(spec(1, 1).unique_guid)));
        let long = PartitionSpec { name: "x".repeat(37), ..spec(1, 1) };
        assert!(matches!(layout(&[long]), Err(LayoutError::NameTooLong(_))));
    }

    proptest! {
        #[test]
        fn partitions_never_overlap_nor_leave_the_disk(sizes in prop::collection::vec(1_u64..1 << 45, 0..20)) {
            let specs: Vec<_> = sizes.iter().enumerate().map(|(number, size)| spec(number as u8, *size)).collect();
            let layout = layout(&specs).unwrap();
            let mut end = ALIGNMENT;
            for (part, spec) in layout.partitions.iter().zip(&specs) {
                prop_assert!(part.start >= end && part.start % ALIGNMENT == 0 && part.size >= spec.size);
                end = part.start + part.size;
            }
            prop_assert_eq!(layout.disk_size, end + ALIGNMENT);
        }
    }
}
