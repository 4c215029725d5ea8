//! The kernel's log during a job, and the fault messages in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;

use gpu::messages::{Places, Reader, Trust};
use gpu::{Fault, FaultKind, PciAddress};

use crate::Grant;
use crate::bounded::BoundedLog;

/// Most fault messages in the result; the bundle has the whole log.
const MOST_LINES: usize = 200;
/// Most messages about one kind of fault of one device, so that a flood of page faults does not displace later
/// messages.
const MOST_OF_ONE: usize = 40;
/// Longest kernel log of a job that is kept, in bytes.
const MOST_BYTES: u64 = 64 << 20;

/// Source of the kernel's log.
pub trait KernelLog {
    /// Passes on the records since the last call. Each is a line in any form that [`gpu::messages::Reader`] reads, or a
    /// record of `/dev/kmsg` with its field lines. Must not block.
    ///
    /// # Errors
    ///
    /// If no more can be read; the job continues without the log.
    fn read(&mut self, record: &mut dyn FnMut(&str)) -> io::Result<()>;

    /// Level of trust in its records.
    fn trust(&self) -> Trust {
        Trust::Text
    }

    /// The GPUs of the machine that the log is from; if unknown, those of the job are used.
    fn places(&self) -> Places {
        Places::default()
    }
}

/// An empty log.
impl KernelLog for () {
    fn read(&mut self, _: &mut dyn FnMut(&str)) -> io::Result<()> {
        Ok(())
    }
}

/// Whose memory ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OutOfMemory {
    /// That of a control group: the limit of one job, or of something else on the machine.
    Group,
    /// The machine's.
    Machine,
}

impl OutOfMemory {
    /// What the kernel's line about an ended process tells (`mm/oom_kill.c`); `None` for one that comes before it.
    fn of_line(line: &str) -> Option<Self> {
        if line.contains("Memory cgroup out of memory") {
            Some(Self::Group)
        } else if line.contains("Out of memory") {
            Some(Self::Machine)
        } else {
            None
        }
    }
}

/// Faults of a job's GPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GpuFaults {
    /// Serious faults, which do not leave the GPU as it was, by GPU id. A fault without a device counts for the machine's
    /// only GPU; with several GPUs it counts for none.
    pub serious: BTreeMap<String, BTreeSet<FaultKind>>,
    /// Whether there were faults, each of which ended only the process that caused it.
    pub contained: bool,
}

