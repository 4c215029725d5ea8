//! Vector instructions with one source.

use super::lane::{
    b32_lane, bits16, bits32, f16_lane, f16_of, f32_lane, f32_of, f64_lane, f64_of, lane, scale, short, signed, split,
    unsigned,
};
use super::{NO, Row, VectorOperation, row};
use crate::operand::Type::{B16, B32, F16, F32, F64};

/// Sine and cosine count whole turns.
const TURN: f64 = std::f64::consts::TAU;

fn ubyte(value: u64, index: u32) -> u64 {
    bits32((value >> (8 * index) & 0xff) as f32)
}

/// What is left over the next lower whole number; less than 1 even if it would be rounded to that.
fn fraction(value: f64, largest: f64) -> f64 {
    (value - value.floor()).min(largest)
}

/// Exponent of a number between a half and 1 times a power of two; 0 for what has none.
fn exponent(value: f64) -> i32 {
    if value == 0.0 || !value.is_finite() { 0 } else { split(value).1 + 1 }
}

/// The number between a half and 1 that, times a power of two, is the value; the value itself if there is none.
fn mantissa(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() { value } else { split(value).0 / 2.0 }
}

fn turn_of(value: f64) -> f64 {
    value.fract() * TURN
}

fn leading_sign(value: u64) -> u64 {
    let bits = signed(value) ^ signed(value) >> 31;
    if bits == 0 { u32::MAX.into() } else { bits.leading_zeros().into() }
}

fn none_if(is_none: bool, count: u32) -> u64 {
    if is_none { u32::MAX.into() } else { count.into() }
}

