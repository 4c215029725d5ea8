//! Vector instructions that have the longer form only.

use super::lane::{
    b16_lane, b32_lane, bits16, bits32, f16_lane, f16_of, f32_lane, f32_of, f64_lane, f64_of, i32_lane, lane, maximum,
    maximum32, median, minimum, minimum32, scale, short, signed, signed24, unsigned,
};
use super::trigonometry::two_over_pi;
use super::vector1::scale32;
use super::vector2::{ADD_BITS, add, fma16, fma32, legacy_fma, subtract};
use super::{FlagsIn, NO, Row, VectorAction, VectorOperation, row};
use crate::operand::Type::{self, B16, B32, B64, F16, F32, F64, I64};

const fn flags(result: Type, sources: &'static [Type], apply: fn([u64; 3], bool) -> (u64, bool)) -> VectorOperation {
    VectorOperation::new(result, sources, VectorAction::Flags { input: FlagsIn::None, output: true, apply })
}

const fn fmas(kind: Type, sources: &'static [Type], apply: fn([u64; 3], bool) -> (u64, bool)) -> VectorOperation {
    VectorOperation::new(kind, sources, VectorAction::Flags { input: FlagsIn::Vcc, output: false, apply })
}

const fn numbered(apply: fn(usize, [u64; 3]) -> u64) -> VectorOperation {
    VectorOperation::new(B32, &[B32, B32], VectorAction::Numbered(apply))
}

/// As many of the lowest bits as asked for, at most 32.
fn ones(count: u64) -> u64 {
    (1 << count.min(32)) - 1
}

fn bytes(bits: u64) -> [u64; 4] {
    std::array::from_fn(|index| bits >> (8 * index) & 0xff)
}

/// The sum of the differences of four bytes.
fn differences(a: u64, b: u64, masked: bool) -> u64 {
    bytes(a).into_iter().zip(bytes(b)).filter(|(_, b)| !masked || *b != 0).map(|(a, b)| a.abs_diff(b)).sum()
}

/// Puts four bytes together of eight, or of constants: one selector for each.
fn permute(a: u64, b: u64, selectors: u64) -> u64 {
    let all = a << 32 | b;
    let sign = |byte: u64| if all >> (byte * 8 + 7) & 1 == 0 { 0 } else { 0xff };
    let byte = |selector: u64| match selector {
        0..=7 => all >> (selector * 8) & 0xff,
        8..=11 => sign((selector - 8) * 2 + 1),
        12 => 0,
        _ => 0xff,
    };
    bytes(selectors).into_iter().rev().fold(0, |done, selector| done << 8 | byte(selector))
}

/// What a division of numbers of one kind needs to know of them.
struct Division {
    kind: Type,
    /// Exponents from which the quotient is too large, too small for the denominator, and for the numerator.
    far: i64,
    tiny: i64,
    /// Power of two by which what is too small or too large is scaled.
    step: i32,
    fraction_bits: u32,
    /// Difference of exponents from which nothing is left.
    nothing: i64,
}

const DIVISION32: Division = Division { kind: F32, far: 96, tiny: 23, step: 64, fraction_bits: 23, nothing: -150 };
const DIVISION64: Division = Division { kind: F64, far: 768, tiny: 53, step: 128, fraction_bits: 52, nothing: -1075 };

impl Division {
    fn value(&self, bits: u64) -> f64 {
        if self.kind == F32 { f32_of(bits).into() } else { f64_of(bits) }
    }

    fn bits(&self, value: f64) -> u64 {
        if self.kind == F32 { bits32(value as f32) } else { value.to_bits() }
    }

    fn exponent(&self, bits: u64) -> i64 {
        ((bits & !self.kind.sign()) >> self.fraction_bits).cast_signed()
    }

    fn is_subnormal(&self, bits: u64) -> bool {
        self.exponent(bits) == 0 && bits & !self.kind.sign() != 0
    }

