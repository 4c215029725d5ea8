//! Scalar instructions that make a value, or compare two.

use super::{NO, Outcome, Row, ScalarOperation, row};
use crate::operand::Type;
use crate::operand::Type::{B32, B64, I64};

const NARROW: [Type; 3] = [B32; 3];
const WIDE: [Type; 3] = [B64; 3];
/// Shifts of 64 bits: the second source has 32.
const SHIFT: [Type; 3] = [B64, B64, B32];
/// A small number about 64 bits.
const ABOUT: [Type; 3] = [B32, B64, B32];

fn plain(value: u64) -> Outcome {
    Outcome { value, scc: None }
}

/// The condition code says whether the result is something else than 0.
fn tested(value: u64) -> Outcome {
    Outcome { value, scc: Some(value != 0) }
}

fn tested32(value: u32) -> Outcome {
    tested(value.into())
}

fn flagged(value: u32, scc: bool) -> Outcome {
    Outcome { value: value.into(), scc: Some(scc) }
}

fn overflowing((value, scc): (i32, bool)) -> Outcome {
    flagged(value.cast_unsigned(), scc)
}

fn signed(value: u64) -> i32 {
    value as i32
}

fn narrow(value: u64) -> u32 {
    value as u32
}

type Narrow = fn(u64, u64, bool) -> Outcome;

const fn on32(apply: Narrow) -> ScalarOperation {
    ScalarOperation::Value(NARROW, apply)
}

const fn on64(apply: Narrow) -> ScalarOperation {
    ScalarOperation::Value(WIDE, apply)
}

const fn shift64(apply: Narrow) -> ScalarOperation {
    ScalarOperation::Value(SHIFT, apply)
}

const fn about64(apply: Narrow) -> ScalarOperation {
    ScalarOperation::Value(ABOUT, apply)
}

fn sum(a: u64, b: u64, carry: bool) -> Outcome {
    let whole = a + b + u64::from(carry);
    flagged(narrow(whole), whole >> 32 != 0)
}

fn difference(a: u64, b: u64, borrow: bool) -> Outcome {
    let taken = b + u64::from(borrow);
    flagged(narrow(a.wrapping_sub(taken)), a < taken)
}

/// As many of the lowest bits as asked for.
fn ones(count: u32) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

/// Offset and width of a bit field, as an instruction is told them.
fn field(word: u64, offset_mask: u32) -> (u32, u32) {
    (narrow(word) & offset_mask, narrow(word) >> 16 & 0x7f)
}

fn extract(value: u64, offset: u32, width: u32) -> u64 {
    value >> offset & ones(width)
}

/// The same, with the sign of its highest bit.
fn extract_signed(value: i64, offset: u32, width: u32) -> u64 {
    if width == 0 {
        return 0;
    }
    let value = value >> offset;
    let unused = 64 - width.min(64);
    (value << unused >> unused).cast_unsigned()
}

