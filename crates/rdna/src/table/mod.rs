//! The instructions: a row for each with its name, its number in both generations, and what it does.
//!
//! Names and numbers are those of AMD's "RDNA 2" and "RDNA 3 Instruction Set Architecture" documents. Where a later
//! generation has another name for the same instruction, a row has both with `|` between them.

mod access;
mod compare;
mod lane;
mod local;
mod matrix;
mod packed;
mod scalar;
mod scalar_wave;
mod trigonometry;
mod vector1;
mod vector2;
mod vector3;
mod vector_wave;

use std::sync::LazyLock;

use crate::architecture::Architecture;
use crate::instruction::{Scalar, Vector};
use crate::operand::Type;
use crate::problem::Obstacle;
use crate::wave::Wave;

pub(crate) use access::{Access, BufferOperation, FlatOperation, Item, Portion, ScalarMemory, Select};
pub(crate) use local::LocalOperation;

/// For rows that a generation doesn't have.
const NO: u16 = u16::MAX;

/// An instruction of the table.
#[derive(Debug)]
pub(crate) struct Row<T: 'static> {
    names: &'static str,
    numbers: [u16; 2],
    pub(crate) operation: T,
}

const fn row<T>(names: &'static str, gfx10: u16, gfx11: u16, operation: T) -> Row<T> {
    Row { names, numbers: [gfx10, gfx11], operation }
}

impl<T> Row<T> {
    /// The instruction's name in a generation: some were renamed in gfx11.
    pub(crate) fn name(&self, architecture: Architecture) -> &'static str {
        match (self.names.split_once('|'), architecture) {
            (None, _) => self.names,
            (Some((old, _)), Architecture::Gfx10) => old,
            (Some((_, new)), Architecture::Gfx11) => new,
        }
    }
}

/// A value and, for instructions that set it, the scalar condition code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) value: u64,
    pub(crate) scc: Option<bool>,
}

/// What scalar instructions do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ScalarOperation {
    /// Makes a value of two and the condition code. The types are those of the result and the sources.
    Value([Type; 3], fn(u64, u64, bool) -> Outcome),
    /// Sets the condition code.
    Compare([Type; 2], fn(u64, u64) -> bool),
    /// Makes a new EXEC of a source and the old one.
    Exec { is_wide: bool, returns_new: bool, apply: fn(u64, u64) -> u64 },
    /// Anything else that a wave can do.
    Wave(fn(&mut Wave, &Scalar) -> Result<(), Obstacle>),
}

/// What vector instructions do.
#[derive(Debug)]
pub(crate) struct VectorOperation {
    pub(crate) result: Type,
    pub(crate) sources: &'static [Type],
    pub(crate) action: VectorAction,
    /// For whole numbers: what it makes in each lane if results that do not fit become the nearest that do.
    pub(crate) limited: Option<fn([u64; 3]) -> u64>,
}

impl VectorOperation {
    const fn new(result: Type, sources: &'static [Type], action: VectorAction) -> Self {
        Self { result, sources, action, limited: None }
    }

    const fn limited(self, apply: fn([u64; 3]) -> u64) -> Self {
        Self { limited: Some(apply), ..self }
    }
}

/// What a vector instruction does in each lane.
#[derive(Debug, Clone, Copy)]
pub(crate) enum VectorAction {
    /// Makes a value of the sources.
    Lane(fn([u64; 3]) -> u64),
    /// The same, with the destination as the last source.
    Accumulate(fn([u64; 3]) -> u64),
    /// The same, with a word that follows as the second or the third source.
    WithLiteral { third: bool, apply: fn([u64; 3]) -> u64 },
    /// The same, with the lane's number.
    Numbered(fn(usize, [u64; 3]) -> u64),
    /// Makes a bit of a scalar register, or of EXEC.
    Compare { sets_exec: bool, apply: fn(u64, u64) -> bool },
    /// Uses or makes a bit of a scalar register besides.
    Flags { input: FlagsIn, output: bool, apply: fn([u64; 3], bool) -> (u64, bool) },
    /// Makes a value of the lower halves, and one of the upper ones.
    Packed(fn([u64; 3]) -> u64),
    /// Makes a value of sources that are each of 32 bits, or a half.
    Mixed { upper: bool },
    /// Anything else that a wave can do.
    Wave(fn(&mut Wave, &Vector) -> Result<(), Obstacle>),
}

/// Where an instruction takes a bit for each lane from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlagsIn {
    None,
    /// VCC, or the register that the longer form names.
    Carry,
    Vcc,
}

