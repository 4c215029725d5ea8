//! Decodes vector instructions: the encodings VOP1, VOP2, VOP3, VOPC and VOP3P, with what chooses lanes and parts of
//! registers.

use super::{UnknownInstruction, Words, bits, byte, instruction};
use crate::instruction::{Action, Instruction, Part, Selection, Unused, Vector};
use crate::operand::{Operand, Type, register, scalar};
use crate::table::{Encoding, FlagsIn, Tables, VectorAction, VectorOperation};

/// Numbers of the first source that say what follows.
mod source {
    pub(super) const DPP8: u32 = 233;
    pub(super) const DPP8_FETCH_INACTIVE: u32 = 234;
    pub(super) const SDWA: u32 = 249;
    pub(super) const DPP16: u32 = 250;
    pub(super) const LITERAL: u32 = 255;
    pub(super) const VECTOR: u32 = 256;
}

/// Bits of `negate` and `absolute` of a source.
const SECOND: u8 = 1;

/// An instruction while its operands are read.
struct Reader<'a> {
    words: Words<'a>,
    name: &'static str,
    /// Words that were read.
    used: usize,
    /// The literal, which several sources may be.
    literal: Option<u32>,
    vector: Vector,
}

impl<'a> Reader<'a> {
    fn new(words: Words<'a>, found: (&'static str, &'static VectorOperation), used: usize) -> Self {
        let (name, operation) = found;
        let vector = Vector {
            operation,
            destination: 0,
            flags_out: register::VCC,
            flags_in: register::VCC,
            sources: [Operand::Integer(0); 3],
            absolute: 0,
            negate: 0,
            negate_upper: 0,
            halves: 0,
            upper_halves: 0,
            multiplier: 0,
            clamp: false,
            selection: Selection::None,
        };
        Self { words, name, used, literal: None, vector }
    }

    fn count(&self) -> usize {
        self.vector.operation.sources.len()
    }

    fn kind(&self, index: usize) -> Type {
        self.vector.operation.sources.get(index).copied().unwrap_or(Type::B32)
    }

    fn next(&mut self) -> u32 {
        let word = self.words.get(self.used);
        self.used += 1;
        word
    }

    fn literal(&mut self) -> u32 {
        let literal = self.literal.unwrap_or_else(|| self.next());
        self.literal = Some(literal);
        literal
    }

    fn invalid<T>(&self) -> Result<T, UnknownInstruction> {
        Err(UnknownInstruction::operand(self.name))
    }

    /// Reads a source with 9 bits. `is_short` is for the shorter forms, where gfx11 names halves of registers.
    fn source(&mut self, index: usize, number: u32, is_short: bool) -> Result<(), UnknownInstruction> {
        if index >= self.count() {
            return Ok(());
        }
        let operand = match number {
            source::LITERAL => Operand::Literal(self.literal()),
            source::DPP8 | source::DPP8_FETCH_INACTIVE if index == 0 => {
                let word = self.next();
                let fetch_inactive = number == source::DPP8_FETCH_INACTIVE;
                self.vector.selection = Selection::Eights { lanes: word >> 8, fetch_inactive };
                Operand::Vector(self.half(index, byte(word, 0), is_short))
            }
            source::DPP16 if index == 0 => {
                let word = self.next();
                self.rows(word)?;
                Operand::Vector(self.half(index, byte(word, 0), is_short))
            }
            number => match Operand::decode(number, self.words.is_gfx11()) {
                Some(Operand::Vector(register)) => Operand::Vector(self.half(index, register, is_short)),
                Some(operand) => operand,
                None => return self.invalid(),
            },
        };
        self.vector.sources[index] = operand;
        Ok(())
    }

    /// A vector register's number, of which the highest bit may say which half is meant.
    fn half(&mut self, index: usize, number: u8, is_short: bool) -> u8 {
        if !(is_short && self.words.is_gfx11() && self.kind(index).is_half()) {
            return number;
        }
        self.vector.halves |= (number >> 7) << index;
        number & 0x7f
    }

    fn destination(&mut self, number: u8, is_short: bool) {
        let is_half = self.vector.operation.result.is_half()
            && !matches!(self.vector.operation.action, VectorAction::Mixed { .. });
        self.vector.destination = number;
        if is_short && self.words.is_gfx11() && is_half {
            self.vector.halves |= (number >> 7) << 3;
            self.vector.destination = number & 0x7f;
        }
    }

