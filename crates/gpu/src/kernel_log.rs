//! Finds out from the kernel's log why GPUs did not start: the events that the catalogue of
//! [`messages`](crate::messages) knows, with their numbers and names.

use std::collections::{BTreeMap, VecDeque};

use crate::address::PciAddress;
use crate::fault_kind::FaultKind;
use crate::messages::{
    By, CatalogueEntry, Meaning, Record, Speaker, Spoken, Start, find, of_process, printable, records,
};

/// The most lines that are read; of longer logs the last ones.
const MAX_LINES: usize = 200_000;

/// The number of the driver's last messages about a device that are kept in case it gives up.
const LAST_WORDS: usize = 6;
/// The number of the driver's last lines in which they are searched.
const LAST_LINES: usize = 24;
/// The largest number of devices with this driver.
const MOST_DEVICES: usize = 256;

/// An event in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelEvent {
    /// A firmware file could not be loaded: `amdgpu/navi21_sos.bin`.
    FirmwareMissing(String),
    /// The device did not wake up from D3.
    StuckInD3cold,
    /// The driver gave up on the device, with the error number if there was one.
    ProbeFailed(Option<i32>),
    /// A part of the GPU did not start.
    BlockFailed {
        /// Its name: `psp`, `gfx_v11_0`.
        block: String,
        /// The error number.
        error: Option<i32>,
    },
    /// No video BIOS was found.
    NoVideoBios,
    /// No addresses were left for the GPU's memory.
    NoAddressSpace,
    /// KFD does not know the chip, named as the kernel names it.
    UnsupportedByKfd(String),
    /// KFD left out a device with these numbers because it lacks PCIe atomics; with the firmware's version, and the
    /// first version that works without them.
    NoAtomics {
        /// Vendor and device.
        ids: (u16, u16),
        /// Installed and needed firmware version; a needed version of 0 means that none works.
        firmware: Option<(u32, u32)>,
    },
    /// `nomodeset` or `amdgpu.modeset=0` keep the driver from starting.
    ModesettingOff,
    /// A module without a valid signature was refused.
    ModuleRefused,
    /// Too many pages of its memory are bad.
    BadMemory,
    /// The table of the GPU's parts (IP discovery) cannot be read.
    InvalidDiscovery,
    /// The security processor (PSP) did not take the firmware.
    PspRefused,
    /// The program in the video BIOS did not end.
    AtomBiosStuck,
    /// The chip is older than those that amdgpu supports.
    TooOld,
}

impl KernelEvent {
    /// Whether it ends the start of a GPU.
    pub(crate) fn is_end_of_start(&self) -> bool {
        matches!(self, Self::ProbeFailed(_) | Self::BlockFailed { .. })
    }

    /// Whether it says more than that the start failed.
    pub(crate) fn explains(&self) -> bool {
        !self.is_end_of_start()
    }

    /// Its meaning and the advice.
    pub(crate) fn explain(&self) -> (String, String) {
        let number = |error: &Option<i32>| error.map_or(String::new(), |error| format!(" (error {error})"));
        let (what, advice) = match self {
            Self::FirmwareMissing(file) => (
                format!("its firmware {file} is missing"),
                "install the package firmware-amd-graphics (section non-free-firmware), or a newer version of it",
            ),
            Self::StuckInD3cold => ("it does not wake up".to_owned(), "switch the machine off at the mains"),
            Self::ProbeFailed(error) => (
                format!("amdgpu could not start it{}", number(error)),
                "look at the driver's lines before this one; try a newer kernel and newer firmware-amd-graphics",
            ),
            Self::BlockFailed { block, error } => (
                format!("amdgpu could not start its part {block}{}", number(error)),
                "look at the driver's lines before this one; try a newer kernel and newer firmware-amd-graphics",
            ),
            Self::NoVideoBios => (
                "amdgpu found no video BIOS of it".to_owned(),
                "in a virtual machine, give the device a copy of its BIOS (QEMU: romfile=)",
            ),
            Self::NoAddressSpace => (
                "no addresses were left for its memory".to_owned(),
                "switch on \"Above 4G decoding\" in the firmware of the machine",
            ),
            Self::UnsupportedByKfd(chip) => (
                format!("KFD, the kernel's interface for computing, does not support this chip ({chip})"),
                "use a newer kernel if the chip is new; chips before Polaris and some of the first APUs can't be used at all",
            ),
            Self::NoAtomics { .. } => (
                "KFD left it out, because the way to it has no PCIe atomics".to_owned(),
                "put the card into a slot that is connected to the processor and not to the chipset",
            ),
            Self::ModesettingOff => (
                "the kernel was told not to start display drivers".to_owned(),
                "remove nomodeset and amdgpu.modeset=0 from the kernel command line",
            ),
            Self::ModuleRefused => ("the kernel refused a module".to_owned(), "use the distribution's signed modules"),
            Self::BadMemory => (
                "too many pages of its memory are bad".to_owned(),
                "replace the GPU; amdgpu.bad_page_threshold=-2 on the kernel command line starts it all the same, and its \
                 results cannot be trusted",
            ),
            Self::InvalidDiscovery => (
                "the table of its parts (IP discovery) cannot be read".to_owned(),
                "switch the machine off at the mains; passed through to a virtual machine, the GPU needs a reset by its host \
                 before each start (vendor-reset or a newer host kernel)",
            ),
            Self::PspRefused => (
                "its security processor (PSP) did not take the firmware".to_owned(),
                "switch the machine off at the mains, and update firmware-amd-graphics; APUs passed through to a virtual \
                 machine often cannot be started a second time",
            ),
            Self::AtomBiosStuck => (
                "the program in its video BIOS did not end".to_owned(),
                "switch the machine off at the mains: a GPU that was passed through and not reset cannot be started again",
            ),
            Self::TooOld => ("the chip is older than what amdgpu and ROCm are for".to_owned(), "use another GPU"),
        };
        (what, advice.to_owned())
    }
}

