//! Numbers of 16 bits with the exponent of binary32 (bfloat16), as `u16` with their bits.

/// The value.
pub(crate) fn value(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The nearest one; of two that are as near, the even one.
pub(crate) fn nearest(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        // Cut off, it might become infinite.
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_come_back() {
        for bits in 0..=u16::MAX {
            let there = value(bits);
            if there.is_nan() {
                assert!(value(nearest(there)).is_nan());
            } else {
                assert_eq!(nearest(there), bits, "{there}");
            }
        }
    }

    #[test]
    fn what_lies_between_is_rounded() {
        for (number, near) in [
            (1.0 + 1.0 / 256.0, 0x3f80),
            (1.0 + 3.0 / 256.0, 0x3f82),
            (1.0 + 1.001 / 256.0, 0x3f81),
            (f32::MAX, 0x7f80),
            (f32::from_bits(1), 0),
            (-1.5, 0xbfc0),
        ] {
            assert_eq!(nearest(number), near, "{number}");
        }
    }
}
