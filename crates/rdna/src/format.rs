//! [`Format`]: how an item of a buffer stands in memory, for instructions that convert it.
//!
//! Numbers are those of AMD's "RDNA 2" and "RDNA 3 Instruction Set Architecture" documents, tables of the buffers' image formats.

use crate::architecture::Architecture;
use crate::half;

/// Most components that an item has.
pub(crate) const COMPONENTS: usize = 4;

/// What the bits of a component are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A whole number that stands for 0.0 to 1.0.
    Unorm,
    /// One that stands for -1.0 to 1.0.
    Snorm,
    /// A whole number, made a number with a fraction.
    Uscaled,
    Sscaled,
    Uint,
    Sint,
    Float,
}

const NARROW: &[Kind] = &[Kind::Unorm, Kind::Snorm, Kind::Uscaled, Kind::Sscaled, Kind::Uint, Kind::Sint];
const MIDDLE: &[Kind] = &[Kind::Unorm, Kind::Snorm, Kind::Uscaled, Kind::Sscaled, Kind::Uint, Kind::Sint, Kind::Float];
const WIDE: &[Kind] = &[Kind::Uint, Kind::Sint, Kind::Float];

/// Components, bits of each, and what they may be: the formats from number 1 on, one after the other.
const FIRST: &[(u8, u8, &[Kind])] = &[(1, 8, NARROW), (1, 16, MIDDLE), (2, 8, NARROW), (1, 32, WIDE), (2, 16, MIDDLE)];
/// The same, behind those with components of 2, 10 and 11 bits.
const LAST: &[(u8, u8, &[Kind])] = &[(4, 8, NARROW), (2, 32, WIDE), (4, 16, MIDDLE), (3, 32, WIDE), (4, 32, WIDE)];
/// Number of the first format of [`LAST`], in both generations.
const FIRST_OF_LAST: [u32; 2] = [56, 42];

/// A format whose components all have 8, 16 or 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) components: u8,
    /// Bits of a component.
    pub(crate) bits: u8,
    pub(crate) kind: Kind,
}

impl Format {
    /// The format with this number; `None` if there is none, or if its components have other sizes.
    pub(crate) fn of(architecture: Architecture, number: u32) -> Option<Self> {
        let last = FIRST_OF_LAST[architecture.column()];
        let (groups, mut index) = if number < last { (FIRST, number.checked_sub(1)?) } else { (LAST, number - last) };
        for (components, bits, kinds) in groups {
            if let Some(kind) = kinds.get(index as usize) {
                return Some(Self { components: *components, bits: *bits, kind: *kind });
            }
            index = index.checked_sub(kinds.len() as u32)?;
        }
        None
    }

    /// Bytes of an item.
    pub(crate) fn bytes(self) -> usize {
        usize::from(self.components) * usize::from(self.bits / 8)
    }

    /// What a register gets for 1.
    pub(crate) fn one(self) -> u32 {
        if matches!(self.kind, Kind::Uint | Kind::Sint) { 1 } else { 1.0_f32.to_bits() }
    }

    /// What a register gets of an item's component.
    pub(crate) fn load(self, item: &[u8], component: usize) -> u32 {
        let size = usize::from(self.bits / 8);
        let bytes = item.chunks_exact(size).nth(component).unwrap_or_default();
        let raw = bytes.iter().rev().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        let unused = 32 - u32::from(self.bits);
        let signed = (raw << unused).cast_signed() >> unused;
        // The largest number with and without a sign.
        let (most, most_signed) = (u32::MAX >> unused, i32::MAX >> unused);
        match self.kind {
            Kind::Unorm => (raw as f32 / most as f32).to_bits(),
            Kind::Snorm => (signed as f32 / most_signed as f32).max(-1.0).to_bits(),
            Kind::Uscaled => (raw as f32).to_bits(),
            Kind::Sscaled => (signed as f32).to_bits(),
            Kind::Sint => signed.cast_unsigned(),
            Kind::Float if self.bits == 16 => half::value(raw as u16).to_bits(),
            Kind::Uint | Kind::Float => raw,
        }
    }

