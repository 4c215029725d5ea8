//! Scalar instructions that change where a wave goes on, or how.

use super::{NO, Row, ScalarOperation, row};
use crate::instruction::Scalar;
use crate::operand::{Operand, Type, register};
use crate::problem::Obstacle;
use crate::wave::{State, Wave};

type Done = Result<(), Obstacle>;

const fn wave(apply: fn(&mut Wave, &Scalar) -> Done) -> ScalarOperation {
    ScalarOperation::Wave(apply)
}

/// For what only tells the hardware what to wait for, or what comes next.
const NOTHING: ScalarOperation = wave(|_, _| Ok(()));

/// Goes on as many words further as the instruction says.
fn jump(wave: &mut Wave, scalar: &Scalar) {
    let words = i64::from(scalar.number.cast_signed());
    wave.counter = wave.counter.wrapping_add_signed(words * 4);
}

#[allow(clippy::unnecessary_wraps, reason = "rows of the table return this")]
fn jump_if(wave: &mut Wave, scalar: &Scalar, condition: bool) -> Done {
    if condition {
        jump(wave, scalar);
    }
    Ok(())
}

#[rustfmt::skip]
pub(super) const SOPP: &[Row<ScalarOperation>] = &[
    row("s_nop", 0, 0, NOTHING),
    row("s_endpgm", 1, 48, wave(|wave, _| { wave.state = State::Ended; Ok(()) })),
    row("s_branch", 2, 32, wave(|wave, scalar| jump_if(wave, scalar, true))),
    row("s_cbranch_scc0", 4, 33, wave(|wave, scalar| jump_if(wave, scalar, !wave.scc))),
    row("s_cbranch_scc1", 5, 34, wave(|wave, scalar| jump_if(wave, scalar, wave.scc))),
    row("s_cbranch_vccz", 6, 35, wave(|wave, scalar| jump_if(wave, scalar, wave.mask(register::VCC) == 0))),
    row("s_cbranch_vccnz", 7, 36, wave(|wave, scalar| jump_if(wave, scalar, wave.mask(register::VCC) != 0))),
    row("s_cbranch_execz", 8, 37, wave(|wave, scalar| jump_if(wave, scalar, wave.exec() == 0))),
    row("s_cbranch_execnz", 9, 38, wave(|wave, scalar| jump_if(wave, scalar, wave.exec() != 0))),
    row("s_barrier", 10, 61, wave(|wave, _| { wave.state = State::AtBarrier; Ok(()) })),
    row("s_waitcnt", 12, 9, NOTHING),
    row("s_wakeup", 3, 52, NOTHING),
    row("s_wait_idle", 34, 10, NOTHING),
    row("s_sleep", 14, 3, NOTHING),
    row("s_setprio", 15, 53, NOTHING),
    row("s_sendmsg", 16, 54, wave(|wave, scalar| {
        // Registers that are given back early. All else is a word to the processor, which nobody would hear.
        let gives_back = wave.is_gfx11() && scalar.number == 3;
        if gives_back { Ok(()) } else { Err(Obstacle::Unsupported("a message to the processor")) }
    })),
    row("s_trap", 18, 16, wave(|_, scalar| Err(Obstacle::Trap(scalar.number.to_le_bytes()[0])))),
    row("s_icache_inv", 19, 60, NOTHING),
    row("s_inst_prefetch|s_set_inst_prefetch_distance", 32, 4, NOTHING),
    row("s_clause", 33, 5, NOTHING),
    row("s_waitcnt_depctr", 35, 8, NOTHING),
    row("s_delay_alu", NO, 7, NOTHING),
    row("s_round_mode", 36, 17, wave(|wave, scalar| set_mode(wave, 0xf, scalar.number.into()))),
    row("s_denorm_mode", 37, 18, wave(|wave, scalar| set_mode(wave, 0xf0, u32::from(scalar.number) << 4))),
];

#[rustfmt::skip]
pub(super) const SOPK: &[Row<ScalarOperation>] = &[
    row("s_version", 1, 1, NOTHING),
    row("s_getreg_b32", 18, 17, wave(get_register)),
    row("s_setreg_b32", 19, 18, wave(|wave, scalar| set_register(wave, scalar, wave.scalar(scalar.destination)))),
    row("s_setreg_imm32_b32", 21, 19, wave(|wave, scalar| {
        let Operand::Literal(value) = scalar.sources[1] else { return Err(Obstacle::Unsupported("no number")) };
        set_register(wave, scalar, value)
    })),
    row("s_call_b64", 22, 20, wave(|wave, scalar| {
        wave.set_scalar_pair(scalar.destination, wave.counter);
        jump(wave, scalar);
        Ok(())
    })),
    row("s_waitcnt_vscnt", 23, 24, NOTHING),
    row("s_waitcnt_vmcnt", 24, 25, NOTHING),
    row("s_waitcnt_expcnt", 25, 26, NOTHING),
    row("s_waitcnt_lgkmcnt", 26, 27, NOTHING),
];

