//! A table of chips by their PCI device numbers, for machines that can't tell: old kernels don't report targets, a
//! GPU that doesn't start reports nothing, and not every image has a `pci.ids`.
//!
//! Numbers and code names are from amdgpu's and the public PCI ID lists, targets from KFD's probe function.

use crate::target::{Processor, Target};

/// A chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chip {
    /// Code name.
    pub name: &'static str,
    /// Whether it is part of a processor and uses the system's memory.
    pub integrated: bool,
    version: (u8, u8, u8),
}

impl Chip {
    /// The chip with this AMD device number.
    pub fn find(device: u16) -> Option<Self> {
        let (_, _, name, version, kind) = CHIPS.iter().find(|(first, last, ..)| (*first..=*last).contains(&device))?;
        Some(Self { name, integrated: *kind == Kind::Apu, version: *version })
    }

    /// The target that code for it is compiled for.
    pub fn target(self) -> Option<Target> {
        let (major, minor, stepping) = self.version;
        Target::new(major, minor, stepping)
    }
}

impl Chip {
    /// Whether no version of KFD that is in use supports it.
    pub(crate) fn is_too_old(self) -> bool {
        let (major, minor, stepping) = self.version;
        major < 7 || (major, minor, stepping) == (7, 0, 3) || (major, minor, stepping) == (7, 0, 4)
    }

