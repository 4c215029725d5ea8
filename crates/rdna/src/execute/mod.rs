//! Carries out a decoded instruction on a wave.

mod bounds;
mod buffer;
mod flat;
mod local;
mod scalar;
mod select;
mod vector;

use crate::instruction::{Action, Instruction};
use crate::memory::Memory;
use crate::problem::Obstacle;
use crate::wave::Wave;
pub(crate) use buffer::PRIVATE_BUFFER;

/// Carries out an instruction. The wave's counter is that of the next one already. `shared` is the memory of its workgroup.
pub(crate) fn execute(
    wave: &mut Wave,
    instruction: &Instruction,
    memory: &dyn Memory,
    shared: &mut [u8],
) -> Result<(), Obstacle> {
    match &instruction.action {
        Action::Scalar(scalar) => scalar::execute(wave, scalar),
        Action::ScalarMemory(load) => scalar::load(wave, load, memory),
        Action::Vector(vector) => vector::execute(wave, vector),
        Action::Dual(pair) => vector::execute_pair(wave, pair),
        Action::Flat(flat) => flat::execute(wave, flat, memory, shared),
        Action::Buffer(buffer) => buffer::execute(wave, buffer, memory, shared),
        Action::Local(local) => local::execute(wave, local, shared),
    }
}
