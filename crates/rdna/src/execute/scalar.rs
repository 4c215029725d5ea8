//! Carries out scalar instructions, and loads into scalar registers.

use crate::instruction::{Scalar, ScalarLoad};
use crate::memory::Memory;
use crate::operand::register;
use crate::problem::Obstacle;
use crate::table::{ScalarMemory, ScalarOperation};
use crate::wave::Wave;

pub(super) fn execute(wave: &mut Wave, scalar: &Scalar) -> Result<(), Obstacle> {
    let [first, second] = scalar.sources;
    match scalar.operation {
        ScalarOperation::Value([result, kind, other], apply) => {
            let outcome = apply(wave.uniform(first, kind), wave.uniform(second, other), wave.scc);
            if result.is_wide() {
                wave.set_scalar_pair(scalar.destination, outcome.value);
            } else {
                wave.set_scalar(scalar.destination, outcome.value as u32);
            }
            wave.scc = outcome.scc.unwrap_or(wave.scc);
        }
        ScalarOperation::Compare([kind, other], apply) => {
            wave.scc = apply(wave.uniform(first, kind), wave.uniform(second, other));
        }
        ScalarOperation::Exec { is_wide, returns_new, apply } => {
            let kind = if is_wide { crate::operand::Type::B64 } else { crate::operand::Type::B32 };
            let before = if is_wide { wave.scalar_pair(register::EXEC) } else { wave.scalar(register::EXEC).into() };
            let new = apply(wave.uniform(first, kind), before) & kind.mask();
            let returned = if returns_new { new } else { before };
            for (number, value) in [(scalar.destination, returned), (register::EXEC, new)] {
                if is_wide {
                    wave.set_scalar_pair(number, value);
                } else {
                    wave.set_scalar(number, value as u32);
                }
            }
            wave.scc = new != 0;
        }
        ScalarOperation::Wave(apply) => return apply(wave, scalar),
    }
    Ok(())
}

/// Bytes of a buffer that a descriptor of four registers allows: its base and how many.
fn buffer(wave: &Wave, descriptor: u8) -> (u64, u64) {
    let [low, high, records] = [0, 1, 2].map(|index| wave.scalar(descriptor.saturating_add(index)));
    let stride = u64::from(high >> 16 & 0x3fff);
    (u64::from(low) | u64::from(high & 0xffff) << 32, u64::from(records) * stride.max(1))
}

pub(super) fn load(wave: &mut Wave, load: &ScalarLoad, memory: &dyn Memory) -> Result<(), Obstacle> {
    let (registers, from_buffer) = match load.operation {
        ScalarMemory::Load { registers, from_buffer } => (usize::from(registers), from_buffer),
        ScalarMemory::Time => {
            wave.set_scalar_pair(load.destination, wave.clock);
            return Ok(());
        }
        ScalarMemory::Nothing => return Ok(()),
    };
    let offset = i64::from(load.offset) + i64::from(wave.scalar(load.register));
    let mut bytes = [0; 64];
    let length = registers * 4;
    let Some(room) = bytes.get_mut(..length) else { return Ok(()) };
    if from_buffer {
        let (base, size) = buffer(wave, load.base);
        let start = offset.cast_unsigned() & !3;
        // What lies beyond a buffer's end reads as 0.
        let readable = usize::try_from(size.saturating_sub(start)).map_or(length, |left| left.min(length)) & !3;
        if let Some(part) = room.get_mut(..readable).filter(|part| !part.is_empty()) {
            memory.read(base.wrapping_add(start), part)?;
        }
    } else {
        memory.read(wave.scalar_pair(load.base).wrapping_add_signed(offset) & !3, room)?;
    }
    let words = room.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
    for (number, word) in (load.destination..=u8::MAX).zip(words) {
        // The register that is never written is in the middle of others only for loads that no assembler makes.
        wave.set_scalar(number, word);
    }
    Ok(())
}