/// Reads and stores the kernel log of a job.
pub(crate) struct Watch<'a> {
    source: &'a mut dyn KernelLog,
    reader: Reader,
    log: BoundedLog,
    granted: Vec<(String, Option<PciAddress>)>,
    /// Whether the machine has other GPUs, so that a fault without a device may be another job's.
    has_others: bool,
    kept: BTreeMap<(FaultKind, bool, Option<PciAddress>), usize>,
    /// Lines about faults, the first ones of each kind.
    pub(crate) lines: Vec<String>,
    /// Whether one of them is about a GPU of the job.
    pub(crate) gpu_fault: bool,
    /// The first serious fault of a GPU of the job.
    pub(crate) fatal: Option<Fault>,
    serious: BTreeMap<String, BTreeSet<FaultKind>>,
    /// Whose memory ran out, if any did. The machine's comes first.
    pub(crate) out_of_memory: Option<OutOfMemory>,
    /// The error that ended the log, if any.
    pub(crate) failure: Option<io::Error>,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(source: &'a mut dyn KernelLog, file: File, gpus: &[Grant]) -> Self {
        let address = |gpu: &Grant| gpu.id.split('/').next().unwrap_or_default().parse::<PciAddress>().ok();
        let granted: Vec<_> = gpus.iter().map(|gpu| (gpu.id.clone(), address(gpu))).collect();
        let mut places = source.places();
        let has_others = places.gpus().count() > 1;
        if places.gpus().next().is_none() {
            places = Places::new(granted.iter().filter_map(|(_, address)| Some(((*address)?, Vec::new()))));
        }
        Self {
            reader: Reader::new(source.trust(), places),
            source,
            log: BoundedLog::new(file, MOST_BYTES),
            granted,
            has_others,
            kept: BTreeMap::new(),
            lines: Vec::new(),
            gpu_fault: false,
            fatal: None,
            serious: BTreeMap::new(),
            out_of_memory: None,
            failure: None,
        }
    }

    /// Faults of the job's GPUs.
    pub(crate) fn faults(&self) -> GpuFaults {
        GpuFaults { serious: self.serious.clone(), contained: self.gpu_fault && self.fatal.is_none() }
    }

    /// Reads the new records.
    pub(crate) fn poll(&mut self) {
        if self.failure.is_some() {
            return;
        }
        let (mut faults, reader) = (Vec::new(), &mut self.reader);
        let log = &mut self.log;
        let read = self.source.read(&mut |record| {
            log.write(record.as_bytes());
            log.write(b"\n");
            faults.extend(reader.take(record));
        });
        if let Err(error) = read {
            self.failure = Some(error);
        }
        for fault in faults {
            self.take(fault);
        }
    }

    /// Reads the last records, and ends the log.
    ///
    /// # Errors
    /// As [`BoundedLog::finish`].
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.poll();
        self.log.finish()
    }

    fn take(&mut self, fault: Fault) {
        // GPUs of other jobs are ignored. Simulated GPUs have no addresses; the source passes on only their own faults.
        let mine = |address: PciAddress| {
            let same =
                |granted: &PciAddress| *granted == address || granted.first_function() == address.first_function();
            self.granted.iter().filter_map(|(_, granted)| granted.as_ref()).any(same)
        };
        let has_addresses = self.granted.iter().any(|(_, address)| address.is_some());
        if fault.kind.is_of_gpu() && fault.address.is_some_and(|address| has_addresses && !mine(address)) {
            return;
        }
        let kept = self.kept.entry((fault.kind, fault.contained, fault.address)).or_insert(0);
        if *kept < MOST_OF_ONE && self.lines.len() < MOST_LINES {
            *kept += 1;
            self.lines.push(fault.line.clone());
        }
        if fault.kind == FaultKind::OutOfMemory {
            self.out_of_memory = self.out_of_memory.max(OutOfMemory::of_line(&fault.line));
        }
        if !fault.kind.is_of_gpu() || self.granted.is_empty() {
            return;
        }
        self.gpu_fault = true;
        // A further message about a fault has the fault's severity.
        if fault.contained || fault.detail {
            return;
        }
        let guilty = match (fault.address, self.granted.as_slice()) {
            (None, _) if self.has_others => Vec::new(),
            (_, [(only, _)]) => vec![only.clone()],
            (Some(at), several) => several
                .iter()
                .filter(|(_, address)| address.is_some_and(|address| address.first_function() == at.first_function()))
                .map(|(id, _)| id.clone())
                .collect(),
            (None, _) => Vec::new(),
        };
        for id in guilty {
            self.serious.entry(id).or_default().insert(fault.kind);
        }
        self.fatal.get_or_insert(fault);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Lines(Vec<String>, Places);

    impl KernelLog for Lines {
        fn read(&mut self, line: &mut dyn FnMut(&str)) -> io::Result<()> {
            self.0.drain(..).for_each(|record| line(&record));
            Ok(())
        }

        fn places(&self) -> Places {
            self.1.clone()
        }
    }

    fn watch<R>(gpus: &[&str], lines: &[&str], see: impl FnOnce(&Watch<'_>) -> R) -> R {
        watch_on(Places::default(), gpus, lines, see)
    }

    /// On a machine with these GPUs.
    fn watch_on<R>(places: Places, gpus: &[&str], lines: &[&str], see: impl FnOnce(&Watch<'_>) -> R) -> R {
        let grants: Vec<Grant> =
            gpus.iter().map(|id| Grant { id: (*id).into(), render_node: None, simulated: false }).collect();
        let mut source = Lines(lines.iter().map(|line| (*line).to_owned()).collect(), places);
        let mut watch = Watch::new(&mut source, tempfile::tempfile().unwrap(), &grants);
        watch.poll();
        see(&watch)
    }

    fn watched(gpus: &[&str], lines: &[&str]) -> (bool, bool, usize) {
        watch(gpus, lines, |watch| (watch.gpu_fault, watch.out_of_memory.is_some(), watch.lines.len()))
    }

    const RESET: &str = "3,1,2,-;amdgpu 0000:03:00.0: amdgpu: GPU reset begin!";
    const OF_A_TEST: &str =
        "3,1,2,-;amdgpu 0000:03:00.0: amdgpu: [gfxhub] page fault (src_id:0 ring:24 vmid:8 pasid:32771)";
    const KILLED: &str = "Out of memory: Killed process 812 (test)";

    #[test]
    fn only_faults_of_the_jobs_own_gpu_are_its_faults() {
        assert_eq!(watched(&["0000:03:00.0"], &[RESET, "usual"]), (true, false, 1));
        assert_eq!(watched(&["0000:03:00.0/1"], &[RESET]), (true, false, 1), "a partition");
        assert_eq!(watched(&["0000:43:00.0"], &[RESET]), (false, false, 0), "another job's");
        assert_eq!(watched(&["simulated-0"], &[RESET]), (true, false, 1));
        assert_eq!(watched(&[], &[RESET, KILLED]), (false, true, 2), "the job had none");
    }

    #[test]
    fn the_machines_memory_and_that_of_a_group_are_told_apart() {
        const OF_A_GROUP: &str = "Memory cgroup out of memory: Killed process 812 (test) total-vm:1kB";
        const BEFORE: &str = "tail invoked oom-killer: gfp_mask=0x0(), order=0, oom_score_adj=500";
        for (lines, whose) in [
            (&[BEFORE][..], None),
            (&[BEFORE, OF_A_GROUP], Some(OutOfMemory::Group)),
            (&[BEFORE, KILLED, BEFORE, OF_A_GROUP], Some(OutOfMemory::Machine)),
        ] {
            assert_eq!(watch(&[], lines, |watch| watch.out_of_memory), whose, "{lines:?}");
        }
    }

    #[test]
    fn a_fault_is_charged_to_the_gpu_that_had_it() {
        #[allow(clippy::redundant_closure_for_method_calls)] // the method is of one lifetime only
        let faults = |gpus: &[&str], lines: &[&str]| watch(gpus, lines, |watch| watch.faults());
        let both = ["0000:03:00.0", "0000:43:00.0"];
        assert_eq!(faults(&both, &[RESET]).serious.into_keys().collect::<Vec<_>>(), ["0000:03:00.0"]);
        assert!(faults(&both, &["BUG: unable to handle page fault for address: 0"]).serious.is_empty());
        assert_eq!(faults(&["simulated-0"], &[RESET]).serious.len(), 1);
        assert!(faults(&both, &[OF_A_TEST]).contained);
        assert!(!faults(&both, &[OF_A_TEST, RESET]).contained);
        assert!(!faults(&both, &[]).contained, "there were none");
    }

    #[test]
    fn a_fault_without_a_device_is_charged_to_no_gpu_where_there_are_several() {
        const BUG: &str = "BUG: unable to handle page fault for address: 0";
        let on = |machine: &[&str]| {
            let places = Places::new(machine.iter().map(|id| (id.parse().unwrap(), Vec::new())));
            watch_on(places, &["0000:03:00.0"], &[BUG], |watch| (watch.gpu_fault, watch.faults().serious.len()))
        };
        assert_eq!(on(&["0000:03:00.0"]), (true, 1));
        assert_eq!(on(&["0000:03:00.0", "0000:43:00.0"]), (true, 0));
    }

    #[test]
    fn a_flood_does_not_hide_what_comes_after_it() {
        let mut lines = vec![OF_A_TEST; 5000];
        lines.push(RESET);
        watch(&["0000:03:00.0"], &lines, |watch| {
            assert_eq!(watch.lines.len(), MOST_OF_ONE + 1);
            assert!(watch.lines.last().unwrap().ends_with("GPU reset begin!"));
            assert!(watch.fatal.is_some());
        });
    }
}
