//! An interpreter for the machine code of AMD's RDNA GPUs.
//!
//! Kernels that were compiled for gfx10 and gfx11 run on a processor: [`Dispatch`] carries out a launch as its [`Packet`]
//! says, on [`Memory`] that may be another process's. It is for tests of programs on machines without a GPU, and says
//! nothing about a GPU's speed. Every access to memory is checked, a kernel has a limited number of instructions, and no
//! bytes make a function here panic.
//!
//! What an instruction does is written after AMD's "RDNA 2" and "RDNA 3 Instruction Set Architecture" documents. One that
//! isn't known, or is used in a way that isn't, ends the launch with a [`Problem`] that names it.
//!
//! Results are those of a GPU but for:
//! - approximations (`v_rcp_f32`, `v_exp_f32`, `v_sin_f32` and the like) are rounded correctly, where a GPU's may differ in
//!   the last bits;
//! - products of matrices (`v_wmma_...`) with fractions are added in order and rounded each time; AMD doesn't say what a GPU does;
//! - which bits a number has that is none (NaN);
//! - atomic operations are such between work-items, not between the kernel and its program;
//! - clocks count instructions.

#![allow(clippy::float_cmp, reason = "instructions compare exactly")]
#![allow(clippy::needless_range_loop, reason = "a lane's number is in several arrays at once")]

mod architecture;
mod bfloat;
mod code;
mod decode;
mod dispatch;
mod execute;
mod format;
mod half;
mod instruction;
mod launch;
mod memory;
mod names;
mod operand;
mod problem;
mod table;
mod wave;
mod workgroup;

pub use architecture::Architecture;
pub use decode::UnknownInstruction;
pub use dispatch::{Dispatch, Progress};
pub use launch::Packet;
pub use memory::{Fault, Memory};
pub use problem::Problem;

/// The name of the first instruction of these words, and the bytes that it takes.
///
/// # Errors
/// If it isn't known.
pub fn name(architecture: Architecture, words: &[u32]) -> Result<(&'static str, u64), UnknownInstruction> {
    decode::decode(architecture, words).map(|instruction| (instruction.name, instruction.size))
}

/// An instruction of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// The encoding, as AMD's documents name it.
    pub encoding: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Whether it can be carried out.
    pub is_known: bool,
}

/// All instructions of a generation that a disassembler knows, but for those of graphics only.
pub fn instructions(architecture: Architecture) -> impl Iterator<Item = Listed> {
    let tables = table::Tables::of(architecture);
    names::all(architecture).map(|(encoding, number, name)| Listed {
        encoding,
        name,
        is_known: tables.known(encoding, number).is_some(),
    })
}
