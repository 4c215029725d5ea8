//! Instructions that access memory by way of addresses.

use super::lane::{f32_of, f64_of, maximum, minimum, signed};
use super::{NO, Row, row};
use crate::format::{COMPONENTS, Format};

/// How much is loaded or stored, and where it stands in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Portion {
    /// So many registers.
    Registers(u8),
    /// One or two bytes; loads fill the register up with zeros, or with the sign.
    Bytes { count: u8, signed: bool },
    /// One or two bytes in one half of a register; the other half stays.
    Half { count: u8, signed: bool, upper: bool },
    /// An item of a buffer, converted.
    Item(Item),
}

/// An item of a buffer, and the registers that it is loaded into or stored from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) format: Format,
    /// What each register gets.
    pub(crate) select: [Select; COMPONENTS],
    /// How many registers.
    pub(crate) registers: u8,
}

impl Item {
    /// What each of the registers gets.
    pub(crate) fn selected(&self) -> &[Select] {
        self.select.get(..self.registers.into()).unwrap_or(&self.select)
    }
}

/// What a register gets of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Select {
    Zero,
    One,
    /// The component with this number.
    Component(u8),
}

/// What is done to memory.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Access {
    Load(Portion),
    Store(Portion),
    /// Replaces what is there with something made of it, of the data, and of a second value if there is one.
    Atomic {
        is_wide: bool,
        compares: bool,
        apply: fn(u64, u64, u64) -> u64,
    },
}

pub(crate) type FlatOperation = Access;

/// What is done to a buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BufferOperation {
    /// Bytes as they are.
    Untyped(Access),
    /// Loads so many components of an item, in the format that the buffer's descriptor names.
    Load(u8),
    /// Stores them.
    Store(u8),
}

impl BufferOperation {
    /// Whether it is about caches, of which there are none.
    pub(crate) fn does_nothing(self) -> bool {
        matches!(self, Self::Untyped(Access::Load(Portion::Registers(0))))
    }
}

/// Scalar loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScalarMemory {
    /// So many registers, from an address or from a buffer.
    Load { registers: u8, from_buffer: bool },
    /// The clock.
    Time,
    /// Caches, of which there are none.
    Nothing,
}

const fn load(registers: u8) -> ScalarMemory {
    ScalarMemory::Load { registers, from_buffer: false }
}

const fn buffer_load(registers: u8) -> ScalarMemory {
    ScalarMemory::Load { registers, from_buffer: true }
}

#[rustfmt::skip]
pub(super) const SMEM: &[Row<ScalarMemory>] = &[
    row("s_load_dword|s_load_b32", 0, 0, load(1)),
    row("s_load_dwordx2|s_load_b64", 1, 1, load(2)),
    row("s_load_dwordx4|s_load_b128", 2, 2, load(4)),
    row("s_load_dwordx8|s_load_b256", 3, 3, load(8)),
    row("s_load_dwordx16|s_load_b512", 4, 4, load(16)),
    row("s_buffer_load_dword|s_buffer_load_b32", 8, 8, buffer_load(1)),
    row("s_buffer_load_dwordx2|s_buffer_load_b64", 9, 9, buffer_load(2)),
    row("s_buffer_load_dwordx4|s_buffer_load_b128", 10, 10, buffer_load(4)),
    row("s_buffer_load_dwordx8|s_buffer_load_b256", 11, 11, buffer_load(8)),
    row("s_buffer_load_dwordx16|s_buffer_load_b512", 12, 12, buffer_load(16)),
    row("s_gl1_inv", 31, 32, ScalarMemory::Nothing),
    row("s_dcache_inv", 32, 33, ScalarMemory::Nothing),
    row("s_memtime", 36, NO, ScalarMemory::Time),
    row("s_memrealtime", 37, NO, ScalarMemory::Time),
];

const fn registers(count: u8) -> Portion {
    Portion::Registers(count)
}

pub(super) const fn bytes(count: u8, signed: bool) -> Portion {
    Portion::Bytes { count, signed }
}

pub(super) const fn lower_half(count: u8, signed: bool) -> Portion {
    Portion::Half { count, signed, upper: false }
}

pub(super) const fn upper_half(count: u8, signed: bool) -> Portion {
    Portion::Half { count, signed, upper: true }
}

const fn narrow(apply: fn(u64, u64, u64) -> u64) -> Access {
    Access::Atomic { is_wide: false, compares: false, apply }
}

const fn wide(apply: fn(u64, u64, u64) -> u64) -> Access {
    Access::Atomic { is_wide: true, compares: false, apply }
}

