//! Directory slots: 32 bytes each; a file has one for itself, preceded by those of its long name.

use fsimage::Timestamp;
use jiff::tz::TimeZone;

use super::name::ShortName;

/// Size of a slot in bytes.
pub(super) const SLOT: usize = 32;
/// Number of UTF-16 code units in a slot of a long name.
const UNITS: usize = 13;

pub(super) const ATTRIBUTE_VOLUME: u8 = 0x08;
pub(super) const ATTRIBUTE_DIRECTORY: u8 = 0x10;
pub(super) const ATTRIBUTE_ARCHIVE: u8 = 0x20;
/// Attribute that marks a slot of a long name.
pub(super) const ATTRIBUTE_LONG: u8 = 0x0f;
/// Flag in the sequence number of the slot that comes first and holds the end of the name.
pub(super) const LAST_LONG: u8 = 0x40;

/// Timestamp in FAT's format: date and time of day, with a resolution of 2 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DosTime {
    pub(super) date: u16,
    pub(super) time: u16,
}

impl DosTime {
    /// Converts to UTC; times out of range become the nearest valid one.
    pub(super) fn new(timestamp: Timestamp) -> Self {
        const FIRST: i64 = 315_532_800; // 1980-01-01T00:00:00Z
        const LAST: i64 = 4_354_819_198; // 2107-12-31T23:59:58Z
        let seconds = timestamp.seconds.clamp(FIRST, LAST);
        let utc = jiff::Timestamp::from_second(seconds).unwrap_or_default().to_zoned(TimeZone::UTC);
        let field = |value: i8| value.unsigned_abs() as u16;
        Self {
            date: (utc.year() - 1980).unsigned_abs() << 9 | field(utc.month()) << 5 | field(utc.day()),
            time: field(utc.hour()) << 11 | field(utc.minute()) << 5 | (field(utc.second()) / 2),
        }
    }
}

/// Encodes a file's own slot.
pub(super) fn short(name: &ShortName, attributes: u8, when: DosTime, cluster: u32, size: u32) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    slot[..11].copy_from_slice(name);
    slot[11] = attributes;
    slot[14..16].copy_from_slice(&when.time.to_le_bytes()); // created
    slot[16..18].copy_from_slice(&when.date.to_le_bytes());
    slot[18..20].copy_from_slice(&when.date.to_le_bytes()); // accessed
    slot[20..22].copy_from_slice(&((cluster >> 16) as u16).to_le_bytes());
    slot[22..24].copy_from_slice(&when.time.to_le_bytes()); // written
    slot[24..26].copy_from_slice(&when.date.to_le_bytes());
    slot[26..28].copy_from_slice(&(cluster as u16).to_le_bytes());
    slot[28..].copy_from_slice(&size.to_le_bytes());
    slot
}

/// Number of slots for a long name.
pub(super) fn long_slots(name: &str) -> usize {
    name.encode_utf16().count().div_ceil(UNITS)
}

/// Encodes the slots of a long name, in the order of the directory: the end of the name comes first.
pub(super) fn long(name: &str, short: &ShortName) -> Vec<[u8; SLOT]> {
    let units: Vec<u16> = name.encode_utf16().collect();
    let count = units.len().div_ceil(UNITS);
    let slots = units.chunks(UNITS).zip(1_u8..).map(|(part, number)| {
        let mut slot = [0; SLOT];
        slot[0] = if usize::from(number) == count { number | LAST_LONG } else { number };
        slot[11] = ATTRIBUTE_LONG;
        slot[13] = checksum(short);
        // A name that ends within a slot is followed by a zero, and then by 0xffff.
        let padded = part.iter().copied().chain([0]).chain(std::iter::repeat(0xffff));
        for (unit, at) in padded.zip(unit_offsets()) {
            slot[at..at + 2].copy_from_slice(&unit.to_le_bytes());
        }
        slot
    });
    let mut slots: Vec<_> = slots.collect();
    slots.reverse();
    slots
}

/// Offsets of the code units in a long name's slot.
fn unit_offsets() -> impl Iterator<Item = usize> {
    (1..11).chain(14..26).chain(28..32).step_by(2)
}

/// The code units in a long name's slot.
pub(super) fn units(slot: &[u8; SLOT]) -> impl Iterator<Item = u16> + '_ {
    unit_offsets().map(|at| u16::from_le_bytes([slot[at], slot[at + 1]]))
}

/// Checksum that links a long name to the short one after it.
pub(super) fn checksum(short: &ShortName) -> u8 {
    short.iter().fold(0, |sum: u8, byte| sum.rotate_right(1).wrapping_add(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_kept_in_two_second_steps_between_1980_and_2107() {
        let dos = |[year, month, day, hour, minute, half]: [u16; 6]| DosTime {
            date: year << 9 | month << 5 | day,
            time: hour << 11 | minute << 5 | half,
        };
        let time = |seconds| DosTime::new(Timestamp::from_seconds(seconds));
        // 2026-10-30T08:08:01Z
        assert_eq!(time(1_793_347_681), dos([46, 10, 30, 8, 8, 0]));
        assert_eq!(time(0), dos([0, 1, 1, 0, 0, 0]));
        assert_eq!(time(i64::MAX), dos([127, 12, 31, 23, 59, 29]));
    }

    #[test]
    fn a_long_name_takes_a_slot_for_13_units() {
        let name = "loader entries.conf"; // 19 units
        let slots = long(name, b"LOADER~1CON");
        assert_eq!(slots.len(), long_slots(name));
        assert_eq!([slots[0][0], slots[1][0]], [0x42, 1]);
        let text: Vec<u16> = units(&slots[1]).chain(units(&slots[0])).collect();
        assert_eq!(String::from_utf16(&text[..19]).unwrap(), name);
        assert_eq!(&text[19..21], [0, 0xffff]);
    }
}
