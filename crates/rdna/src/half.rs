//! Numbers of 16 bits (IEEE 754 binary16), as `u16` with their bits.

/// The value of a half.
pub(crate) fn value(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f32::from(bits & 0x3ff);
    match exponent {
        0x1f if fraction == 0.0 => sign * f32::INFINITY,
        0x1f => f32::NAN,
        0 => sign * fraction * power(-24) as f32,
        _ => sign * (fraction + 1024.0) * power(exponent - 25) as f32,
    }
}

/// The nearest half; of two that are as near, the even one.
pub(crate) fn nearest(value: f64) -> u16 {
    round(value, f64::round_ties_even)
}

/// The next half towards zero.
pub(crate) fn towards_zero(value: f64) -> u16 {
    let largest = 65504.0_f64;
    round(if value.is_finite() { value.clamp(-largest, largest) } else { value }, f64::trunc)
}

fn round(value: f64, to_integer: fn(f64) -> f64) -> u16 {
    let bits = value.to_bits();
    let sign = u16::from(value.is_sign_negative()) << 15;
    if value.is_nan() {
        return sign | 0x7e00;
    }
    if value.abs() >= 65520.0 {
        return sign | 0x7c00;
    }
    let exponent = (i32::try_from(bits >> 52 & 0x7ff).unwrap_or(0) - 1023).max(-14);
    // 1024 to 2048 units, or less for the smallest numbers; a carry out of them raises the exponent as it should.
    let units = to_integer(value.abs() / power(exponent - 10)) as i32;
    sign | u16::try_from((exponent + 14) * 1024 + units).unwrap_or(0x7c00)
}

/// Two to an integer power that is a normal number.
pub(crate) fn power(exponent: i32) -> f64 {
    f64::from_bits(u64::try_from(exponent.clamp(-1022, 1023) + 1023).unwrap_or(0) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_halves_come_back() {
        for bits in 0..=u16::MAX {
            let there = value(bits);
            if there.is_nan() {
                assert!(value(nearest(there.into())).is_nan());
            } else {
                assert_eq!(nearest(there.into()), bits, "{there}");
                assert_eq!(towards_zero(there.into()), bits, "{there}");
            }
        }
    }

    #[test]
    fn what_lies_between_is_rounded() {
        for (number, near, zero) in [
            (1.0 + 1.0 / 2048.0, 0x3c00, 0x3c00),
            (1.0 + 3.0 / 2048.0, 0x3c02, 0x3c01),
            (65519.0, 0x7bff, 0x7bff),
            (65520.0, 0x7c00, 0x7bff),
            (power(-25), 0, 0),
            (power(-25) * 1.5, 1, 0),
            (-2047.9, 0xe800, 0xe7ff),
        ] {
            assert_eq!((nearest(number), towards_zero(number)), (near, zero), "{number}");
        }
    }
}
