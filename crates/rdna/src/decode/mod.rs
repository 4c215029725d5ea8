//! Decodes instructions: from their words to an [`Instruction`].
//!
//! An instruction has one or two words, and one more for a literal or for what chooses lanes. The highest bits of the first
//! word say in which of the encodings it is.

mod dual;
mod memory;
mod scalar;
mod vector;

use crate::architecture::Architecture;
use crate::instruction::{Action, Instruction};
use crate::names;
use crate::table::{Encoding, Tables};

/// Most words of an instruction.
pub(crate) const WORDS: usize = 3;

/// An instruction that isn't known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the interpreter does not know {name}")]
pub struct UnknownInstruction {
    /// Its name, or its encoding and number.
    pub name: String,
}

impl UnknownInstruction {
    fn new(architecture: Architecture, encoding: &str, number: u32) -> Self {
        let name = names::name(architecture, encoding, number);
        Self { name: name.map_or_else(|| format!("{encoding} instruction {number}"), str::to_owned) }
    }

    /// For encodings that no number is looked at of.
    fn encoding(encoding: &str) -> Self {
        Self { name: format!("{encoding} instructions") }
    }

    /// For known instructions with operands that don't exist.
    fn operand(name: &str) -> Self {
        Self { name: format!("the operands of {name}") }
    }
}

/// The words of an instruction, and of what follows it.
#[derive(Debug, Clone, Copy)]
struct Words<'a> {
    words: &'a [u32],
    architecture: Architecture,
}

impl Words<'_> {
    fn get(&self, index: usize) -> u32 {
        self.words.get(index).copied().unwrap_or(0)
    }

    fn is_gfx11(&self) -> bool {
        self.architecture == Architecture::Gfx11
    }

    fn unknown(&self, encoding: &str, number: u32) -> UnknownInstruction {
        UnknownInstruction::new(self.architecture, encoding, number)
    }
}

/// So many bits of a word.
fn bits(word: u32, lowest: u32, count: u32) -> u32 {
    word >> lowest & ((1 << count) - 1)
}

fn byte(word: u32, lowest: u32) -> u8 {
    bits(word, lowest, 8).to_le_bytes()[0]
}

/// A number with a sign of so many bits.
fn signed(word: u32, count: u32) -> i32 {
    (word << (32 - count)).cast_signed() >> (32 - count)
}

fn instruction(name: &'static str, words: usize, action: Action) -> Instruction {
    Instruction { name, size: 4 * words as u64, action }
}

/// The first instruction of these words. Words that are missing are taken for 0, which is for callers to notice by its size.
pub(crate) fn decode(architecture: Architecture, words: &[u32]) -> Result<Instruction, UnknownInstruction> {
    let words = Words { words, architecture };
    let first = words.get(0);
    let tables = Tables::of(architecture);
    if first >> 31 == 0 {
        return match first >> 25 {
            0b011_1111 => vector::vop1(tables, words),
            0b011_1110 => vector::vopc(tables, words),
            _ => vector::vop2(tables, words),
        };
    }
    if first >> 30 == 0b10 {
        return match first >> 23 {
            0b1_0111_1101 => scalar::decode(tables, words, Encoding::SOP1),
            0b1_0111_1110 => scalar::decode(tables, words, Encoding::SOPC),
            0b1_0111_1111 => scalar::decode(tables, words, Encoding::SOPP),
            _ if first >> 28 == 0b1011 => scalar::decode(tables, words, Encoding::SOPK),
            _ => scalar::decode(tables, words, Encoding::SOP2),
        };
    }
    match first >> 26 {
        0b11_0010 if words.is_gfx11() => dual::vopd(tables, words),
        0b11_0011 if first >> 24 == 0b1100_1100 => vector::vop3p(tables, words),
        0b11_0101 => vector::vop3(tables, words),
        0b11_0110 => memory::ds(tables, words),
        0b11_0111 => memory::flat(tables, words),
        0b11_1000 => memory::mubuf(tables, words),
        0b11_1010 => Err(UnknownInstruction::encoding("MTBUF")),
        0b11_1100 => Err(UnknownInstruction::encoding("MIMG")),
        0b11_1101 => memory::smem(tables, words),
        0b11_1110 => Err(UnknownInstruction::encoding("EXP")),
        _ => Err(UnknownInstruction::encoding(&format!("{:#08b}", first >> 26))),
    }
}
