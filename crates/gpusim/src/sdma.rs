//! SDMA packets: copies, fills, fences, waits and interrupts (the formats are in `ROCr`'s `sdma_registers.h` and the
//! kernel's `vega10_sdma_pkt_open.h`, `navi10_sdma_pkt_open.h` and `sdma_v6_0_0_pkt_open.h`).

use crate::packet::{Packet, Stop, Surroundings};

/// Bytes that are copied in one piece.
const PIECE: u64 = 1 << 20;
/// Most double words of a packet that are looked at.
const WORDS: usize = 13;

/// Most rows and most bytes of one copy of a box: with all bits set, it would take years.
const MOST_ROWS: u64 = 1 << 24;
const MOST_BYTES: u64 = 1 << 34;

/// A packet's operation, the low byte of its first word.
mod operation {
    pub(super) const NOP: u8 = 0;
    pub(super) const COPY: u8 = 1;
    pub(super) const FENCE: u8 = 5;
    pub(super) const TRAP: u8 = 6;
    pub(super) const POLL: u8 = 8;
    pub(super) const ATOMIC: u8 = 10;
    pub(super) const FILL: u8 = 11;
    pub(super) const TIMESTAMP: u8 = 13;
    pub(super) const CACHES: u8 = 17;
}

const COPY_LINEAR: u8 = 0;
const COPY_RECTANGLE: u8 = 4;
const TIMESTAMP_OF_GPU: u8 = 2;
/// The atomic operation that adds to 64 bits.
const ADD_64: u32 = 47;

/// The words of a packet, as far as they are written.
struct Words([u32; WORDS]);

impl Words {
    fn get(&self, index: usize) -> u32 {
        self.0.get(index).copied().unwrap_or(0)
    }

    /// Two words as one number, the lower half first.
    fn long(&self, index: usize) -> u64 {
        u64::from(self.get(index)) | u64::from(self.get(index + 1)) << 32
    }
}

/// Carries out the packet at this byte of the ring, of which `written` bytes follow. The error is an address that the GPU
/// has no memory at.
pub(crate) fn run(around: &mut Surroundings<'_>, ring: u64, size: u64, at: u64, written: u64) -> Result<Packet, u64> {
    let mut words = Words([0; WORDS]);
    for (index, word) in (0..written / 4).zip(&mut words.0) {
        let offset = at.wrapping_add(index * 4) % size.max(4);
        *word = around.view.read_u32(ring.checked_add(offset).ok_or(ring)?)?;
    }
    let header = words.get(0);
    let [operation, sub, ..] = header.to_le_bytes();
    let length = match (operation, sub) {
        (operation::NOP, _) => 4 + 4 * u64::from(header >> 16 & 0x3fff),
        (operation::COPY, COPY_LINEAR) => 28,
        (operation::COPY, COPY_RECTANGLE) => 52,
        (operation::FENCE, _) => 16,
        (operation::TRAP, _) => 8,
        (operation::POLL, _) => 24,
        (operation::ATOMIC, _) if header >> 25 == ADD_64 => 32,
        (operation::FILL | operation::CACHES, _) => 20,
        (operation::TIMESTAMP, TIMESTAMP_OF_GPU) => 12,
        _ => return Ok(Packet::Stops(Stop::Unknown)),
    };
    if length > written {
        // Programs write whole packets, so this one is never finished; neither would a GPU go on.
        return Ok(Packet::Waits);
    }
    match operation {
        operation::COPY if sub == COPY_LINEAR => {
            let length = u64::from(words.get(1) & 0x3fff_ffff) + 1;
            copy(around, words.long(3), words.long(5), length)?;
            around.report.copies += 1;
        }
        operation::COPY => {
            if !rectangle(around, &words)? {
                return Ok(Packet::Stops(Stop::Unknown));
            }
            around.report.copies += 1;
        }
        operation::FENCE => around.view.write_u32(words.long(1), words.get(3))?,
        // The interrupt of an event that is gone is dropped.
        operation::TRAP => around.events.set(words.get(1) & 0x0fff_ffff).unwrap_or_default(),
        operation::POLL if !is_met(around, &words)? => return Ok(Packet::Waits),
        operation::ATOMIC => {
            let before = around.view.read_u64(words.long(1))?;
            around.view.write_u64(words.long(1), before.wrapping_add(words.long(3)))?;
        }
        operation::FILL => {
            fill(around, &words)?;
            around.report.copies += 1;
        }
        operation::TIMESTAMP => around.view.write_u64(words.long(1), around.ticks)?,
        _ => {}
    }
    Ok(Packet::Done(length))
}

