//! Decodes the encoding VOPD: two vector instructions at once, which waves of 32 lanes have in gfx11.

use super::vector::plain;
use super::{UnknownInstruction, Words, bits, byte};
use crate::instruction::{Action, Instruction, Vector};
use crate::operand::Operand;
use crate::table::{Encoding, Tables, VectorAction};

/// Numbers in the shorter form of what the pairs can be made of, by their numbers there.
const VOP2: [(u32, u32); 15] = [
    (0, 43),
    (1, 45),
    (2, 44),
    (3, 8),
    (4, 3),
    (5, 4),
    (6, 5),
    (7, 7),
    (9, 1),
    (10, 16),
    (11, 15),
    (12, 2),
    (16, 37),
    (17, 24),
    (18, 27),
];
/// The one that only copies is in another encoding.
const MOVE: u32 = 8;
const LITERAL: u32 = 255;

/// One half: its number, first and second source, and destination.
struct Half {
    number: u32,
    first: u32,
    second: u8,
    destination: u8,
}

pub(super) fn vopd(tables: &'static Tables, words: Words<'_>) -> Result<Instruction, UnknownInstruction> {
    let (first, second) = (words.get(0), words.get(1));
    let destination = byte(second, 24);
    let halves = [
        Half { number: bits(first, 22, 4), first: bits(first, 0, 9), second: byte(first, 9), destination },
        Half {
            number: bits(first, 17, 5),
            first: bits(second, 0, 9),
            second: byte(second, 9),
            // The lowest bit is the opposite of the other half's.
            destination: (bits(second, 17, 7) << 1) as u8 | !destination & 1,
        },
    ];
    let mut size = 2;
    let [x, y] = halves;
    let x = read(tables, words, &x, &mut size)?;
    let y = read(tables, words, &y, &mut size)?;
    let (name_x, name_y) = (x.0, y.0);
    let name = if name_x == name_y { name_x } else { "v_dual" };
    Ok(super::instruction(name, size, Action::Dual(Box::new([x.1, y.1]))))
}

fn read(
    tables: &'static Tables,
    words: Words<'_>,
    half: &Half,
    size: &mut usize,
) -> Result<(&'static str, Vector), UnknownInstruction> {
    let found = if half.number == MOVE {
        tables.vector(Encoding::VOP1, 1)
    } else {
        let short = VOP2.iter().find(|(number, _)| *number == half.number);
        short.and_then(|(_, number)| tables.vector(Encoding::VOP2, *number))
    };
    let (name, operation) = found.ok_or_else(|| words.unknown("VOPD", half.number))?;
    let mut literal = || {
        *size = 3;
        Operand::Literal(words.get(2))
    };
    let first = if half.first == LITERAL {
        literal()
    } else {
        Operand::decode(half.first, true).ok_or_else(|| UnknownInstruction::operand(name))?
    };
    let second = Operand::Vector(half.second);
    let sources = match operation.action {
        VectorAction::WithLiteral { third: true, .. } => [first, second, literal()],
        VectorAction::WithLiteral { third: false, .. } => [first, literal(), second],
        VectorAction::Accumulate(_) => [first, second, Operand::Vector(half.destination)],
        _ => [first, second, Operand::Integer(0)],
    };
    Ok((name, plain(name, operation, half.destination, sources)))
}