    /// What follows the first source if lanes come from elsewhere in rows of 16.
    fn rows(&mut self, word: u32) -> Result<(), UnknownInstruction> {
        let control = bits(word, 8, 9) as u16;
        let is_known =
            matches!(control, 0..=0xff | 0x101..=0x10f | 0x111..=0x11f | 0x121..=0x12f | 0x140 | 0x141 | 0x150..=0x16f);
        if !is_known {
            return Err(UnknownInstruction { name: format!("{} with lanes by {control:#x}", self.name) });
        }
        self.vector.selection = Selection::Rows {
            control,
            fetch_inactive: bits(word, 18, 1) != 0,
            zero: bits(word, 19, 1) != 0,
            banks: bits(word, 24, 4) as u8,
            rows: bits(word, 28, 4) as u8,
        };
        self.vector.negate |= (bits(word, 20, 1) | bits(word, 22, 1) << 1) as u8;
        self.vector.absolute |= (bits(word, 21, 1) | bits(word, 23, 1) << 1) as u8;
        Ok(())
    }

    /// What follows the first word if parts of registers are meant. `second` is the second source's number.
    fn parts(&mut self, second: Option<u8>, is_comparison: bool) -> Result<(), UnknownInstruction> {
        let word = self.next();
        let register = |number: u8, is_scalar: bool| {
            if is_scalar { Operand::decode(number.into(), false) } else { Some(Operand::Vector(number)) }
        };
        let part = |lowest: u32| {
            let signed = bits(word, lowest + 3, 1) != 0;
            Part::of(bits(word, lowest, 3), signed).ok_or_else(|| UnknownInstruction::operand(self.name))
        };
        let sources = [part(16)?, part(24)?];
        let destination = if is_comparison {
            Part::WHOLE
        } else {
            Part::of(bits(word, 8, 3), false).ok_or_else(|| UnknownInstruction::operand(self.name))?
        };
        let first = register(byte(word, 0), bits(word, 23, 1) != 0);
        let second = second.map(|number| register(number, bits(word, 31, 1) != 0));
        let (Some(first), Some(second)) = (first, second.unwrap_or(Some(Operand::Integer(0)))) else {
            return self.invalid();
        };
        self.vector.sources[0] = first;
        if self.count() > 1 {
            self.vector.sources[1] = second;
        }
        self.vector.negate = (bits(word, 20, 1) | bits(word, 28, 1) << SECOND) as u8;
        self.vector.absolute = (bits(word, 21, 1) | bits(word, 29, 1) << SECOND) as u8;
        let mut unused = Unused::Zero;
        if is_comparison {
            if bits(word, 15, 1) != 0 {
                self.vector.flags_out = byte(word, 8) & 0x7f;
            }
        } else {
            self.vector.clamp = bits(word, 13, 1) != 0;
            self.vector.multiplier = bits(word, 14, 2) as u8;
            unused = match bits(word, 11, 2) {
                0 => Unused::Zero,
                1 => Unused::Sign,
                2 => Unused::Kept,
                _ => return self.invalid(),
            };
        }
        self.vector.selection = Selection::Parts { sources, destination, unused };
        Ok(())
    }

    fn done(mut self) -> Result<Instruction, UnknownInstruction> {
        if let VectorAction::Accumulate(_) = self.vector.operation.action {
            self.vector.sources[2] = Operand::Vector(self.vector.destination);
            self.vector.halves |= self.vector.halves >> 3 << 2;
        }
        // What exchanges lanes by itself can't take them from elsewhere first.
        let is_plain = matches!(self.vector.selection, Selection::None);
        if matches!(self.vector.operation.action, VectorAction::Wave(_)) && !is_plain {
            return self.invalid();
        }
        Ok(instruction(self.name, self.used, Action::Vector(self.vector)))
    }
}

impl Part {
    const WHOLE: Self = Self { shift: 0, bits: 32, signed: false };

    fn of(number: u32, signed: bool) -> Option<Self> {
        Some(match number {
            0..=3 => Self { shift: number as u8 * 8, bits: 8, signed },
            4 => Self { shift: 0, bits: 16, signed },
            5 => Self { shift: 16, bits: 16, signed },
            6 => Self { signed, ..Self::WHOLE },
            _ => return None,
        })
    }
}

pub(super) fn vop1(tables: &'static Tables, words: Words<'_>) -> Result<Instruction, UnknownInstruction> {
    let first = words.get(0);
    let number = bits(first, 9, 8);
    let found = tables.vector(Encoding::VOP1, number).ok_or_else(|| words.unknown("VOP1", number))?;
    let mut reader = Reader::new(words, found, 1);
    let (is_short, is_scalar) = (true, reader.name == "v_readfirstlane_b32");
    let destination = byte(first, 17);
    if is_scalar {
        reader.vector.destination = scalar(destination & 0x7f, words.is_gfx11());
    } else {
        reader.destination(destination, is_short);
    }
    match bits(first, 0, 9) {
        source::SDWA if !words.is_gfx11() => reader.parts(None, false)?,
        number => reader.source(0, number, is_short)?,
    }
    reader.done()
}