    /// Scales the numerator or the denominator, whichever the first one is, so that the steps of a division stay in range.
    fn scaled(&self, value: u64, denominator: u64, numerator: u64) -> (u64, bool) {
        let by = |exponent| self.bits(scale(self.value(value), exponent));
        let (under, over) = (self.value(denominator), self.value(numerator));
        if under == 0.0 || over == 0.0 {
            return (self.bits(f64::NAN), false);
        }
        let reciprocal_is_subnormal = self.is_subnormal(self.bits(1.0 / under));
        let quotient_is_subnormal = self.is_subnormal(self.bits(over / under));
        if self.exponent(numerator) - self.exponent(denominator) >= self.far {
            (if value == denominator { by(self.step) } else { value }, true)
        } else if self.is_subnormal(denominator) {
            (by(self.step), false)
        } else if reciprocal_is_subnormal && quotient_is_subnormal {
            (if value == denominator { by(self.step) } else { value }, true)
        } else if reciprocal_is_subnormal {
            (by(-self.step), false)
        } else if quotient_is_subnormal {
            (if value == numerator { by(self.step) } else { value }, true)
        } else if self.exponent(numerator) <= self.tiny {
            (by(self.step), false)
        } else {
            (value, false)
        }
    }

    /// Takes the scale back from a quotient.
    fn unscaled(&self, [a, b, c]: [u64; 3], is_scaled: bool) -> u64 {
        let fma = if self.kind == F32 { fma32([a, b, c]) } else { f64_of(a).mul_add(f64_of(b), f64_of(c)).to_bits() };
        if !is_scaled {
            return fma;
        }
        let half = self.exponent(self.bits(f64::INFINITY)) / 2;
        let step = if self.exponent(c) > half { self.step } else { -self.step };
        self.bits(scale(self.value(fma), step))
    }

    /// Puts in what a division of such numbers is by definition.
    fn fixed(&self, [quotient, denominator, numerator]: [u64; 3]) -> u64 {
        let (under, over) = (self.value(denominator), self.value(numerator));
        let sign = (denominator ^ numerator) & self.kind.sign();
        let infinity = self.bits(f64::INFINITY);
        if over.is_nan() || under.is_nan() {
            return if over.is_nan() { numerator } else { denominator } | 1 << (self.fraction_bits - 1);
        }
        if under == 0.0 && over == 0.0 || under.is_infinite() && over.is_infinite() {
            return self.kind.sign() | infinity | 1 << (self.fraction_bits - 1);
        }
        if under == 0.0 || over.is_infinite() {
            return sign | infinity;
        }
        if under.is_infinite() || over == 0.0 || self.exponent(numerator) - self.exponent(denominator) < self.nothing {
            return sign;
        }
        // What became too large on the way is no number any more.
        if self.value(quotient).is_nan() {
            return sign | infinity;
        }
        sign | quotient & !self.kind.sign()
    }
}

/// A wide multiplication and addition, and whether it overflowed.
fn mad_u64([a, b, c]: [u64; 3]) -> (u64, bool) {
    (a * b).overflowing_add(c)
}

fn mad_i64([a, b, c]: [u64; 3]) -> (u64, bool) {
    let (sum, overflow) = (i64::from(signed(a)) * i64::from(signed(b))).overflowing_add(c.cast_signed());
    (sum.cast_unsigned(), overflow)
}

/// Bit field with the sign of its highest bit.
fn extract_signed(value: u64, offset: u64, width: u64) -> u64 {
    let width = width & 31;
    if width == 0 {
        return 0;
    }
    let unused = 32 - width;
    unsigned((signed(value) >> (offset & 31)) << unused >> unused)
}

fn saturated_u16(value: u64) -> u64 {
    value.min(0xffff)
}

fn saturated_i16(value: u64) -> u64 {
    u64::from(signed(value).clamp(-0x8000, 0x7fff) as u16)
}

/// A number of -1 to 1 as one of 16 bits.
fn normal_i16(value: f64) -> u64 {
    u64::from(((value.clamp(-1.0, 1.0) * 32767.0).round_ties_even() as i16).cast_unsigned())
}

fn normal_u16(value: f64) -> u64 {
    u64::from((value.clamp(0.0, 1.0) * 65535.0).round_ties_even() as u16)
}

/// The middle one of three.
fn middle<T: Ord>(a: T, b: T, c: T) -> T {
    let mut all = [a, b, c];
    all.sort();
    let [_, middle, _] = all;
    middle
}

