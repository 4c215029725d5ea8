//! [`Instruction`]: one instruction, decoded.

use crate::operand::Operand;
use crate::table::{BufferOperation, FlatOperation, LocalOperation, ScalarMemory, ScalarOperation, VectorOperation};

/// An instruction.
#[derive(Debug, Clone)]
pub(crate) struct Instruction {
    pub(crate) name: &'static str,
    /// Bytes that it takes.
    pub(crate) size: u64,
    pub(crate) action: Action,
}

/// What is to be done, with which operands.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    Scalar(Scalar),
    ScalarMemory(ScalarLoad),
    Vector(Vector),
    /// Two at once, of which neither sees what the other does.
    Dual(Box<[Vector; 2]>),
    Flat(Flat),
    Buffer(Buffer),
    Local(Local),
}

/// SOP1, SOP2, SOPK, SOPC and SOPP.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scalar {
    pub(crate) operation: ScalarOperation,
    pub(crate) destination: u8,
    pub(crate) sources: [Operand; 2],
    /// The number of 16 bits in SOPK and SOPP.
    pub(crate) number: u16,
}

/// SMEM.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScalarLoad {
    pub(crate) operation: ScalarMemory,
    pub(crate) destination: u8,
    pub(crate) base: u8,
    pub(crate) offset: i32,
    pub(crate) register: u8,
}

/// VOP1, VOP2, VOP3, VOPC and VOP3P.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vector {
    pub(crate) operation: &'static VectorOperation,
    pub(crate) destination: u8,
    /// Scalar register that gets a bit of each lane: a carry, or the result of a comparison.
    pub(crate) flags_out: u8,
    /// Scalar register that a bit of each lane is read from.
    pub(crate) flags_in: u8,
    pub(crate) sources: [Operand; 3],
    /// One bit for each source: take its absolute value, then negate it.
    pub(crate) absolute: u8,
    pub(crate) negate: u8,
    /// For pairs of 16 bits: negate the upper one.
    pub(crate) negate_upper: u8,
    /// One bit for each source, and the fourth for the destination: the upper half.
    pub(crate) halves: u8,
    /// For pairs of 16 bits: the half from which the upper result is made.
    pub(crate) upper_halves: u8,
    /// What the result is multiplied with: 1 times 2, 2 times 4, 3 half of it.
    pub(crate) multiplier: u8,
    pub(crate) clamp: bool,
    pub(crate) selection: Selection,
}

/// Where the first source's lanes, or its parts, come from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Selection {
    None,
    /// SDWA.
    Parts {
        sources: [Part; 2],
        destination: Part,
        unused: Unused,
    },
    /// DPP16.
    Rows {
        control: u16,
        fetch_inactive: bool,
        zero: bool,
        banks: u8,
        rows: u8,
    },
    /// DPP8: the lane within eight, three bits for each.
    Eights {
        lanes: u32,
        fetch_inactive: bool,
    },
}

/// A part of a register, with its sign or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) shift: u8,
    pub(crate) bits: u8,
    pub(crate) signed: bool,
}

/// What becomes of a register's other parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unused {
    Zero,
    Sign,
    Kept,
}

/// FLAT, GLOBAL and SCRATCH.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flat {
    pub(crate) operation: FlatOperation,
    pub(crate) segment: Segment,
    /// Vector register with the address, if there is one.
    pub(crate) address: Option<u8>,
    /// Scalar register with an address.
    pub(crate) base: Option<u8>,
    pub(crate) data: u8,
    pub(crate) destination: u8,
    pub(crate) offset: i32,
    /// Whether an atomic operation returns what was there.
    pub(crate) returns: bool,
}

/// The memory that an address is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Segment {
    /// Whichever the address is in.
    Any,
    Private,
    Global,
}

/// MUBUF.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Buffer {
    pub(crate) operation: BufferOperation,
    /// First of the four scalar registers that describe the buffer.
    pub(crate) descriptor: u8,
    pub(crate) address: u8,
    pub(crate) data: u8,
    pub(crate) scalar_offset: Operand,
    pub(crate) offset: u32,
    pub(crate) has_offset: bool,
    pub(crate) has_index: bool,
    pub(crate) returns: bool,
}

/// DS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Local {
    pub(crate) operation: LocalOperation,
    pub(crate) address: u8,
    pub(crate) data: [u8; 2],
    pub(crate) destination: u8,
    pub(crate) offsets: [u8; 2],
}