#[rustfmt::skip]
pub(super) const SOP2: &[Row<ScalarOperation>] = &[
    row("s_add_u32", 0, 0, on32(|a, b, _| sum(a, b, false))),
    row("s_sub_u32", 1, 1, on32(|a, b, _| difference(a, b, false))),
    row("s_add_i32", 2, 2, on32(|a, b, _| overflowing(signed(a).overflowing_add(signed(b))))),
    row("s_sub_i32", 3, 3, on32(|a, b, _| overflowing(signed(a).overflowing_sub(signed(b))))),
    row("s_addc_u32", 4, 4, on32(sum)),
    row("s_subb_u32", 5, 5, on32(difference)),
    row("s_min_i32", 6, 18, on32(|a, b, _| flagged(signed(a).min(signed(b)).cast_unsigned(), signed(a) < signed(b)))),
    row("s_min_u32", 7, 19, on32(|a, b, _| flagged(narrow(a.min(b)), a < b))),
    row("s_max_i32", 8, 20, on32(|a, b, _| flagged(signed(a).max(signed(b)).cast_unsigned(), signed(a) > signed(b)))),
    row("s_max_u32", 9, 21, on32(|a, b, _| flagged(narrow(a.max(b)), a > b))),
    row("s_cselect_b32", 10, 48, on32(|a, b, scc| plain(if scc { a } else { b }))),
    row("s_cselect_b64", 11, 49, on64(|a, b, scc| plain(if scc { a } else { b }))),
    row("s_and_b32", 14, 22, on32(|a, b, _| tested(a & b))),
    row("s_and_b64", 15, 23, on64(|a, b, _| tested(a & b))),
    row("s_or_b32", 16, 24, on32(|a, b, _| tested(a | b))),
    row("s_or_b64", 17, 25, on64(|a, b, _| tested(a | b))),
    row("s_xor_b32", 18, 26, on32(|a, b, _| tested(a ^ b))),
    row("s_xor_b64", 19, 27, on64(|a, b, _| tested(a ^ b))),
    row("s_andn2_b32|s_and_not1_b32", 20, 34, on32(|a, b, _| tested(a & !b))),
    row("s_andn2_b64|s_and_not1_b64", 21, 35, on64(|a, b, _| tested(a & !b))),
    row("s_orn2_b32|s_or_not1_b32", 22, 36, on32(|a, b, _| tested32(narrow(a | !b)))),
    row("s_orn2_b64|s_or_not1_b64", 23, 37, on64(|a, b, _| tested(a | !b))),
    row("s_nand_b32", 24, 28, on32(|a, b, _| tested32(narrow(!(a & b))))),
    row("s_nand_b64", 25, 29, on64(|a, b, _| tested(!(a & b)))),
    row("s_nor_b32", 26, 30, on32(|a, b, _| tested32(narrow(!(a | b))))),
    row("s_nor_b64", 27, 31, on64(|a, b, _| tested(!(a | b)))),
    row("s_xnor_b32", 28, 32, on32(|a, b, _| tested32(narrow(!(a ^ b))))),
    row("s_xnor_b64", 29, 33, on64(|a, b, _| tested(!(a ^ b)))),
    row("s_lshl_b32", 30, 8, on32(|a, b, _| tested32(narrow(a << (b & 31))))),
    row("s_lshl_b64", 31, 9, shift64(|a, b, _| tested(a << (b & 63)))),
    row("s_lshr_b32", 32, 10, on32(|a, b, _| tested(a >> (b & 31)))),
    row("s_lshr_b64", 33, 11, shift64(|a, b, _| tested(a >> (b & 63)))),
    row("s_ashr_i32", 34, 12, on32(|a, b, _| tested32((signed(a) >> (b & 31)).cast_unsigned()))),
    row("s_ashr_i64", 35, 13, shift64(|a, b, _| tested((a.cast_signed() >> (b & 63)).cast_unsigned()))),
    row("s_bfm_b32", 36, 42, on32(|a, b, _| plain((ones(narrow(a) & 31) << (b & 31)) & 0xffff_ffff))),
    row("s_bfm_b64", 37, 43, ScalarOperation::Value([B64, B32, B32], |a, b, _| plain(ones(narrow(a) & 63) << (b & 63)))),
    row("s_mul_i32", 38, 44, on32(|a, b, _| plain(narrow(a).wrapping_mul(narrow(b)).into()))),
    row("s_bfe_u32", 39, 38, on32(|a, b, _| { let (offset, width) = field(b, 31); tested(extract(a, offset, width)) })),
    row("s_bfe_i32", 40, 39, on32(|a, b, _| { let (offset, width) = field(b, 31); tested32(narrow(extract_signed(signed(a).into(), offset, width))) })),
    row("s_bfe_u64", 41, 40, shift64(|a, b, _| { let (offset, width) = field(b, 63); tested(extract(a, offset, width)) })),
    row("s_bfe_i64", 42, 41, shift64(|a, b, _| { let (offset, width) = field(b, 63); tested(extract_signed(a.cast_signed(), offset, width)) })),
    row("s_absdiff_i32", 44, 6, on32(|a, b, _| tested32(signed(a).wrapping_sub(signed(b)).unsigned_abs()))),
    row("s_lshl1_add_u32", 46, 14, on32(|a, b, _| { let whole = (a << 1) + b; flagged(narrow(whole), whole >> 32 != 0) })),
    row("s_lshl2_add_u32", 47, 15, on32(|a, b, _| { let whole = (a << 2) + b; flagged(narrow(whole), whole >> 32 != 0) })),
    row("s_lshl3_add_u32", 48, 16, on32(|a, b, _| { let whole = (a << 3) + b; flagged(narrow(whole), whole >> 32 != 0) })),
    row("s_lshl4_add_u32", 49, 17, on32(|a, b, _| { let whole = (a << 4) + b; flagged(narrow(whole), whole >> 32 != 0) })),
    row("s_pack_ll_b32_b16", 50, 50, on32(|a, b, _| plain(a & 0xffff | (b & 0xffff) << 16))),
    row("s_pack_lh_b32_b16", 51, 51, on32(|a, b, _| plain(a & 0xffff | b & 0xffff_0000))),
    row("s_pack_hh_b32_b16", 52, 52, on32(|a, b, _| plain(a >> 16 | b & 0xffff_0000))),
    row("s_pack_hl_b32_b16", NO, 53, on32(|a, b, _| plain(a >> 16 | (b & 0xffff) << 16))),
    row("s_mul_hi_u32", 53, 45, on32(|a, b, _| plain((a * b) >> 32))),
    row("s_mul_hi_i32", 54, 46, on32(|a, b, _| plain(((i64::from(signed(a)) * i64::from(signed(b))) >> 32).cast_unsigned() & 0xffff_ffff))),
];

