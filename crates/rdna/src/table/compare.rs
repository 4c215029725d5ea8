//! Vector comparisons: for each kind of number a family, once for a scalar register and once for EXEC.
#![allow(
    clippy::neg_cmp_op_on_partial_ord,
    clippy::double_comparisons,
    clippy::nonminimal_bool,
    reason = "what is no number is neither less, nor equal, nor greater, and each instruction says which of these it means"
)]

use super::lane::{f16_of, f32_of, f64_of, short, signed};
use super::{NO, Row, VectorAction, VectorOperation, row};
use crate::operand::Type::{self, B16, B32, B64, F16, F32, F64, I64};

const fn operation(sources: &'static [Type], sets_exec: bool, apply: fn(u64, u64) -> bool) -> VectorOperation {
    VectorOperation::new(B64, sources, VectorAction::Compare { sets_exec, apply })
}

/// The number `offset` after a family's first one.
const fn after(first: u16, offset: u16) -> u16 {
    if first == NO { NO } else { first + offset }
}

/// The second halves of the families of halves are elsewhere in gfx10.
const fn upper(first: u16, second: u16, offset: u16) -> u16 {
    if second == NO { after(first, offset) } else { second + offset - 8 }
}

/// A family of numbers with a fraction, which may be none.
macro_rules! floats {
    ($prefix:literal, $type:literal, $kind:ident, $of:path, $sets_exec:literal, $gfx10:expr, $second:expr, $gfx11:expr) => {
        floats!(@rows $prefix, $type, $kind, $of, $sets_exec, $gfx10, $second, $gfx11,
            [
                (0, "f", "f", |_, _| false),
                (1, "lt", "lt", |a, b| a < b),
                (2, "eq", "eq", |a, b| a == b),
                (3, "le", "le", |a, b| a <= b),
                (4, "gt", "gt", |a, b| a > b),
                (5, "lg", "lg", |a, b| a < b || a > b),
                (6, "ge", "ge", |a, b| a >= b),
                (7, "o", "o", |a, b| !a.is_nan() && !b.is_nan()),
                (8, "u", "u", |a, b| a.is_nan() || b.is_nan()),
                (9, "nge", "nge", |a, b| !(a >= b)),
                (10, "nlg", "nlg", |a, b| !(a < b || a > b)),
                (11, "ngt", "ngt", |a, b| !(a > b)),
                (12, "nle", "nle", |a, b| !(a <= b)),
                (13, "neq", "neq", |a, b| a != b),
                (14, "nlt", "nlt", |a, b| !(a < b)),
                (15, "tru", "t", |_, _| true)
            ])
    };
    (@rows $prefix:literal, $type:literal, $kind:ident, $of:path, $sets_exec:literal, $gfx10:expr, $second:expr, $gfx11:expr,
        [$(($offset:literal, $name:literal, $new:literal, |$a:pat_param, $b:pat_param| $body:expr)),*]) => {
        &[$(row(
            concat!($prefix, $name, $type, "|", $prefix, $new, $type),
            if $offset < 8 { after($gfx10, $offset) } else { upper($gfx10, $second, $offset) },
            after($gfx11, $offset),
            operation(&[$kind, $kind], $sets_exec, |first, second| {
                let ($a, $b) = ($of(first), $of(second));
                $body
            }),
        )),*]
    };
}

/// A family of whole numbers. Those of 16 bits have no rows for "never" and "always".
macro_rules! integers {
    ($prefix:literal, $type:literal, $kind:ident, $of:path, $sets_exec:literal, $gfx10:expr, $gfx11:expr) => {
        integers!(@rows $prefix, $type, $kind, $of, $sets_exec, $gfx10, $gfx11, [
            (0, "f", |_, _| false),
            (1, "lt", |a, b| a < b),
            (2, "eq", |a, b| a == b),
            (3, "le", |a, b| a <= b),
            (4, "gt", |a, b| a > b),
            (5, "ne", |a, b| a != b),
            (6, "ge", |a, b| a >= b),
            (7, "t", |_, _| true)
        ])
    };
    (short $prefix:literal, $type:literal, $kind:ident, $of:path, $sets_exec:literal, $gfx10:expr, $gfx11:expr) => {
        integers!(@rows $prefix, $type, $kind, $of, $sets_exec, $gfx10, $gfx11, [
            (1, "lt", |a, b| a < b),
            (2, "eq", |a, b| a == b),
            (3, "le", |a, b| a <= b),
            (4, "gt", |a, b| a > b),
            (5, "ne", |a, b| a != b),
            (6, "ge", |a, b| a >= b)
        ])
    };
    (@rows $prefix:literal, $type:literal, $kind:ident, $of:path, $sets_exec:literal, $gfx10:expr, $gfx11:expr,
        [$(($offset:literal, $name:literal, |$a:pat_param, $b:pat_param| $body:expr)),*]) => {
        &[$(row(
            concat!($prefix, $name, $type),
            after($gfx10, $offset),
            after($gfx11, $offset),
            operation(&[$kind, $kind], $sets_exec, |first, second| {
                let ($a, $b) = ($of(first), $of(second));
                $body
            }),
        )),*]
    };
}

