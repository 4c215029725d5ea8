//! Instructions that access a workgroup's own memory (LDS), or exchange values between lanes the same way.

use super::access::{
    add_f32, bytes, comparing, decrement, exchange_if, exchange_if_f32, exchange_if_f64, increment, larger_f32,
    larger_f64, larger32, larger64, lower_half, smaller_f32, smaller_f64, smaller32, smaller64, upper_half,
};
use super::{Access, NO, Portion, Row, row};

/// What an instruction does with a workgroup's memory or between lanes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LocalOperation {
    /// One access; `returns` for atomic operations that return what was there.
    One { access: Access, returns: bool },
    /// Two, each of so many registers, at two offsets that count in units of this many bytes.
    Two { is_load: bool, registers: u8, unit: u32 },
    /// Two stores at such offsets that return what was there.
    ExchangeTwo { registers: u8, unit: u32 },
    /// Each lane gives its value to another one.
    Permute,
    /// Each lane takes its value from another one.
    PermuteBackward,
    /// The same, by a pattern in the instruction.
    Swizzle,
    /// For what is there only on machines with other parts.
    Nothing,
}

use LocalOperation::{One, Two};

const fn load(portion: Portion) -> LocalOperation {
    One { access: Access::Load(portion), returns: true }
}

const fn store(portion: Portion) -> LocalOperation {
    One { access: Access::Store(portion), returns: false }
}

const fn two(is_load: bool, registers: u8, unit: u32) -> LocalOperation {
    Two { is_load, registers, unit }
}

const fn exchange_two(registers: u8, unit: u32) -> LocalOperation {
    LocalOperation::ExchangeTwo { registers, unit }
}

/// Stores a half of 64 bits without its highest bit where that is set.
fn exchange_marked(old: u64, data: u64) -> u64 {
    let half = |shift: u32| {
        let [old, data] = [old, data].map(|bits| bits >> shift & 0xffff_ffff);
        (if data >> 31 != 0 { data & 0x7fff_ffff } else { old }) << shift
    };
    half(0) | half(32)
}

/// The number `offset` after another one.
const fn after(number: u16, offset: u16) -> u16 {
    if number == NO { NO } else { number + offset }
}

/// An atomic operation that returns nothing.
const fn silent(access: Access) -> LocalOperation {
    One { access, returns: false }
}

/// An atomic operation that returns what was there.
const fn returning(access: Access) -> LocalOperation {
    One { access, returns: true }
}

/// An atomic operation with one operand.
const fn plain(is_wide: bool, apply: fn(u64, u64, u64) -> u64) -> Access {
    Access::Atomic { is_wide, compares: false, apply }
}

/// An atomic operation on 32 bits and on 64, without and with what was there: `plain` has one operand, `comparing` two. The
/// names follow each other in that order.
macro_rules! atomics {
    ($first:literal, [$b32:literal, $b32_rtn:literal, $b64:literal, $b64_rtn:literal], $kind:ident, $narrow:expr, $wide:expr) => {
        atomics!($first, $first, [$b32, $b32_rtn, $b64, $b64_rtn], $kind, $narrow, $wide)
    };
    ($gfx10:expr, $gfx11:expr, [$b32:literal, $b32_rtn:literal, $b64:literal, $b64_rtn:literal], $kind:ident, $narrow:expr, $wide:expr) => {
        [
            row(concat!("ds_", $b32), $gfx10, $gfx11, silent($kind(false, $narrow))),
            row(concat!("ds_", $b32_rtn), after($gfx10, 32), after($gfx11, 32), returning($kind(false, $narrow))),
            row(concat!("ds_", $b64), after($gfx10, 64), after($gfx11, 64), silent($kind(true, $wide))),
            row(concat!("ds_", $b64_rtn), after($gfx10, 96), after($gfx11, 96), returning($kind(true, $wide))),
        ]
    };
}

