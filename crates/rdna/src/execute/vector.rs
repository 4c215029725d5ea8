//! Carries out vector instructions in the lanes that are active.

use super::select;
use crate::half;
use crate::instruction::{Selection, Vector};
use crate::operand::{Operand, Type, register};
use crate::problem::Obstacle;
use crate::table::{FlagsIn, VectorAction};
use crate::wave::{LANES, Lanes, Wave};

/// Bits of `MODE`: whether subnormal numbers of 32 bits, and those of other sizes, are read and written as they are.
const KEEPS_SUBNORMAL_32: u32 = 1 << 4;
const KEEPS_SUBNORMAL_OTHER: u32 = 1 << 6;

/// What comes of an instruction, before any of it is written.
enum Computed {
    /// Lanes of the destination.
    Lanes { values: Lanes, written: u64 },
    /// The same, and a bit of each lane.
    Flags { values: Lanes, written: u64, flags: u64 },
    /// A bit of each lane.
    Compared { sets_exec: bool, flags: u64 },
}

pub(super) fn execute(wave: &mut Wave, vector: &Vector) -> Result<(), Obstacle> {
    if let VectorAction::Wave(apply) = vector.operation.action {
        return apply(wave, vector);
    }
    let result = compute(wave, vector)?;
    write(wave, vector, &result);
    Ok(())
}

pub(super) fn execute_pair(wave: &mut Wave, pair: &[Vector; 2]) -> Result<(), Obstacle> {
    let [first, second] = pair;
    let results = (compute(wave, first)?, compute(wave, second)?);
    write(wave, first, &results.0);
    write(wave, second, &results.1);
    Ok(())
}

/// Whether subnormal numbers are 0 when read (`shift` 0) or written (1).
fn flushes(wave: &Wave, kind: Type, shift: u32) -> bool {
    let bit = match kind {
        Type::F32 => KEEPS_SUBNORMAL_32,
        Type::F16 | Type::F64 => KEEPS_SUBNORMAL_OTHER,
        _ => return false,
    };
    wave.mode & bit << shift == 0
}

fn flush(kind: Type, lanes: &mut Lanes) {
    let exponent = match kind {
        Type::F16 => 0x7c00,
        Type::F32 => 0x7f80_0000,
        _ => 0x7ff0_0000_0000_0000,
    };
    for lane in lanes.iter_mut().filter(|lane| **lane & exponent == 0) {
        *lane &= kind.sign();
    }
}

/// A source's lanes with everything that the instruction says about it. The first source's lanes may come from elsewhere;
/// which ones are written then is put into `written`.
fn source(wave: &Wave, vector: &Vector, index: usize, kind: Type, upper: bool, written: &mut u64) -> Lanes {
    let operand = vector.sources.get(index).copied().unwrap_or(Operand::Integer(0));
    let part = match vector.selection {
        Selection::Parts { sources, .. } => sources.get(index).copied(),
        _ => None,
    };
    // Parts are taken of whole registers.
    let read_as = if part.is_some() && kind.is_half() { Type::B32 } else { kind };
    let mut lanes = wave.lanes(operand, read_as, upper);
    if index == 0 {
        *written = select::lanes(wave, vector.selection, &mut lanes);
    }
    if let Some(part) = part {
        select::take(part, kind, &mut lanes);
        if kind.is_half() {
            for lane in &mut lanes {
                *lane &= 0xffff;
            }
        }
    }
    let sign = kind.sign();
    if vector.absolute >> index & 1 != 0 {
        for lane in &mut lanes {
            *lane &= !sign;
        }
    }
    if vector.negate >> index & 1 != 0 {
        for lane in &mut lanes {
            *lane ^= sign;
        }
    }
    if flushes(wave, kind, 0) {
        flush(kind, &mut lanes);
    }
    lanes
}