fn same(bits: u64) -> u64 {
    bits
}

/// Whether a number is of one of the classes that a mask has: signaling, quiet, -inf, -normal, -subnormal, -0, and the
/// positive ones in the opposite order.
fn is_of_class(bits: u64, mask: u64, fraction_bits: u32, width: u32) -> bool {
    let fraction = bits & ((1 << fraction_bits) - 1);
    let highest = (1 << (width - 1 - fraction_bits)) - 1;
    let exponent = bits >> fraction_bits & highest;
    let is_negative = bits >> (width - 1) & 1 != 0;
    let class = match (exponent, fraction) {
        (exponent, 0) if exponent == highest => 2,
        (exponent, _) if exponent == highest => return mask >> (fraction >> (fraction_bits - 1) & 1) & 1 != 0,
        (0, 0) => 5,
        (0, _) => 4,
        _ => 3,
    };
    mask >> (if is_negative { class } else { 11 - class }) & 1 != 0
}

const fn class(sources: &'static [Type], sets_exec: bool, apply: fn(u64, u64) -> bool) -> VectorOperation {
    operation(sources, sets_exec, apply)
}

const CLASSES: &[Row<VectorOperation>] = &[
    row("v_cmp_class_f32", 136, 126, class(&[F32, B32], false, |a, b| is_of_class(a, b, 23, 32))),
    row("v_cmpx_class_f32", 152, 254, class(&[F32, B32], true, |a, b| is_of_class(a, b, 23, 32))),
    row("v_cmp_class_f64", 168, 127, class(&[F64, B32], false, |a, b| is_of_class(a, b, 52, 64))),
    row("v_cmpx_class_f64", 184, 255, class(&[F64, B32], true, |a, b| is_of_class(a, b, 52, 64))),
    row("v_cmp_class_f16", 143, 125, class(&[F16, B16], false, |a, b| is_of_class(a, b, 10, 16))),
    row("v_cmpx_class_f16", 159, 253, class(&[F16, B16], true, |a, b| is_of_class(a, b, 10, 16))),
];

#[rustfmt::skip]
pub(super) const VOPC: &[&[Row<VectorOperation>]] = &[
    floats!("v_cmp_", "_f32", F32, f32_of, false, 0, NO, 16),
    floats!("v_cmpx_", "_f32", F32, f32_of, true, 16, NO, 144),
    floats!("v_cmp_", "_f64", F64, f64_of, false, 32, NO, 32),
    floats!("v_cmpx_", "_f64", F64, f64_of, true, 48, NO, 160),
    floats!("v_cmp_", "_f16", F16, f16_of, false, 200, 232, 0),
    floats!("v_cmpx_", "_f16", F16, f16_of, true, 216, 248, 128),
    integers!("v_cmp_", "_i32", B32, signed, false, 128, 64),
    integers!("v_cmpx_", "_i32", B32, signed, true, 144, 192),
    integers!("v_cmp_", "_u32", B32, same, false, 192, 72),
    integers!("v_cmpx_", "_u32", B32, same, true, 208, 200),
    integers!("v_cmp_", "_i64", I64, u64::cast_signed, false, 160, 80),
    integers!("v_cmpx_", "_i64", I64, u64::cast_signed, true, 176, 208),
    integers!("v_cmp_", "_u64", B64, same, false, 224, 88),
    integers!("v_cmpx_", "_u64", B64, same, true, 240, 216),
    integers!(short "v_cmp_", "_i16", B16, short, false, 136, 48),
    integers!(short "v_cmpx_", "_i16", B16, short, true, 152, 176),
    integers!(short "v_cmp_", "_u16", B16, same, false, 168, 56),
    integers!(short "v_cmpx_", "_u16", B16, same, true, 184, 184),
    CLASSES,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_of_one_class() {
        let numbers = [
            0x7f80_0001,
            0x7fc0_0000,
            0xff80_0000,
            0xbf80_0000,
            0x8000_0001,
            0x8000_0000,
            0,
            1,
            0x3f80_0000,
            0x7f80_0000,
        ];
        for (class, number) in numbers.into_iter().enumerate() {
            let found: Vec<usize> = (0..10).filter(|bit| is_of_class(number, 1 << bit, 23, 32)).collect();
            assert_eq!(found, [class], "{number:#x}");
        }
    }
}