/// An event and its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// What happened.
    pub event: KernelEvent,
    /// The device that the line names, or else the one that amdgpu mentioned last.
    pub address: Option<PciAddress>,
    /// The message, without time and priority.
    pub line: String,
    /// For events where the driver gave up: its last messages about the device before.
    pub before: Vec<String>,
    /// The catalogue entry that matched.
    pub entry: Option<&'static CatalogueEntry>,
}

/// The events about GPUs in a kernel log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelLog {
    /// Events in the order of the log.
    pub entries: Vec<LogEntry>,
}

impl KernelLog {
    /// Parses records of `/dev/kmsg` (kernel Documentation/ABI/testing/dev-kmsg), the output of dmesg(1), or that of
    /// `journalctl -k`. Never fails: unknown lines are ignored.
    pub fn parse(text: &str) -> Self {
        let start = memchr::memrchr_iter(b'\n', text.as_bytes()).nth(MAX_LINES).map_or(0, |at| at + 1);
        let mut log = Self::default();
        let mut last = None;
        let mut words = LastWords::default();
        for text in records(text.get(start..).unwrap_or(text)) {
            let record = Record::read(text);
            // Written by a program, not by the kernel.
            if record.of_kernel == Some(false) {
                continue;
            }
            let spoken = Spoken::read(record.message);
            // Begins with words that a program has chosen.
            if of_process(record.message).is_some() {
                continue;
            }
            let named = match spoken.by {
                By::Gpu(address) => {
                    last = Some(address);
                    Some(address)
                }
                By::Device(_, address) => Some(address),
                By::Driver => PciAddress::find(record.message).inspect(|address| last = Some(*address)).or(last),
                By::Kernel | By::Apei => None,
            };
            let (events, entry) = events(&record, spoken);
            for event in events {
                let before = if event == KernelEvent::ProbeFailed(None) { words.take(named) } else { Vec::new() };
                let line = printable(record.message);
                log.entries.push(LogEntry { event, address: named.or(last), line, before, entry });
            }
            if matches!(spoken.by, By::Gpu(_) | By::Driver) {
                words.note(named, &record);
            }
        }
        log
    }

    /// Entries about one device.
    pub fn about(&self, address: PciAddress) -> impl Iterator<Item = &LogEntry> {
        self.entries.iter().filter(move |entry| entry.address == Some(address))
    }
}

/// The driver's last lines about each device.
#[derive(Debug, Default)]
struct LastWords<'t>(BTreeMap<Option<PciAddress>, VecDeque<(Option<u8>, &'t str)>>);

impl<'t> LastWords<'t> {
    fn note(&mut self, address: Option<PciAddress>, record: &Record<'t>) {
        if self.0.len() > MOST_DEVICES {
            return;
        }
        let words = self.0.entry(address).or_default();
        if words.len() >= LAST_LINES {
            words.pop_front();
        }
        words.push_back((record.level, record.message));
    }

    /// Takes the last errors among them.
    fn take(&mut self, address: Option<PciAddress>) -> Vec<String> {
        let lines = self.0.remove(&address).unwrap_or_default();
        let errors: Vec<_> = lines.into_iter().filter(|(level, line)| is_error(*level, line)).collect();
        let first = errors.len().saturating_sub(LAST_WORDS);
        errors.iter().skip(first).map(|(_, line)| printable(line)).collect()
    }
}

/// Whether a line is an error or a warning: by its level, or by its words if the log's form has no levels.
fn is_error(level: Option<u8>, line: &str) -> bool {
    let words = ["ail", "rror", "nvalid", "imeout", "timed out", "nable to", "not ", "stuck", "exceed"];
    level.map_or_else(|| words.iter().any(|words| line.contains(words)), |level| level <= 4)
}

