//! Vector instructions on pairs of 16 bits, and sums of products.

use super::lane::{f16_of, lane, maximum, minimum, short, signed};
use super::vector2::{dot_f16, dot_i8, fma16};
use super::{NO, Row, VectorAction, VectorOperation, row};
use crate::half;
use crate::operand::Type::{self, B16, B32, F16, F32};

const fn shorts(sources: &'static [Type], apply: fn([u64; 3]) -> u64) -> VectorOperation {
    VectorOperation::new(B16, sources, VectorAction::Packed(apply))
}

const fn halves(sources: &'static [Type], apply: fn([u64; 3]) -> u64) -> VectorOperation {
    VectorOperation::new(F16, sources, VectorAction::Packed(apply))
}

const fn mixed(result: Type, upper: bool) -> VectorOperation {
    VectorOperation::new(result, &[F32; 3], VectorAction::Mixed { upper })
}

fn bits(value: i16) -> u64 {
    value.cast_unsigned().into()
}

fn half_bits(value: f64) -> u64 {
    half::nearest(value).into()
}

/// A sum of products of parts with so many bits.
fn dot([a, b, c]: [u64; 3], width: u32) -> u64 {
    let part = |bits: u64, index: u32| bits >> (width * index) & ((1 << width) - 1);
    ((0..32 / width).map(|index| part(a, index) * part(b, index)).sum::<u64>() + c) & 0xffff_ffff
}

/// The same, of parts with a sign.
fn dot_signed([a, b, c]: [u64; 3], width: u32) -> u64 {
    let part =
        |bits: u64, index: u32| i64::from(signed(bits << (32 - width * (index + 1)) & 0xffff_ffff) >> (32 - width));
    let sum: i64 = (0..32 / width).map(|index| part(a, index) * part(b, index)).sum();
    sum.wrapping_add(signed(c).into()).cast_unsigned() & 0xffff_ffff
}

#[rustfmt::skip]
pub(super) const VOP3P: &[Row<VectorOperation>] = &[
    row("v_pk_mad_i16", 0, 0, shorts(&[B16; 3], |[a, b, c]| (a * b + c) & 0xffff)),
    row("v_pk_mul_lo_u16", 1, 1, shorts(&[B16; 2], |[a, b, _]| (a * b) & 0xffff)),
    row("v_pk_add_i16", 2, 2, shorts(&[B16; 2], |[a, b, _]| (a + b) & 0xffff).limited(|[a, b, _]| bits(short(a).saturating_add(short(b))))),
    row("v_pk_sub_i16", 3, 3, shorts(&[B16; 2], |[a, b, _]| a.wrapping_sub(b) & 0xffff).limited(|[a, b, _]| bits(short(a).saturating_sub(short(b))))),
    row("v_pk_lshlrev_b16", 4, 4, shorts(&[B16; 2], |[a, b, _]| b << (a & 15) & 0xffff)),
    row("v_pk_lshrrev_b16", 5, 5, shorts(&[B16; 2], |[a, b, _]| b >> (a & 15))),
    row("v_pk_ashrrev_i16", 6, 6, shorts(&[B16; 2], |[a, b, _]| bits(short(b) >> (a & 15)))),
    row("v_pk_max_i16", 7, 7, shorts(&[B16; 2], |[a, b, _]| bits(short(a).max(short(b))))),
    row("v_pk_min_i16", 8, 8, shorts(&[B16; 2], |[a, b, _]| bits(short(a).min(short(b))))),
    row("v_pk_mad_u16", 9, 9, shorts(&[B16; 3], |[a, b, c]| (a * b + c) & 0xffff)),
    row("v_pk_add_u16", 10, 10, shorts(&[B16; 2], |[a, b, _]| (a + b) & 0xffff).limited(|[a, b, _]| (a + b).min(0xffff))),
    row("v_pk_sub_u16", 11, 11, shorts(&[B16; 2], |[a, b, _]| a.wrapping_sub(b) & 0xffff).limited(|[a, b, _]| a.saturating_sub(b))),
    row("v_pk_max_u16", 12, 12, shorts(&[B16; 2], |[a, b, _]| a.max(b))),
    row("v_pk_min_u16", 13, 13, shorts(&[B16; 2], |[a, b, _]| a.min(b))),
    row("v_pk_fma_f16", 14, 14, halves(&[F16; 3], fma16)),
    row("v_pk_add_f16", 15, 15, halves(&[F16; 2], |[a, b, _]| half_bits(f16_of(a) + f16_of(b)))),
    row("v_pk_mul_f16", 16, 16, halves(&[F16; 2], |[a, b, _]| half_bits(f16_of(a) * f16_of(b)))),
    row("v_pk_min_f16", 17, 17, halves(&[F16; 2], |[a, b, _]| half_bits(minimum(f16_of(a), f16_of(b))))),
    row("v_pk_max_f16", 18, 18, halves(&[F16; 2], |[a, b, _]| half_bits(maximum(f16_of(a), f16_of(b))))),
    row("v_dot2_f32_f16", 19, 19, lane(B32, &[B32; 3], dot_f16)),
    row("v_dot2_i32_i16", 20, NO, lane(B32, &[B32; 3], |sources| dot_signed(sources, 16))),
    row("v_dot2_u32_u16", 21, NO, lane(B32, &[B32; 3], |sources| dot(sources, 16))),
    row("v_dot4_i32_i8", 22, NO, lane(B32, &[B32; 3], dot_i8)),
    row("v_dot4_u32_u8", 23, 23, lane(B32, &[B32; 3], |sources| dot(sources, 8))),
    row("v_dot8_i32_i4", 24, NO, lane(B32, &[B32; 3], |sources| dot_signed(sources, 4))),
    row("v_dot8_u32_u4", 25, 25, lane(B32, &[B32; 3], |sources| dot(sources, 4))),
    row("v_fma_mix_f32", 32, 32, mixed(F32, false)),
    row("v_fma_mixlo_f16", 33, 33, mixed(F16, false)),
    row("v_fma_mixhi_f16", 34, 34, mixed(F16, true)),
];