fn compute(wave: &Wave, vector: &Vector) -> Result<Computed, Obstacle> {
    let operation = vector.operation;
    let mut written = wave.exec();
    let mut values = [0; LANES];
    let limited = |apply| operation.limited.filter(|_| vector.clamp).unwrap_or(apply);
    match operation.action {
        VectorAction::Packed(apply) => return packed(wave, vector, limited(apply)),
        VectorAction::Mixed { .. } => return Ok(mixed(wave, vector)),
        _ => {}
    }
    let mut sources = [[0; LANES]; 3];
    for (index, kind) in operation.sources.iter().enumerate().take(3) {
        sources[index] = source(wave, vector, index, *kind, vector.halves >> index & 1 != 0, &mut written);
    }
    let [a, b, c] = &sources;
    let lanes = 0..wave.size;
    let runs = |lane: &usize| written >> lane & 1 != 0;
    match operation.action {
        VectorAction::Lane(apply) | VectorAction::Accumulate(apply) | VectorAction::WithLiteral { apply, .. } => {
            let apply = limited(apply);
            for lane in lanes.filter(runs) {
                values[lane] = apply([a[lane], b[lane], c[lane]]);
            }
        }
        VectorAction::Numbered(apply) => {
            for lane in lanes.filter(runs) {
                values[lane] = apply(lane, [a[lane], b[lane], c[lane]]);
            }
        }
        VectorAction::Compare { sets_exec, apply } => {
            let flags =
                lanes.filter(runs).filter(|lane| apply(a[*lane], b[*lane])).fold(0, |flags, lane| flags | 1 << lane);
            return Ok(Computed::Compared { sets_exec, flags });
        }
        VectorAction::Flags { input, output, apply } => {
            let taken = match input {
                FlagsIn::None => 0,
                FlagsIn::Carry => wave.mask(vector.flags_in),
                FlagsIn::Vcc => wave.mask(register::VCC),
            };
            let mut flags = 0;
            for lane in lanes.filter(runs) {
                let (value, flag) = apply([a[lane], b[lane], c[lane]], taken >> lane & 1 != 0);
                values[lane] = value;
                flags |= u64::from(flag) << lane;
            }
            if output {
                finish(wave, vector, &mut values)?;
                return Ok(Computed::Flags { values, written, flags });
            }
        }
        VectorAction::Packed(_) | VectorAction::Mixed { .. } | VectorAction::Wave(_) => {}
    }
    finish(wave, vector, &mut values)?;
    Ok(Computed::Lanes { values, written })
}

/// Multiplies results, limits them to 0 to 1, and drops what is subnormal, as the instruction and the wave's mode say.
fn finish(wave: &Wave, vector: &Vector, values: &mut Lanes) -> Result<(), Obstacle> {
    let kind = vector.operation.result;
    if !kind.is_float() {
        let is_limited = vector.clamp && vector.operation.limited.is_none();
        return if is_limited { Err(Obstacle::Unsupported("a limit for whole numbers")) } else { Ok(()) };
    }
    let factor = match vector.multiplier {
        1 => 2.0,
        2 => 4.0,
        3 => 0.5,
        _ => 1.0,
    };
    if vector.multiplier != 0 || vector.clamp {
        for value in values.iter_mut() {
            *value = changed(kind, *value, |number| {
                let number = number * factor;
                match vector.clamp {
                    true if number.is_nan() => 0.0,
                    true => number.clamp(0.0, 1.0),
                    false => number,
                }
            });
        }
    }
    if flushes(wave, kind, 1) {
        flush(kind, values);
    }
    Ok(())
}

/// Changes a number of any kind.
fn changed(kind: Type, bits: u64, change: impl Fn(f64) -> f64) -> u64 {
    match kind {
        Type::F16 => half::nearest(change(half::value(bits as u16).into())).into(),
        Type::F32 => (change(f32::from_bits(bits as u32).into()) as f32).to_bits().into(),
        _ => change(f64::from_bits(bits)).to_bits(),
    }
}

