//! gfx11's products of matrices (WMMA), and sums of products whose parts may be signed or not.
//!
//! A wave multiplies matrices of 16 by 16 numbers: D = A * B + C. Lane `n` of the first 16 has row `n` of A and column `n`
//! of B, 16 numbers one after the other; the other lanes have copies. C and D are spread over all lanes: a lane has the
//! numbers of column `lane % 16`, and a register those of a row for every 16 lanes ("RDNA 3 Instruction Set
//! Architecture", section 7.9).
//!
//! The documents don't say in which order products with fractions are added, nor how often the sum is rounded. Here each
//! one is added to a number of 32 bits, in order.

use super::{NO, Row, VectorAction, VectorOperation, row};
use crate::bfloat;
use crate::half;
use crate::instruction::Vector;
use crate::operand::Operand;
use crate::operand::Type::{B32, F16, F32};
use crate::problem::Obstacle;
use crate::wave::Wave;

type Done = Result<(), Obstacle>;

/// Rows and columns of a matrix.
const SIZE: usize = 16;

/// How numbers with a fraction are held in 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Short {
    Half,
    Bfloat,
}

impl Short {
    fn value(self, bits: u32) -> f32 {
        match self {
            Self::Half => half::value(bits as u16),
            Self::Bfloat => bfloat::value(bits as u16),
        }
    }

    fn nearest(self, value: f32) -> u32 {
        match self {
            Self::Half => half::nearest(value.into()),
            Self::Bfloat => bfloat::nearest(value),
        }
        .into()
    }
}

const fn wave(apply: fn(&mut Wave, &Vector) -> Done) -> VectorOperation {
    VectorOperation::new(B32, &[B32; 3], VectorAction::Wave(apply))
}

#[rustfmt::skip]
pub(super) const VOP3P: &[Row<VectorOperation>] = &[
    row("v_dot4_i32_iu8", NO, 22, wave(|wave, vector| dot_integers(wave, vector, 8))),
    row("v_dot8_i32_iu4", NO, 24, wave(|wave, vector| dot_integers(wave, vector, 4))),
    row("v_dot2_f32_bf16", NO, 26, wave(dot_bfloats)),
    row("v_wmma_f32_16x16x16_f16", NO, 64, wave(|wave, vector| multiply_floats(wave, vector, Short::Half, true))),
    row("v_wmma_f32_16x16x16_bf16", NO, 65, wave(|wave, vector| multiply_floats(wave, vector, Short::Bfloat, true))),
    row("v_wmma_f16_16x16x16_f16", NO, 66, wave(|wave, vector| multiply_floats(wave, vector, Short::Half, false))),
    row("v_wmma_bf16_16x16x16_bf16", NO, 67, wave(|wave, vector| multiply_floats(wave, vector, Short::Bfloat, false))),
    row("v_wmma_i32_16x16x16_iu8", NO, 68, wave(|wave, vector| multiply_integers(wave, vector, 8))),
    row("v_wmma_i32_16x16x16_iu4", NO, 69, wave(|wave, vector| multiply_integers(wave, vector, 4))),
];

fn has(bits: u8, index: u8) -> bool {
    bits >> index & 1 != 0
}

/// One number of `width` bits, with its sign or without.
fn integer(word: u32, index: usize, width: usize, is_signed: bool) -> i64 {
    let bits = i64::from(word) >> (width * index) & ((1 << width) - 1);
    if is_signed && bits >> (width - 1) != 0 { bits - (1 << width) } else { bits }
}

/// A sum as 32 bits: the nearest number that fits if the instruction says so, or what is left of it.
fn fit(sum: i64, vector: &Vector) -> u32 {
    let sum = if vector.clamp { sum.clamp(i32::MIN.into(), i32::MAX.into()) } else { sum };
    sum as u32
}

/// A number, negated if asked for.
fn negated(value: f32, negate: bool) -> f32 {
    if negate { -value } else { value }
}

/// Sums of products of all numbers in two registers. The bits for negation say which have signs.
#[allow(clippy::unnecessary_wraps, reason = "rows of the table return this")]
fn dot_integers(wave: &mut Wave, vector: &Vector, width: usize) -> Done {
    let [a, b, c] = vector.sources.map(|source| wave.lanes(source, B32, false));
    for lane in wave.active() {
        let product = |index: usize| {
            let first = integer(a[lane] as u32, index, width, has(vector.negate, 0));
            first * integer(b[lane] as u32, index, width, has(vector.negate, 1))
        };
        let sum: i64 = (0..32 / width).map(product).sum();
        wave.set_vector(vector.destination, lane, fit(sum + i64::from((c[lane] as u32).cast_signed()), vector));
    }
    Ok(())
}

