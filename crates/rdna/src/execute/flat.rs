//! Loads, stores and atomic operations by addresses: memory of the program, of the workgroup, or of each work-item.

use crate::instruction::{Flat, Segment};
use crate::memory::{Fault, Memory};
use crate::operand::{PRIVATE_APERTURE, SHARED_APERTURE};
use crate::problem::Obstacle;
use crate::table::{Access, Portion, Select};
use crate::wave::{LANES, Wave};

/// Most bytes that one lane accesses.
const MOST: usize = 16;

/// Where a lane's access goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Program(u64),
    Shared(u32),
    Private(u32),
    /// Beyond a buffer's end: reads as 0, writes go nowhere.
    Nowhere,
}

/// A wave's accesses: one for each lane that takes part.
pub(super) struct Accesses {
    places: [Place; LANES],
    lanes: Vec<usize>,
}

impl Accesses {
    pub(super) fn new(wave: &Wave, place: impl Fn(usize) -> Place) -> Self {
        let mut places = [Place::Nowhere; LANES];
        let lanes: Vec<usize> = wave.active().collect();
        for lane in &lanes {
            places[*lane] = place(*lane);
        }
        Self { places, lanes }
    }

    /// Lanes whose bytes in the program's memory follow each other, or are the same, so that they are accessed at once.
    fn runs(&self, length: usize) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for (index, pair) in self.lanes.windows(2).enumerate() {
            let [before, here] = [pair[0], pair[1]].map(|lane| self.places[lane]);
            let step = match (before, here) {
                (Place::Program(before), Place::Program(here)) if before == here => Some(0),
                (Place::Program(before), Place::Program(here)) => {
                    before.checked_add(length as u64).filter(|next| *next == here).map(|_| length)
                }
                _ => None,
            };
            let last = runs.pop().unwrap_or(Run { first: 0, count: 1, step: None });
            // A run of one lane goes on either way.
            if step.is_some() && (last.step.is_none() || last.step == step) {
                runs.push(Run { count: last.count + 1, step, ..last });
            } else {
                runs.extend([last, Run { first: index + 1, count: 1, step: None }]);
            }
        }
        if self.lanes.len() == 1 {
            runs.push(Run { first: 0, count: 1, step: None });
        }
        runs
    }
}

/// Accesses at once: from the lane with this position on, how many, and how far each is from the one before, if there are
/// several.
#[derive(Debug, Clone, Copy)]
struct Run {
    first: usize,
    count: usize,
    step: Option<usize>,
}

/// The memories that a wave's accesses can go to.
pub(super) struct Memories<'a> {
    pub(super) program: &'a dyn Memory,
    pub(super) shared: &'a mut [u8],
}

fn fault(aperture: u32, offset: u32) -> Fault {
    Fault { address: u64::from(aperture) << 32 | u64::from(offset) }
}

fn private_range(wave: &Wave, lane: usize, offset: u32, length: usize) -> Result<std::ops::Range<usize>, Fault> {
    wave.private_range(lane, offset, length).ok_or(fault(PRIVATE_APERTURE, offset))
}

impl Memories<'_> {
    fn shared_range(&self, offset: u32, length: usize) -> Option<std::ops::Range<usize>> {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(length).filter(|end| *end <= self.shared.len())?;
        Some(start..end)
    }

    fn read(&self, wave: &Wave, lane: usize, place: Place, bytes: &mut [u8]) -> Result<(), Fault> {
        match place {
            Place::Program(address) => self.program.read(address, bytes)?,
            Place::Shared(offset) => {
                let range = self.shared_range(offset, bytes.len()).ok_or(fault(SHARED_APERTURE, offset))?;
                bytes.copy_from_slice(&self.shared[range]);
            }
            Place::Private(offset) => {
                bytes.copy_from_slice(&wave.private[private_range(wave, lane, offset, bytes.len())?]);
            }
            Place::Nowhere => bytes.fill(0),
        }
        Ok(())
    }

    fn write(&mut self, wave: &mut Wave, lane: usize, place: Place, bytes: &[u8]) -> Result<(), Fault> {
        match place {
            Place::Program(address) => self.program.write(address, bytes)?,
            Place::Shared(offset) => {
                let range = self.shared_range(offset, bytes.len()).ok_or(fault(SHARED_APERTURE, offset))?;
                self.shared[range].copy_from_slice(bytes);
            }
            Place::Private(offset) => {
                let range = private_range(wave, lane, offset, bytes.len())?;
                wave.private[range].copy_from_slice(bytes);
            }
            Place::Nowhere => {}
        }
        Ok(())
    }
}