/// Pairs of 16 bits.
fn packed(wave: &Wave, vector: &Vector, apply: fn([u64; 3]) -> u64) -> Result<Computed, Obstacle> {
    let mut written = 0;
    let mut whole = [0; LANES];
    for upper in [false, true] {
        let choice = if upper { vector.upper_halves } else { vector.halves };
        let negate = if upper { vector.negate_upper } else { vector.negate };
        let this = Vector { negate, absolute: 0, ..*vector };
        let mut sources = [[0; LANES]; 3];
        for (index, kind) in vector.operation.sources.iter().enumerate().take(3) {
            sources[index] = source(wave, &this, index, *kind, choice >> index & 1 != 0, &mut written);
        }
        let [a, b, c] = &sources;
        let mut values = [0; LANES];
        for lane in (0..wave.size).filter(|lane| written >> lane & 1 != 0) {
            values[lane] = apply([a[lane], b[lane], c[lane]]);
        }
        finish(wave, vector, &mut values)?;
        for (whole, value) in whole.iter_mut().zip(values) {
            *whole |= if upper { value << 16 } else { value };
        }
    }
    Ok(Computed::Lanes { values: whole, written })
}

/// A product and a sum of numbers of 32 bits, some of which may be halves.
fn mixed(wave: &Wave, vector: &Vector) -> Computed {
    let mut written = 0;
    let sources: [Lanes; 3] = std::array::from_fn(|index| {
        let is_half = vector.upper_halves >> index & 1 != 0;
        let kind = if is_half { Type::F16 } else { Type::F32 };
        // Here the bits for upper halves say which are negated after they were made absolute.
        let this = Vector { absolute: vector.negate_upper, ..*vector };
        let mut lanes = source(wave, &this, index, kind, vector.halves >> index & 1 != 0, &mut written);
        if is_half {
            for lane in &mut lanes {
                *lane = half::value(*lane as u16).to_bits().into();
            }
        }
        lanes
    });
    let [a, b, c] = &sources;
    let number = |bits: u64| f32::from_bits(bits as u32);
    let is_half = vector.operation.result == Type::F16;
    let mut values = [0; LANES];
    for lane in (0..wave.size).filter(|lane| written >> lane & 1 != 0) {
        let mut result = number(a[lane]).mul_add(number(b[lane]), number(c[lane]));
        if vector.clamp {
            result = if result.is_nan() { 0.0 } else { result.clamp(0.0, 1.0) };
        }
        values[lane] = if is_half { half::nearest(result.into()).into() } else { result.to_bits().into() };
    }
    Computed::Lanes { values, written }
}

fn write(wave: &mut Wave, vector: &Vector, result: &Computed) {
    match result {
        Computed::Lanes { values, written } => write_lanes(wave, vector, values, *written),
        Computed::Flags { values, written, flags } => {
            write_lanes(wave, vector, values, *written);
            wave.set_mask(vector.flags_out, *flags);
        }
        Computed::Compared { sets_exec: true, flags } => wave.set_mask(register::EXEC, *flags),
        Computed::Compared { sets_exec: false, flags } => wave.set_mask(vector.flags_out, *flags),
    }
}

fn write_lanes(wave: &mut Wave, vector: &Vector, values: &Lanes, written: u64) {
    let kind = vector.operation.result;
    if let Selection::Parts { destination, unused, .. } = vector.selection {
        for lane in (0..wave.size).filter(|lane| written >> lane & 1 != 0) {
            let before = wave.vector(vector.destination, lane);
            let value = select::put(destination, unused, before, values[lane] as u32);
            wave.set_vector(vector.destination, lane, value);
        }
        return;
    }
    let (kind, upper) = match vector.operation.action {
        // Both halves are there.
        VectorAction::Packed(_) => (Type::B32, false),
        VectorAction::Mixed { upper } => (kind, upper),
        _ => (kind, vector.halves >> 3 & 1 != 0),
    };
    wave.set_lanes(vector.destination, kind, upper, values, written);
}