/// Rows by number.
#[derive(Debug)]
struct Index<T: 'static>(Vec<Option<&'static Row<T>>>);

impl<T> Index<T> {
    fn new(tables: &[&'static [Row<T>]], column: usize) -> Self {
        let mut rows = Vec::new();
        for row in tables.iter().flat_map(|table| table.iter()) {
            let number = usize::from(row.numbers[column]);
            if row.numbers[column] != NO {
                if rows.len() <= number {
                    rows.resize(number + 1, None);
                }
                debug_assert!(rows[number].is_none(), "two instructions have number {number}: {}", row.names);
                rows[number] = Some(row);
            }
        }
        Self(rows)
    }

    fn get(&self, number: u32) -> Option<&'static Row<T>> {
        self.0.get(usize::try_from(number).ok()?).copied().flatten()
    }
}

/// All instructions of a generation.
#[derive(Debug)]
pub(crate) struct Tables {
    architecture: Architecture,
    sop1: Index<ScalarOperation>,
    sop2: Index<ScalarOperation>,
    sopk: Index<ScalarOperation>,
    sopc: Index<ScalarOperation>,
    sopp: Index<ScalarOperation>,
    smem: Index<ScalarMemory>,
    vop1: Index<VectorOperation>,
    vop2: Index<VectorOperation>,
    vopc: Index<VectorOperation>,
    vop3: Index<VectorOperation>,
    vop3p: Index<VectorOperation>,
    flat: Index<FlatOperation>,
    mubuf: Index<BufferOperation>,
    ds: Index<LocalOperation>,
}

/// A way in which an instruction is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::upper_case_acronyms, reason = "the documents' names")]
pub(crate) enum Encoding {
    SOP1,
    SOP2,
    SOPK,
    SOPC,
    SOPP,
    VOP1,
    VOP2,
    VOPC,
    VOP3,
    VOP3P,
}