impl Portion {
    /// Bytes in memory.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Registers(count) => usize::from(count) * 4,
            Self::Bytes { count, .. } | Self::Half { count, .. } => count.into(),
            Self::Item(item) => item.format.bytes(),
        }
    }

    /// Puts bytes from memory into a lane of registers.
    pub(super) fn put(self, wave: &mut Wave, register: u8, lane: usize, bytes: &[u8]) {
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        let extended = |signed: bool| {
            let value = number(bytes);
            let unused = 32 - 8 * bytes.len() as u32;
            if signed { ((value << unused).cast_signed() >> unused).cast_unsigned() } else { value }
        };
        match self {
            Self::Registers(_) => {
                for (index, word) in bytes.chunks(4).enumerate() {
                    wave.set_vector_at(register, index, lane, number(word));
                }
            }
            Self::Bytes { signed, .. } => wave.set_vector(register, lane, extended(signed)),
            Self::Half { signed, upper, .. } => {
                let before = wave.vector(register, lane);
                let value = extended(signed) & 0xffff;
                let new = if upper { before & 0xffff | value << 16 } else { before & 0xffff_0000 | value };
                wave.set_vector(register, lane, new);
            }
            Self::Item(item) => {
                for (index, select) in item.selected().iter().enumerate() {
                    let value = match select {
                        Select::Zero => 0,
                        Select::One => item.format.one(),
                        Select::Component(component) => item.format.load(bytes, usize::from(*component)),
                    };
                    wave.set_vector_at(register, index, lane, value);
                }
            }
        }
    }

    /// The bytes that a lane of registers has for memory.
    pub(super) fn take(self, wave: &Wave, register: u8, lane: usize) -> [u8; MOST] {
        let mut bytes = [0; MOST];
        match self {
            Self::Registers(count) => {
                for (index, word) in bytes.chunks_mut(4).enumerate().take(count.into()) {
                    word.copy_from_slice(&wave.vector_at(register, index, lane).to_le_bytes());
                }
            }
            Self::Bytes { .. } => bytes[..4].copy_from_slice(&wave.vector(register, lane).to_le_bytes()),
            Self::Half { upper, .. } => {
                let shift = if upper { 16 } else { 0 };
                bytes[..4].copy_from_slice(&(wave.vector(register, lane) >> shift).to_le_bytes());
            }
            Self::Item(item) => {
                let size = usize::from(item.format.bits / 8);
                for (index, component) in bytes.chunks_mut(size).enumerate().take(item.selected().len()) {
                    component.copy_from_slice(&wave.vector_at(register, index, lane).to_le_bytes()[..size]);
                }
            }
        }
        bytes
    }
}

/// Sign extended to 64 bits.
fn long(offset: i32) -> u64 {
    i64::from(offset).cast_unsigned()
}

/// Which memory an address is in, if it can be any.
fn any(address: u64) -> Place {
    match (address >> 32) as u32 {
        SHARED_APERTURE => Place::Shared(address as u32),
        PRIVATE_APERTURE => Place::Private(address as u32),
        _ => Place::Program(address),
    }
}