    /// Whether only integrated GPUs (APUs) have this target.
    pub(crate) fn is_of_processors(target: Target) -> bool {
        let Processor::Version { major, minor, stepping } = target.processor() else { return false };
        matches!(
            (major, minor, stepping),
            (7, 0, 0 | 3)
                | (8, 0, 1)
                | (8, 1, 0)
                | (9, 0, 2 | 9 | 12)
                | (10, 1, 3)
                | (10, 3, 3 | 5 | 6)
                | (11, 0, 3)
                | (11, 5 | 7, _)
        )
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Card,
    Apu,
}
use Kind::{Apu, Card};

/// First and last device number, code name, target, kind.
type Row = (u16, u16, &'static str, (u8, u8, u8), Kind);

#[rustfmt::skip]
const CHIPS: &[Row] = &[
    (0x6780, 0x679f, "Tahiti",        (6, 0, 0),   Card),
    (0x6800, 0x681f, "Pitcairn",      (6, 0, 1),   Card),
    (0x6820, 0x683f, "Cape Verde",    (6, 0, 1),   Card),
    (0x6600, 0x663f, "Oland",         (6, 0, 1),   Card),
    (0x6660, 0x667f, "Hainan",        (6, 0, 2),   Card),
    (0x6640, 0x665f, "Bonaire",       (7, 0, 4),   Card),
    (0x9830, 0x983f, "Kabini",        (7, 0, 3),   Apu),
    (0x9850, 0x985f, "Mullins",       (7, 0, 3),   Apu),
    (0x1304, 0x131d, "Kaveri",        (7, 0, 0),   Apu),
    (0x9870, 0x9877, "Carrizo",       (8, 0, 1),   Apu),
    (0x98e4, 0x98e4, "Stoney",        (8, 1, 0),   Apu),
    (0x6900, 0x6907, "Topaz",         (8, 0, 2),   Card),
    (0x13db, 0x13db, "Cyan Skillfish", (10, 1, 3), Apu),
    (0x13f9, 0x13fe, "Cyan Skillfish", (10, 1, 3), Apu),
    (0x143f, 0x143f, "Cyan Skillfish", (10, 1, 3), Apu),
    (0x1435, 0x1435, "Van Gogh",      (10, 3, 3),  Apu),
    (0x67a0, 0x67be, "Hawaii",        (7, 0, 1),   Card),
    (0x6920, 0x693f, "Tonga",         (8, 0, 2),   Card),
    (0x7300, 0x730f, "Fiji",          (8, 0, 3),   Card),
    (0x67c0, 0x67df, "Polaris 10",    (8, 0, 3),   Card),
    (0x67e0, 0x67ff, "Polaris 11",    (8, 0, 3),   Card),
    (0x6980, 0x699f, "Polaris 12",    (8, 0, 3),   Card),
    (0x694c, 0x694f, "Polaris 22",    (8, 0, 3),   Card),
    (0x6fdf, 0x6fdf, "Polaris 20",    (8, 0, 3),   Card),
    (0x6860, 0x687f, "Vega 10",       (9, 0, 0),   Card),
    (0x69a0, 0x69af, "Vega 12",       (9, 0, 4),   Card),
    (0x66a0, 0x66af, "Vega 20",       (9, 0, 6),   Card),
    (0x15dd, 0x15dd, "Raven",         (9, 0, 2),   Apu),
    (0x15d8, 0x15d8, "Picasso",       (9, 0, 2),   Apu),
    (0x1636, 0x1636, "Renoir",        (9, 0, 12),  Apu),
    (0x1638, 0x1638, "Cezanne",       (9, 0, 12),  Apu),
    (0x164c, 0x164c, "Lucienne",      (9, 0, 12),  Apu),
    (0x15e7, 0x15e7, "Barcelo",       (9, 0, 12),  Apu),
    (0x7388, 0x7390, "Arcturus",      (9, 0, 8),   Card),
    (0x7408, 0x7410, "Aldebaran",     (9, 0, 10),  Card),
    (0x74a0, 0x74a0, "Aqua Vanjaram", (9, 4, 2),   Apu),
    (0x74a1, 0x74bf, "Aqua Vanjaram", (9, 4, 2),   Card),
    (0x75a0, 0x75bf, "MI350",         (9, 5, 0),   Card),
    (0x7310, 0x731f, "Navi 10",       (10, 1, 0),  Card),
    (0x7360, 0x7362, "Navi 12",       (10, 1, 1),  Card),
    (0x7340, 0x734f, "Navi 14",       (10, 1, 2),  Card),
    (0x73a0, 0x73bf, "Navi 21",       (10, 3, 0),  Card),
    (0x73c0, 0x73df, "Navi 22",       (10, 3, 1),  Card),
    (0x73e0, 0x73ef, "Navi 23",       (10, 3, 2),  Card),
    (0x73f0, 0x73f0, "Navi 33",       (11, 0, 2),  Card),
    (0x73f1, 0x73ff, "Navi 23",       (10, 3, 2),  Card),
    (0x7420, 0x743f, "Navi 24",       (10, 3, 4),  Card),
    (0x163f, 0x163f, "Van Gogh",      (10, 3, 3),  Apu),
    (0x164d, 0x164d, "Rembrandt",     (10, 3, 5),  Apu),
    (0x1681, 0x1681, "Rembrandt",     (10, 3, 5),  Apu),
    (0x164e, 0x164e, "Raphael",       (10, 3, 6),  Apu),
    (0x13c0, 0x13c0, "Granite Ridge", (10, 3, 6),  Apu),
    (0x1506, 0x1506, "Mendocino",     (10, 3, 6),  Apu),
    (0x7448, 0x745f, "Navi 31",       (11, 0, 0),  Card),
    (0x7460, 0x747f, "Navi 32",       (11, 0, 1),  Card),
    (0x7480, 0x749f, "Navi 33",       (11, 0, 2),  Card),
    (0x15bf, 0x15bf, "Phoenix",       (11, 0, 3),  Apu),
    (0x15c8, 0x15c8, "Phoenix 2",     (11, 0, 3),  Apu),
    (0x164f, 0x164f, "Phoenix",       (11, 0, 3),  Apu),
    (0x1900, 0x1901, "Hawk Point",    (11, 0, 3),  Apu),
    (0x150e, 0x150e, "Strix Point",   (11, 5, 0),  Apu),
    (0x1586, 0x1586, "Strix Halo",    (11, 5, 1),  Apu),
    (0x1114, 0x1114, "Krackan Point", (11, 5, 2),  Apu),
    (0x1902, 0x1902, "Krackan 2",     (11, 5, 3),  Apu),
    (0x7590, 0x759f, "Navi 44",       (12, 0, 0),  Card),
    (0x7550, 0x755f, "Navi 48",       (12, 0, 1),  Card),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_in_two_rows() {
        for (index, (first, last, name, ..)) in CHIPS.iter().enumerate() {
            assert!(first <= last, "{name}");
            for (other_first, other_last, other, ..) in &CHIPS[index + 1..] {
                assert!(last < other_first || other_last < first, "{name} and {other}");
            }
        }
    }

    #[test]
    fn every_row_has_a_target() {
        for (first, ..) in CHIPS {
            assert!(Chip::find(*first).unwrap().target().is_some());
        }
        assert_eq!(Chip::find(0x6860).unwrap().target().unwrap().to_string(), "gfx900");
        assert!(Chip::find(0x164e).unwrap().integrated);
        assert_eq!(Chip::find(0xffff), None);
    }
}
