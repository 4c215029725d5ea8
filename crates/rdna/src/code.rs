//! [`Code`]: the instructions of a kernel, decoded when they are first reached.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::architecture::Architecture;
use crate::decode::{WORDS, decode};
use crate::instruction::Instruction;
use crate::memory::Memory;
use crate::problem::Problem;

/// Bytes of code that are kept together.
const PAGE: u64 = 4096;
/// Most pages that are kept.
const MOST_PAGES: usize = 4096;

type Page = Vec<Option<Rc<Instruction>>>;

/// Decoded code. It is read once, so a kernel that changes itself goes on with what it was.
#[derive(Debug)]
pub(crate) struct Code {
    architecture: Architecture,
    pages: BTreeMap<u64, Page>,
}

impl Code {
    pub(crate) fn new(architecture: Architecture) -> Self {
        Self { architecture, pages: BTreeMap::new() }
    }

    /// The instruction at an address.
    pub(crate) fn at(&mut self, address: u64, memory: &dyn Memory) -> Result<Rc<Instruction>, Problem> {
        if !address.is_multiple_of(4) {
            return Err(Problem::NoCode { address });
        }
        let page = address / PAGE;
        let index = usize::try_from(address % PAGE / 4).unwrap_or(0);
        if let Some(found) = self.pages.get(&page).and_then(|page| page.get(index)?.as_ref()) {
            return Ok(Rc::clone(found));
        }
        let found = Rc::new(self.read(address, memory)?);
        if self.pages.len() >= MOST_PAGES {
            self.pages.clear();
        }
        let page = self.pages.entry(page).or_insert_with(|| vec![None; (PAGE / 4) as usize]);
        if let Some(place) = page.get_mut(index) {
            *place = Some(Rc::clone(&found));
        }
        Ok(found)
    }

    fn read(&self, address: u64, memory: &dyn Memory) -> Result<Instruction, Problem> {
        let mut bytes = [0; WORDS * 4];
        // At the end of memory there may be fewer words.
        let mut length = bytes.len();
        while bytes.get_mut(..length).is_none_or(|bytes| memory.read(address, bytes).is_err()) {
            length -= 4;
            if length == 0 {
                return Err(Problem::NoCode { address });
            }
        }
        let words: Vec<u32> =
            bytes.as_chunks().0.iter().take(length / 4).map(|word| u32::from_le_bytes(*word)).collect();
        let instruction = decode(self.architecture, &words).map_err(|unknown| Problem::UnknownInstruction {
            name: unknown.name,
            words: words.iter().map(|word| format!("{word:08x}")).collect::<Vec<_>>().join(" "),
            address,
        })?;
        if instruction.size > length as u64 {
            return Err(Problem::NoCode { address: address.wrapping_add(length as u64) });
        }
        Ok(instruction)
    }
}