/// The second source is what the destination has.
#[rustfmt::skip]
pub(super) const SOP1: &[Row<ScalarOperation>] = &[
    row("s_mov_b32", 3, 0, on32(|a, _, _| plain(a))),
    row("s_mov_b64", 4, 1, ScalarOperation::Value([B64, I64, B64], |a, _, _| plain(a))),
    row("s_cmov_b32", 5, 2, on32(|a, b, scc| plain(if scc { a } else { b }))),
    row("s_cmov_b64", 6, 3, on64(|a, b, scc| plain(if scc { a } else { b }))),
    row("s_not_b32", 7, 30, on32(|a, _, _| tested32(!narrow(a)))),
    row("s_not_b64", 8, 31, on64(|a, _, _| tested(!a))),
    row("s_wqm_b32", 9, 28, on32(|a, _, _| tested(whole_quads(a)))),
    row("s_wqm_b64", 10, 29, on64(|a, _, _| tested(whole_quads(a)))),
    row("s_brev_b32", 11, 4, on32(|a, _, _| plain(narrow(a).reverse_bits().into()))),
    row("s_brev_b64", 12, 5, on64(|a, _, _| plain(a.reverse_bits()))),
    row("s_bcnt0_i32_b32", 13, 22, on32(|a, _, _| tested32(narrow(a).count_zeros()))),
    row("s_bcnt0_i32_b64", 14, 23, about64(|a, _, _| tested32(a.count_zeros()))),
    row("s_bcnt1_i32_b32", 15, 24, on32(|a, _, _| tested32(narrow(a).count_ones()))),
    row("s_bcnt1_i32_b64", 16, 25, about64(|a, _, _| tested32(a.count_ones()))),
    row("s_ff0_i32_b32", 17, NO, on32(|a, _, _| plain(first(narrow(a) != u32::MAX, narrow(a).trailing_ones())))),
    row("s_ff0_i32_b64", 18, NO, about64(|a, _, _| plain(first(a != u64::MAX, a.trailing_ones())))),
    row("s_ff1_i32_b32|s_ctz_i32_b32", 19, 8, on32(|a, _, _| plain(first(a != 0, narrow(a).trailing_zeros())))),
    row("s_ff1_i32_b64|s_ctz_i32_b64", 20, 9, about64(|a, _, _| plain(first(a != 0, a.trailing_zeros())))),
    row("s_flbit_i32_b32|s_clz_i32_u32", 21, 10, on32(|a, _, _| plain(first(a != 0, narrow(a).leading_zeros())))),
    row("s_flbit_i32_b64|s_clz_i32_u64", 22, 11, about64(|a, _, _| plain(first(a != 0, a.leading_zeros())))),
    row("s_flbit_i32|s_cls_i32", 23, 12, on32(|a, _, _| { let bits = signed(a) ^ signed(a) >> 31; plain(first(bits != 0, bits.leading_zeros())) })),
    row("s_flbit_i32_i64|s_cls_i32_i64", 24, 13, about64(|a, _, _| { let bits = a.cast_signed() ^ a.cast_signed() >> 63; plain(first(bits != 0, bits.leading_zeros())) })),
    row("s_sext_i32_i8", 25, 14, on32(|a, _, _| plain((i32::from(a as i8).cast_unsigned()).into()))),
    row("s_sext_i32_i16", 26, 15, on32(|a, _, _| plain((i32::from(a as i16).cast_unsigned()).into()))),
    row("s_bitset0_b32", 27, 16, on32(|a, b, _| plain(b & !(1 << (a & 31))))),
    row("s_bitset0_b64", 28, 17, ScalarOperation::Value([B64, B32, B64], |a, b, _| plain(b & !(1 << (a & 63))))),
    row("s_bitset1_b32", 29, 18, on32(|a, b, _| plain(b | 1 << (a & 31)))),
    row("s_bitset1_b64", 30, 19, ScalarOperation::Value([B64, B32, B64], |a, b, _| plain(b | 1 << (a & 63)))),
    row("s_quadmask_b32", 44, 26, on32(|a, _, _| tested(quads(a)))),
    row("s_quadmask_b64", 45, 27, on64(|a, _, _| tested(quads(a)))),
    row("s_abs_i32", 52, 21, on32(|a, _, _| tested32(signed(a).unsigned_abs()))),
    row("s_bitreplicate_b64_b32", 59, 20, ScalarOperation::Value([B64, B32, B64], |a, _, _| {
        plain((0..32).map(|bit| ((a >> bit & 1) * 3) << (2 * bit)).sum())
    })),
    row("s_and_saveexec_b64", 36, 33, save_exec(true, |source, exec| source & exec)),
    row("s_or_saveexec_b64", 37, 35, save_exec(true, |source, exec| source | exec)),
    row("s_xor_saveexec_b64", 38, 37, save_exec(true, |source, exec| source ^ exec)),
    row("s_andn2_saveexec_b64|s_and_not1_saveexec_b64", 39, 49, save_exec(true, |source, exec| source & !exec)),
    row("s_orn2_saveexec_b64|s_or_not1_saveexec_b64", 40, 51, save_exec(true, |source, exec| source | !exec)),
    row("s_nand_saveexec_b64", 41, 39, save_exec(true, |source, exec| !(source & exec))),
    row("s_nor_saveexec_b64", 42, 41, save_exec(true, |source, exec| !(source | exec))),
    row("s_xnor_saveexec_b64", 43, 43, save_exec(true, |source, exec| !(source ^ exec))),
    row("s_andn1_saveexec_b64|s_and_not0_saveexec_b64", 55, 45, save_exec(true, |source, exec| !source & exec)),
    row("s_orn1_saveexec_b64|s_or_not0_saveexec_b64", 56, 47, save_exec(true, |source, exec| !source | exec)),
    row("s_andn1_wrexec_b64|s_and_not0_wrexec_b64", 57, 53, write_exec(true, |source, exec| !source & exec)),
    row("s_andn2_wrexec_b64|s_and_not1_wrexec_b64", 58, 55, write_exec(true, |source, exec| source & !exec)),
    row("s_and_saveexec_b32", 60, 32, save_exec(false, |source, exec| source & exec)),
    row("s_or_saveexec_b32", 61, 34, save_exec(false, |source, exec| source | exec)),
    row("s_xor_saveexec_b32", 62, 36, save_exec(false, |source, exec| source ^ exec)),
    row("s_andn2_saveexec_b32|s_and_not1_saveexec_b32", 63, 48, save_exec(false, |source, exec| source & !exec)),
    row("s_orn2_saveexec_b32|s_or_not1_saveexec_b32", 64, 50, save_exec(false, |source, exec| source | !exec)),
    row("s_nand_saveexec_b32", 65, 38, save_exec(false, |source, exec| !(source & exec))),
    row("s_nor_saveexec_b32", 66, 40, save_exec(false, |source, exec| !(source | exec))),
    row("s_xnor_saveexec_b32", 67, 42, save_exec(false, |source, exec| !(source ^ exec))),
    row("s_andn1_saveexec_b32|s_and_not0_saveexec_b32", 68, 44, save_exec(false, |source, exec| !source & exec)),
    row("s_orn1_saveexec_b32|s_or_not0_saveexec_b32", 69, 46, save_exec(false, |source, exec| !source | exec)),
    row("s_andn1_wrexec_b32|s_and_not0_wrexec_b32", 70, 52, write_exec(false, |source, exec| !source & exec)),
    row("s_andn2_wrexec_b32|s_and_not1_wrexec_b32", 71, 54, write_exec(false, |source, exec| source & !exec)),
];

