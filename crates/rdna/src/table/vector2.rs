//! Vector instructions with two sources in their shorter form.

use super::lane::{
    accumulate, b32_lane, bits16, bits32, f16_lane, f16_of, f32_lane, f32_of, i32_lane, lane, maximum, maximum32,
    minimum, minimum32, scale, short, signed, signed24,
};
use super::{FlagsIn, NO, Row, VectorAction, VectorOperation, row};
use crate::half;
use crate::operand::Type::{self, B16, B32, F16, F32};

/// The two 32-bit sources of operations with a flag, which is not among them.
pub(super) const ADD_BITS: &[Type] = &[B32, B32];

/// Adds with a bit of a scalar register, and makes one.
const fn carry(apply: fn([u64; 3], bool) -> (u64, bool)) -> VectorOperation {
    let action = VectorAction::Flags { input: FlagsIn::Carry, output: true, apply };
    VectorOperation::new(B32, ADD_BITS, action)
}

const fn with_literal(
    kind: Type,
    sources: &'static [Type],
    third: bool,
    apply: fn([u64; 3]) -> u64,
) -> VectorOperation {
    VectorOperation::new(kind, sources, VectorAction::WithLiteral { third, apply })
}

pub(super) fn add(a: u64, b: u64, carry: bool) -> (u64, bool) {
    let sum = a + b + u64::from(carry);
    (sum & 0xffff_ffff, sum >> 32 != 0)
}

pub(super) fn subtract(a: u64, b: u64, borrow: bool) -> (u64, bool) {
    let taken = b + u64::from(borrow);
    (a.wrapping_sub(taken) & 0xffff_ffff, a < taken)
}

/// A product that is 0 if either factor is, whatever the other one is.
pub(super) fn legacy_product(a: f32, b: f32) -> f32 {
    if a == 0.0 || b == 0.0 { 0.0 } else { a * b }
}

pub(super) fn fma32([a, b, c]: [u64; 3]) -> u64 {
    bits32(f32_of(a).mul_add(f32_of(b), f32_of(c)))
}

pub(super) fn fma16([a, b, c]: [u64; 3]) -> u64 {
    bits16(f16_of(a).mul_add(f16_of(b), f16_of(c)))
}

pub(super) fn pack_towards_zero(a: u64, b: u64) -> u64 {
    let half = |bits| u64::from(half::towards_zero(f32_of(bits).into()));
    half(a) | half(b) << 16
}

/// The sum of products of two halves each.
pub(super) fn dot_f16([a, b, c]: [u64; 3]) -> u64 {
    let product = |shift: u32| f16_of(a >> shift) * f16_of(b >> shift);
    bits32((product(0) + product(16) + f64::from(f32_of(c))) as f32)
}

/// The sum of products of four signed bytes.
pub(super) fn dot_i8([a, b, c]: [u64; 3]) -> u64 {
    let byte = |bits: u64, index: u32| i32::from((bits >> (8 * index)) as i8);
    let sum = (0..4).fold(signed(c), |sum, index| sum.wrapping_add(byte(a, index) * byte(b, index)));
    sum.cast_unsigned().into()
}

