//! [`Fault`]: a fault that the kernel's log reports while GPUs work.

use super::entry::CatalogueEntry;
use crate::address::PciAddress;
use crate::fault_kind::FaultKind;

/// A log line that reports a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The kind of fault.
    pub kind: FaultKind,
    /// Whether it ended only the process that caused it: the test's own doing.
    pub contained: bool,
    /// The GPU; `None` if neither the line nor an earlier one of the driver names it.
    pub address: Option<PciAddress>,
    /// The port above the GPU that reported the fault.
    pub port: Option<PciAddress>,
    /// Whether it only adds details to an earlier fault of the same kind.
    pub detail: bool,
    /// The message, without time, priority and control characters for a terminal.
    pub line: String,
    /// The catalogue entry that matched.
    pub entry: &'static CatalogueEntry,
}
