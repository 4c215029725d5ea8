//! [`Operand`]: where an instruction takes a value from, and [`Type`], how it reads the bits.

use crate::half;

/// Scalar registers with a place of their own, as gfx10 numbers them; gfx11 has `M0` and `NULL` the other way round.
pub(crate) mod register {
    pub(crate) const VCC: u8 = 106;
    pub(crate) const M0: u8 = 124;
    pub(crate) const NULL: u8 = 125;
    pub(crate) const EXEC: u8 = 126;
}

/// How the bits of a value are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    /// 16 bits in one half of a register.
    B16,
    /// 32 bits.
    B32,
    /// 64 bits in two registers.
    B64,
    /// A signed number of 64 bits.
    I64,
    /// A number with a fraction.
    F16,
    F32,
    F64,
}

impl Type {
    pub(crate) fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32 | Self::F64)
    }

    pub(crate) fn is_half(self) -> bool {
        matches!(self, Self::B16 | Self::F16)
    }

    pub(crate) fn is_wide(self) -> bool {
        matches!(self, Self::B64 | Self::I64 | Self::F64)
    }

    /// The sign's bit.
    pub(crate) fn sign(self) -> u64 {
        match self {
            Self::B16 | Self::F16 => 1 << 15,
            Self::B32 | Self::F32 => 1 << 31,
            Self::B64 | Self::I64 | Self::F64 => 1 << 63,
        }
    }

    /// The bits that a value has.
    pub(crate) fn mask(self) -> u64 {
        self.sign() | (self.sign() - 1)
    }
}

/// Constants with a fraction that an instruction can name, from number 240 on.
const FLOATS: [f64; 9] = [0.5, -0.5, 1.0, -1.0, 2.0, -2.0, 4.0, -4.0, 0.159_154_943_091_895_35];

/// What a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operand {
    /// A scalar register, as gfx10 numbers it; values of 64 bits take the next one too.
    Scalar(u8),
    /// A vector register.
    Vector(u8),
    /// A small whole number.
    Integer(i8),
    /// A constant of [`FLOATS`].
    Float(u8),
    /// A word after the instruction.
    Literal(u32),
    /// Upper half of the addresses that stand for a workgroup's own memory.
    SharedBase,
    /// The same of a work-item's own memory.
    PrivateBase,
    /// Whether VCC is zero.
    VccZero,
    /// Whether EXEC is zero.
    ExecZero,
    /// The scalar condition code.
    Scc,
}

/// Upper halves of the addresses that stand for memory of a workgroup, and of a work-item.
pub(crate) const SHARED_APERTURE: u32 = 0x1_0000;
pub(crate) const PRIVATE_APERTURE: u32 = 0x2_0000;

impl Operand {
    /// The operand with this number of 9 bits; `None` if it isn't one, or says what follows the instruction.
    pub(crate) fn decode(number: u32, is_gfx11: bool) -> Option<Self> {
        let low = u8::try_from(number & 0xff).ok()?;
        Some(match number {
            0..=127 => Self::Scalar(scalar(low, is_gfx11)),
            128..=192 => Self::Integer(i8::try_from(number - 128).ok()?),
            193..=208 => Self::Integer(-i8::try_from(number - 192).ok()?),
            235 | 236 => Self::SharedBase,
            237 | 238 => Self::PrivateBase,
            240..=248 => Self::Float(low - 240),
            251 => Self::VccZero,
            252 => Self::ExecZero,
            253 => Self::Scc,
            256..=511 => Self::Vector(low),
            _ => return None,
        })
    }

    /// The value, if it is a constant.
    pub(crate) fn constant(self, kind: Type) -> Option<u64> {
        match self {
            Self::Integer(number) => Some(i64::from(number).cast_unsigned() & kind.mask()),
            Self::Float(index) => {
                let value = FLOATS.get(usize::from(index)).copied().unwrap_or_default();
                Some(match kind {
                    Type::B16 | Type::F16 => half::nearest(value).into(),
                    Type::B32 | Type::F32 => (value as f32).to_bits().into(),
                    Type::B64 | Type::I64 | Type::F64 => value.to_bits(),
                })
            }
            Self::Literal(word) => Some(match kind {
                Type::F64 => u64::from(word) << 32,
                Type::I64 => i64::from(word.cast_signed()).cast_unsigned(),
                kind => u64::from(word) & kind.mask(),
            }),
            Self::SharedBase => Some(aperture(SHARED_APERTURE, kind)),
            Self::PrivateBase => Some(aperture(PRIVATE_APERTURE, kind)),
            _ => None,
        }
    }
}

fn aperture(upper: u32, kind: Type) -> u64 {
    if kind.is_wide() { u64::from(upper) << 32 } else { upper.into() }
}

/// A scalar register's number as gfx10 has it.
pub(crate) fn scalar(number: u8, is_gfx11: bool) -> u8 {
    if is_gfx11 && matches!(number, register::M0 | register::NULL) { number ^ 1 } else { number }
}
