//! Short forms for what an instruction does in each lane.

use super::{VectorAction, VectorOperation};
use crate::half;
use crate::operand::Type;

/// A number of 32 bits with a fraction, from its bits.
pub(super) fn f32_of(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

pub(super) fn f64_of(bits: u64) -> f64 {
    f64::from_bits(bits)
}

pub(super) fn f16_of(bits: u64) -> f64 {
    half::value(bits as u16).into()
}

/// The bits of a number of 32 bits.
pub(super) fn bits32(value: f32) -> u64 {
    value.to_bits().into()
}

pub(super) fn bits16(value: f64) -> u64 {
    half::nearest(value).into()
}

pub(super) fn signed(bits: u64) -> i32 {
    bits as i32
}

pub(super) fn short(bits: u64) -> i16 {
    bits as i16
}

/// The bits of a signed number.
pub(super) fn unsigned(value: i32) -> u64 {
    value.cast_unsigned().into()
}

/// The sign extended to 32 bits of the lowest 24.
pub(super) fn signed24(bits: u64) -> i64 {
    i64::from((bits as i32) << 8 >> 8)
}

pub(super) const fn lane(result: Type, sources: &'static [Type], apply: fn([u64; 3]) -> u64) -> VectorOperation {
    VectorOperation::new(result, sources, VectorAction::Lane(apply))
}

pub(super) const fn accumulate(kind: Type, sources: &'static [Type], apply: fn([u64; 3]) -> u64) -> VectorOperation {
    VectorOperation::new(kind, sources, VectorAction::Accumulate(apply))
}

/// An operation on numbers of one kind: `f32_lane!(|a, b| a + b)`.
macro_rules! typed_lane {
    ($name:ident, $kind:ident, $from:path, $to:path, $dollar:tt) => {
        macro_rules! $name {
            (|$dollar a:ident| $dollar body:expr) => {
                $crate::table::lane::lane($crate::operand::Type::$kind, &[$crate::operand::Type::$kind], |[first, ..]| {
                    let $dollar a = $from(first);
                    $to($dollar body)
                })
            };
            (|$dollar a:ident, $dollar b:ident| $dollar body:expr) => {
                $crate::table::lane::lane($crate::operand::Type::$kind, &[$crate::operand::Type::$kind; 2], |[first, second, _]| {
                    let ($dollar a, $dollar b) = ($from(first), $from(second));
                    $to($dollar body)
                })
            };
            (|$dollar a:ident, $dollar b:ident, $dollar c:ident| $dollar body:expr) => {
                $crate::table::lane::lane($crate::operand::Type::$kind, &[$crate::operand::Type::$kind; 3], |[first, second, third]| {
                    let ($dollar a, $dollar b, $dollar c) = ($from(first), $from(second), $from(third));
                    $to($dollar body)
                })
            };
        }
        pub(super) use $name;
    };
}

pub(super) fn same(bits: u64) -> u64 {
    bits
}

typed_lane!(f32_lane, F32, crate::table::lane::f32_of, crate::table::lane::bits32, $);
typed_lane!(f64_lane, F64, crate::table::lane::f64_of, f64::to_bits, $);
typed_lane!(f16_lane, F16, crate::table::lane::f16_of, crate::table::lane::bits16, $);
typed_lane!(b32_lane, B32, crate::table::lane::same, crate::table::lane::same, $);
typed_lane!(i32_lane, B32, crate::table::lane::signed, crate::table::lane::unsigned, $);
typed_lane!(b16_lane, B16, crate::table::lane::same, crate::table::lane::same, $);

/// The smaller of two numbers: the one that is a number, and -0 before 0.
pub(super) fn minimum(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        return if a.is_nan() { b } else { a };
    }
    if a < b || a == b && a.is_sign_negative() { a } else { b }
}

/// The larger of two numbers.
pub(super) fn maximum(a: f64, b: f64) -> f64 {
    -minimum(-a, -b)
}

/// The one between the other two.
pub(super) fn median(a: f64, b: f64, c: f64) -> f64 {
    if a.is_nan() || b.is_nan() || c.is_nan() {
        return minimum(minimum(a, b), c);
    }
    maximum(minimum(a, b), minimum(maximum(a, b), c))
}

pub(super) fn minimum32(a: f32, b: f32) -> f32 {
    minimum(a.into(), b.into()) as f32
}

pub(super) fn maximum32(a: f32, b: f32) -> f32 {
    maximum(a.into(), b.into()) as f32
}

/// A number as one of 1 to 2 with its sign, and a power of two. Not for 0, infinities, and what is no number.
pub(super) fn split(value: f64) -> (f64, i32) {
    let (value, less) = if value.abs() < half::power(-1022) { (value * half::power(54), 54) } else { (value, 0) };
    let exponent = i32::try_from(value.to_bits() >> 52 & 0x7ff).unwrap_or(0) - 1023;
    (value * half::power(-exponent.min(1022)) / if exponent > 1022 { 2.0 } else { 1.0 }, exponent - less)
}

/// A number times a power of two, rounded once.
pub(super) fn scale(value: f64, exponent: i32) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let (fraction, own) = split(value);
    match own.saturating_add(exponent) {
        1024.. => fraction * f64::INFINITY,
        sum @ -1022..=1023 => fraction * half::power(sum),
        sum @ -1100..=-1023 => fraction * half::power(sum + 100) * half::power(-100),
        _ => fraction * 0.0,
    }
}