#[rustfmt::skip]
pub(super) const SOP1: &[Row<ScalarOperation>] = &[
    row("s_getpc_b64", 31, 71, wave(|wave, scalar| { wave.set_scalar_pair(scalar.destination, wave.counter); Ok(()) })),
    row("s_setpc_b64", 32, 72, wave(|wave, scalar| { wave.counter = wave.uniform(scalar.sources[0], Type::B64); Ok(()) })),
    row("s_swappc_b64", 33, 73, wave(|wave, scalar| {
        let to = wave.uniform(scalar.sources[0], Type::B64);
        wave.set_scalar_pair(scalar.destination, wave.counter);
        wave.counter = to;
        Ok(())
    })),
    row("s_sendmsg_rtn_b64", NO, 77, wave(|wave, scalar| {
        // The clock. All else is a question to the processor.
        if scalar.sources[0] != Operand::Integer(3) {
            return Err(Obstacle::Unsupported("a question to the processor"));
        }
        wave.set_scalar_pair(scalar.destination, wave.clock);
        Ok(())
    })),
    row("s_movrels_b32", 46, 64, wave(|wave, scalar| {
        let from = relative(wave, scalar.sources[0])?;
        wave.set_scalar(scalar.destination, wave.scalar(from));
        Ok(())
    })),
    row("s_movrels_b64", 47, 65, wave(|wave, scalar| {
        let from = relative(wave, scalar.sources[0])?;
        wave.set_scalar_pair(scalar.destination, wave.scalar_pair(from));
        Ok(())
    })),
    row("s_movreld_b32", 48, 66, wave(|wave, scalar| {
        let to = relative(wave, Operand::Scalar(scalar.destination))?;
        wave.set_scalar(to, wave.uniform(scalar.sources[0], Type::B32) as u32);
        Ok(())
    })),
    row("s_movreld_b64", 49, 67, wave(|wave, scalar| {
        let to = relative(wave, Operand::Scalar(scalar.destination))?;
        wave.set_scalar_pair(to, wave.uniform(scalar.sources[0], Type::B64));
        Ok(())
    })),
];

/// The scalar register that is as much further as `M0` says.
fn relative(wave: &Wave, operand: Operand) -> Result<u8, Obstacle> {
    let Operand::Scalar(number) = operand else { return Err(Obstacle::Unsupported("a constant for a register")) };
    let sum = u32::from(number).checked_add(wave.scalar(register::M0));
    sum.and_then(|sum| u8::try_from(sum).ok())
        .filter(|sum| *sum < register::VCC)
        .ok_or(Obstacle::Unsupported("a register beyond the last one"))
}

/// Numbers of registers about the wave.
mod hardware {
    pub(super) const MODE: u16 = 1;
    pub(super) const STATUS: u16 = 2;
    pub(super) const FLAT_SCRATCH: [u16; 2] = [20, 21];
    pub(super) const IDENTITY: [u16; 2] = [23, 24];
    pub(super) const CYCLES: u16 = 29;
}

/// The register, and shift and mask of the part of it.
fn part(scalar: &Scalar) -> (u16, u32, u32) {
    let width = u32::from(scalar.number >> 11) + 1;
    let mask = u32::MAX >> (32 - width);
    (scalar.number & 0x3f, u32::from(scalar.number >> 6 & 0x1f), mask)
}

fn get_register(wave: &mut Wave, scalar: &Scalar) -> Done {
    let (number, shift, mask) = part(scalar);
    let value = match number {
        hardware::MODE => wave.mode,
        hardware::STATUS => u32::from(wave.scc) | u32::from(wave.exec() == 0) << 9,
        hardware::CYCLES => wave.clock as u32,
        number if hardware::FLAT_SCRATCH.contains(&number) || hardware::IDENTITY.contains(&number) => 0,
        _ => return Err(Obstacle::Unsupported("this hardware register")),
    };
    wave.set_scalar(scalar.destination, value >> shift & mask);
    Ok(())
}

fn set_register(wave: &mut Wave, scalar: &Scalar, value: u32) -> Done {
    let (number, shift, mask) = part(scalar);
    match number {
        hardware::MODE => set_mode(wave, mask << shift, value << shift),
        // Where the work-items' own memory is; it is found without.
        number if hardware::FLAT_SCRATCH.contains(&number) => Ok(()),
        _ => Err(Obstacle::Unsupported("this hardware register")),
    }
}

fn set_mode(wave: &mut Wave, mask: u32, value: u32) -> Done {
    wave.mode = wave.mode & !mask | value & mask;
    let rounding = wave.mode & 0xf;
    if rounding == 0 { Ok(()) } else { Err(Obstacle::Unsupported("another rounding than to the nearest")) }
}
