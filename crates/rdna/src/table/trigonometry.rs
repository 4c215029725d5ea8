//! `v_trig_preop_f64`: the digits of 2/pi by which sines and cosines of large numbers are reduced.

use super::lane::scale;

/// Binary digits of 2/pi after the point.
const TWO_OVER_PI: [u32; 38] = [
    0xa2f9_836e,
    0x4e44_1529,
    0xfc27_57d1,
    0xf534_ddc0,
    0xdb62_9599,
    0x3c43_9041,
    0xfe51_63ab,
    0xdebb_c561,
    0xb724_6e3a,
    0x424d_d2e0,
    0x0649_2eea,
    0x09d1_921c,
    0xfe1d_eb1c,
    0xb129_a73e,
    0xe882_35f5,
    0x2ebb_4484,
    0xe99c_7026,
    0xb45f_7e41,
    0x3991_d639,
    0x8353_39f4,
    0x9c84_5f8b,
    0xbdf9_283b,
    0x1ff8_97ff,
    0xde05_980f,
    0xef2f_118b,
    0x5a0a_6d1f,
    0x6d36_7ecf,
    0x27cb_09b7,
    0x4f46_3f66,
    0x9e5f_ea2d,
    0x7527_bac7,
    0xebe5_f17b,
    0x3d07_39f7,
    0x8a52_92ea,
    0x6bfb_5fb1,
    0x1f8d_5d08,
    0x5603_3046,
    0xfc7b_6bab,
];

/// Binary digits of one piece.
const PIECE: u32 = 53;

/// The piece of 2/pi with this number, as what it adds to it, among those that matter for a number: of a large one, the first
/// digits give whole turns only.
pub(super) fn two_over_pi([number, piece, _]: [u64; 3]) -> u64 {
    let exponent = (number >> 52 & 0x7ff) as u32;
    let shift = (piece & 31) as u32 * PIECE + exponent.saturating_sub(1077);
    let word = |index: u32| u64::from(TWO_OVER_PI.get((shift / 32 + index) as usize).copied().unwrap_or(0));
    let digits = u128::from(word(0)) << 96 | u128::from(word(1)) << 64 | u128::from(word(2)) << 32;
    let digits = (digits << (shift % 32) >> (128 - PIECE)) as u64;
    let place = -(PIECE.cast_signed() + shift.cast_signed());
    // So that products with the largest numbers can be held.
    let place = if exponent >= 1968 { place + 128 } else { place };
    scale(digits as f64, place).to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_add_up() {
        let piece = |number: f64, piece| f64::from_bits(two_over_pi([number.to_bits(), piece, 0]));
        let first = piece(1.0, 0);
        assert!((first - std::f64::consts::FRAC_2_PI).abs() < 1e-15 && first <= std::f64::consts::FRAC_2_PI);
        // The next digits: 2/pi is 0.A2F9836E4E441529FC2757D1F534DDC0DB629599... in base 16.
        assert_eq!(piece(1.0, 1), (0x14_a7f0_9d5f_47d4_u64 as f64) * 2.0_f64.powi(-106));
        // Of a number above 2^54 the first digit is left out.
        assert_eq!(piece(2.0_f64.powi(55), 0), (0x8_be60_db93_9105_u64 as f64) * 2.0_f64.powi(-54));
        assert_eq!(piece(1.0, 31), 0.0);
    }
}
