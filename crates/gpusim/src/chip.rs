//! [`Chip`]: what the kernel says about each kind of GPU, besides what an inventory has.
//!
//! The numbers of shader engines, caches, families and revisions are those that amdgpu reports for the usual card with the
//! chip. ROCm takes the number of compute units, the size of memory and the target from the inventory.

use gpu::{Processor, Target};

/// One kind of GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chip {
    /// Name of the node in KFD's topology; newer chips have the name of the table that describes them.
    pub name: &'static str,
    /// PCI device number of the usual card.
    pub device: u16,
    /// PCI revision of the usual card.
    pub revision: u8,
    /// `AMDGPU_FAMILY_*` (`amdgpu_drm.h`).
    pub family: u32,
    /// `external_rev`, by which libraries tell chips of a family apart.
    pub external_revision: u32,
    /// Shader engines; shader arrays in each.
    pub engines: (u32, u32),
    /// Whether one memory partition has several accelerator dies, and how many (`num_xcc`).
    pub dies: u32,
    /// Bytes of each compute unit's data cache, of the second level, and of the third (0: there is none), in KiB.
    pub caches: (u32, u32, u32),
    /// Highest clock of the shaders, in MHz.
    pub clock: u32,
    /// Highest clock of the memory in MHz, and width of its bus in bits.
    pub memory: (u32, u32),
}

impl Chip {
    /// The chip that has a target; for one that is newer than this table, a plausible one.
    pub fn of(target: Target) -> Self {
        let Processor::Version { major, minor, stepping } = target.processor() else { return FALLBACK };
        let version = (major, minor, stepping);
        CHIPS.iter().find(|(of, _)| *of == version).map_or(FALLBACK, |(_, chip)| *chip)
    }

    /// The targets in the table.
    pub fn targets() -> impl Iterator<Item = Target> {
        CHIPS.iter().filter_map(|((major, minor, stepping), _)| Target::new(*major, *minor, *stepping))
    }
}

const AI: u32 = 141;
const RAVEN: u32 = 142;
const NAVI: u32 = 143;
const VAN_GOGH: u32 = 144;
const GC_11_0_0: u32 = 145;
const YELLOW_CARP: u32 = 146;
const GC_11_0_1: u32 = 148;
const GC_10_3_6: u32 = 149;
const GC_11_5_0: u32 = 150;
const GC_12_0_0: u32 = 152;

/// For chips that were found by discovery, KFD has no other name.
const DISCOVERED: &str = "ip discovery";

#[allow(clippy::too_many_arguments, reason = "a row of the table")]
const fn chip(
    name: &'static str,
    (device, revision): (u16, u8),
    (family, external_revision): (u32, u32),
    engines: (u32, u32),
    dies: u32,
    caches: (u32, u32, u32),
    clock: u32,
    memory: (u32, u32),
) -> Chip {
    Chip { name, device, revision, family, external_revision, engines, dies, caches, clock, memory }
}

const FALLBACK: Chip =
    chip(DISCOVERED, (0x7550, 0xc0), (GC_12_0_0, 0x51), (4, 2), 1, (32, 8192, 65536), 2400, (1258, 256));