#[rustfmt::skip]
const ATOMICS: &[[Row<LocalOperation>; 4]] = &[
    atomics!(0, ["add_u32", "add_rtn_u32", "add_u64", "add_rtn_u64"], plain, |old, data, _| old.wrapping_add(data), |old, data, _| old.wrapping_add(data)),
    atomics!(1, ["sub_u32", "sub_rtn_u32", "sub_u64", "sub_rtn_u64"], plain, |old, data, _| old.wrapping_sub(data), |old, data, _| old.wrapping_sub(data)),
    atomics!(2, ["rsub_u32", "rsub_rtn_u32", "rsub_u64", "rsub_rtn_u64"], plain, |old, data, _| data.wrapping_sub(old), |old, data, _| data.wrapping_sub(old)),
    atomics!(3, ["inc_u32", "inc_rtn_u32", "inc_u64", "inc_rtn_u64"], plain, |old, data, _| increment(old, data), |old, data, _| increment(old, data)),
    atomics!(4, ["dec_u32", "dec_rtn_u32", "dec_u64", "dec_rtn_u64"], plain, |old, data, _| decrement(old, data), |old, data, _| decrement(old, data)),
    atomics!(5, ["min_i32", "min_rtn_i32", "min_i64", "min_rtn_i64"], plain, |old, data, _| smaller32(old, data), |old, data, _| smaller64(old, data)),
    atomics!(6, ["max_i32", "max_rtn_i32", "max_i64", "max_rtn_i64"], plain, |old, data, _| larger32(old, data), |old, data, _| larger64(old, data)),
    atomics!(7, ["min_u32", "min_rtn_u32", "min_u64", "min_rtn_u64"], plain, |old, data, _| old.min(data), |old, data, _| old.min(data)),
    atomics!(8, ["max_u32", "max_rtn_u32", "max_u64", "max_rtn_u64"], plain, |old, data, _| old.max(data), |old, data, _| old.max(data)),
    atomics!(9, ["and_b32", "and_rtn_b32", "and_b64", "and_rtn_b64"], plain, |old, data, _| old & data, |old, data, _| old & data),
    atomics!(10, ["or_b32", "or_rtn_b32", "or_b64", "or_rtn_b64"], plain, |old, data, _| old | data, |old, data, _| old | data),
    atomics!(11, ["xor_b32", "xor_rtn_b32", "xor_b64", "xor_rtn_b64"], plain, |old, data, _| old ^ data, |old, data, _| old ^ data),
    atomics!(12, ["mskor_b32", "mskor_rtn_b32", "mskor_b64", "mskor_rtn_b64"], comparing, |old, mask, bits| old & !mask | bits, |old, mask, bits| old & !mask | bits),
    // A store is an exchange that returns nothing.
    atomics!(13, NO, ["write_b32", "wrxchg_rtn_b32", "write_b64", "wrxchg_rtn_b64"], plain, |_, data, _| data, |_, data, _| data),
    atomics!(NO, 13, ["store_b32", "storexchg_rtn_b32", "store_b64", "storexchg_rtn_b64"], plain, |_, data, _| data, |_, data, _| data),
    // gfx10 has what to compare with first, gfx11 what to write.
    atomics!(16, NO, ["cmpst_b32", "cmpst_rtn_b32", "cmpst_b64", "cmpst_rtn_b64"], comparing, |old, wanted, data| exchange_if(old, data, wanted), |old, wanted, data| exchange_if(old, data, wanted)),
    atomics!(NO, 16, ["cmpstore_b32", "cmpstore_rtn_b32", "cmpstore_b64", "cmpstore_rtn_b64"], comparing, exchange_if, exchange_if),
    atomics!(17, NO, ["cmpst_f32", "cmpst_rtn_f32", "cmpst_f64", "cmpst_rtn_f64"], comparing, |old, wanted, data| exchange_if_f32(old, data, wanted), |old, wanted, data| exchange_if_f64(old, data, wanted)),
    atomics!(NO, 17, ["cmpstore_f32", "cmpstore_rtn_f32", "cmpstore_f64", "cmpstore_rtn_f64"], comparing, exchange_if_f32, exchange_if_f64),
    atomics!(18, ["min_f32", "min_rtn_f32", "min_f64", "min_rtn_f64"], plain, |old, data, _| smaller_f32(old, data), |old, data, _| smaller_f64(old, data)),
    atomics!(19, ["max_f32", "max_rtn_f32", "max_f64", "max_rtn_f64"], plain, |old, data, _| larger_f32(old, data), |old, data, _| larger_f64(old, data)),
];