impl Tables {
    /// The tables of a generation.
    pub(crate) fn of(architecture: Architecture) -> &'static Self {
        static TABLES: [LazyLock<Tables>; 2] =
            [LazyLock::new(|| Tables::new(Architecture::Gfx10)), LazyLock::new(|| Tables::new(Architecture::Gfx11))];
        &TABLES[architecture.column()]
    }

    fn new(architecture: Architecture) -> Self {
        let column = architecture.column();
        Self {
            architecture,
            sop1: Index::new(&[scalar::SOP1, scalar_wave::SOP1], column),
            sop2: Index::new(&[scalar::SOP2], column),
            sopk: Index::new(&[scalar::SOPK, scalar_wave::SOPK], column),
            sopc: Index::new(&[scalar::SOPC], column),
            sopp: Index::new(&[scalar_wave::SOPP], column),
            smem: Index::new(&[access::SMEM], column),
            vop1: Index::new(&[vector1::VOP1, vector_wave::VOP1], column),
            vop2: Index::new(&[vector2::VOP2], column),
            vopc: Index::new(compare::VOPC, column),
            vop3: Index::new(&[vector3::VOP3, vector3::WIDE, vector_wave::VOP3], column),
            vop3p: Index::new(&[packed::VOP3P, matrix::VOP3P], column),
            flat: Index::new(&[access::FLAT], column),
            mubuf: Index::new(&[access::MUBUF], column),
            ds: Index::new(local::DS, column),
        }
    }

    pub(crate) fn scalar(&self, encoding: Encoding, number: u32) -> Option<(&'static str, ScalarOperation)> {
        let index = match encoding {
            Encoding::SOP1 => &self.sop1,
            Encoding::SOP2 => &self.sop2,
            Encoding::SOPK => &self.sopk,
            Encoding::SOPC => &self.sopc,
            Encoding::SOPP => &self.sopp,
            _ => return None,
        };
        index.get(number).map(|row| (row.name(self.architecture), row.operation))
    }

    /// A vector instruction. The longer form has the shorter ones' too: at 0, 256 and 384.
    pub(crate) fn vector(&self, encoding: Encoding, number: u32) -> Option<(&'static str, &'static VectorOperation)> {
        let row = match (encoding, number) {
            (Encoding::VOP1, _) => self.vop1.get(number),
            (Encoding::VOP2, _) => self.vop2.get(number),
            (Encoding::VOPC, _) | (Encoding::VOP3, 0..256) => self.vopc.get(number),
            (Encoding::VOP3, 384..512) => self.vop3.get(number).or_else(|| self.vop1.get(number - 384)),
            (Encoding::VOP3, 256..384) => self.vop3.get(number).or_else(|| {
                // What has a literal in the shorter form has no longer one.
                let literal =
                    |row: &&Row<VectorOperation>| matches!(row.operation.action, VectorAction::WithLiteral { .. });
                self.vop2.get(number - 256).filter(|row| !literal(row))
            }),
            (Encoding::VOP3, _) => self.vop3.get(number),
            (Encoding::VOP3P, _) => self.vop3p.get(number),
            _ => None,
        };
        row.map(|row| (row.name(self.architecture), &row.operation))
    }

    pub(crate) fn scalar_memory(&self, number: u32) -> Option<(&'static str, ScalarMemory)> {
        self.smem.get(number).map(|row| (row.name(self.architecture), row.operation))
    }

    pub(crate) fn flat(&self, number: u32) -> Option<(&'static str, FlatOperation)> {
        self.flat.get(number).map(|row| (row.name(self.architecture), row.operation))
    }

    pub(crate) fn buffer(&self, number: u32) -> Option<(&'static str, BufferOperation)> {
        let atomic = || {
            let (_, access) = self.flat(number).filter(|(_, access)| matches!(access, Access::Atomic { .. }))?;
            Some((crate::names::name(self.architecture, "MUBUF", number)?, BufferOperation::Untyped(access)))
        };
        self.mubuf.get(number).map(|row| (row.name(self.architecture), row.operation)).or_else(atomic)
    }

    pub(crate) fn local(&self, number: u32) -> Option<(&'static str, LocalOperation)> {
        self.ds.get(number).map(|row| (row.name(self.architecture), row.operation))
    }

    /// The name of the instruction with this number in an encoding as the lists of names have them, if it is known.
    pub(crate) fn known(&self, encoding: &str, number: u32) -> Option<&'static str> {
        match encoding {
            "SOP1" => self.scalar(Encoding::SOP1, number).map(|found| found.0),
            "SOP2" => self.scalar(Encoding::SOP2, number).map(|found| found.0),
            "SOPK" => self.scalar(Encoding::SOPK, number).map(|found| found.0),
            "SOPC" => self.scalar(Encoding::SOPC, number).map(|found| found.0),
            "SOPP" => self.scalar(Encoding::SOPP, number).map(|found| found.0),
            "SMEM" => self.scalar_memory(number).map(|found| found.0),
            "VOP1" => self.vector(Encoding::VOP1, number).map(|found| found.0),
            "VOP2" => self.vector(Encoding::VOP2, number).map(|found| found.0),
            "VOPC" => self.vector(Encoding::VOPC, number).map(|found| found.0),
            "VOP3" => self.vector(Encoding::VOP3, number).map(|found| found.0),
            "VOP3P" => self.vector(Encoding::VOP3P, number).map(|found| found.0),
            "DS" => self.local(number).map(|found| found.0),
            "FLAT" | "GLOBAL" => self.flat(number).map(|found| found.0),
            // Work-items' own memory has no atomic operations by this encoding.
            "SCRATCH" => {
                self.flat(number).filter(|found| !matches!(found.1, Access::Atomic { .. })).map(|found| found.0)
            }
            "MUBUF" => self.buffer(number).map(|found| found.0),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::names;

    /// The rows of an encoding, with their numbers.
    fn rows(tables: &Tables, encoding: &str) -> BTreeSet<(u32, String)> {
        let prefix = encoding.to_lowercase();
        let known = (0..1024).filter_map(|number| Some((number, tables.known(encoding, number)?)));
        known.map(|(number, name)| (number, name.replacen('*', &prefix, 1))).collect()
    }

    #[test]
    fn names_and_numbers_are_those_of_a_disassembler() {
        for architecture in [Architecture::Gfx10, Architecture::Gfx11] {
            let tables = Tables::of(architecture);
            let listed: BTreeSet<(&str, u32, &str)> = names::all(architecture).collect();
            let encodings: BTreeSet<&str> = listed.iter().map(|(encoding, ..)| *encoding).collect();
            for encoding in encodings {
                for (number, name) in rows(tables, encoding) {
                    // The longer form of a shorter one is not listed again.
                    let short = encoding == "VOP3"
                        && (number < 256
                            || tables.known("VOP2", number - 256).is_some() && number < 384
                            || number >= 384 && tables.known("VOP1", number - 384).is_some() && number < 512);
                    let is_listed = short || listed.contains(&(encoding, number, name.as_str()));
                    // Atomic operations that are in one of these two only.
                    let there = names::name(architecture, encoding, number);
                    assert!(
                        is_listed || there.is_none() && encoding != "VOPC",
                        "{architecture:?} {encoding} {number}: {name}, not {there:?}"
                    );
                }
            }
        }
    }
}
