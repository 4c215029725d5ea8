//! Accesses to the memory of a workgroup, and exchanges between lanes.

use crate::instruction::Local;
use crate::problem::Obstacle;
use crate::table::{Access, LocalOperation, Portion};
use crate::wave::{LANES, Wave};

/// The bytes at an offset; `None` beyond the end, where reads give 0 and writes go nowhere.
fn bytes(shared: &mut [u8], offset: u32, length: usize) -> Option<&mut [u8]> {
    let start = usize::try_from(offset).ok()?;
    shared.get_mut(start..start.checked_add(length)?)
}

pub(super) fn execute(wave: &mut Wave, local: &Local, shared: &mut [u8]) -> Result<(), Obstacle> {
    let [low, high] = local.offsets;
    let offset = u32::from(low) | u32::from(high) << 8;
    let [first, second] = local.data;
    match local.operation {
        LocalOperation::Nothing => {}
        LocalOperation::One { access: Access::Load(portion), .. } => {
            let length = portion.bytes();
            for lane in wave.active() {
                let at = wave.vector(local.address, lane).wrapping_add(offset);
                let mut read = [0; 16];
                if let (Some(found), Some(room)) = (bytes(shared, at, length), read.get_mut(..length)) {
                    room.copy_from_slice(found);
                }
                portion.put(wave, local.destination, lane, &read[..length]);
            }
        }
        LocalOperation::One { access: Access::Store(portion), .. } => {
            for lane in wave.active() {
                let at = wave.vector(local.address, lane).wrapping_add(offset);
                write(shared, at, portion, wave, first, lane);
            }
        }
        LocalOperation::One { access: Access::Atomic { is_wide, compares, apply }, returns } => {
            let length = if is_wide { 8 } else { 4 };
            for lane in wave.active() {
                let at = wave.vector(local.address, lane).wrapping_add(offset);
                let value = |register: u8| {
                    let low = u64::from(wave.vector(register, lane));
                    if is_wide { low | u64::from(wave.vector_at(register, 1, lane)) << 32 } else { low }
                };
                let mut old = 0;
                if let Some(found) = bytes(shared, at, length) {
                    let mut whole = [0; 8];
                    whole[..length].copy_from_slice(found);
                    old = u64::from_le_bytes(whole);
                    let new = apply(old, value(first), if compares { value(second) } else { 0 });
                    found.copy_from_slice(&new.to_le_bytes()[..length]);
                }
                if returns {
                    wave.set_vector(local.destination, lane, old as u32);
                    if is_wide {
                        wave.set_vector_at(local.destination, 1, lane, (old >> 32) as u32);
                    }
                }
            }
        }
        LocalOperation::Two { is_load, registers, unit } => two(wave, local, shared, is_load, registers, unit),
        LocalOperation::ExchangeTwo { registers, unit } => exchange_two(wave, local, shared, registers, unit),
        LocalOperation::Permute => {
            let mut given = [None; LANES];
            for lane in wave.active() {
                let to = partner(wave.vector(local.address, lane).wrapping_add(offset), lane);
                given[to] = Some(wave.vector(first, lane));
            }
            for lane in wave.active() {
                wave.set_vector(local.destination, lane, given[lane].unwrap_or(0));
            }
        }
        LocalOperation::PermuteBackward => {
            let from = |wave: &Wave, lane| partner(wave.vector(local.address, lane).wrapping_add(offset), lane);
            exchange(wave, first, local.destination, from);
        }
        LocalOperation::Swizzle => {
            if offset >= 0xc000 {
                return Err(Obstacle::Unsupported("a rotation or a butterfly"));
            }
            exchange(wave, local.address, local.destination, |_, lane| swizzled(offset, lane));
        }
    }
    Ok(())
}

fn write(shared: &mut [u8], at: u32, portion: Portion, wave: &Wave, register: u8, lane: usize) {
    let length = portion.bytes();
    if let Some(room) = bytes(shared, at, length) {
        room.copy_from_slice(&portion.take(wave, register, lane)[..length]);
    }
}

/// Two accesses. Loads read both before either is written to registers, as the address may be one of those.
fn two(wave: &mut Wave, local: &Local, shared: &mut [u8], is_load: bool, registers: u8, unit: u32) {
    let portion = Portion::Registers(registers);
    let length = portion.bytes();
    for lane in wave.active() {
        let address = wave.vector(local.address, lane);
        let places = local.offsets.map(|offset| address.wrapping_add(u32::from(offset) * unit));
        if is_load {
            let mut read = [0; 16];
            for (room, at) in read.chunks_mut(length).zip(places) {
                if let Some(found) = bytes(shared, at, length) {
                    room.copy_from_slice(found);
                }
            }
            Portion::Registers(registers * 2).put(wave, local.destination, lane, &read[..length * 2]);
        } else {
            for (register, at) in local.data.into_iter().zip(places) {
                write(shared, at, portion, wave, register, lane);
            }
        }
    }
}

/// Two stores that return what was there. Of the same place, the second returns what the first has stored.
fn exchange_two(wave: &mut Wave, local: &Local, shared: &mut [u8], registers: u8, unit: u32) {
    let portion = Portion::Registers(registers);
    let length = portion.bytes();
    for lane in wave.active() {
        let address = wave.vector(local.address, lane);
        let mut before = [0; 16];
        for ((old, register), offset) in before.chunks_mut(length).zip(local.data).zip(local.offsets) {
            let at = address.wrapping_add(u32::from(offset) * unit);
            if let Some(found) = bytes(shared, at, length) {
                old.copy_from_slice(found);
            }
            write(shared, at, portion, wave, register, lane);
        }
        Portion::Registers(registers * 2).put(wave, local.destination, lane, &before[..length * 2]);
    }
}

/// The lane that a byte address names, among the 32 that a lane is one of.
fn partner(address: u32, lane: usize) -> usize {
    lane & !31 | (address >> 2 & 31) as usize
}

/// Takes each lane's value from another one; from one that does not take part it is 0.
fn exchange(wave: &mut Wave, source: u8, destination: u8, from: impl Fn(&Wave, usize) -> usize) {
    let exec = wave.exec();
    let mut taken = [0; LANES];
    for lane in wave.active() {
        let from = from(wave, lane);
        taken[lane] = if exec >> from & 1 != 0 { wave.vector(source, from) } else { 0 };
    }
    for lane in wave.active() {
        wave.set_vector(destination, lane, taken[lane]);
    }
}

/// The lane from which a pattern takes a lane's value: by two bits for each of four, or by masks for 32.
fn swizzled(pattern: u32, lane: usize) -> usize {
    if pattern & 0x8000 != 0 {
        return lane & !3 | (pattern >> (lane % 4 * 2) & 3) as usize;
    }
    let [and, or, xor] = [0, 5, 10].map(|shift| (pattern >> shift & 31) as usize);
    lane & !31 | (lane & 31 & and | or) ^ xor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_lanes() {
        assert_eq!(swizzled(0x8000 | 0b00_01_10_11, 5), 6);
        assert_eq!(swizzled(0x1f | 1 << 10, 40), 41, "the neighbour");
        assert_eq!(swizzled(3 << 5, 40), 35, "one for all");
    }
}
