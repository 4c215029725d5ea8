//! [`Reader`]: reads the kernel's log line by line, and finds faults.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::{CatalogueEntry, Meaning, Scope, Speaker};
use super::fault::Fault;
use super::index::find;
use super::line::Record;
use super::places::Places;
use super::process_name::{OfProcess, of_process};
use super::speaker::{By, Spoken};
use crate::address::PciAddress;
use crate::fault_kind::FaultKind;

/// After this many lines the stack trace of a `blocked for more than` has ended.
const TRACE: u32 = 80;

/// Within this many lines after a port's message, the driver's next message is about the GPU below that port.
const NEAR: u32 = 40;

/// How much the lines of a log are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// A text from a user: lines in the kernel's form count as the kernel's, unless the line itself says otherwise.
    Text,
    /// Records of the running kernel: their facility has to be the kernel's, and if they name a device, the field
    /// that only the kernel writes has to name it too. Programs may write anything else, even the words of a fault.
    Record,
    /// As for `Record`, and in addition lines by any writer that begin with [`SIMULATED`]: for machines whose GPUs
    /// are simulated.
    Simulated,
}

/// The prefix of a simulated fault.
pub const SIMULATED: &str = "rocbed-simulated-fault: ";

/// The fault in a single log line of any form; `None` for ordinary lines. A [`Reader`] finds more, because the device
/// may be named in earlier lines.
pub fn fault(line: &str) -> Option<Fault> {
    let mut reader = Reader::new(Trust::Text, Places::of_log(line));
    reader.take(line).into_iter().next()
}

/// Finds faults in a log.
#[derive(Debug)]
pub struct Reader {
    trust: Trust,
    places: Places,
    /// The device in the driver's last message.
    last: Option<PciAddress>,
    /// Devices that the driver is starting.
    starting: BTreeSet<PciAddress>,
    /// How often an entry occurred for a device.
    counts: BTreeMap<(&'static str, Option<PciAddress>), u32>,
    /// The latest faults of devices.
    told: BTreeMap<Option<PciAddress>, BTreeSet<FaultKind>>,
    trace: Option<(Fault, u32)>,
    /// Who printed a message that begins with a line break: dmesg shows its words on the next line.
    unfinished: Option<By<'static>>,
    /// Whether the last ring that failed its test was one of the media engines'.
    media_test: bool,
    /// The last message of a port, in a log that does not show what is below the port.
    port: Option<(Fault, u32)>,
    apei: Apei,
}

/// The parts of an error that the firmware has reported so far.
#[derive(Debug, Default)]
struct Apei {
    uncorrected: bool,
    device: Option<PciAddress>,
    told: bool,
}

impl Reader {
    /// A reader for a log of a machine with these GPUs.
    pub fn new(trust: Trust, places: Places) -> Self {
        Self {
            trust,
            places,
            last: None,
            starting: BTreeSet::new(),
            counts: BTreeMap::new(),
            told: BTreeMap::new(),
            trace: None,
            unfinished: None,
            media_test: false,
            port: None,
            apei: Apei::default(),
        }
    }

    /// Takes a record of `/dev/kmsg` with its fields, or a line; returns its faults, mostly none.
    pub fn take(&mut self, text: &str) -> Vec<Fault> {
        let mut record = Record::read(text);
        let simulated = if self.trust == Trust::Simulated { record.message.strip_prefix(SIMULATED) } else { None };
        if let Some(message) = simulated {
            record.message = message;
        } else if !self.believes(&record) {
            return Vec::new();
        }
        let mut spoken = Spoken::read(record.message);
        if let Some(by) = self.unfinished.take()
            && self.trust == Trust::Text
            && spoken.by == By::Kernel
        {
            spoken.by = by;
        }
        if simulated.is_none() && !self.believes_device(&record, spoken.by) {
            return Vec::new();
        }
        match of_process(record.message) {
            Some(OfProcess::UsedUpMemory(body)) => spoken = Spoken { by: By::Kernel, body },
            Some(OfProcess::Other) => return Vec::new(),
            None => {}
        }
        if spoken.body.is_empty() {
            self.unfinished = match spoken.by {
                By::Gpu(address) => Some(By::Gpu(address)),
                By::Driver => Some(By::Driver),
                By::Device(..) | By::Apei | By::Kernel => None,
            };
        }
        let completed = self.follow(spoken, record.message);
        completed.into_iter().chain(self.fault(&record, spoken)).collect()
    }