#[rustfmt::skip]
const CHIPS: &[((u8, u8, u8), Chip)] = &[
    ((9, 0, 0),  chip("vega10",         (0x6863, 0x00), (AI, 0x01),          (4, 1), 1, (16, 4096, 0),       1630, (945, 2048))),
    ((9, 0, 2),  chip("raven",          (0x15dd, 0xc6), (RAVEN, 0x02),       (1, 1), 1, (16, 1024, 0),       1250, (1200, 128))),
    ((9, 0, 6),  chip("vega20",         (0x66a1, 0x00), (AI, 0x28),          (4, 1), 1, (16, 4096, 0),       1725, (1000, 4096))),
    ((9, 0, 8),  chip("arcturus",       (0x738c, 0x01), (AI, 0x33),          (8, 1), 1, (16, 8192, 0),       1502, (1200, 4096))),
    ((9, 0, 10), chip("aldebaran",      (0x740f, 0x02), (AI, 0x3c),          (8, 1), 1, (16, 8192, 0),       1700, (1600, 4096))),
    ((9, 0, 12), chip("renoir",         (0x1638, 0xc9), (RAVEN, 0xa1),       (1, 1), 1, (16, 1024, 0),       2000, (1600, 128))),
    ((9, 4, 2),  chip(DISCOVERED,       (0x74a1, 0x00), (AI, 0x47),          (32, 1), 8, (32, 4096, 262_144), 2100, (1300, 8192))),
    ((9, 5, 0),  chip(DISCOVERED,       (0x75a0, 0x00), (AI, 0x50),          (32, 1), 8, (32, 4096, 262_144), 2400, (2000, 8192))),
    ((10, 1, 0), chip("navi10",         (0x731f, 0xc1), (NAVI, 0x02),        (2, 2), 1, (16, 4096, 0),       2100, (875, 256))),
    ((10, 1, 1), chip("navi12",         (0x7360, 0x41), (NAVI, 0x0a),        (2, 2), 1, (16, 4096, 0),       1550, (770, 2048))),
    ((10, 1, 2), chip("navi14",         (0x7340, 0xc5), (NAVI, 0x15),        (1, 2), 1, (16, 2048, 0),       1900, (875, 128))),
    ((10, 3, 0), chip("sienna_cichlid", (0x73bf, 0xc1), (NAVI, 0x29),        (4, 2), 1, (16, 4096, 131_072), 2575, (1000, 256))),
    ((10, 3, 1), chip("navy_flounder",  (0x73df, 0xc1), (NAVI, 0x32),        (2, 2), 1, (16, 3072, 98_304),  2855, (1000, 192))),
    ((10, 3, 2), chip("dimgrey_cavefish", (0x73ff, 0xc1), (NAVI, 0x3c),      (2, 2), 1, (16, 2048, 32_768),  2725, (1000, 128))),
    ((10, 3, 3), chip("vangogh",        (0x163f, 0xae), (VAN_GOGH, 0x01),    (1, 1), 1, (16, 1024, 0),       1600, (1375, 128))),
    ((10, 3, 4), chip("beige_goby",     (0x743f, 0xc1), (NAVI, 0x46),        (1, 2), 1, (16, 1024, 16_384),  2815, (1124, 64))),
    ((10, 3, 5), chip("yellow_carp",    (0x1681, 0xc8), (YELLOW_CARP, 0x20), (1, 2), 1, (16, 2048, 0),       2400, (1600, 128))),
    ((10, 3, 6), chip(DISCOVERED,       (0x164e, 0xc1), (GC_10_3_6, 0x01),   (1, 1), 1, (16, 256, 0),        2200, (1600, 128))),
    ((11, 0, 0), chip(DISCOVERED,       (0x744c, 0xc8), (GC_11_0_0, 0x01),   (6, 2), 1, (32, 6144, 98_304),  2482, (1249, 384))),
    ((11, 0, 1), chip(DISCOVERED,       (0x747e, 0xc8), (GC_11_0_0, 0x20),   (3, 2), 1, (32, 4096, 65_536),  2565, (1219, 256))),
    ((11, 0, 2), chip(DISCOVERED,       (0x7480, 0xcf), (GC_11_0_0, 0x10),   (2, 2), 1, (32, 2048, 32_768),  2500, (1124, 128))),
    ((11, 0, 3), chip(DISCOVERED,       (0x15bf, 0xc2), (GC_11_0_1, 0x01),   (1, 2), 1, (32, 2048, 0),       2800, (1400, 128))),
    ((11, 5, 0), chip(DISCOVERED,       (0x150e, 0xc1), (GC_11_5_0, 0x01),   (1, 2), 1, (32, 2048, 0),       2900, (1400, 128))),
    ((11, 5, 1), chip(DISCOVERED,       (0x1586, 0xc1), (GC_11_5_0, 0xc1),   (2, 2), 1, (32, 2048, 32_768),  2900, (2000, 256))),
    ((11, 5, 2), chip(DISCOVERED,       (0x1114, 0xc2), (GC_11_5_0, 0x40),   (1, 1), 1, (32, 1024, 0),       2900, (1400, 128))),
    ((12, 0, 0), chip(DISCOVERED,       (0x7590, 0xc0), (GC_12_0_0, 0x40),   (2, 2), 1, (32, 4096, 32_768),  3320, (1258, 128))),
    ((12, 0, 1), chip(DISCOVERED,       (0x7550, 0xc0), (GC_12_0_0, 0x51),   (4, 2), 1, (32, 8192, 65_536),  2970, (1258, 256))),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_one_row_and_a_device_of_its_own() {
        for (index, (version, row)) in CHIPS.iter().enumerate() {
            for (other, other_row) in &CHIPS[index + 1..] {
                assert!(version != other && row.device != other_row.device, "{version:?} and {other:?}");
            }
        }
    }

    #[test]
    fn a_chip_that_is_not_known_still_has_all_that_programs_ask_for() {
        let target: Target = "gfx1399".parse().unwrap();
        assert!(Chip::of(target).engines.0 > 0 && Chip::of(target).device > 0);
    }
}
