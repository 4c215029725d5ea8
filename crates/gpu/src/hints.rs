//! Hints about problems of a GPU that works.

use crate::pci::PciGpu;

/// Fewer corrected errors than this are normal.
const MANY_CORRECTABLE: u64 = 1000;

/// The hints: sentences without a full stop, each with advice.
pub(crate) fn hints(integrated: bool, gpu: Option<&PciGpu>) -> Vec<String> {
    let Some(gpu) = gpu else { return Vec::new() };
    let mut hints = Vec::new();
    // An integrated GPU has no PCIe link, even if its registers say so.
    if integrated {
        return hints;
    }
    // Links slow down when idle, so only the width is checked.
    if let Some(link) = &gpu.link
        && link.width < link.max_width
    {
        hints.push(format!(
            "only {} of its {} PCIe lanes are connected: put it into a wider slot, or clean the contacts",
            link.width, link.max_width
        ));
    }
    if let Some(errors) = gpu.errors
        && (errors.fatal > 0 || errors.nonfatal > 0 || errors.correctable >= MANY_CORRECTABLE)
    {
        hints.push(format!(
            "its PCIe link has errors (fatal: {}, lost: {}, repaired: {}): check slot, riser and power cables",
            errors.fatal, errors.nonfatal, errors.correctable
        ));
    }
    if gpu.atomics == Some(false) {
        hints.push(
            "PCIe atomics are off: programs that need them fail; a slot that is connected to the processor has them"
                .to_owned(),
        );
    }
    hints
}