    fn believes(&self, record: &Record<'_>) -> bool {
        match self.trust {
            Trust::Text => record.of_kernel != Some(false),
            Trust::Record | Trust::Simulated => record.of_kmsg && record.of_kernel == Some(true),
        }
    }

    fn believes_device(&self, record: &Record<'_>, by: By<'_>) -> bool {
        let (By::Gpu(named) | By::Device(_, named)) = by else { return true };
        match (record.device, self.trust) {
            (Some(device), _) => device == named,
            (None, Trust::Text) => true,
            (None, Trust::Record | Trust::Simulated) => false,
        }
    }

    /// Updates the state; returns a fault that this line completes.
    fn follow(&mut self, Spoken { by, body }: Spoken<'_>, message: &str) -> Option<Fault> {
        let begins = |starts: &[&str]| starts.iter().any(|start| body.starts_with(start));
        if let By::Gpu(address) = by {
            self.last = Some(address);
            if begins(&["enabling device (", "detected ip block number 0", "initializing kernel modesetting"]) {
                self.starting.insert(address);
            } else if begins(&["Fatal error during GPU init", "Initialized amdgpu"]) {
                self.starting.remove(&address);
            }
        } else if by == By::Driver
            && begins(&["Initialized amdgpu"])
            && let Some(address) = PciAddress::find(message)
        {
            self.starting.remove(&address);
        }
        if let Some((fault, left)) = &mut self.trace {
            *left = left.saturating_sub(1);
            if is_in_driver(message) {
                let fault = fault.clone();
                self.trace = None;
                return Some(fault);
            }
            if *left == 0 || message.starts_with("INFO: ") {
                self.trace = None;
            }
        }
        if let Some((fault, left)) = &mut self.port {
            *left = left.saturating_sub(1);
            if let By::Gpu(address) = by {
                let fault = Fault { address: Some(address), ..fault.clone() };
                self.port = None;
                return Some(self.remember(fault));
            }
            if *left == 0 {
                self.port = None;
            }
        }
        None
    }

    fn fault(&mut self, record: &Record<'_>, spoken: Spoken<'_>) -> Option<Fault> {
        if spoken.by == By::Apei {
            return self.apei(record, spoken.body);
        }
        let (entry, found) = find(spoken.by, spoken.body)?;
        if entry.words.starts_with("IB test failed on ") {
            self.media_test = matches!(entry.meaning, Meaning::Harmless(_));
        } else if entry.words.starts_with("ib ring test failed") && std::mem::take(&mut self.media_test) {
            return None;
        }
        let (kind, scope) = match entry.meaning {
            Meaning::Fault(kind, scope) => (kind, scope),
            Meaning::Repeated(kind, _) | Meaning::IfInDriver(kind) => (kind, Scope::Machine),
            Meaning::Detail(kind) => (kind, Scope::Process),
            Meaning::Start(_) | Meaning::Harmless(_) => return None,
        };
        let address = self.device(entry, spoken.by, &found);
        let fault = Fault {
            kind,
            contained: scope == Scope::Process,
            address,
            port: None,
            detail: false,
            line: printable(record.message),
            entry,
        };
        if let By::Device(driver, at) = spoken.by {
            return self.of_bus(fault, driver, at);
        }
        // A message of the IOMMU about another device.
        if entry.speaker == Speaker::Iommu && address.is_none() && !is_of_iommu_itself(entry) {
            return None;
        }
        match entry.meaning {
            Meaning::Repeated(_, times) => {
                let count = self.counts.entry((entry.words, address)).or_insert(0);
                *count = count.saturating_add(1);
                if *count == times { Some(self.remember(fault)) } else { None }
            }
            Meaning::IfInDriver(_) => {
                self.trace = Some((fault, TRACE));
                None
            }
            Meaning::Detail(FaultKind::Reset) if address.is_some_and(|address| self.starting.contains(&address)) => {
                None
            }
            Meaning::Fault(FaultKind::Reset, _) if is_way_of_reset(entry) => {
                // Also printed in the middle of a reset; on its own when the driver begins with one.
                let starts = address.is_some_and(|address| self.starting.contains(&address));
                (!starts).then(|| self.remember(fault))
            }
            Meaning::Detail(kind) if self.is_told(address, kind) => Some(Fault { detail: true, ..fault }),
            _ => Some(self.remember(fault)),
        }
    }

