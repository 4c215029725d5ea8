//! Decodes instructions that access memory: the encodings SMEM, FLAT, MUBUF and DS.

use super::{UnknownInstruction, Words, bits, byte, instruction, signed};
use crate::instruction::{Action, Buffer, Flat, Instruction, Local, ScalarLoad, Segment};
use crate::operand::{Operand, register, scalar};
use crate::table::{Access, ScalarMemory, Tables};

pub(super) fn smem(tables: &'static Tables, words: Words<'_>) -> Result<Instruction, UnknownInstruction> {
    let (first, second) = (words.get(0), words.get(1));
    let number = bits(first, 18, 8);
    let (name, operation) = tables.scalar_memory(number).ok_or_else(|| words.unknown("SMEM", number))?;
    let load = ScalarLoad {
        operation,
        destination: scalar(byte(first, 6) & 0x7f, words.is_gfx11()),
        base: (byte(first, 0) & 0x3f) * 2,
        offset: signed(bits(second, 0, 21), 21),
        register: scalar((second >> 25) as u8, words.is_gfx11()),
    };
    let last = match operation {
        ScalarMemory::Load { registers, .. } => u32::from(load.destination) + u32::from(registers),
        ScalarMemory::Time | ScalarMemory::Nothing => 0,
    };
    if last > 128 && load.destination != register::NULL {
        return Err(UnknownInstruction::operand(name));
    }
    Ok(instruction(name, 2, Action::ScalarMemory(load)))
}

pub(super) fn flat(tables: &'static Tables, words: Words<'_>) -> Result<Instruction, UnknownInstruction> {
    let (first, second) = (words.get(0), words.get(1));
    let is_gfx11 = words.is_gfx11();
    let number = bits(first, 18, 7);
    let segment = match bits(first, if is_gfx11 { 16 } else { 14 }, 2) {
        0 => Segment::Any,
        1 => Segment::Private,
        2 => Segment::Global,
        _ => return Err(UnknownInstruction::encoding("FLAT with segment 3")),
    };
    let encoding = match segment {
        Segment::Any => "FLAT",
        Segment::Private => "SCRATCH",
        Segment::Global => "GLOBAL",
    };
    // Caches, of which there are none.
    let found = tables
        .flat(number)
        .filter(|(_, operation)| segment != Segment::Private || !matches!(operation, Access::Atomic { .. }));
    let (_, operation) = found.ok_or_else(|| words.unknown(encoding, number))?;
    let name =
        crate::names::name(words.architecture, encoding, number).ok_or_else(|| words.unknown(encoding, number))?;
    // gfx10 has LDS at bit 13 instead.
    if !is_gfx11 && bits(first, 13, 1) != 0 {
        return Err(UnknownInstruction::operand(name));
    }
    let base = scalar(byte(second, 16) & 0x7f, is_gfx11);
    let base = (segment != Segment::Any && base != register::NULL).then_some(base);
    let has_address = match segment {
        Segment::Any | Segment::Global => true,
        // In gfx11 a bit says so, in gfx10 there is either the one or the other.
        Segment::Private if is_gfx11 => bits(second, 23, 1) != 0,
        Segment::Private => base.is_none(),
    };
    let flat = Flat {
        operation,
        segment,
        address: has_address.then_some(byte(second, 0)),
        base,
        data: byte(second, 8),
        destination: byte(second, 24),
        offset: if is_gfx11 { signed(bits(first, 0, 13), 13) } else { signed(bits(first, 0, 12), 12) },
        returns: bits(first, if is_gfx11 { 14 } else { 16 }, 1) != 0,
    };
    Ok(instruction(name, 2, Action::Flat(flat)))
}

pub(super) fn mubuf(tables: &'static Tables, words: Words<'_>) -> Result<Instruction, UnknownInstruction> {
    let (first, second) = (words.get(0), words.get(1));
    let is_gfx11 = words.is_gfx11();
    let number = bits(first, 18, 8);
    let (name, operation) = tables.buffer(number).ok_or_else(|| words.unknown("MUBUF", number))?;
    let scalar_offset = Operand::decode(second >> 24, is_gfx11).ok_or_else(|| UnknownInstruction::operand(name))?;
    let flag = |in_gfx10: (u32, u32), in_gfx11: (u32, u32)| {
        let (word, bit) = if is_gfx11 { in_gfx11 } else { in_gfx10 };
        bits(words.get(word as usize), bit, 1) != 0
    };
    let buffer = Buffer {
        operation,
        descriptor: (byte(second, 16) & 0x1f) * 4,
        address: byte(second, 0),
        data: byte(second, 8),
        scalar_offset,
        offset: bits(first, 0, 12),
        has_offset: flag((0, 12), (1, 22)),
        has_index: flag((0, 13), (1, 23)),
        returns: flag((0, 14), (0, 14)),
    };
    // Loads into LDS, and the bit that reports what is not resident.
    let unknown = flag((0, 16), (1, 21)) || flag((1, 23), (1, 21));
    if unknown && !operation.does_nothing() {
        return Err(UnknownInstruction::operand(name));
    }
    Ok(instruction(name, 2, Action::Buffer(buffer)))
}

pub(super) fn ds(tables: &'static Tables, words: Words<'_>) -> Result<Instruction, UnknownInstruction> {
    let (first, second) = (words.get(0), words.get(1));
    let number = bits(first, 18, 8);
    let (name, operation) = tables.local(number).ok_or_else(|| words.unknown("DS", number))?;
    if bits(first, 17, 1) != 0 {
        return Err(UnknownInstruction { name: format!("{name} on memory of the whole GPU") });
    }
    let local = Local {
        operation,
        address: byte(second, 0),
        data: [byte(second, 8), byte(second, 16)],
        destination: byte(second, 24),
        offsets: [byte(first, 0), byte(first, 8)],
    };
    Ok(instruction(name, 2, Action::Local(local)))
}