pub(super) const fn comparing(is_wide: bool, apply: fn(u64, u64, u64) -> u64) -> Access {
    Access::Atomic { is_wide, compares: true, apply }
}

fn sign(value: u64) -> i64 {
    value.cast_signed()
}

/// One more, or 0 after the limit.
pub(super) fn increment(old: u64, limit: u64) -> u64 {
    if old >= limit { 0 } else { old + 1 }
}

/// One less, or the limit after 0 and from beyond it.
pub(super) fn decrement(old: u64, limit: u64) -> u64 {
    if old == 0 || old > limit { limit } else { old - 1 }
}

pub(super) fn smaller32(old: u64, data: u64) -> u64 {
    if signed(data) < signed(old) { data } else { old }
}

pub(super) fn larger32(old: u64, data: u64) -> u64 {
    if signed(data) > signed(old) { data } else { old }
}

pub(super) fn smaller64(old: u64, data: u64) -> u64 {
    if sign(data) < sign(old) { data } else { old }
}

pub(super) fn larger64(old: u64, data: u64) -> u64 {
    if sign(data) > sign(old) { data } else { old }
}

pub(super) fn exchange_if(old: u64, data: u64, wanted: u64) -> u64 {
    if old == wanted { data } else { old }
}

/// The same for numbers with a fraction: both zeros are equal, and what is not a number is equal to nothing.
pub(super) fn exchange_if_f32(old: u64, data: u64, wanted: u64) -> u64 {
    if f32_of(old) == f32_of(wanted) { data } else { old }
}

pub(super) fn exchange_if_f64(old: u64, data: u64, wanted: u64) -> u64 {
    if f64_of(old) == f64_of(wanted) { data } else { old }
}

pub(super) fn add_f32(old: u64, data: u64) -> u64 {
    (f32_of(old) + f32_of(data)).to_bits().into()
}

pub(super) fn smaller_f32(old: u64, data: u64) -> u64 {
    (minimum(f32_of(old).into(), f32_of(data).into()) as f32).to_bits().into()
}

pub(super) fn larger_f32(old: u64, data: u64) -> u64 {
    (maximum(f32_of(old).into(), f32_of(data).into()) as f32).to_bits().into()
}

pub(super) fn smaller_f64(old: u64, data: u64) -> u64 {
    minimum(f64_of(old), f64_of(data)).to_bits()
}

pub(super) fn larger_f64(old: u64, data: u64) -> u64 {
    maximum(f64_of(old), f64_of(data)).to_bits()
}

