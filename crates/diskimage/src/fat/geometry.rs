//! Geometry of a FAT32 volume of a given size.

use crate::SectorSize;
use crate::fat::FatError;

/// Minimum number of clusters; a volume with fewer is FAT16. The specification's 65,525, and 16 more because it
/// advises to keep that distance: drivers are known to be off by a few.
const MINIMUM_CLUSTERS: u64 = 65_525 + 16;

/// Maximum number of clusters: table entries have 28 bits, and the last values have other meanings.
const MAXIMUM_CLUSTERS: u64 = 0x0fff_fff4;

/// Minimum number of sectors before the first table.
const RESERVED: u64 = 32;

const FATS: u64 = 2;

/// Geometry of a volume. All numbers are in sectors unless stated otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) sector: u64,
    pub(super) total: u64,
    pub(super) reserved: u64,
    pub(super) per_fat: u64,
    pub(super) per_cluster: u64,
    pub(super) clusters: u64,
}

impl Geometry {
    /// Chooses the geometry for `size` bytes: 4 KiB clusters as Windows uses (larger ones from 8 GiB), smaller ones
    /// where there would be too few.
    pub(super) fn choose(size: u64, sector_size: SectorSize) -> Result<Self, FatError> {
        let sector = sector_size.bytes();
        let total = size / sector;
        if total > u64::from(u32::MAX) {
            return Err(FatError::TooLarge { size, sector_size });
        }
        let mut cluster = match size >> 30 {
            0..8 => 4 << 10,
            8..16 => 8 << 10,
            16..32 => 16 << 10,
            _ => 32 << 10,
        };
        while cluster >= sector {
            if let Some(geometry) = Self::divide(sector, total, cluster / sector)
                && geometry.clusters >= MINIMUM_CLUSTERS
            {
                let too_large = geometry.clusters > MAXIMUM_CLUSTERS;
                return if too_large { Err(FatError::TooLarge { size, sector_size }) } else { Ok(geometry) };
            }
            cluster /= 2;
        }
        Err(FatError::TooSmall { size, sector_size, minimum: minimum_size(sector_size) })
    }

    fn divide(sector: u64, total: u64, per_cluster: u64) -> Option<Self> {
        // Each sector of a table describes `sector / 4` clusters; two entries are reserved.
        let free = total.checked_sub(RESERVED)?;
        let per_fat = (free + 2 * per_cluster).div_ceil(sector / 4 * per_cluster + FATS);
        // More reserved sectors align the first cluster to the cluster size.
        let before_data = (RESERVED + FATS * per_fat).next_multiple_of(per_cluster);
        let clusters = total.checked_sub(before_data)? / per_cluster;
        Some(Self { sector, total, reserved: before_data - FATS * per_fat, per_fat, per_cluster, clusters })
    }

    /// Size of a cluster in bytes.
    pub(super) fn cluster_bytes(&self) -> u64 {
        self.per_cluster * self.sector
    }

    /// Offset in bytes of table `number` (0 or 1) in the volume.
    pub(super) fn fat_offset(&self, number: u64) -> u64 {
        (self.reserved + number * self.per_fat) * self.sector
    }

    /// Offset in bytes of a cluster (2 is the first) in the volume.
    pub(super) fn cluster_offset(&self, cluster: u64) -> u64 {
        (self.reserved + FATS * self.per_fat + (cluster - 2) * self.per_cluster) * self.sector
    }
}

/// Minimum size of a volume in bytes, rounded up to a MiB.
pub fn minimum_size(sector_size: SectorSize) -> u64 {
    let sector = sector_size.bytes();
    let per_fat = ((MINIMUM_CLUSTERS + 2) * 4).div_ceil(sector);
    ((RESERVED + FATS * per_fat + MINIMUM_CLUSTERS) * sector).next_multiple_of(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_minimum_is_enough_and_less_is_not() {
        for (sector_size, mebibytes) in [(SectorSize::Bytes512, 33), (SectorSize::Bytes4096, 257)] {
            let minimum = minimum_size(sector_size);
            assert_eq!(minimum, mebibytes << 20);
            Geometry::choose(minimum, sector_size).unwrap();
            let error = Geometry::choose(minimum - (1 << 20), sector_size).unwrap_err();
            let help = advice::Advice::of(&error).in_one_line();
            assert!(help.contains(&format!("{mebibytes} MiB")), "{help}");
        }
    }

    #[test]
    fn clusters_have_4_kib_where_that_is_enough_of_them() {
        let cluster = |mib: u64| Geometry::choose(mib << 20, SectorSize::Bytes512).unwrap().cluster_bytes();
        assert_eq!([cluster(64), cluster(200), cluster(512), cluster(9 << 10)], [512, 2048, 4096, 8192]);
    }

    proptest! {
        #[test]
        fn everything_fits_into_the_volume(size in 33_u64 << 20..1 << 44, large: bool) {
            let sector_size = if large { SectorSize::Bytes4096 } else { SectorSize::Bytes512 };
            if let Ok(g) = Geometry::choose(size, sector_size) {
                prop_assert!(g.cluster_offset(g.clusters + 2) <= size);
                prop_assert!(g.per_fat * g.sector >= (g.clusters + 2) * 4);
                prop_assert!((65_525..0x0fff_fff5).contains(&g.clusters));
                prop_assert_eq!(g.cluster_offset(2) % g.cluster_bytes(), 0);
                prop_assert!(g.reserved >= RESERVED && g.reserved < 65_536 && g.per_cluster <= 128);
            }
        }
    }
}
