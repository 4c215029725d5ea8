//! [`Findings`]: the summary of a whole log, for people and programs.

use std::fmt;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::fault::Fault;
use super::line::records;
use super::places::Places;
use super::reader::{Reader, Trust};
use crate::address::PciAddress;
use crate::kernel_log::{KernelEvent, KernelLog, LogEntry};
use crate::kmsg::{read_kernel_log, read_log_file};
use crate::sysfs::Sysfs;

/// The number of lines that are kept of a finding: the first ones are the most useful.
const MOST_LINES: usize = 12;

/// One problem in a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// The kind: `hang`, `reset`, `page-fault`, `hardware-error`, `gpu-lost`, `dma-refused`, `kernel-bug`,
    /// `out-of-memory`, or `not-started`.
    pub kind: &'static str,
    /// The problem in words.
    pub what: String,
    /// The GPU; `None` if it concerns the whole machine, or is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<PciAddress>,
    /// The port above the GPU that reported it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<PciAddress>,
    /// Whether it ended only the process that caused it.
    pub contained: bool,
    /// Advice for people.
    pub advice: String,
    /// The words of the catalogue entry that the first line matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<&'static str>,
    /// The source file of the kernel with these words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<&'static str>,
    /// The number of lines about it.
    pub count: u64,
    /// The first of these lines.
    pub lines: Vec<String>,
}

/// All problems in a log, in its order. Faults of one kind and device are combined.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    /// Reads a log in any form. `places` are the GPUs of this machine if the log is its own; otherwise they are found
    /// in the log.
    pub fn of_log(text: &str, trust: Trust, places: Option<Places>) -> Self {
        let mut findings = Self::default();
        let mut reader = Reader::new(trust, places.unwrap_or_else(|| Places::of_log(text)));
        for record in records(text) {
            for fault in reader.take(record) {
                findings.add(&fault);
            }
        }
        findings.add_starts(&KernelLog::parse(text));
        findings
    }

    /// Reads a file, or standard input if the path is `-`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        Ok(Self::of_log(&read_log_file(path)?, Trust::Text, None))
    }

    /// Reads the running kernel's log.
    ///
    /// # Errors
    /// `EPERM` for users without privileges where `kernel.dmesg_restrict` is 1.
    pub fn of_this_machine() -> io::Result<Self> {
        let places = Places::of_machine(&Sysfs::default());
        Ok(Self::of_log(&read_kernel_log()?, Trust::Record, Some(places)))
    }

    fn add(&mut self, fault: &Fault) {
        let same = |finding: &&mut Finding| {
            finding.kind == fault.kind.slug()
                && finding.device == fault.address
                && (finding.contained == fault.contained || fault.detail)
        };
        if let Some(finding) = self.0.iter_mut().find(same) {
            finding.count += 1;
            if finding.lines.len() < MOST_LINES {
                finding.lines.push(fault.line.clone());
            }
            return;
        }
        self.0.push(Finding {
            kind: fault.kind.slug(),
            what: fault.kind.name().to_owned(),
            device: fault.address,
            port: fault.port,
            contained: fault.contained,
            advice: fault.kind.advice(fault.contained).to_owned(),
            entry: Some(fault.entry.words),
            source: Some(fault.entry.source),
            count: 1,
            lines: vec![fault.line.clone()],
        });
    }

    /// Adds GPUs that did not start, or that KFD left out.
    fn add_starts(&mut self, log: &KernelLog) {
        let failed = |address: Option<PciAddress>| {
            let ends = |entry: &&LogEntry| entry.event.is_end_of_start() && entry.address == address;
            log.entries.iter().any(|entry| ends(&entry))
        };
        for entry in &log.entries {
            let counts = match &entry.event {
                KernelEvent::ProbeFailed(_)
                | KernelEvent::BlockFailed { .. }
                | KernelEvent::NoAtomics { .. }
                | KernelEvent::UnsupportedByKfd(_) => true,
                KernelEvent::StuckInD3cold | KernelEvent::ModuleRefused | KernelEvent::ModesettingOff => false,
                _ => failed(entry.address),
            };
            if !counts {
                continue;
            }
            let (what, advice) = entry.event.explain();
            let same = |finding: &&mut Finding| finding.kind == "not-started" && finding.device == entry.address;
            match self.0.iter_mut().find(same) {
                Some(finding) => {
                    finding.count += 1;
                    // A mere "it failed" explains less.
                    if entry.event.explains() && !finding.what.contains(&what) {
                        (finding.what, finding.advice) = (what, advice);
                    }
                    if finding.lines.len() < MOST_LINES {
                        finding.lines.push(entry.line.clone());
                    }
                }
                None => self.0.push(Finding {
                    kind: "not-started",
                    what,
                    device: entry.address,
                    port: None,
                    contained: false,
                    advice,
                    entry: entry.entry.map(|entry| entry.words),
                    source: entry.entry.map(|entry| entry.source),
                    count: 1,
                    lines: entry.before.iter().chain([&entry.line]).cloned().collect(),
                }),
            }
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return writeln!(f, "Nothing in this log speaks of a fault.");
        }
        for (number, finding) in self.0.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", finding.what)?;
            match (finding.device, finding.port) {
                (Some(device), Some(port)) => write!(f, ", GPU {device} (told by the port {port} above it)")?,
                (Some(device), None) => write!(f, ", GPU {device}")?,
                (None, _) => {}
            }
            if finding.contained {
                write!(f, ", contained: it ended only the process that did it")?;
            }
            writeln!(f)?;
            writeln!(f, "  what to do: {}", finding.advice)?;
            if let (Some(words), Some(source)) = (finding.entry, finding.source) {
                writeln!(f, "  known by: `{words}` ({source})")?;
            }
            for line in &finding.lines {
                writeln!(f, "  | {line}")?;
            }
            let more = finding.count.saturating_sub(finding.lines.len() as u64);
            if more > 0 {
                writeln!(f, "  | and {more} more lines")?;
            }
        }
        Ok(())
    }
}