#[rustfmt::skip]
pub(super) const VOP3: &[Row<VectorOperation>] = &[
    row("v_fma_legacy_f32|v_fma_dx9_zero_f32", 320, 521, lane(F32, &[F32; 3], |[a, b, c]| bits32(legacy_fma(a, b, c)))),
    row("v_mad_i32_i24", 322, 522, b32_lane!(|a, b, c| ((signed24(a) * signed24(b)).cast_unsigned().wrapping_add(c)) & 0xffff_ffff)),
    row("v_mad_u32_u24", 323, 523, b32_lane!(|a, b, c| ((a & 0xff_ffff) * (b & 0xff_ffff) + c) & 0xffff_ffff)),
    row("v_bfe_u32", 328, 528, b32_lane!(|a, b, c| a >> (b & 31) & ones(c & 31))),
    row("v_bfe_i32", 329, 529, b32_lane!(|a, b, c| extract_signed(a, b, c))),
    row("v_bfi_b32", 330, 530, b32_lane!(|a, b, c| a & b | !a & c)),
    row("v_fma_f32", 331, 531, lane(F32, &[F32; 3], fma32)),
    row("v_fma_f64", 332, 532, f64_lane!(|a, b, c| a.mul_add(b, c))),
    row("v_lerp_u8", 333, 533, b32_lane!(|a, b, c| (0..4).map(|index| {
        let byte = |bits: u64| bits >> (8 * index) & 0xff;
        ((byte(a) + byte(b) + (byte(c) & 1)) >> 1) << (8 * index)
    }).sum::<u64>())),
    row("v_alignbit_b32", 334, 534, b32_lane!(|a, b, c| (a << 32 | b) >> (c & 31) & 0xffff_ffff)),
    row("v_alignbyte_b32", 335, 535, b32_lane!(|a, b, c| (a << 32 | b) >> ((c & 3) * 8) & 0xffff_ffff)),
    row("v_min3_f32", 337, 537, f32_lane!(|a, b, c| minimum32(minimum32(a, b), c))),
    row("v_min3_i32", 338, 538, i32_lane!(|a, b, c| a.min(b).min(c))),
    row("v_min3_u32", 339, 539, b32_lane!(|a, b, c| a.min(b).min(c))),
    row("v_max3_f32", 340, 540, f32_lane!(|a, b, c| maximum32(maximum32(a, b), c))),
    row("v_max3_i32", 341, 541, i32_lane!(|a, b, c| a.max(b).max(c))),
    row("v_max3_u32", 342, 542, b32_lane!(|a, b, c| a.max(b).max(c))),
    row("v_med3_f32", 343, 543, f32_lane!(|a, b, c| median(a.into(), b.into(), c.into()) as f32)),
    row("v_med3_i32", 344, 544, i32_lane!(|a, b, c| middle(a, b, c))),
    row("v_med3_u32", 345, 545, b32_lane!(|a, b, c| middle(a, b, c))),
    row("v_sad_u8", 346, 546, b32_lane!(|a, b, c| (differences(a, b, false) + c) & 0xffff_ffff)),
    row("v_sad_hi_u8", 347, 547, b32_lane!(|a, b, c| ((differences(a, b, false) << 16) + c) & 0xffff_ffff)),
    row("v_sad_u16", 348, 548, b32_lane!(|a, b, c| ((a & 0xffff).abs_diff(b & 0xffff) + (a >> 16).abs_diff(b >> 16) + c) & 0xffff_ffff)),
    row("v_sad_u32", 349, 549, b32_lane!(|a, b, c| (a.abs_diff(b) + c) & 0xffff_ffff)),
    row("v_msad_u8", 369, 569, b32_lane!(|a, b, c| (differences(a, b, true) + c) & 0xffff_ffff)),
    row("v_cvt_pk_u8_f32", 350, 550, lane(B32, &[F32, B32, B32], |[a, b, c]| {
        let shift = (b & 3) * 8;
        c & !(0xff << shift) | u64::from(f32_of(a).round_ties_even() as u8) << shift
    })),
    row("v_div_fixup_f32", 351, 551, lane(F32, &[F32; 3], |sources| DIVISION32.fixed(sources))),
    row("v_div_fixup_f64", 352, 552, lane(F64, &[F64; 3], |sources| DIVISION64.fixed(sources))),
    row("v_div_scale_f32", 365, 764, flags(F32, &[F32; 3], |[a, b, c], _| DIVISION32.scaled(a, b, c))),
    row("v_div_scale_f64", 366, 765, flags(F64, &[F64; 3], |[a, b, c], _| DIVISION64.scaled(a, b, c))),
    row("v_div_fmas_f32", 367, 567, fmas(F32, &[F32; 3], |sources, flag| (DIVISION32.unscaled(sources, flag), false))),
    row("v_div_fmas_f64", 368, 568, fmas(F64, &[F64; 3], |sources, flag| (DIVISION64.unscaled(sources, flag), false))),
    row("v_mad_u64_u32", 374, 766, flags(B64, &[B32, B32, B64], |sources, _| mad_u64(sources))),
    row("v_mad_i64_i32", 375, 767, flags(B64, &[B32, B32, I64], |sources, _| mad_i64(sources))),
    row("v_xor3_b32", 376, 576, b32_lane!(|a, b, c| a ^ b ^ c)),
    row("v_perm_b32", 836, 580, b32_lane!(|a, b, c| permute(a, b, c))),
    row("v_xad_u32", 837, 581, b32_lane!(|a, b, c| ((a ^ b) + c) & 0xffff_ffff)),
    row("v_lshl_add_u32", 838, 582, b32_lane!(|a, b, c| ((a << (b & 31)) + c) & 0xffff_ffff)),
    row("v_add_lshl_u32", 839, 583, b32_lane!(|a, b, c| ((a + b) << (c & 31)) & 0xffff_ffff)),
    row("v_add3_u32", 877, 597, b32_lane!(|a, b, c| (a + b + c) & 0xffff_ffff)),
    row("v_lshl_or_b32", 879, 598, b32_lane!(|a, b, c| (a << (b & 31) | c) & 0xffff_ffff)),
    row("v_and_or_b32", 881, 599, b32_lane!(|a, b, c| a & b | c)),
    row("v_or3_b32", 882, 600, b32_lane!(|a, b, c| a | b | c)),
    row("v_cndmask_b16", NO, 605, VectorOperation::new(B16, &[B16; 2], VectorAction::Flags { input: FlagsIn::Carry, output: false, apply: |[a, b, _], flag| (if flag { b } else { a }, false) })),
    row("v_maxmin_f32", NO, 606, f32_lane!(|a, b, c| minimum32(maximum32(a, b), c))),
    row("v_minmax_f32", NO, 607, f32_lane!(|a, b, c| maximum32(minimum32(a, b), c))),
    row("v_maxmin_f16", NO, 608, f16_lane!(|a, b, c| minimum(maximum(a, b), c))),
    row("v_minmax_f16", NO, 609, f16_lane!(|a, b, c| maximum(minimum(a, b), c))),
    row("v_maxmin_u32", NO, 610, b32_lane!(|a, b, c| a.max(b).min(c))),
    row("v_minmax_u32", NO, 611, b32_lane!(|a, b, c| a.min(b).max(c))),
    row("v_maxmin_i32", NO, 612, i32_lane!(|a, b, c| a.max(b).min(c))),
    row("v_minmax_i32", NO, 613, i32_lane!(|a, b, c| a.min(b).max(c))),
    row("v_mad_u16", 832, 577, b16_lane!(|a, b, c| (a * b + c) & 0xffff)),
    row("v_mad_i16", 862, 595, b16_lane!(|a, b, c| (a * b + c) & 0xffff)),
    row("v_mad_u32_u16", 883, 601, lane(B32, &[B16, B16, B32], |[a, b, c]| (a * b + c) & 0xffff_ffff)),
    row("v_mad_i32_i16", 885, 602, lane(B32, &[B16, B16, B32], |[a, b, c]| unsigned((i32::from(short(a)) * i32::from(short(b))).wrapping_add(signed(c))))),
    row("v_fma_f16", 843, 584, lane(F16, &[F16; 3], fma16)),
    row("v_min3_f16", 849, 585, f16_lane!(|a, b, c| minimum(minimum(a, b), c))),
    row("v_min3_i16", 850, 586, b16_lane!(|a, b, c| short_bits(short(a).min(short(b)).min(short(c))))),
    row("v_min3_u16", 851, 587, b16_lane!(|a, b, c| a.min(b).min(c))),
    row("v_max3_f16", 852, 588, f16_lane!(|a, b, c| maximum(maximum(a, b), c))),
    row("v_max3_i16", 853, 589, b16_lane!(|a, b, c| short_bits(short(a).max(short(b)).max(short(c))))),
    row("v_max3_u16", 854, 590, b16_lane!(|a, b, c| a.max(b).max(c))),
    row("v_med3_f16", 855, 591, f16_lane!(|a, b, c| median(a, b, c))),
    row("v_med3_i16", 856, 592, b16_lane!(|a, b, c| short_bits(middle(short(a), short(b), short(c))))),
    row("v_med3_u16", 857, 593, b16_lane!(|a, b, c| middle(a, b, c))),
    row("v_div_fixup_f16", 863, 596, lane(F16, &[F16; 3], |[a, b, c]| {
        // As the other ones, on the same numbers with more bits.
        let wide = [a, b, c].map(|bits| f16_of(bits).to_bits());
        bits16(f64_of(DIVISION64.fixed(wide)))
    })),
];

