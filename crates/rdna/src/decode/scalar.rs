//! Decodes scalar instructions: the encodings SOP1, SOP2, SOPK, SOPC and SOPP.

use super::{UnknownInstruction, Words, bits, byte, instruction};
use crate::instruction::{Action, Instruction, Scalar};
use crate::operand::{Operand, scalar};
use crate::table::{Encoding, Tables};

/// Number that stands for a literal.
const LITERAL: u32 = 255;

pub(super) fn decode(
    tables: &'static Tables,
    words: Words<'_>,
    encoding: Encoding,
) -> Result<Instruction, UnknownInstruction> {
    let first = words.get(0);
    let number = match encoding {
        Encoding::SOP1 => bits(first, 8, 8),
        Encoding::SOP2 => bits(first, 23, 7),
        Encoding::SOPK => bits(first, 23, 5),
        _ => bits(first, 16, 7),
    };
    let found = tables.scalar(encoding, number);
    let (name, operation) = found.ok_or_else(|| words.unknown(&format!("{encoding:?}"), number))?;
    let destination = scalar(byte(first, 16) & 0x7f, words.is_gfx11());
    let mut size = 1;
    let mut source = |number: u32| {
        if number == LITERAL {
            size = 2;
            return Ok(Operand::Literal(words.get(1)));
        }
        Operand::decode(number, words.is_gfx11()).ok_or_else(|| UnknownInstruction::operand(name))
    };
    let before = Operand::Scalar(destination);
    let number = (first & 0xffff) as u16;
    let sources = match encoding {
        Encoding::SOP2 | Encoding::SOPC => [source(first & 0xff)?, source(bits(first, 8, 8))?],
        Encoding::SOP1 => [source(first & 0xff)?, before],
        // The one that sets a hardware register to a word that follows.
        Encoding::SOPK if name == "s_setreg_imm32_b32" => [before, source(LITERAL)?],
        Encoding::SOPK => [before, Operand::Literal(i32::from(number.cast_signed()).cast_unsigned())],
        _ => [before, before],
    };
    Ok(instruction(name, size, Action::Scalar(Scalar { operation, destination, sources, number })))
}