pub(super) fn execute(wave: &mut Wave, flat: &Flat, memory: &dyn Memory, shared: &mut [u8]) -> Result<(), Obstacle> {
    let accesses = Accesses::new(wave, |lane| match flat.segment {
        Segment::Private => {
            let register = flat.address.map_or(0, |register| wave.vector(register, lane));
            let base = flat.base.map_or(0, |base| wave.scalar(base));
            Place::Private(register.wrapping_add(base).wrapping_add_signed(flat.offset))
        }
        segment => {
            let register = flat.address.unwrap_or(0);
            let low = u64::from(wave.vector(register, lane));
            let address = match flat.base {
                Some(base) => wave.scalar_pair(base).wrapping_add(low),
                None => low | u64::from(wave.vector_at(register, 1, lane)) << 32,
            };
            let address = address.wrapping_add(long(flat.offset));
            if segment == Segment::Any { any(address) } else { Place::Program(address) }
        }
    });
    let registers = Registers { data: flat.data, destination: flat.destination, returns: flat.returns };
    access(wave, flat.operation, &accesses, registers, &mut Memories { program: memory, shared })
}

/// Which registers an access is about.
#[derive(Clone, Copy)]
pub(super) struct Registers {
    pub(super) data: u8,
    pub(super) destination: u8,
    pub(super) returns: bool,
}

pub(super) fn access(
    wave: &mut Wave,
    access: Access,
    accesses: &Accesses,
    registers: Registers,
    memories: &mut Memories<'_>,
) -> Result<(), Obstacle> {
    let length = match access {
        Access::Load(portion) | Access::Store(portion) => portion.bytes(),
        Access::Atomic { .. } => 0,
    };
    let mut buffer = [0; MOST * LANES];
    match access {
        Access::Load(portion) => {
            // Nothing is written before all is read, as the address may be in the registers.
            for run in accesses.runs(length) {
                let lane = accesses.lanes[run.first];
                let bytes = &mut buffer[run.first * length..(run.first + run.count) * length];
                if run.step == Some(0) {
                    let (one, rest) = bytes.split_at_mut(length);
                    memories.read(wave, lane, accesses.places[lane], one)?;
                    rest.chunks_mut(length).for_each(|other| other.copy_from_slice(one));
                } else {
                    memories.read(wave, lane, accesses.places[lane], bytes)?;
                }
            }
            for (lane, bytes) in accesses.lanes.iter().zip(buffer.chunks(length)) {
                portion.put(wave, registers.destination, *lane, bytes);
            }
        }
        Access::Store(portion) => {
            for (lane, bytes) in accesses.lanes.iter().zip(buffer.chunks_mut(length)) {
                bytes.copy_from_slice(&portion.take(wave, registers.data, *lane)[..length]);
            }
            for run in accesses.runs(length) {
                let lane = accesses.lanes[run.first];
                let bytes = &buffer[run.first * length..(run.first + run.count) * length];
                // Of several that write the same place, the last one's bytes stay.
                let bytes = if run.step == Some(0) { &bytes[bytes.len() - length..] } else { bytes };
                memories.write(wave, lane, accesses.places[lane], bytes)?;
            }
        }
        Access::Atomic { is_wide, compares, apply } => {
            let length = if is_wide { 8 } else { 4 };
            for lane in accesses.lanes.iter().copied() {
                let place = accesses.places[lane];
                let mut bytes = [0; 8];
                memories.read(wave, lane, place, &mut bytes[..length])?;
                let old = u64::from_le_bytes(bytes);
                let value = |wave: &Wave, index: usize| {
                    let low = u64::from(wave.vector_at(registers.data, index, lane));
                    if is_wide { low | u64::from(wave.vector_at(registers.data, index + 1, lane)) << 32 } else { low }
                };
                let wanted = if compares { value(wave, length / 4) } else { 0 };
                let new = apply(old, value(wave, 0), wanted);
                memories.write(wave, lane, place, &new.to_le_bytes()[..length])?;
                if registers.returns {
                    wave.set_vector(registers.destination, lane, old as u32);
                    if is_wide {
                        wave.set_vector_at(registers.destination, 1, lane, (old >> 32) as u32);
                    }
                }
            }
        }
    }
    Ok(())
}
