//! Kernel messages about GPUs: a catalogue of them, and readers that find them in a log.
//!
//! Messages are not a stable interface: they change from kernel to kernel. So the catalogue has the few constant
//! words of each, in all known wordings, with their places in the kernel's source. Words are only searched where the
//! kernel puts them, at the beginning of a message and after the name of the speaker: log lines also quote text that
//! programs choose, such as their names and mount options.

mod catalogue;
mod entry;
mod fault;
mod findings;
mod index;
mod line;
mod pattern;
mod places;
mod process_name;
mod reader;
mod speaker;

pub use entry::{CatalogueEntry, Meaning, Scope, Speaker, Start};
pub use fault::Fault;
pub use findings::{Finding, Findings};
pub use places::Places;
pub use reader::{Reader, SIMULATED, Trust, fault};

pub(crate) use index::find;
pub(crate) use line::{Record, records};
pub(crate) use process_name::of_process;
pub(crate) use reader::printable;
pub(crate) use speaker::{By, Spoken};

/// All known messages, in the order in which they are compared.
pub fn catalogue() -> impl Iterator<Item = &'static CatalogueEntry> {
    catalogue::all()
}

#[cfg(test)]
mod tests;
