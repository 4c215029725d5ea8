//! [`Wave`]: 32 or 64 work-items that carry out the same instruction together, and their registers.

use crate::architecture::Architecture;
use crate::operand::{Operand, Type, register};

/// Most lanes of a wave.
pub(crate) const LANES: usize = 64;
/// Scalar registers, and some more, so that the last ones can be read as two or more.
const SCALARS: usize = 128 + 16;
/// Most vector registers.
const VECTORS: usize = 256;

/// One value for each lane.
pub(crate) type Lanes = [u64; LANES];

/// What a wave does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It goes on.
    Runs,
    /// It waits for the other waves of its workgroup.
    AtBarrier,
    /// It is done.
    Ended,
}

/// A wave.
#[derive(Debug, Clone)]
pub(crate) struct Wave {
    pub(crate) architecture: Architecture,
    /// Lanes that it has: 32 or 64.
    pub(crate) size: usize,
    /// Address of the next instruction.
    pub(crate) counter: u64,
    pub(crate) scc: bool,
    /// The register `MODE`: rounding in bits 0 to 3, subnormal numbers in bits 4 to 7.
    pub(crate) mode: u32,
    pub(crate) state: State,
    /// Bytes of memory of its own that each work-item has.
    pub(crate) private_size: usize,
    /// That memory, one work-item's after the other's.
    pub(crate) private: Vec<u8>,
    /// What clocks say: instructions that were carried out.
    pub(crate) clock: u64,
    scalars: [u32; SCALARS],
    /// Vector registers, each with as many lanes as the wave has.
    vectors: Vec<u32>,
}

impl Wave {
    /// A wave with so many lanes, and as many vector registers as its kernel asks for. Registers beyond are 0.
    pub(crate) fn new(
        architecture: Architecture,
        size: usize,
        registers: usize,
        counter: u64,
        private_size: usize,
    ) -> Self {
        Self {
            architecture,
            size,
            counter,
            scc: false,
            mode: 0xf0,
            state: State::Runs,
            private_size,
            private: vec![0; private_size * size],
            clock: 0,
            scalars: [0; SCALARS],
            vectors: vec![0; registers.min(VECTORS) * size],
        }
    }

    pub(crate) fn is_gfx11(&self) -> bool {
        self.architecture == Architecture::Gfx11
    }

    /// A scalar register's value.
    pub(crate) fn scalar(&self, number: u8) -> u32 {
        if number == register::NULL { 0 } else { self.scalars[usize::from(number)] }
    }

    /// The value of two scalar registers.
    pub(crate) fn scalar_pair(&self, number: u8) -> u64 {
        if number == register::NULL {
            return 0;
        }
        let low = usize::from(number);
        u64::from(self.scalars[low]) | u64::from(self.scalars[low + 1]) << 32
    }

    pub(crate) fn set_scalar(&mut self, number: u8, value: u32) {
        if number != register::NULL {
            self.scalars[usize::from(number)] = value;
        }
    }

    pub(crate) fn set_scalar_pair(&mut self, number: u8, value: u64) {
        if number != register::NULL {
            self.scalars[usize::from(number)] = value as u32;
            self.scalars[usize::from(number) + 1] = (value >> 32) as u32;
        }
    }

    /// A mask with a bit for each lane.
    pub(crate) fn mask(&self, number: u8) -> u64 {
        if self.size == 32 { self.scalar(number).into() } else { self.scalar_pair(number) }
    }

    pub(crate) fn set_mask(&mut self, number: u8, value: u64) {
        if self.size == 32 { self.set_scalar(number, value as u32) } else { self.set_scalar_pair(number, value) }
    }

    /// The lanes that take part.
    pub(crate) fn exec(&self) -> u64 {
        self.mask(register::EXEC)
    }

    /// The lanes that take part, one after the other.
    pub(crate) fn active(&self) -> impl Iterator<Item = usize> + use<> {
        let exec = self.exec();
        (0..self.size).filter(move |lane| exec >> lane & 1 != 0)
    }

    /// All lanes of a vector register, or of one of those after it.
    fn row(&self, number: u8, offset: usize) -> &[u32] {
        let start = (usize::from(number) + offset) * self.size;
        self.vectors.get(start..start + self.size).unwrap_or(&[])
    }