    /// Whether a register can be stored as a component without a conversion: what AMD's documents do not say is how numbers are
    /// rounded, and what becomes of those that do not fit.
    pub(crate) fn is_exact(self, register: u32) -> bool {
        let unused = 32 - u32::from(self.bits);
        match self.kind {
            Kind::Uint => register <= u32::MAX >> unused,
            Kind::Sint => (register << unused).cast_signed() >> unused == register.cast_signed(),
            Kind::Float => self.bits == 32,
            Kind::Unorm | Kind::Snorm | Kind::Uscaled | Kind::Sscaled => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_an_assembler() {
        // As llvm-mc has them: BUF_FMT_16_16_SINT and so on.
        let format = |components, bits, kind| Some(Format { components, bits, kind });
        for (gfx10, gfx11, expected) in [
            (1, 1, format(1, 8, Kind::Unorm)),
            (6, 6, format(1, 8, Kind::Sint)),
            (7, 7, format(1, 16, Kind::Unorm)),
            (13, 13, format(1, 16, Kind::Float)),
            (18, 18, format(2, 8, Kind::Uint)),
            (20, 20, format(1, 32, Kind::Uint)),
            (22, 22, format(1, 32, Kind::Float)),
            (28, 28, format(2, 16, Kind::Sint)),
            (29, 29, format(2, 16, Kind::Float)),
            (56, 42, format(4, 8, Kind::Unorm)),
            (61, 47, format(4, 8, Kind::Sint)),
            (62, 48, format(2, 32, Kind::Uint)),
            (64, 50, format(2, 32, Kind::Float)),
            (65, 51, format(4, 16, Kind::Unorm)),
            (71, 57, format(4, 16, Kind::Float)),
            (72, 58, format(3, 32, Kind::Uint)),
            (77, 63, format(4, 32, Kind::Float)),
            // None, components of 10 and 11 bits, and beyond the last one.
            (0, 0, None),
            (30, 30, None),
            (55, 41, None),
            (78, 64, None),
        ] {
            assert_eq!(Format::of(Architecture::Gfx10, gfx10), expected, "{gfx10}");
            assert_eq!(Format::of(Architecture::Gfx11, gfx11), expected, "{gfx11}");
        }
    }

    #[test]
    fn components_become_numbers() {
        let load = |kind, bits, item: &[u8], component| Format { components: 4, bits, kind }.load(item, component);
        let float = |kind, bits, item: &[u8], component| f32::from_bits(load(kind, bits, item, component));
        let bytes = [255, 0x80, 0x81, 0x7f];
        let all = |kind| [0, 1, 2, 3].map(|component| float(kind, 8, &bytes, component));
        assert_eq!(all(Kind::Unorm), [1.0, 128.0 / 255.0, 129.0 / 255.0, 127.0 / 255.0]);
        assert_eq!(all(Kind::Snorm), [-1.0 / 127.0, -1.0, -1.0, 1.0]);
        assert_eq!(all(Kind::Uscaled), [255.0, 128.0, 129.0, 127.0]);
        assert_eq!(all(Kind::Sscaled), [-1.0, -128.0, -127.0, 127.0]);
        assert_eq!(load(Kind::Uint, 8, &bytes, 1), 0x80);
        assert_eq!(load(Kind::Sint, 8, &bytes, 1), 0xffff_ff80);
        assert_eq!(load(Kind::Sint, 16, &bytes, 0).cast_signed(), i32::from(0x80ff_u16.cast_signed()));
        assert_eq!(float(Kind::Float, 16, &[0, 0x3c, 0, 0xc1], 1), -2.5);
        assert_eq!(load(Kind::Float, 32, &[1, 2, 3, 4, 5, 6, 7, 8], 1), 0x0807_0605);
        assert_eq!(load(Kind::Unorm, 16, &bytes, 9), 0, "beyond the item");
    }

    #[test]
    fn only_what_fits_is_stored() {
        let exact = |kind, bits, register| Format { components: 1, bits, kind }.is_exact(register);
        assert!(exact(Kind::Uint, 8, 255) && !exact(Kind::Uint, 8, 256));
        assert!(exact(Kind::Sint, 8, 0xffff_ff80) && !exact(Kind::Sint, 8, 128));
        assert!(exact(Kind::Uint, 32, u32::MAX) && exact(Kind::Sint, 32, u32::MAX));
        assert!(exact(Kind::Float, 32, 7) && !exact(Kind::Float, 16, 0) && !exact(Kind::Unorm, 8, 0));
    }
}
