//! Vector instructions that look at other lanes, or at registers that are named by number.

use super::{NO, Row, VectorAction, VectorOperation, row};
use crate::instruction::Vector;
use crate::operand::Type::B32;
use crate::operand::{Operand, register};
use crate::problem::Obstacle;
use crate::wave::Wave;

type Done = Result<(), Obstacle>;

const fn wave(apply: fn(&mut Wave, &Vector) -> Done) -> VectorOperation {
    VectorOperation::new(B32, &[B32], VectorAction::Wave(apply))
}

const fn wave2(apply: fn(&mut Wave, &Vector) -> Done) -> VectorOperation {
    VectorOperation::new(B32, &[B32, B32], VectorAction::Wave(apply))
}

const fn wave3(apply: fn(&mut Wave, &Vector) -> Done) -> VectorOperation {
    VectorOperation::new(B32, &[B32, B32, B32], VectorAction::Wave(apply))
}

#[rustfmt::skip]
pub(super) const VOP1: &[Row<VectorOperation>] = &[
    row("v_nop", 0, 0, VectorOperation::new(B32, &[], VectorAction::Wave(|_, _| Ok(())))),
    row("v_readfirstlane_b32", 2, 2, wave(|wave, vector| {
        let first = wave.active().next().unwrap_or(0);
        let value = wave.lanes(vector.sources[0], B32, false)[first] as u32;
        wave.set_scalar(vector.destination, value);
        Ok(())
    })),
    row("v_movreld_b32", 66, 66, wave(|wave, vector| moved(wave, vector, 0, wave.scalar(register::M0)))),
    row("v_movrels_b32", 67, 67, wave(|wave, vector| moved(wave, vector, wave.scalar(register::M0), 0))),
    row("v_movrelsd_b32", 68, 68, wave(|wave, vector| {
        let offset = wave.scalar(register::M0);
        moved(wave, vector, offset, offset)
    })),
    row("v_movrelsd_2_b32", 72, 72, wave(|wave, vector| {
        let offsets = wave.scalar(register::M0);
        moved(wave, vector, offsets & 0xff, offsets >> 16 & 0xff)
    })),
    row("v_swap_b32", 101, 101, wave(|wave, vector| {
        let Operand::Vector(other) = vector.sources[0] else { return Err(Obstacle::Unsupported("a constant")) };
        for lane in wave.active() {
            let (here, there) = (wave.vector(vector.destination, lane), wave.vector(other, lane));
            wave.set_vector(vector.destination, lane, there);
            wave.set_vector(other, lane, here);
        }
        Ok(())
    })),
    row("v_permlane64_b32", NO, 103, wave(|wave, vector| {
        let source = wave.lanes(vector.sources[0], B32, false);
        let half = if wave.size == 64 { 32 } else { 0 };
        for lane in wave.active() {
            wave.set_vector(vector.destination, lane, source[lane ^ half] as u32);
        }
        Ok(())
    })),
];

#[rustfmt::skip]
pub(super) const VOP3: &[Row<VectorOperation>] = &[
    row("v_readlane_b32", 864, 864, wave2(|wave, vector| {
        let lane = wave.uniform(vector.sources[1], B32) as usize % wave.size;
        let value = wave.lanes(vector.sources[0], B32, false)[lane] as u32;
        wave.set_scalar(vector.destination, value);
        Ok(())
    })),
    row("v_writelane_b32", 865, 865, wave2(|wave, vector| {
        let lane = wave.uniform(vector.sources[1], B32) as usize % wave.size;
        let value = wave.uniform(vector.sources[0], B32) as u32;
        wave.set_vector(vector.destination, lane, value);
        Ok(())
    })),
    row("v_permlane16_b32", 887, 603, wave3(|wave, vector| permute_rows(wave, vector, 0))),
    row("v_permlanex16_b32", 888, 604, wave3(|wave, vector| permute_rows(wave, vector, 16))),
];

/// Copies between registers that are so much further than the instruction says.
fn moved(wave: &mut Wave, vector: &Vector, from: u32, to: u32) -> Done {
    let beyond = Obstacle::Unsupported("a register beyond the last one");
    let further = |number: u8, offset: u32| {
        offset.checked_add(number.into()).and_then(|number| u8::try_from(number).ok()).ok_or(beyond)
    };
    let source = match vector.sources[0] {
        Operand::Vector(number) => Operand::Vector(further(number, from)?),
        other => other,
    };
    let destination = further(vector.destination, to)?;
    let values = wave.lanes(source, B32, false);
    wave.set_lanes(destination, B32, false, &values, wave.exec());
    Ok(())
}

/// Takes each lane's value from a lane of its row of 16, or of the other one (`flip` is 16): four bits for each lane.
#[allow(clippy::unnecessary_wraps, reason = "rows of the table return this")]
fn permute_rows(wave: &mut Wave, vector: &Vector, flip: usize) -> Done {
    let source = wave.lanes(vector.sources[0], B32, false);
    let low = wave.uniform(vector.sources[1], B32);
    let high = wave.uniform(vector.sources[2], B32);
    let selectors = low | high << 32;
    // The first two bits that choose halves say instead whether lanes that do not take part are read, and what else is.
    let (fetch_inactive, zero) = (vector.halves & 1 != 0, vector.halves & 2 != 0);
    let exec = wave.exec();
    for lane in wave.active() {
        let from = (lane & !15 ^ flip) + (selectors >> (lane % 16 * 4) & 15) as usize;
        let is_read = fetch_inactive || exec >> from & 1 != 0;
        if is_read || zero {
            let value = if is_read { source[from] as u32 } else { 0 };
            wave.set_vector(vector.destination, lane, value);
        }
    }
    Ok(())
}