fn events(record: &Record<'_>, spoken: Spoken<'_>) -> (Vec<KernelEvent>, Option<&'static CatalogueEntry>) {
    let line = record.message;
    if spoken.by == By::Kernel && is_switched_off(line) {
        return (vec![KernelEvent::ModesettingOff], None);
    }
    let found = find(spoken.by, spoken.body);
    let Some((entry, found)) = found else {
        // Each part of the driver words its messages about firmware differently.
        let is_firmware = matches!(spoken.by, By::Gpu(_) | By::Driver)
            && line.contains("irmware")
            && (line.contains("ail") || line.contains("error") || line.contains("alidate"));
        let files: Vec<_> = if is_firmware { firmware_files(line).collect() } else { Vec::new() };
        return (files.into_iter().map(KernelEvent::FirmwareMissing).collect(), None);
    };
    let event = match entry.meaning {
        Meaning::Start(start) => match event(start, line, &found) {
            Some(event) => event,
            None => return (Vec::new(), None),
        },
        Meaning::Fault(FaultKind::Lost, _) if entry.speaker == Speaker::Pci && entry.words.contains("power state") => {
            KernelEvent::StuckInD3cold
        }
        Meaning::Fault(..)
            if entry.words.starts_with("RAS records:") || entry.words.starts_with("This GPU is in BAD") =>
        {
            KernelEvent::BadMemory
        }
        _ => return (Vec::new(), None),
    };
    (vec![event], Some(entry))
}

/// Whether the command line keeps display drivers from starting.
fn is_switched_off(line: &str) -> bool {
    let words = line.strip_prefix("Command line: ").or_else(|| line.strip_prefix("Kernel command line: "));
    words.is_some_and(|words| words.split_whitespace().any(|word| matches!(word, "nomodeset" | "amdgpu.modeset=0")))
}

fn event(start: Start, line: &str, found: &[&str]) -> Option<KernelEvent> {
    let number = || found.last().and_then(|number| number.parse().ok());
    Some(match start {
        Start::FirmwareMissing => KernelEvent::FirmwareMissing(firmware_files(line).next()?),
        Start::Asleep => KernelEvent::StuckInD3cold,
        Start::ProbeFailed => KernelEvent::ProbeFailed(number()),
        Start::BlockFailed => KernelEvent::BlockFailed {
            block: found.first().map(|block| printable(block)).unwrap_or_default(),
            error: number(),
        },
        Start::NoVideoBios => KernelEvent::NoVideoBios,
        Start::NoAddressSpace if line.contains("BAR 0") || line.contains("BAR 2") => KernelEvent::NoAddressSpace,
        Start::NoAddressSpace => return None,
        Start::UnsupportedByKfd => KernelEvent::UnsupportedByKfd(chip(line)),
        Start::NoAtomics => atomics(line)?,
        Start::ModesettingOff => KernelEvent::ModesettingOff,
        Start::ModuleRefused => KernelEvent::ModuleRefused,
        Start::BadMemory => KernelEvent::BadMemory,
        Start::InvalidDiscovery => KernelEvent::InvalidDiscovery,
        Start::PspRefused => KernelEvent::PspRefused,
        Start::AtomBiosStuck => KernelEvent::AtomBiosStuck,
        Start::TooOld => KernelEvent::TooOld,
    })
}

/// Kernels before 5.7 do not name the chip.
fn chip(line: &str) -> String {
    let named =
        line.split_once(" not supported in kfd").map(|(chip, _)| chip.rsplit(": ").next().unwrap_or(chip).trim());
    named.map(printable).filter(|chip| !chip.is_empty()).unwrap_or_else(|| "not named".to_owned())
}

fn firmware_files(line: &str) -> impl Iterator<Item = String> {
    line.split(|char: char| char.is_whitespace() || matches!(char, '"' | '\'' | ',' | ';' | ':'))
        .filter(|word| word.starts_with("amdgpu/"))
        .filter_map(|word| word.trim_end_matches('.').strip_suffix(".bin"))
        .map(|file| format!("{}.bin", printable(file)))
}

fn atomics(line: &str) -> Option<KernelEvent> {
    let (head, tail) = line.split_once(", PCI rejects atomics")?;
    let (_, ids) = head.rsplit_once("skipped device ")?;
    let (vendor, device) = ids.split_once(':')?;
    let ids = (u16::from_str_radix(vendor, 16).ok()?, u16::from_str_radix(device, 16).ok()?);
    let firmware = tail
        .trim()
        .split_once('<')
        .and_then(|(there, needed)| Some((there.trim().parse().ok()?, needed.trim().parse().ok()?)));
    Some(KernelEvent::NoAtomics { ids, firmware })
}

#[cfg(test)]
#[path = "kernel_log_tests.rs"]
mod tests;
