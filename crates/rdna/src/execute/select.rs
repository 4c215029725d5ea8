//! Where a vector instruction's first source has its lanes from (DPP), and parts of registers (SDWA).

use crate::instruction::{Part, Selection, Unused};
use crate::operand::Type;
use crate::wave::{Lanes, Wave};

/// Puts the lanes of the first source where they are wanted. Returns the lanes that are written.
pub(super) fn lanes(wave: &Wave, selection: Selection, source: &mut Lanes) -> u64 {
    let exec = wave.exec();
    let (fetch_inactive, zero) = match selection {
        Selection::None | Selection::Parts { .. } => return exec,
        Selection::Rows { fetch_inactive, zero, .. } => (fetch_inactive, zero),
        Selection::Eights { fetch_inactive, .. } => (fetch_inactive, true),
    };
    let before = *source;
    let mut written = 0;
    for lane in 0..wave.size {
        let from = match selection {
            Selection::Rows { control, banks, rows, .. } => {
                if banks >> (lane % 16 / 4) & 1 == 0 || rows >> (lane / 16) & 1 == 0 {
                    continue;
                }
                row(control, lane)
            }
            Selection::Eights { lanes, .. } => Some(lane & !7 | (lanes >> (lane % 8 * 3) & 7) as usize),
            _ => Some(lane),
        };
        let from = from.filter(|from| fetch_inactive || exec >> from & 1 != 0);
        if from.is_none() && !zero {
            continue;
        }
        source[lane] = from.map_or(0, |from| before[from]);
        written |= 1 << lane;
    }
    written & exec
}

/// The lane from which a lane has its value, if that is in its row of 16.
fn row(control: u16, lane: usize) -> Option<usize> {
    let (start, place) = (lane & !15, lane % 16);
    let amount = usize::from(control & 15);
    let from = match control {
        0..=0xff => return Some(lane & !3 | usize::from(control >> (lane % 4 * 2) & 3)),
        0x101..=0x10f => place + amount,
        0x111..=0x11f => place.checked_sub(amount)?,
        0x121..=0x12f => (place + 16 - amount) % 16,
        0x140 => 15 - place,
        0x141 => place & 8 | (7 - place % 8),
        0x150..=0x15f => amount,
        _ => place ^ amount,
    };
    (from < 16).then_some(start + from)
}

/// Takes a part of each lane.
pub(super) fn take(part: Part, kind: Type, lanes: &mut Lanes) {
    if part.bits == 32 {
        return;
    }
    for lane in lanes {
        let unused = 64 - u32::from(part.bits);
        let raised = *lane >> part.shift << unused;
        let value = if part.signed { (raised.cast_signed() >> unused).cast_unsigned() } else { raised >> unused };
        *lane = value & kind.mask();
    }
}

/// Puts a value into a part of a register.
pub(super) fn put(part: Part, unused: Unused, before: u32, value: u32) -> u32 {
    if part.bits == 32 {
        return value;
    }
    let mask = ((1 << part.bits) - 1) << part.shift;
    let placed = value << part.shift & mask;
    match unused {
        Unused::Zero => placed,
        Unused::Kept => before & !mask | placed,
        Unused::Sign => {
            let above = 32 - u32::from(part.bits) - u32::from(part.shift);
            let below = u32::MAX << part.shift;
            ((placed << above).cast_signed() >> above).cast_unsigned() & below
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_come_from_their_row() {
        assert_eq!(row(0b00_01_10_11, 5), Some(6));
        assert_eq!((row(0x101, 3), row(0x101, 15)), (Some(4), None));
        assert_eq!((row(0x111, 16), row(0x11f, 31)), (None, Some(16)));
        assert_eq!((row(0x121, 16), row(0x140, 16), row(0x141, 16)), (Some(31), Some(31), Some(23)));
        assert_eq!((row(0x153, 40), row(0x161, 40)), (Some(35), Some(41)));
    }

    #[test]
    fn parts_of_a_register_are_changed_alone() {
        let byte = Part { shift: 8, bits: 8, signed: false };
        assert_eq!(put(byte, Unused::Kept, 0x1122_3344, 0xff80), 0x1122_8044);
        assert_eq!(put(byte, Unused::Zero, 0x1122_3344, 0x80), 0x8000);
        assert_eq!(put(byte, Unused::Sign, 0x1122_3344, 0x80), 0xffff_8000);
        let mut lanes = [0x8000; 64];
        take(Part { signed: true, ..byte }, Type::B32, &mut lanes);
        assert_eq!(lanes[0], 0xffff_ff80);
    }
}