/// The sum of two products, and then of that and C. AMD's text says for no RDNA 3 what negation does to C.
fn dot_bfloats(wave: &mut Wave, vector: &Vector) -> Done {
    if has(vector.negate, 2) || has(vector.negate_upper, 2) {
        return Err(Obstacle::Unsupported("negation of what v_dot2_f32_bf16 adds"));
    }
    let [a, b, c] = vector.sources.map(|source| wave.lanes(source, F32, false));
    for lane in wave.active() {
        let part = |bits: u64, source: u8, is_upper: bool| {
            let (halves, negate) =
                if is_upper { (vector.upper_halves, vector.negate_upper) } else { (vector.halves, vector.negate) };
            let shift = if has(halves, source) { 16 } else { 0 };
            negated(bfloat::value((bits >> shift) as u16), has(negate, source))
        };
        let product = part(a[lane], 0, false) * part(b[lane], 1, false);
        let mut sum = part(a[lane], 0, true).mul_add(part(b[lane], 1, true), product) + f32::from_bits(c[lane] as u32);
        if vector.clamp {
            sum = if sum.is_nan() { 0.0 } else { sum.clamp(0.0, 1.0) };
        }
        wave.set_vector(vector.destination, lane, sum.to_bits());
    }
    Ok(())
}

/// The row or column of 16 numbers of `width` bits that a lane has in the registers of A or B.
fn numbers(wave: &Wave, source: Operand, lane: usize, width: usize) -> Result<[u32; SIZE], Obstacle> {
    let Operand::Vector(register) = source else { return Err(Obstacle::Unsupported("a matrix that is no registers")) };
    Ok(std::array::from_fn(|index| {
        let word = wave.vector_at(register, index * width / 32, lane);
        word >> (index * width % 32) & u32::MAX >> (32 - width)
    }))
}

/// Where C and D have a number: the register after the first one, and the lane.
fn place(wave: &Wave, row: usize, column: usize) -> (usize, usize) {
    let rows = wave.size / SIZE;
    (row / rows, row % rows * SIZE + column)
}

/// A number of C: constants are the same everywhere.
fn addend(wave: &Wave, source: Operand, (register, lane): (usize, usize), kind: crate::operand::Type) -> u32 {
    match source {
        Operand::Vector(number) => wave.vector_at(number, register, lane),
        other => wave.uniform(other, kind) as u32,
    }
}

/// Makes D of A, B and C: `apply` gets a row, a column, and what C has there. All lanes take part, whatever EXEC says.
fn multiply(
    wave: &mut Wave,
    vector: &Vector,
    width: usize,
    kind: crate::operand::Type,
    apply: impl Fn(&[u32; SIZE], &[u32; SIZE], u32, u32) -> u32,
) -> Done {
    let matrix = |source| -> Result<Vec<[u32; SIZE]>, Obstacle> {
        (0..SIZE).map(|lane| numbers(wave, source, lane, width)).collect()
    };
    let (a, b) = (matrix(vector.sources[0])?, matrix(vector.sources[1])?);
    let mut results = Vec::with_capacity(SIZE * SIZE);
    for (row, first) in a.iter().enumerate() {
        for (column, second) in b.iter().enumerate() {
            let (register, lane) = place(wave, row, column);
            let before = wave.vector_at(vector.destination, register, lane);
            let addend = addend(wave, vector.sources[2], (register, lane), kind);
            results.push((register, lane, apply(first, second, addend, before)));
        }
    }
    for (register, lane, value) in results {
        wave.set_vector_at(vector.destination, register, lane, value);
    }
    Ok(())
}

fn multiply_integers(wave: &mut Wave, vector: &Vector, width: usize) -> Done {
    let [first_signed, second_signed] = [0, 1].map(|source| has(vector.negate, source));
    multiply(wave, vector, width, B32, |a, b, c, _| {
        let product = |(a, b): (&u32, &u32)| integer(*a, 0, width, first_signed) * integer(*b, 0, width, second_signed);
        fit(a.iter().zip(b).map(product).sum::<i64>() + i64::from(c.cast_signed()), vector)
    })
}

/// `is_wide` is for C and D of 32 bits. Those of 16 are in one half of their registers; the other half stays.
fn multiply_floats(wave: &mut Wave, vector: &Vector, short: Short, is_wide: bool) -> Done {
    if vector.clamp {
        return Err(Obstacle::Unsupported("a limit for a product of matrices"));
    }
    let is_constant = !matches!(vector.sources[2], Operand::Vector(_));
    if is_constant && !is_wide && short == Short::Bfloat && vector.sources[2] != Operand::Integer(0) {
        return Err(Obstacle::Unsupported("a constant for a matrix"));
    }
    // The numbers with even places, and those with odd ones, are negated apart.
    let negates = |source: u8, index: usize| {
        has(if index.is_multiple_of(2) { vector.negate } else { vector.negate_upper }, source)
    };
    // The third source's bits choose the half: what C has, and what D gets.
    let shift = if !is_wide && has(vector.halves, 2) { 16 } else { 0 };
    let kind = if is_wide { F32 } else { F16 };
    multiply(wave, vector, 16, kind, |a, b, c, before| {
        let c = if is_wide { f32::from_bits(c) } else { short.value(if is_constant { c } else { c >> shift }) };
        let c = if has(vector.negate_upper, 2) { c.abs() } else { c };
        let mut sum = negated(c, has(vector.negate, 2));
        for (index, (a, b)) in a.iter().zip(b).enumerate() {
            let a = negated(short.value(*a), negates(0, index));
            let b = negated(short.value(*b), negates(1, index));
            sum = a.mul_add(b, sum);
        }
        if is_wide { sum.to_bits() } else { before & !(0xffff << shift) | short.nearest(sum) << shift }
    })
}