/// Changes EXEC, and returns what it was.
const fn save_exec(is_wide: bool, apply: fn(u64, u64) -> u64) -> ScalarOperation {
    ScalarOperation::Exec { is_wide, returns_new: false, apply }
}

/// Changes EXEC, and returns what it is then.
const fn write_exec(is_wide: bool, apply: fn(u64, u64) -> u64) -> ScalarOperation {
    ScalarOperation::Exec { is_wide, returns_new: true, apply }
}

/// A position, or -1 if there is none.
fn first(is_there: bool, position: u32) -> u64 {
    if is_there { position.into() } else { u32::MAX.into() }
}

/// All bits of each four of which one is set.
fn whole_quads(value: u64) -> u64 {
    (0..16).filter(|quad| value >> (quad * 4) & 15 != 0).map(|quad| 15 << (quad * 4)).sum()
}

/// One bit for each four of which one is set.
fn quads(value: u64) -> u64 {
    (0..16).filter(|quad| value >> (quad * 4) & 15 != 0).map(|quad| 1 << quad).sum()
}

/// Compares signed numbers.
const fn compare(apply: fn(u64, u64) -> bool) -> ScalarOperation {
    ScalarOperation::Compare([B32, B32], apply)
}

#[rustfmt::skip]
pub(super) const SOPC: &[Row<ScalarOperation>] = &[
    row("s_cmp_eq_i32", 0, 0, compare(|a, b| a == b)),
    row("s_cmp_lg_i32", 1, 1, compare(|a, b| a != b)),
    row("s_cmp_gt_i32", 2, 2, compare(|a, b| signed(a) > signed(b))),
    row("s_cmp_ge_i32", 3, 3, compare(|a, b| signed(a) >= signed(b))),
    row("s_cmp_lt_i32", 4, 4, compare(|a, b| signed(a) < signed(b))),
    row("s_cmp_le_i32", 5, 5, compare(|a, b| signed(a) <= signed(b))),
    row("s_cmp_eq_u32", 6, 6, compare(|a, b| a == b)),
    row("s_cmp_lg_u32", 7, 7, compare(|a, b| a != b)),
    row("s_cmp_gt_u32", 8, 8, compare(|a, b| a > b)),
    row("s_cmp_ge_u32", 9, 9, compare(|a, b| a >= b)),
    row("s_cmp_lt_u32", 10, 10, compare(|a, b| a < b)),
    row("s_cmp_le_u32", 11, 11, compare(|a, b| a <= b)),
    row("s_bitcmp0_b32", 12, 12, compare(|a, b| a >> (b & 31) & 1 == 0)),
    row("s_bitcmp1_b32", 13, 13, compare(|a, b| a >> (b & 31) & 1 == 1)),
    row("s_bitcmp0_b64", 14, 14, ScalarOperation::Compare([B64, B32], |a, b| a >> (b & 63) & 1 == 0)),
    row("s_bitcmp1_b64", 15, 15, ScalarOperation::Compare([B64, B32], |a, b| a >> (b & 63) & 1 == 1)),
    row("s_cmp_eq_u64", 18, 16, ScalarOperation::Compare([B64, B64], |a, b| a == b)),
    row("s_cmp_lg_u64", 19, 17, ScalarOperation::Compare([B64, B64], |a, b| a != b)),
];