    /// Handles messages of the PCI core about a device without the driver: a port above a GPU, or a GPU that the
    /// driver does not have.
    fn of_bus(&mut self, fault: Fault, driver: &str, at: PciAddress) -> Option<Fault> {
        if let Some(gpu) = self.places.gpu_at(at) {
            return Some(self.remember(Fault { address: Some(gpu), ..fault }));
        }
        let is_port = matches!(driver, "pcieport" | "pci" | "pciehp");
        if !is_port {
            return None;
        }
        let below = self.places.below(at);
        let fault = Fault { port: Some(at), ..fault };
        if let Some(gpu) = below.first() {
            return Some(self.remember(Fault { address: Some(*gpu), ..fault }));
        }
        if self.trust == Trust::Text && !self.places.knows_ports() && driver != "pci" && self.port.is_none() {
            self.port = Some((fault, NEAR));
        }
        None
    }

    fn apei(&mut self, record: &Record<'_>, body: &str) -> Option<Fault> {
        if let Some(severity) = body.strip_prefix("event severity: ") {
            self.apei = Apei { uncorrected: !matches!(severity.trim(), "corrected" | "info"), ..Apei::default() };
        } else if let Some(device) = body.strip_prefix("device_id: ") {
            self.apei.device = device.trim().parse().ok();
        }
        let device = self.apei.device?;
        let gpu = self.places.gpu_at(device).or_else(|| self.places.below(device).first().copied());
        let is_amd = body.starts_with("vendor_id: 0x1002,");
        if !self.apei.uncorrected || self.apei.told || !(is_amd || gpu.is_some()) {
            return None;
        }
        let (entry, _) = find(By::Apei, "vendor_id: 0x1002, device_id: 0x0")?;
        self.apei.told = true;
        Some(self.remember(Fault {
            kind: FaultKind::Hardware,
            contained: false,
            address: gpu.or(Some(device)),
            port: None,
            detail: false,
            line: printable(record.message),
            entry,
        }))
    }

    fn device(&self, entry: &CatalogueEntry, by: By<'_>, found: &[&str]) -> Option<PciAddress> {
        match by {
            By::Gpu(address) => Some(address),
            By::Driver => self.last,
            By::Kernel | By::Apei if entry.speaker == Speaker::Iommu && !is_of_iommu_itself(entry) => {
                let named = found.iter().find_map(|text| within(text))?;
                self.places.gpu_at(named)
            }
            By::Device(..) | By::Kernel | By::Apei => None,
        }
    }

    fn is_told(&self, address: Option<PciAddress>, kind: FaultKind) -> bool {
        self.told.get(&address).is_some_and(|kinds| kinds.contains(&kind))
    }

    fn remember(&mut self, fault: Fault) -> Fault {
        self.told.entry(fault.address).or_default().insert(fault.kind);
        fault
    }
}

/// Whether a line of a stack trace, `function+0x1/0x2 [module]`, is in the GPU's driver or in TTM, on which it is
/// built.
fn is_in_driver(line: &str) -> bool {
    line.contains("+0x")
        && line.split_whitespace().any(|word| {
            matches!(word, "[amdgpu]" | "[ttm]" | "[amdkfd]")
                || word.contains("+0x") && ["amdgpu_", "ttm_", "kfd_"].iter().any(|start| word.starts_with(start))
        })
}

/// Whether the message names a way of resetting; these are printed during a reset.
fn is_way_of_reset(entry: &CatalogueEntry) -> bool {
    matches!(
        entry.words,
        "MODE1 reset" | "MODE2 reset" | "BACO reset" | "PCI CONFIG reset" | "PCI reset" | "Link reset"
    )
}

/// Whether the message is about the IOMMU, and so about all devices behind it.
fn is_of_iommu_itself(entry: &CatalogueEntry) -> bool {
    entry.words.ends_with("Completion-Wait loop timed out")
}

/// The device in `0000:03:00.0`, `03:00.0` or with text after it.
fn within(text: &str) -> Option<PciAddress> {
    let text = text.trim_matches(|char: char| !char.is_ascii_hexdigit());
    text.parse().ok().or_else(|| format!("0000:{text}").parse().ok())
}

/// The line without control characters, safe for a terminal.
pub(crate) fn printable(line: &str) -> String {
    // True for nearly every line: checking bytes is faster than checking characters.
    if line.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return line.to_owned();
    }
    line.chars().filter(|char| !char.is_control()).collect()
}