pub(super) fn vop2(tables: &'static Tables, words: Words<'_>) -> Result<Instruction, UnknownInstruction> {
    let first = words.get(0);
    let number = bits(first, 25, 6);
    let found = tables.vector(Encoding::VOP2, number).ok_or_else(|| words.unknown("VOP2", number))?;
    let mut reader = Reader::new(words, found, 1);
    reader.destination(byte(first, 17), true);
    let second = byte(first, 9);
    match bits(first, 0, 9) {
        source::SDWA if !words.is_gfx11() => reader.parts(Some(second), false)?,
        number => {
            reader.source(0, number, true)?;
            let second = u32::from(second) + source::VECTOR;
            match reader.vector.operation.action {
                VectorAction::WithLiteral { third, .. } => {
                    let literal = reader.literal();
                    reader.vector.sources[if third { 2 } else { 1 }] = Operand::Literal(literal);
                    reader.source(if third { 1 } else { 2 }, second, true)?;
                }
                _ => reader.source(1, second, true)?,
            }
        }
    }
    reader.done()
}

pub(super) fn vopc(tables: &'static Tables, words: Words<'_>) -> Result<Instruction, UnknownInstruction> {
    let first = words.get(0);
    let number = bits(first, 17, 8);
    let found = tables.vector(Encoding::VOPC, number).ok_or_else(|| words.unknown("VOPC", number))?;
    let mut reader = Reader::new(words, found, 1);
    let second = byte(first, 9);
    match bits(first, 0, 9) {
        source::SDWA if !words.is_gfx11() => reader.parts(Some(second), true)?,
        number => {
            reader.source(0, number, true)?;
            reader.source(1, u32::from(second) + source::VECTOR, true)?;
        }
    }
    reader.done()
}

pub(super) fn vop3(tables: &'static Tables, words: Words<'_>) -> Result<Instruction, UnknownInstruction> {
    let (first, second) = (words.get(0), words.get(1));
    let number = bits(first, 16, 10);
    let found = tables.vector(Encoding::VOP3, number).ok_or_else(|| words.unknown("VOP3", number))?;
    let mut reader = Reader::new(words, found, 2);
    let is_gfx11 = words.is_gfx11();
    let destination = byte(first, 0);
    let sources = [bits(second, 0, 9), bits(second, 9, 9), bits(second, 18, 9)];
    for (index, number) in sources.into_iter().enumerate() {
        reader.source(index, number, false)?;
    }
    reader.vector.multiplier = bits(second, 27, 2) as u8;
    reader.vector.negate |= bits(second, 29, 3) as u8;
    reader.vector.clamp = bits(first, 15, 1) != 0;
    let action = reader.vector.operation.action;
    match action {
        VectorAction::Compare { .. } => reader.vector.flags_out = scalar(destination & 0x7f, is_gfx11),
        VectorAction::Flags { input, output, .. } => {
            reader.vector.destination = destination;
            if output {
                reader.vector.flags_out = scalar(byte(first, 8) & 0x7f, is_gfx11);
            }
            if input == FlagsIn::Carry {
                let Some(Operand::Scalar(flags)) = Operand::decode(sources[2], is_gfx11) else {
                    return reader.invalid();
                };
                reader.vector.flags_in = flags;
            }
        }
        _ if matches!(reader.name, "v_readlane_b32" | "v_readfirstlane_b32") => {
            reader.vector.destination = scalar(destination & 0x7f, is_gfx11);
        }
        _ => reader.vector.destination = destination,
    }
    // With a scalar destination besides, its number is where these would be.
    if !matches!(action, VectorAction::Flags { output: true, .. }) {
        reader.vector.absolute |= bits(first, 8, 3) as u8;
        reader.vector.halves = bits(first, 11, 4) as u8;
    }
    reader.done()
}

pub(super) fn vop3p(tables: &'static Tables, words: Words<'_>) -> Result<Instruction, UnknownInstruction> {
    let (first, second) = (words.get(0), words.get(1));
    let number = bits(first, 16, 7);
    let found = tables.vector(Encoding::VOP3P, number).ok_or_else(|| words.unknown("VOP3P", number))?;
    let mut reader = Reader::new(words, found, 2);
    for (index, lowest) in [0, 9, 18].into_iter().enumerate() {
        reader.source(index, bits(second, lowest, 9), false)?;
    }
    reader.vector.destination = byte(first, 0);
    reader.vector.clamp = bits(first, 15, 1) != 0;
    reader.vector.negate = bits(second, 29, 3) as u8;
    reader.vector.negate_upper = bits(first, 8, 3) as u8;
    reader.vector.halves = bits(first, 11, 3) as u8;
    reader.vector.upper_halves = (bits(second, 27, 2) | bits(first, 14, 1) << 2) as u8;
    reader.done()
}

/// One half of a pair of instructions: its operands are simple.
pub(super) fn plain(
    name: &'static str,
    operation: &'static VectorOperation,
    destination: u8,
    sources: [Operand; 3],
) -> Vector {
    let words = Words { words: &[], architecture: crate::Architecture::Gfx11 };
    let mut reader = Reader::new(words, (name, operation), 0);
    reader.vector.destination = destination;
    reader.vector.sources = sources;
    reader.vector
}