#[rustfmt::skip]
const OTHERS: &[Row<LocalOperation>] = &[
    row("ds_add_f32", 21, 21, silent(plain(false, |old, data, _| add_f32(old, data)))),
    row("ds_add_rtn_f32", 85, 121, returning(plain(false, |old, data, _| add_f32(old, data)))),
    row("ds_write2_b32|ds_store_2addr_b32", 14, 14, two(false, 1, 4)),
    row("ds_write2st64_b32|ds_store_2addr_stride64_b32", 15, 15, two(false, 1, 256)),
    row("ds_nop", 20, 20, LocalOperation::Nothing),
    row("ds_write_b8|ds_store_b8", 30, 30, store(bytes(1, false))),
    row("ds_write_b16|ds_store_b16", 31, 31, store(bytes(2, false))),
    row("ds_wrxchg2_rtn_b32|ds_storexchg_2addr_rtn_b32", 46, 46, exchange_two(1, 4)),
    row("ds_wrxchg2st64_rtn_b32|ds_storexchg_2addr_stride64_rtn_b32", 47, 47, exchange_two(1, 256)),
    row("ds_wrap_rtn_b32", 52, 52, returning(comparing(false, |old, limit, more| if old >= limit { old - limit } else { old.wrapping_add(more) }))),
    row("ds_swizzle_b32", 53, 53, LocalOperation::Swizzle),
    row("ds_read_b32|ds_load_b32", 54, 54, load(Portion::Registers(1))),
    row("ds_read2_b32|ds_load_2addr_b32", 55, 55, two(true, 1, 4)),
    row("ds_read2st64_b32|ds_load_2addr_stride64_b32", 56, 56, two(true, 1, 256)),
    row("ds_read_i8|ds_load_i8", 57, 57, load(bytes(1, true))),
    row("ds_read_u8|ds_load_u8", 58, 58, load(bytes(1, false))),
    row("ds_read_i16|ds_load_i16", 59, 59, load(bytes(2, true))),
    row("ds_read_u16|ds_load_u16", 60, 60, load(bytes(2, false))),
    row("ds_write2_b64|ds_store_2addr_b64", 78, 78, two(false, 2, 8)),
    row("ds_write2st64_b64|ds_store_2addr_stride64_b64", 79, 79, two(false, 2, 512)),
    row("ds_wrxchg2_rtn_b64|ds_storexchg_2addr_rtn_b64", 110, 110, exchange_two(2, 8)),
    row("ds_wrxchg2st64_rtn_b64|ds_storexchg_2addr_stride64_rtn_b64", 111, 111, exchange_two(2, 512)),
    row("ds_read_b64|ds_load_b64", 118, 118, load(Portion::Registers(2))),
    row("ds_read2_b64|ds_load_2addr_b64", 119, 119, two(true, 2, 8)),
    row("ds_read2st64_b64|ds_load_2addr_stride64_b64", 120, 120, two(true, 2, 512)),
    row("ds_condxchg32_rtn_b64", 126, 126, returning(plain(true, |old, data, _| exchange_marked(old, data)))),
    row("ds_write_b8_d16_hi|ds_store_b8_d16_hi", 160, 160, store(upper_half(1, false))),
    row("ds_write_b16_d16_hi|ds_store_b16_d16_hi", 161, 161, store(upper_half(2, false))),
    row("ds_read_u8_d16|ds_load_u8_d16", 162, 162, load(lower_half(1, false))),
    row("ds_read_u8_d16_hi|ds_load_u8_d16_hi", 163, 163, load(upper_half(1, false))),
    row("ds_read_i8_d16|ds_load_i8_d16", 164, 164, load(lower_half(1, true))),
    row("ds_read_i8_d16_hi|ds_load_i8_d16_hi", 165, 165, load(upper_half(1, true))),
    row("ds_read_u16_d16|ds_load_u16_d16", 166, 166, load(lower_half(2, false))),
    row("ds_read_u16_d16_hi|ds_load_u16_d16_hi", 167, 167, load(upper_half(2, false))),
    row("ds_permute_b32", 178, 178, LocalOperation::Permute),
    row("ds_bpermute_b32", 179, 179, LocalOperation::PermuteBackward),
    row("ds_write_b96|ds_store_b96", 222, 222, store(Portion::Registers(3))),
    row("ds_write_b128|ds_store_b128", 223, 223, store(Portion::Registers(4))),
    row("ds_read_b96|ds_load_b96", 254, 254, load(Portion::Registers(3))),
    row("ds_read_b128|ds_load_b128", 255, 255, load(Portion::Registers(4))),
];

pub(super) const DS: &[&[Row<LocalOperation>]] = &[ATOMICS.as_flattened(), OTHERS];