/// FLAT, GLOBAL and SCRATCH have the same numbers; their names begin otherwise, which `*` stands for.
#[rustfmt::skip]
pub(super) const FLAT: &[Row<FlatOperation>] = &[
    row("*_load_ubyte|*_load_u8", 8, 16, Access::Load(bytes(1, false))),
    row("*_load_sbyte|*_load_i8", 9, 17, Access::Load(bytes(1, true))),
    row("*_load_ushort|*_load_u16", 10, 18, Access::Load(bytes(2, false))),
    row("*_load_sshort|*_load_i16", 11, 19, Access::Load(bytes(2, true))),
    row("*_load_dword|*_load_b32", 12, 20, Access::Load(registers(1))),
    row("*_load_dwordx2|*_load_b64", 13, 21, Access::Load(registers(2))),
    row("*_load_dwordx3|*_load_b96", 15, 22, Access::Load(registers(3))),
    row("*_load_dwordx4|*_load_b128", 14, 23, Access::Load(registers(4))),
    row("*_store_byte|*_store_b8", 24, 24, Access::Store(bytes(1, false))),
    row("*_store_byte_d16_hi|*_store_d16_hi_b8", 25, 36, Access::Store(upper_half(1, false))),
    row("*_store_short|*_store_b16", 26, 25, Access::Store(bytes(2, false))),
    row("*_store_short_d16_hi|*_store_d16_hi_b16", 27, 37, Access::Store(upper_half(2, false))),
    row("*_store_dword|*_store_b32", 28, 26, Access::Store(registers(1))),
    row("*_store_dwordx2|*_store_b64", 29, 27, Access::Store(registers(2))),
    row("*_store_dwordx3|*_store_b96", 31, 28, Access::Store(registers(3))),
    row("*_store_dwordx4|*_store_b128", 30, 29, Access::Store(registers(4))),
    row("*_load_ubyte_d16|*_load_d16_u8", 32, 30, Access::Load(lower_half(1, false))),
    row("*_load_ubyte_d16_hi|*_load_d16_hi_u8", 33, 33, Access::Load(upper_half(1, false))),
    row("*_load_sbyte_d16|*_load_d16_i8", 34, 31, Access::Load(lower_half(1, true))),
    row("*_load_sbyte_d16_hi|*_load_d16_hi_i8", 35, 34, Access::Load(upper_half(1, true))),
    row("*_load_short_d16|*_load_d16_b16", 36, 32, Access::Load(lower_half(2, false))),
    row("*_load_short_d16_hi|*_load_d16_hi_b16", 37, 35, Access::Load(upper_half(2, false))),
    row("*_atomic_swap|*_atomic_swap_b32", 48, 51, narrow(|_, data, _| data)),
    row("*_atomic_cmpswap|*_atomic_cmpswap_b32", 49, 52, comparing(false, exchange_if)),
    row("*_atomic_add|*_atomic_add_u32", 50, 53, narrow(|old, data, _| old.wrapping_add(data))),
    row("*_atomic_sub|*_atomic_sub_u32", 51, 54, narrow(|old, data, _| old.wrapping_sub(data))),
    row("*_atomic_smin|*_atomic_min_i32", 53, 56, narrow(|old, data, _| smaller32(old, data))),
    row("*_atomic_umin|*_atomic_min_u32", 54, 57, narrow(|old, data, _| old.min(data))),
    row("*_atomic_smax|*_atomic_max_i32", 55, 58, narrow(|old, data, _| larger32(old, data))),
    row("*_atomic_umax|*_atomic_max_u32", 56, 59, narrow(|old, data, _| old.max(data))),
    row("*_atomic_and|*_atomic_and_b32", 57, 60, narrow(|old, data, _| old & data)),
    row("*_atomic_or|*_atomic_or_b32", 58, 61, narrow(|old, data, _| old | data)),
    row("*_atomic_xor|*_atomic_xor_b32", 59, 62, narrow(|old, data, _| old ^ data)),
    row("*_atomic_inc|*_atomic_inc_u32", 60, 63, narrow(|old, data, _| increment(old, data))),
    row("*_atomic_dec|*_atomic_dec_u32", 61, 64, narrow(|old, data, _| decrement(old, data))),
    row("*_atomic_csub|*_atomic_csub_u32", 52, 55, narrow(|old, data, _| old.saturating_sub(data))),
    row("*_atomic_fcmpswap|*_atomic_cmpswap_f32", 62, 80, comparing(false, exchange_if_f32)),
    row("*_atomic_fmin|*_atomic_min_f32", 63, 81, narrow(|old, data, _| smaller_f32(old, data))),
    row("*_atomic_fmax|*_atomic_max_f32", 64, 82, narrow(|old, data, _| larger_f32(old, data))),
    row("*_atomic_add_f32", NO, 86, narrow(|old, data, _| add_f32(old, data))),
    row("*_atomic_swap_x2|*_atomic_swap_b64", 80, 65, wide(|_, data, _| data)),
    row("*_atomic_cmpswap_x2|*_atomic_cmpswap_b64", 81, 66, comparing(true, exchange_if)),
    row("*_atomic_add_x2|*_atomic_add_u64", 82, 67, wide(|old, data, _| old.wrapping_add(data))),
    row("*_atomic_sub_x2|*_atomic_sub_u64", 83, 68, wide(|old, data, _| old.wrapping_sub(data))),
    row("*_atomic_smin_x2|*_atomic_min_i64", 85, 69, wide(|old, data, _| smaller64(old, data))),
    row("*_atomic_umin_x2|*_atomic_min_u64", 86, 70, wide(|old, data, _| old.min(data))),
    row("*_atomic_smax_x2|*_atomic_max_i64", 87, 71, wide(|old, data, _| larger64(old, data))),
    row("*_atomic_umax_x2|*_atomic_max_u64", 88, 72, wide(|old, data, _| old.max(data))),
    row("*_atomic_and_x2|*_atomic_and_b64", 89, 73, wide(|old, data, _| old & data)),
    row("*_atomic_or_x2|*_atomic_or_b64", 90, 74, wide(|old, data, _| old | data)),
    row("*_atomic_xor_x2|*_atomic_xor_b64", 91, 75, wide(|old, data, _| old ^ data)),
    row("*_atomic_inc_x2|*_atomic_inc_u64", 92, 76, wide(|old, data, _| increment(old, data))),
    row("*_atomic_dec_x2|*_atomic_dec_u64", 93, 77, wide(|old, data, _| decrement(old, data))),
    row("*_atomic_fcmpswap_x2", 94, NO, comparing(true, exchange_if_f64)),
    row("*_atomic_fmin_x2", 95, NO, wide(|old, data, _| smaller_f64(old, data))),
    row("*_atomic_fmax_x2", 96, NO, wide(|old, data, _| larger_f64(old, data))),
];