/// Two sources.
#[rustfmt::skip]
pub(super) const WIDE: &[Row<VectorOperation>] = &[
    row("v_add_f64", 356, 807, f64_lane!(|a, b| a + b)),
    row("v_mul_f64", 357, 808, f64_lane!(|a, b| a * b)),
    row("v_min_f64", 358, 809, f64_lane!(|a, b| minimum(a, b))),
    row("v_max_f64", 359, 810, f64_lane!(|a, b| maximum(a, b))),
    row("v_ldexp_f64", 360, 811, lane(F64, &[F64, B32], |[a, b, _]| scale(f64_of(a), signed(b)).to_bits())),
    row("v_trig_preop_f64", 372, 815, lane(F64, &[F64, B32], two_over_pi)),
    row("v_mul_lo_u32", 361, 812, b32_lane!(|a, b| a.wrapping_mul(b) & 0xffff_ffff)),
    row("v_mul_hi_u32", 362, 813, b32_lane!(|a, b| (a * b) >> 32)),
    row("v_mul_hi_i32", 364, 814, b32_lane!(|a, b| ((i64::from(signed(a)) * i64::from(signed(b))) >> 32).cast_unsigned() & 0xffff_ffff)),
    row("v_lshlrev_b64", 767, 828, lane(B64, &[B32, B64], |[a, b, _]| b << (a & 63))),
    row("v_lshrrev_b64", 768, 829, lane(B64, &[B32, B64], |[a, b, _]| b >> (a & 63))),
    row("v_ashrrev_i64", 769, 830, lane(B64, &[B32, I64], |[a, b, _]| (b.cast_signed() >> (a & 63)).cast_unsigned())),
    row("v_add_nc_u16", 771, 771, b16_lane!(|a, b| (a + b) & 0xffff).limited(|[a, b, _]| (a + b).min(0xffff))),
    row("v_sub_nc_u16", 772, 772, b16_lane!(|a, b| a.wrapping_sub(b) & 0xffff).limited(|[a, b, _]| a.saturating_sub(b))),
    row("v_mul_lo_u16", 773, 773, b16_lane!(|a, b| (a * b) & 0xffff)),
    row("v_lshrrev_b16", 775, 825, b16_lane!(|a, b| b >> (a & 15))),
    row("v_ashrrev_i16", 776, 826, b16_lane!(|a, b| short_bits(short(b) >> (a & 15)))),
    row("v_max_u16", 777, 777, b16_lane!(|a, b| a.max(b))),
    row("v_max_i16", 778, 778, b16_lane!(|a, b| short_bits(short(a).max(short(b))))),
    row("v_min_u16", 779, 779, b16_lane!(|a, b| a.min(b))),
    row("v_min_i16", 780, 780, b16_lane!(|a, b| short_bits(short(a).min(short(b))))),
    row("v_add_nc_i16", 781, 781, b16_lane!(|a, b| (a + b) & 0xffff).limited(|[a, b, _]| short_bits(short(a).saturating_add(short(b))))),
    row("v_sub_nc_i16", 782, 782, b16_lane!(|a, b| a.wrapping_sub(b) & 0xffff).limited(|[a, b, _]| short_bits(short(a).saturating_sub(short(b))))),
    row("v_lshlrev_b16", 788, 824, b16_lane!(|a, b| b << (a & 15) & 0xffff)),
    row("v_and_b16", NO, 866, b16_lane!(|a, b| a & b)),
    row("v_or_b16", NO, 867, b16_lane!(|a, b| a | b)),
    row("v_xor_b16", NO, 868, b16_lane!(|a, b| a ^ b)),
    row("v_add_co_u32", 783, 768, flags(B32, ADD_BITS, |[a, b, _], _| add(a, b, false))),
    row("v_sub_co_u32", 784, 769, flags(B32, ADD_BITS, |[a, b, _], _| subtract(a, b, false))),
    row("v_subrev_co_u32", 793, 770, flags(B32, ADD_BITS, |[a, b, _], _| subtract(b, a, false))),
    row("v_pack_b32_f16", 785, 785, lane(B32, &[F16; 2], |[a, b, _]| a | b << 16)),
    row("v_cvt_pknorm_i16_f16|v_cvt_pk_norm_i16_f16", 786, 786, lane(B32, &[F16; 2], |[a, b, _]| normal_i16(f16_of(a)) | normal_i16(f16_of(b)) << 16)),
    row("v_cvt_pknorm_u16_f16|v_cvt_pk_norm_u16_f16", 787, 787, lane(B32, &[F16; 2], |[a, b, _]| normal_u16(f16_of(a)) | normal_u16(f16_of(b)) << 16)),
    row("v_cvt_pknorm_i16_f32|v_cvt_pk_norm_i16_f32", 872, 801, lane(B32, &[F32; 2], |[a, b, _]| normal_i16(f32_of(a).into()) | normal_i16(f32_of(b).into()) << 16)),
    row("v_cvt_pknorm_u16_f32|v_cvt_pk_norm_u16_f32", 873, 802, lane(B32, &[F32; 2], |[a, b, _]| normal_u16(f32_of(a).into()) | normal_u16(f32_of(b).into()) << 16)),
    row("v_cvt_pk_u16_u32", 874, 803, b32_lane!(|a, b| saturated_u16(a) | saturated_u16(b) << 16)),
    row("v_cvt_pk_i16_i32", 875, 804, b32_lane!(|a, b| saturated_i16(a) | saturated_i16(b) << 16)),
    row("v_cvt_pk_i16_f32", NO, 774, lane(B32, &[F32; 2], |[a, b, _]| u64::from(f32_of(a) as i16 as u16) | u64::from(f32_of(b) as i16 as u16) << 16)),
    row("v_cvt_pk_u16_f32", NO, 775, lane(B32, &[F32; 2], |[a, b, _]| u64::from(f32_of(a) as u16) | u64::from(f32_of(b) as u16) << 16)),
    row("v_ldexp_f32", 866, 796, lane(F32, &[F32, B32], |[a, b, _]| scale32(a, signed(b)))),
    row("v_bfm_b32", 867, 797, b32_lane!(|a, b| (ones(a & 31) << (b & 31)) & 0xffff_ffff)),
    row("v_bcnt_u32_b32", 868, 798, b32_lane!(|a, b| (u64::from(a.count_ones()) + b) & 0xffff_ffff)),
    row("v_mbcnt_lo_u32_b32", 869, 799, numbered(|lane, [a, b, _]| (u64::from((a & ones(lane as u64)).count_ones()) + b) & 0xffff_ffff)),
    row("v_mbcnt_hi_u32_b32", 870, 800, numbered(|lane, [a, b, _]| (u64::from((a & ones(lane.saturating_sub(32) as u64)).count_ones()) + b) & 0xffff_ffff)),
    row("v_sub_nc_i32", 886, 805, i32_lane!(|a, b| a.wrapping_sub(b)).limited(|[a, b, _]| unsigned(signed(a).saturating_sub(signed(b))))),
    row("v_add_nc_i32", 895, 806, i32_lane!(|a, b| a.wrapping_add(b)).limited(|[a, b, _]| unsigned(signed(a).saturating_add(signed(b))))),
];

fn short_bits(value: i16) -> u64 {
    value.cast_unsigned().into()
}
