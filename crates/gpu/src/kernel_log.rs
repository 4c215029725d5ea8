//! What the kernel's log says about GPUs that did not start: the messages of the PCI core, the firmware loader, the
//! module loader, amdgpu and KFD that have a known cause.
//!
//! Messages are no interface; they change from kernel to kernel. Each is searched for by its few constant words, and
//! where none is found, nothing is said.

use crate::address::PciAddress;

/// Longer logs are read from their end.
const MAX_LINES: usize = 200_000;

/// Something that the log tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A firmware file could not be loaded: `amdgpu/navi21_sos.bin`.
    FirmwareMissing(String),
    /// The device did not wake up from D3cold.
    StuckInD3cold,
    /// The driver gave up on the device, with this error number if it said one.
    ProbeFailed(Option<i32>),
    /// No video BIOS was found.
    NoVideoBios,
    /// No addresses were left for the GPU's memory.
    NoAddressSpace,
    /// KFD does not know the chip, named as the kernel names it.
    UnsupportedByKfd(String),
    /// KFD left out a device with these numbers for want of PCIe atomics; with the version of the firmware, and the one
    /// from which on it can do without.
    NoAtomics {
        /// Vendor and device.
        ids: (u16, u16),
        /// Firmware there and firmware needed; none is good enough if that is 0.
        firmware: Option<(u32, u32)>,
    },
    /// `nomodeset` or `amdgpu.modeset=0` keep the driver from starting.
    ModesettingOff,
    /// A module without a valid signature was refused.
    ModuleRefused,
}

/// An event and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// What happened.
    pub event: Event,
    /// The device that the line names, or else the one that amdgpu last spoke of.
    pub address: Option<PciAddress>,
    /// The message, without time and priority.
    pub line: String,
}

/// What a kernel log tells about GPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelLog {
    /// Events in the order of the log.
    pub entries: Vec<LogEntry>,
}

impl KernelLog {
    /// Reads records of `/dev/kmsg` (kernel Documentation/ABI/testing/dev-kmsg), the output of dmesg(1), or that of
    /// `journalctl -k`. Never fails: what is not understood tells nothing.
    pub fn parse(text: &str) -> Self {
        let lines: Vec<&str> = text.lines().rev().take(MAX_LINES).collect();
        let mut log = Self::default();
        let mut last = None;
        for raw in lines.into_iter().rev() {
            // A record's own fields: ` SUBSYSTEM=pci`.
            if raw.starts_with(' ') {
                continue;
            }
            let line = message(raw);
            let address = PciAddress::find(line);
            if address.is_some() && line.contains("amdgpu") {
                last = address;
            }
            for event in events(line) {
                log.entries.push(LogEntry { event, address: address.or(last), line: printable(line) });
            }
        }
        log
    }

    /// Entries about one device.
    pub fn about(&self, address: PciAddress) -> impl Iterator<Item = &LogEntry> {
        self.entries.iter().filter(move |entry| entry.address == Some(address))
    }
}

/// What a terminal can be given.
fn printable(line: &str) -> String {
    line.chars().filter(|char| !char.is_control()).collect()
}

/// The message of a line: what follows `;` in a record, the time in dmesg's brackets, and `kernel: ` in the journal's.
pub(crate) fn message(line: &str) -> &str {
    if let Some((head, message)) = line.split_once(';')
        && head.split(',').take(3).filter(|field| field.parse::<u64>().is_ok()).count() == 3
    {
        return message.trim();
    }
    if let Some((_, message)) = line.split_once(" kernel: ") {
        return strip_time(message).trim();
    }
    strip_time(line).trim()
}

fn strip_time(line: &str) -> &str {
    let Some((time, message)) = line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
        return line;
    };
    let is_time = !time.is_empty() && time.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b' '));
    if is_time { message } else { line }
}

fn events(line: &str) -> Vec<Event> {
    let mut events = Vec::new();
    let has = |words: &str| line.contains(words);
    if has("irmware") && (has("ailed") || has("error")) {
        events.extend(firmware_files(line).map(Event::FirmwareMissing));
    }
    if has("D3cold")
        && (has("device inaccessible") || has("config space inaccessible") || has("Refused to change power state"))
    {
        events.push(Event::StuckInD3cold);
    }
    if has("amdgpu") && has("probe") && has("failed with error") {
        events.push(Event::ProbeFailed(number_after(line, "failed with error ")));
    } else if has("amdgpu") && has("Fatal error during GPU init") {
        events.push(Event::ProbeFailed(None));
    }
    if has("amdgpu") && has("Unable to locate a BIOS ROM") {
        events.push(Event::NoVideoBios);
    }
    if has("no space") && (has("BAR 0") || has("BAR 2")) {
        events.push(Event::NoAddressSpace);
    }
    if let Some((chip, _)) = line.split_once(" not supported in kfd") {
        let chip = chip.rsplit(": ").next().unwrap_or(chip).trim();
        events.push(Event::UnsupportedByKfd(printable(chip)));
    }
    events.extend(atomics(line));
    if has("disables amdgpu kernel modesetting")
        || has("ooted with the nomodeset parameter")
        || has("amdgpu kernel modesetting disabled")
        || has("ommand line: ") && line.split_whitespace().any(|word| matches!(word, "nomodeset" | "amdgpu.modeset=0"))
    {
        events.push(Event::ModesettingOff);
    }
    if has("unsigned module loading is restricted") || has("Loading of") && has("module") && has("is rejected") {
        events.push(Event::ModuleRefused);
    }
    events
}

fn firmware_files(line: &str) -> impl Iterator<Item = String> {
    line.split(|char: char| char.is_whitespace() || matches!(char, '"' | '\'' | ',' | ';' | ':'))
        .filter(|word| word.starts_with("amdgpu/"))
        .filter_map(|word| word.trim_end_matches('.').strip_suffix(".bin"))
        .map(|file| format!("{}.bin", printable(file)))
}

fn atomics(line: &str) -> Option<Event> {
    let (head, tail) = line.split_once(", PCI rejects atomics")?;
    let (_, ids) = head.rsplit_once("skipped device ")?;
    let (vendor, device) = ids.split_once(':')?;
    let ids = (u16::from_str_radix(vendor, 16).ok()?, u16::from_str_radix(device, 16).ok()?);
    let firmware = tail
        .trim()
        .split_once('<')
        .and_then(|(there, needed)| Some((there.trim().parse().ok()?, needed.trim().parse().ok()?)));
    Some(Event::NoAtomics { ids, firmware })
}

fn number_after(line: &str, words: &str) -> Option<i32> {
    let (_, rest) = line.split_once(words)?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
#[path = "kernel_log_tests.rs"]
mod tests;