#[rustfmt::skip]
pub(super) const VOP1: &[Row<VectorOperation>] = &[
    row("v_mov_b32", 1, 1, b32_lane!(|a| a)),
    row("v_cvt_i32_f64", 3, 3, lane(B32, &[F64], |[a, ..]| unsigned(f64_of(a) as i32))),
    row("v_cvt_f64_i32", 4, 4, lane(F64, &[B32], |[a, ..]| f64::from(signed(a)).to_bits())),
    row("v_cvt_f32_i32", 5, 5, lane(F32, &[B32], |[a, ..]| bits32(signed(a) as f32))),
    row("v_cvt_f32_u32", 6, 6, lane(F32, &[B32], |[a, ..]| bits32(a as f32))),
    row("v_cvt_u32_f32", 7, 7, lane(B32, &[F32], |[a, ..]| (f32_of(a) as u32).into())),
    row("v_cvt_i32_f32", 8, 8, lane(B32, &[F32], |[a, ..]| unsigned(f32_of(a) as i32))),
    row("v_cvt_f16_f32", 10, 10, lane(F16, &[F32], |[a, ..]| bits16(f32_of(a).into()))),
    row("v_cvt_f32_f16", 11, 11, lane(F32, &[F16], |[a, ..]| bits32(f16_of(a) as f32))),
    row("v_cvt_rpi_i32_f32|v_cvt_nearest_i32_f32", 12, 12, lane(B32, &[F32], |[a, ..]| unsigned((f64::from(f32_of(a)) + 0.5).floor() as i32))),
    row("v_cvt_flr_i32_f32|v_cvt_floor_i32_f32", 13, 13, lane(B32, &[F32], |[a, ..]| unsigned(f32_of(a).floor() as i32))),
    row("v_cvt_f32_f64", 15, 15, lane(F32, &[F64], |[a, ..]| bits32(f64_of(a) as f32))),
    row("v_cvt_f64_f32", 16, 16, lane(F64, &[F32], |[a, ..]| f64::from(f32_of(a)).to_bits())),
    row("v_cvt_f32_ubyte0", 17, 17, lane(F32, &[B32], |[a, ..]| ubyte(a, 0))),
    row("v_cvt_f32_ubyte1", 18, 18, lane(F32, &[B32], |[a, ..]| ubyte(a, 1))),
    row("v_cvt_f32_ubyte2", 19, 19, lane(F32, &[B32], |[a, ..]| ubyte(a, 2))),
    row("v_cvt_f32_ubyte3", 20, 20, lane(F32, &[B32], |[a, ..]| ubyte(a, 3))),
    row("v_cvt_u32_f64", 21, 21, lane(B32, &[F64], |[a, ..]| (f64_of(a) as u32).into())),
    row("v_cvt_f64_u32", 22, 22, lane(F64, &[B32], |[a, ..]| f64::from(a as u32).to_bits())),
    row("v_trunc_f64", 23, 23, f64_lane!(|a| a.trunc())),
    row("v_ceil_f64", 24, 24, f64_lane!(|a| a.ceil())),
    row("v_rndne_f64", 25, 25, f64_lane!(|a| a.round_ties_even())),
    row("v_floor_f64", 26, 26, f64_lane!(|a| a.floor())),
    row("v_fract_f32", 32, 32, f32_lane!(|a| fraction(a.into(), f64::from(f32::from_bits(0x3f7f_ffff))) as f32)),
    row("v_trunc_f32", 33, 33, f32_lane!(|a| a.trunc())),
    row("v_ceil_f32", 34, 34, f32_lane!(|a| a.ceil())),
    row("v_rndne_f32", 35, 35, f32_lane!(|a| a.round_ties_even())),
    row("v_floor_f32", 36, 36, f32_lane!(|a| a.floor())),
    row("v_exp_f32", 37, 37, f32_lane!(|a| f64::from(a).exp2() as f32)),
    row("v_log_f32", 39, 39, f32_lane!(|a| f64::from(a).log2() as f32)),
    row("v_rcp_f32", 42, 42, f32_lane!(|a| 1.0 / a)),
    row("v_rcp_iflag_f32", 43, 43, f32_lane!(|a| 1.0 / a)),
    row("v_rsq_f32", 46, 46, f32_lane!(|a| (1.0 / f64::from(a).sqrt()) as f32)),
    row("v_rcp_f64", 47, 47, f64_lane!(|a| 1.0 / a)),
    row("v_rsq_f64", 49, 49, f64_lane!(|a| 1.0 / a.sqrt())),
    row("v_sqrt_f32", 51, 51, f32_lane!(|a| a.sqrt())),
    row("v_sqrt_f64", 52, 52, f64_lane!(|a| a.sqrt())),
    row("v_sin_f32", 53, 53, f32_lane!(|a| turn_of(a.into()).sin() as f32)),
    row("v_cos_f32", 54, 54, f32_lane!(|a| turn_of(a.into()).cos() as f32)),
    row("v_not_b32", 55, 55, b32_lane!(|a| !a & 0xffff_ffff)),
    row("v_bfrev_b32", 56, 56, b32_lane!(|a| u64::from((a as u32).reverse_bits()))),
    row("v_ffbh_u32|v_clz_i32_u32", 57, 57, b32_lane!(|a| none_if(a == 0, (a as u32).leading_zeros()))),
    row("v_ffbl_b32|v_ctz_i32_b32", 58, 58, b32_lane!(|a| none_if(a == 0, a.trailing_zeros()))),
    row("v_ffbh_i32|v_cls_i32", 59, 59, b32_lane!(|a| leading_sign(a))),
    row("v_frexp_exp_i32_f64", 60, 60, lane(B32, &[F64], |[a, ..]| unsigned(exponent(f64_of(a))))),
    row("v_frexp_mant_f64", 61, 61, f64_lane!(|a| mantissa(a))),
    row("v_fract_f64", 62, 62, f64_lane!(|a| fraction(a, f64::from_bits(0x3fef_ffff_ffff_ffff)))),
    row("v_frexp_exp_i32_f32", 63, 63, lane(B32, &[F32], |[a, ..]| unsigned(exponent(f32_of(a).into())))),
    row("v_frexp_mant_f32", 64, 64, f32_lane!(|a| mantissa(a.into()) as f32)),
    row("v_cvt_f16_u16", 80, 80, lane(F16, &[B16], |[a, ..]| bits16(a as f64))),
    row("v_cvt_f16_i16", 81, 81, lane(F16, &[B16], |[a, ..]| bits16(short(a).into()))),
    row("v_cvt_u16_f16", 82, 82, lane(B16, &[F16], |[a, ..]| (f16_of(a) as u16).into())),
    row("v_cvt_i16_f16", 83, 83, lane(B16, &[F16], |[a, ..]| (f16_of(a) as i16).cast_unsigned().into())),
    row("v_rcp_f16", 84, 84, f16_lane!(|a| 1.0 / a)),
    row("v_sqrt_f16", 85, 85, f16_lane!(|a| a.sqrt())),
    row("v_rsq_f16", 86, 86, f16_lane!(|a| 1.0 / a.sqrt())),
    row("v_log_f16", 87, 87, f16_lane!(|a| a.log2())),
    row("v_exp_f16", 88, 88, f16_lane!(|a| a.exp2())),
    row("v_frexp_mant_f16", 89, 89, f16_lane!(|a| mantissa(a))),
    row("v_frexp_exp_i16_f16", 90, 90, lane(B16, &[F16], |[a, ..]| unsigned(exponent(f16_of(a))) & 0xffff)),
    row("v_floor_f16", 91, 91, f16_lane!(|a| a.floor())),
    row("v_ceil_f16", 92, 92, f16_lane!(|a| a.ceil())),
    row("v_trunc_f16", 93, 93, f16_lane!(|a| a.trunc())),
    row("v_rndne_f16", 94, 94, f16_lane!(|a| a.round_ties_even())),
    row("v_fract_f16", 95, 95, f16_lane!(|a| fraction(a, 1.0 - 1.0 / 2048.0))),
    row("v_sin_f16", 96, 96, f16_lane!(|a| turn_of(a).sin())),
    row("v_cos_f16", 97, 97, f16_lane!(|a| turn_of(a).cos())),
    row("v_sat_pk_u8_i16", 98, 98, lane(B16, &[B32], |[a, ..]| byte(short(a)) | byte(short(a >> 16)) << 8)),
    row("v_mov_b16", NO, 28, lane(B16, &[B16], |[a, ..]| a)),
    row("v_not_b16", NO, 105, lane(B16, &[B16], |[a, ..]| !a & 0xffff)),
    row("v_cvt_i32_i16", NO, 106, lane(B32, &[B16], |[a, ..]| unsigned(short(a).into()))),
    row("v_cvt_u32_u16", NO, 107, lane(B32, &[B16], |[a, ..]| a)),
];

/// The nearest byte.
fn byte(value: i16) -> u64 {
    value.clamp(0, 255).cast_unsigned().into()
}

/// A number of 32 bits times a power of two.
pub(super) fn scale32(value: u64, exponent: i32) -> u64 {
    bits32(scale(f32_of(value).into(), exponent) as f32)
}
