//! The names of all instructions, so that those that can't be carried out can be named too.
//!
//! The lists are what a disassembler says of each number: an encoding, a number and a name in each line.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::architecture::Architecture;

type Names = BTreeMap<(&'static str, u32), &'static str>;

const LISTS: [&str; 2] = [include_str!("names/gfx1030.txt"), include_str!("names/gfx1100.txt")];

fn names(architecture: Architecture) -> &'static Names {
    static NAMES: LazyLock<[Names; 2]> = LazyLock::new(|| LISTS.map(|list| list.lines().filter_map(line).collect()));
    &NAMES[architecture.column()]
}

fn line(text: &'static str) -> Option<((&'static str, u32), &'static str)> {
    let mut fields = text.split(' ');
    let (encoding, number, name) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?);
    Some(((encoding, number), name))
}

/// The name of an instruction that the interpreter knows, or doesn't.
pub(crate) fn name(architecture: Architecture, encoding: &str, number: u32) -> Option<&'static str> {
    names(architecture).get(&(encoding, number)).copied()
}

/// All names: encoding, number, name.
pub(crate) fn all(architecture: Architecture) -> impl Iterator<Item = (&'static str, u32, &'static str)> {
    names(architecture).iter().map(|((encoding, number), name)| (*encoding, *number, *name))
}
