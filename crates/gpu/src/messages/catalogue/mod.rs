//! The catalogue: every kernel message that says something about the health of a GPU.
//!
//! Checked against all messages of amdgpu, amdkfd and amdgpu's power management in Linux 6.12, and against those that
//! 7.2.13 has and 6.12.117 has not. Other messages are left out for one of these reasons:
//!
//! - **A program's own mistake**, answered with an error: wrong arguments of an ioctl, command streams that do not
//!   parse, `sq_intr` warnings of waves, a full list of queues, no memory left for a buffer, failed CRIU and debugger
//!   calls.
//! - **Displays and media**: connectors, encoders, audio, UVD, VCE, VCN and JPEG. Jobs compute; a hang there resets the
//!   GPU, and that is here.
//! - **Settings that were refused**: clocks, fans, power limits, features that a firmware does not have.
//! - **Parts of a start that failed**: the driver goes on to print `Fatal error during GPU init`, and the lines before
//!   it are kept as evidence. Those that people can do something about have reasons of their own.
//! - **Bookkeeping**: sysfs, debugfs, EEPROM and FRU files that could not be made or read.
//! - **`WARNING:` with a file of the driver's**: display code has such on healthy machines; what is broken says more.
//! - **Corrected errors**, and AER's non-fatal ones: probing a device causes those.
//!
//! One entry is a line here, and a line in the table of the tests. `template.rs` has both, to be copied.

mod bus;
mod driver;
mod harmless;
mod kernel;
mod kfd;
mod ras;
mod start;
#[cfg(test)]
mod template;

use super::entry::{CatalogueEntry, Meaning, Scope, Speaker, Start};
use crate::fault_kind::FaultKind;

/// All entries, in the order in which they are compared: of two matching entries the first counts.
pub(crate) fn all() -> impl Iterator<Item = &'static CatalogueEntry> {
    [ras::ENTRIES, driver::ENTRIES, kfd::ENTRIES, bus::ENTRIES, kernel::ENTRIES, start::ENTRIES, harmless::ENTRIES]
        .into_iter()
        .flatten()
}

const fn entry(
    speaker: Speaker,
    words: &'static str,
    meaning: Meaning,
    since: &'static str,
    source: &'static str,
) -> CatalogueEntry {
    CatalogueEntry { speaker, words, meaning, since, source }
}

/// A fault after which the GPU, its driver or the machine may no longer work correctly.
const fn fault(
    speaker: Speaker,
    kind: FaultKind,
    words: &'static str,
    since: &'static str,
    source: &'static str,
) -> CatalogueEntry {
    entry(speaker, words, Meaning::Fault(kind, Scope::Machine), since, source)
}

/// A fault that ends the process that caused it.
const fn contained(
    speaker: Speaker,
    kind: FaultKind,
    words: &'static str,
    since: &'static str,
    source: &'static str,
) -> CatalogueEntry {
    entry(speaker, words, Meaning::Fault(kind, Scope::Process), since, source)
}

/// Details of a fault.
const fn detail(
    speaker: Speaker,
    kind: FaultKind,
    words: &'static str,
    since: &'static str,
    source: &'static str,
) -> CatalogueEntry {
    entry(speaker, words, Meaning::Detail(kind), since, source)
}

/// The reason why a GPU did not start.
const fn start(
    speaker: Speaker,
    start: Start,
    words: &'static str,
    since: &'static str,
    source: &'static str,
) -> CatalogueEntry {
    entry(speaker, words, Meaning::Start(start), since, source)
}