/// Copies memory piece by piece.
fn copy(around: &mut Surroundings<'_>, from: u64, to: u64, length: u64) -> Result<(), u64> {
    let mut buffer = Vec::new();
    let mut done = 0;
    while done < length {
        let piece = (length - done).min(PIECE);
        buffer.resize(usize::try_from(piece).unwrap_or(0), 0);
        around.view.read(from.checked_add(done).ok_or(from)?, &mut buffer)?;
        around.view.write(to.checked_add(done).ok_or(to)?, &buffer)?;
        done += piece;
        around.report.copied = around.report.copied.saturating_add(piece);
    }
    Ok(())
}

/// Fills memory with a word, or with a byte.
fn fill(around: &mut Surroundings<'_>, words: &Words) -> Result<(), u64> {
    let count = u64::from(words.get(4) & 0x3fff_ffff);
    // Bits 30 and 31 are the logarithm of the element's size; the count is of bytes, less one element.
    let (length, unit) = if words.get(0) >> 30 == 2 { (count / 4 * 4 + 4, 4) } else { (count + 1, 1) };
    let pattern = words.get(3).to_le_bytes();
    let pattern = pattern.get(..unit).unwrap_or(&pattern);
    let buffer = pattern.repeat(usize::try_from(length.min(PIECE)).unwrap_or(0) / unit);
    let to = words.long(1);
    let mut done = 0;
    while done < length {
        let piece = usize::try_from(length - done).unwrap_or(usize::MAX).min(buffer.len());
        around.view.write(to.checked_add(done).ok_or(to)?, buffer.get(..piece).unwrap_or(&buffer))?;
        done += piece.max(1) as u64;
        around.report.copied = around.report.copied.saturating_add(piece as u64);
    }
    Ok(())
}

/// Whether what a packet waits for is so.
fn is_met(around: &Surroundings<'_>, words: &Words) -> Result<bool, u64> {
    let function = words.get(0) >> 28 & 7;
    // Without a comparison it only flushes a write buffer. Registers have no simulation, nothing waits for them.
    if function == 0 || words.get(0) >> 31 == 0 {
        return Ok(true);
    }
    let found = around.view.read_u32(words.long(1))? & words.get(4);
    let wanted = words.get(3);
    Ok(match function {
        1 => found < wanted,
        2 => found <= wanted,
        3 => found == wanted,
        4 => found != wanted,
        5 => found >= wanted,
        _ => found > wanted,
    })
}

/// One side of a copy of a rectangle: where it begins, and the bytes from row to row and from slice to slice.
struct Side {
    base: u64,
    pitch: u64,
    slice: u64,
}

impl Side {
    /// Widths of the fields of offsets, and of pitches.
    fn read(words: &Words, first: usize, newer: bool, element: u32) -> Option<Self> {
        let (xy, z, pitch_at) = if newer { (16, 14, 16) } else { (14, 11, 13) };
        let mask = |bits: u32| (1_u64 << bits) - 1;
        let offsets = u64::from(words.get(first + 2));
        let (x, y) = (offsets & mask(xy), offsets >> 16 & mask(xy));
        let next = u64::from(words.get(first + 3));
        let slice_mask = mask(if newer { 32 } else { 28 });
        let scaled = |value: u64| value << element;
        let pitch = scaled((next >> pitch_at) + 1);
        let slice = scaled((u64::from(words.get(first + 4)) & slice_mask) + 1);
        let inside = (next & mask(z)).checked_mul(slice)?.checked_add(y * pitch)?.checked_add(scaled(x))?;
        Some(Self { base: words.long(first).checked_add(inside)?, pitch, slice })
    }

    fn row(&self, y: u64, z: u64) -> Option<u64> {
        self.base.checked_add(y.checked_mul(self.pitch)?)?.checked_add(z.checked_mul(self.slice)?)
    }
}

/// Copies rows of a rectangle or box; does nothing and returns whether it is one of a size that could be meant.
fn rectangle(around: &mut Surroundings<'_>, words: &Words) -> Result<bool, u64> {
    let newer = around.major >= 12;
    let element = words.get(0) >> 29;
    let from = Side::read(words, 1, newer, element).ok_or(0_u64)?;
    let to = Side::read(words, 6, newer, element).ok_or(0_u64)?;
    let (xy, z) = if newer { (0xffff, 0x3fff) } else { (0x3fff, 0x7ff) };
    let size = words.get(11);
    let width = (u64::from(size & xy) + 1) << element;
    let (rows, slices) = (u64::from(size >> 16 & xy) + 1, u64::from(words.get(12) & z) + 1);
    if rows * slices > MOST_ROWS || rows * slices * width > MOST_BYTES {
        return Ok(false);
    }
    for slice in 0..slices {
        for row in 0..rows {
            let (from, to) = (from.row(row, slice).ok_or(from.base)?, to.row(row, slice).ok_or(to.base)?);
            copy(around, from, to, width)?;
        }
    }
    Ok(true)
}