#[rustfmt::skip]
pub(super) const VOP2: &[Row<VectorOperation>] = &[
    row("v_cndmask_b32", 1, 1, VectorOperation::new(B32, ADD_BITS, VectorAction::Flags { input: FlagsIn::Carry, output: false, apply: |[a, b, _], flag| (if flag { b } else { a }, false) })),
    row("v_dot2c_f32_f16|v_dot2acc_f32_f16", 2, 2, accumulate(F32, &[B32, B32, F32], dot_f16)),
    row("v_add_f32", 3, 3, f32_lane!(|a, b| a + b)),
    row("v_sub_f32", 4, 4, f32_lane!(|a, b| a - b)),
    row("v_subrev_f32", 5, 5, f32_lane!(|a, b| b - a)),
    row("v_fmac_legacy_f32|v_fmac_dx9_zero_f32", 6, 6, accumulate(F32, &[F32; 3], |[a, b, c]| bits32(legacy_fma(a, b, c)))),
    row("v_mul_legacy_f32|v_mul_dx9_zero_f32", 7, 7, f32_lane!(|a, b| legacy_product(a, b))),
    row("v_mul_f32", 8, 8, f32_lane!(|a, b| a * b)),
    row("v_mul_i32_i24", 9, 9, b32_lane!(|a, b| (signed24(a) * signed24(b)).cast_unsigned() & 0xffff_ffff)),
    row("v_mul_hi_i32_i24", 10, 10, b32_lane!(|a, b| ((signed24(a) * signed24(b)) >> 32).cast_unsigned() & 0xffff_ffff)),
    row("v_mul_u32_u24", 11, 11, b32_lane!(|a, b| ((a & 0xff_ffff) * (b & 0xff_ffff)) & 0xffff_ffff)),
    row("v_mul_hi_u32_u24", 12, 12, b32_lane!(|a, b| ((a & 0xff_ffff) * (b & 0xff_ffff)) >> 32)),
    row("v_dot4c_i32_i8", 13, NO, accumulate(B32, &[B32; 3], dot_i8)),
    row("v_min_f32", 15, 15, f32_lane!(|a, b| minimum32(a, b))),
    row("v_max_f32", 16, 16, f32_lane!(|a, b| maximum32(a, b))),
    row("v_min_i32", 17, 17, i32_lane!(|a, b| a.min(b))),
    row("v_max_i32", 18, 18, i32_lane!(|a, b| a.max(b))),
    row("v_min_u32", 19, 19, b32_lane!(|a, b| a.min(b))),
    row("v_max_u32", 20, 20, b32_lane!(|a, b| a.max(b))),
    row("v_lshrrev_b32", 22, 25, b32_lane!(|a, b| b >> (a & 31))),
    row("v_ashrrev_i32", 24, 26, i32_lane!(|a, b| b >> (a & 31))),
    row("v_lshlrev_b32", 26, 24, b32_lane!(|a, b| b << (a & 31) & 0xffff_ffff)),
    row("v_and_b32", 27, 27, b32_lane!(|a, b| a & b)),
    row("v_or_b32", 28, 28, b32_lane!(|a, b| a | b)),
    row("v_xor_b32", 29, 29, b32_lane!(|a, b| a ^ b)),
    row("v_xnor_b32", 30, 30, b32_lane!(|a, b| !(a ^ b) & 0xffff_ffff)),
    row("v_add_nc_u32", 37, 37, b32_lane!(|a, b| add(a, b, false).0).limited(|[a, b, _]| (a + b).min(0xffff_ffff))),
    row("v_sub_nc_u32", 38, 38, b32_lane!(|a, b| subtract(a, b, false).0).limited(|[a, b, _]| a.saturating_sub(b))),
    row("v_subrev_nc_u32", 39, 39, b32_lane!(|a, b| subtract(b, a, false).0).limited(|[a, b, _]| b.saturating_sub(a))),
    row("v_add_co_ci_u32", 40, 32, carry(|[a, b, _], flag| add(a, b, flag))),
    row("v_sub_co_ci_u32", 41, 33, carry(|[a, b, _], flag| subtract(a, b, flag))),
    row("v_subrev_co_ci_u32", 42, 34, carry(|[a, b, _], flag| subtract(b, a, flag))),
    row("v_fmac_f32", 43, 43, accumulate(F32, &[F32; 3], fma32)),
    row("v_fmamk_f32", 44, 44, with_literal(F32, &[F32; 3], false, fma32)),
    row("v_fmaak_f32", 45, 45, with_literal(F32, &[F32; 3], true, fma32)),
    row("v_cvt_pkrtz_f16_f32|v_cvt_pk_rtz_f16_f32", 47, 47, lane(B32, &[F32; 2], |[a, b, _]| pack_towards_zero(a, b))),
    row("v_add_f16", 50, 50, f16_lane!(|a, b| a + b)),
    row("v_sub_f16", 51, 51, f16_lane!(|a, b| a - b)),
    row("v_subrev_f16", 52, 52, f16_lane!(|a, b| b - a)),
    row("v_mul_f16", 53, 53, f16_lane!(|a, b| a * b)),
    row("v_fmac_f16", 54, 54, accumulate(F16, &[F16; 3], fma16)),
    row("v_fmamk_f16", 55, 55, with_literal(F16, &[F16; 3], false, fma16)),
    row("v_fmaak_f16", 56, 56, with_literal(F16, &[F16; 3], true, fma16)),
    row("v_max_f16", 57, 57, f16_lane!(|a, b| maximum(a, b))),
    row("v_min_f16", 58, 58, f16_lane!(|a, b| minimum(a, b))),
    row("v_ldexp_f16", 59, 59, lane(F16, &[F16, B16], |[a, b, _]| bits16(scale(f16_of(a), short(b).into())))),
    row("v_pk_fmac_f16", 60, 60, accumulate(B32, &[B32; 3], |[a, b, c]| {
        fma16([a, b, c]) | fma16([a >> 16, b >> 16, c >> 16]) << 16
    })),
];

pub(super) fn legacy_fma(a: u64, b: u64, c: u64) -> f32 {
    let (first, second, sum) = (f32_of(a), f32_of(b), f32_of(c));
    if first == 0.0 || second == 0.0 { sum } else { first.mul_add(second, sum) }
}