/// The first source is what the destination has, the second the number in the instruction, with its sign.
#[rustfmt::skip]
pub(super) const SOPK: &[Row<ScalarOperation>] = &[
    row("s_movk_i32", 0, 0, on32(|_, b, _| plain(b))),
    row("s_cmovk_i32", 2, 2, on32(|a, b, scc| plain(if scc { b } else { a }))),
    row("s_cmpk_eq_i32", 3, 3, compare(|a, b| a == b)),
    row("s_cmpk_lg_i32", 4, 4, compare(|a, b| a != b)),
    row("s_cmpk_gt_i32", 5, 5, compare(|a, b| signed(a) > signed(b))),
    row("s_cmpk_ge_i32", 6, 6, compare(|a, b| signed(a) >= signed(b))),
    row("s_cmpk_lt_i32", 7, 7, compare(|a, b| signed(a) < signed(b))),
    row("s_cmpk_le_i32", 8, 8, compare(|a, b| signed(a) <= signed(b))),
    row("s_cmpk_eq_u32", 9, 9, compare(|a, b| a == b & 0xffff)),
    row("s_cmpk_lg_u32", 10, 10, compare(|a, b| a != b & 0xffff)),
    row("s_cmpk_gt_u32", 11, 11, compare(|a, b| a > b & 0xffff)),
    row("s_cmpk_ge_u32", 12, 12, compare(|a, b| a >= b & 0xffff)),
    row("s_cmpk_lt_u32", 13, 13, compare(|a, b| a < b & 0xffff)),
    row("s_cmpk_le_u32", 14, 14, compare(|a, b| a <= b & 0xffff)),
    row("s_addk_i32", 15, 15, on32(|a, b, _| overflowing(signed(a).overflowing_add(signed(b))))),
    row("s_mulk_i32", 16, 16, on32(|a, b, _| plain(narrow(a).wrapping_mul(narrow(b)).into()))),
];