    /// A vector register's value in a lane.
    pub(crate) fn vector(&self, number: u8, lane: usize) -> u32 {
        self.vector_at(number, 0, lane)
    }

    /// The value of a vector register, or of one of those after it.
    pub(crate) fn vector_at(&self, number: u8, offset: usize, lane: usize) -> u32 {
        self.row(number, offset).get(lane).copied().unwrap_or(0)
    }

    pub(crate) fn set_vector(&mut self, number: u8, lane: usize, value: u32) {
        self.set_vector_at(number, 0, lane, value);
    }

    pub(crate) fn set_vector_at(&mut self, number: u8, offset: usize, lane: usize, value: u32) {
        if let Some(place) = self.vectors.get_mut((usize::from(number) + offset) * self.size + lane) {
            *place = value;
        }
    }

    /// The value of an operand that is the same for all lanes. A vector register's is that of lane 0.
    pub(crate) fn uniform(&self, operand: Operand, kind: Type) -> u64 {
        match operand {
            Operand::Scalar(number) if kind.is_wide() => self.scalar_pair(number),
            Operand::Scalar(number) => u64::from(self.scalar(number)) & kind.mask(),
            Operand::Vector(number) => self.vector(number, 0).into(),
            Operand::VccZero => u64::from(self.mask(register::VCC) == 0),
            Operand::ExecZero => u64::from(self.exec() == 0),
            Operand::Scc => u64::from(self.scc),
            constant => constant.constant(kind).unwrap_or(0),
        }
    }

    /// The value of an operand in each lane. `upper` takes the upper half of registers for values of 16 bits.
    pub(crate) fn lanes(&self, operand: Operand, kind: Type, upper: bool) -> Lanes {
        let mut lanes = [0; LANES];
        let shift = if upper { 16 } else { 0 };
        match operand {
            Operand::Vector(number) => {
                let low = self.row(number, 0);
                if kind.is_wide() {
                    let high = self.row(number, 1);
                    for ((lane, low), high) in lanes.iter_mut().zip(low).zip(high) {
                        *lane = u64::from(*low) | u64::from(*high) << 32;
                    }
                } else if kind.is_half() {
                    for (lane, low) in lanes.iter_mut().zip(low) {
                        *lane = u64::from(low >> shift & 0xffff);
                    }
                } else {
                    for (lane, low) in lanes.iter_mut().zip(low) {
                        *lane = (*low).into();
                    }
                }
            }
            Operand::Scalar(number) if kind.is_half() => {
                lanes = [u64::from(self.scalar(number) >> shift & 0xffff); LANES];
            }
            Operand::Literal(word) if kind.is_half() => lanes = [u64::from(word >> shift & 0xffff); LANES],
            uniform => lanes = [self.uniform(uniform, kind); LANES],
        }
        lanes
    }

    /// Writes the lanes of `mask` to a register. `upper` writes the upper half of values of 16 bits; the other half stays.
    pub(crate) fn set_lanes(&mut self, number: u8, kind: Type, upper: bool, values: &Lanes, mask: u64) {
        let start = usize::from(number) * self.size;
        let size = self.size;
        let Some(low) = self.vectors.get_mut(start..start + size) else { return };
        let places = low.iter_mut().zip(values).enumerate().filter(|(lane, _)| mask >> lane & 1 != 0);
        if kind.is_half() {
            for (_, (place, value)) in places {
                let bits = *value as u32 & 0xffff;
                *place = if upper { *place & 0xffff | bits << 16 } else { *place & 0xffff_0000 | bits };
            }
            return;
        }
        places.for_each(|(_, (place, value))| *place = *value as u32);
        let Some(high) = self.vectors.get_mut(start + size..start + 2 * size).filter(|_| kind.is_wide()) else {
            return;
        };
        let places = high.iter_mut().zip(values).enumerate().filter(|(lane, _)| mask >> lane & 1 != 0);
        places.for_each(|(_, (place, value))| *place = (*value >> 32) as u32);
    }

    /// One lane's part of the work-items' own memory.
    pub(crate) fn private_range(&self, lane: usize, offset: u32, length: usize) -> Option<std::ops::Range<usize>> {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(length).filter(|end| *end <= self.private_size)?;
        let base = lane * self.private_size;
        Some(base + start..base + end)
    }
}