const fn untyped(names: &'static str, gfx10: u16, gfx11: u16, access: Access) -> Row<BufferOperation> {
    row(names, gfx10, gfx11, BufferOperation::Untyped(access))
}

/// Loads and stores of buffers, by which gfx10 reaches the work-items' own memory. Atomic operations have the numbers that they
/// have in [`FLAT`].
#[rustfmt::skip]
pub(super) const MUBUF: &[Row<BufferOperation>] = &[
    row("buffer_load_format_x", 0, 0, BufferOperation::Load(1)),
    row("buffer_load_format_xy", 1, 1, BufferOperation::Load(2)),
    row("buffer_load_format_xyz", 2, 2, BufferOperation::Load(3)),
    row("buffer_load_format_xyzw", 3, 3, BufferOperation::Load(4)),
    row("buffer_store_format_x", 4, 4, BufferOperation::Store(1)),
    row("buffer_store_format_xy", 5, 5, BufferOperation::Store(2)),
    row("buffer_store_format_xyz", 6, 6, BufferOperation::Store(3)),
    row("buffer_store_format_xyzw", 7, 7, BufferOperation::Store(4)),
    untyped("buffer_load_ubyte|buffer_load_u8", 8, 16, Access::Load(bytes(1, false))),
    untyped("buffer_load_sbyte|buffer_load_i8", 9, 17, Access::Load(bytes(1, true))),
    untyped("buffer_load_ushort|buffer_load_u16", 10, 18, Access::Load(bytes(2, false))),
    untyped("buffer_load_sshort|buffer_load_i16", 11, 19, Access::Load(bytes(2, true))),
    untyped("buffer_load_dword|buffer_load_b32", 12, 20, Access::Load(registers(1))),
    untyped("buffer_load_dwordx2|buffer_load_b64", 13, 21, Access::Load(registers(2))),
    untyped("buffer_load_dwordx3|buffer_load_b96", 15, 22, Access::Load(registers(3))),
    untyped("buffer_load_dwordx4|buffer_load_b128", 14, 23, Access::Load(registers(4))),
    untyped("buffer_store_byte|buffer_store_b8", 24, 24, Access::Store(bytes(1, false))),
    untyped("buffer_store_byte_d16_hi|buffer_store_d16_hi_b8", 25, 36, Access::Store(upper_half(1, false))),
    untyped("buffer_store_short|buffer_store_b16", 26, 25, Access::Store(bytes(2, false))),
    untyped("buffer_store_short_d16_hi|buffer_store_d16_hi_b16", 27, 37, Access::Store(upper_half(2, false))),
    untyped("buffer_store_dword|buffer_store_b32", 28, 26, Access::Store(registers(1))),
    untyped("buffer_store_dwordx2|buffer_store_b64", 29, 27, Access::Store(registers(2))),
    untyped("buffer_store_dwordx3|buffer_store_b96", 31, 28, Access::Store(registers(3))),
    untyped("buffer_store_dwordx4|buffer_store_b128", 30, 29, Access::Store(registers(4))),
    untyped("buffer_load_ubyte_d16|buffer_load_d16_u8", 32, 30, Access::Load(lower_half(1, false))),
    untyped("buffer_load_ubyte_d16_hi|buffer_load_d16_hi_u8", 33, 33, Access::Load(upper_half(1, false))),
    untyped("buffer_load_sbyte_d16|buffer_load_d16_i8", 34, 31, Access::Load(lower_half(1, true))),
    untyped("buffer_load_sbyte_d16_hi|buffer_load_d16_hi_i8", 35, 34, Access::Load(upper_half(1, true))),
    untyped("buffer_load_short_d16|buffer_load_d16_b16", 36, 32, Access::Load(lower_half(2, false))),
    untyped("buffer_load_short_d16_hi|buffer_load_d16_hi_b16", 37, 35, Access::Load(upper_half(2, false))),
    // Caches, of which there are none.
    untyped("buffer_gl0_inv", 113, 43, Access::Load(Portion::Registers(0))),
    untyped("buffer_gl1_inv", 114, 44, Access::Load(Portion::Registers(0))),
];
