//! [`Worker`]: the fitness of a machine that is looked after by nobody else.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use gpu::Inventory;
use protocol::Verdict;

use super::probe::Probe;
use super::record::{FILE, Reason, Record};
use super::{Defect, Ended, Fitness, checks};
use crate::pace::{Pace, Pauses};

/// A machine that was restarted so often in a row for one reason is not restarted for it again.
const MOST_RESTARTS: u32 = 2;

/// Pauses between looks at a machine that is not fit. The clock may be set a moment after the start.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(180);

/// Looks at a machine, and remembers over restarts what was wrong with it.
#[derive(Debug)]
pub struct Worker<P> {
    probe: P,
    record: Record,
    /// Ids of the GPUs that jobs get; `None` if they are simulated.
    gpus: Option<BTreeSet<String>>,
    /// ROCm has found them all since the start.
    proven: bool,
    /// Restarts do not help.
    given_up: Option<Defect>,
    pauses: Pauses,
}

impl<P: Probe> Worker<P> {
    /// A machine with these GPUs, and what is written down of it.
    pub fn new(probe: P, record: Record, inventory: &Inventory) -> Self {
        let gpus = (!inventory.simulated).then(|| ids(inventory));
        Self { probe, record, gpus, proven: false, given_up: None, pauses: pauses() }
    }

    /// GPUs that were gone before the restart, and still are.
    fn missing(&mut self) -> Option<Defect> {
        self.gpus.as_ref()?;
        let missing = self.record.missing();
        if missing.is_empty() {
            return None;
        }
        let there = ids(&self.probe.gpus());
        let still: BTreeSet<String> = missing.difference(&there).cloned().collect();
        let what = format!("lost in a job, and not back after a restart: GPU {}", list(&still));
        let advice = format!(
            "switch the machine off and on, see that the GPU sits well and has power; if you took it out, remove {}",
            self.probe.data().join(FILE).display()
        );
        let is_missing = !still.is_empty();
        // What is not written is found out again after the next start.
        drop(self.record.set_missing(still));
        is_missing.then(|| Defect::new(what, advice))
    }

    /// ROCm is asked once a start, and whenever the machine was not fit.
    fn unproven(&mut self) -> Option<Defect> {
        let usable = self.gpus.as_ref().map_or(0, BTreeSet::len);
        if self.proven || usable == 0 {
            return None;
        }
        let defect = checks::rocminfo(&self.probe.rocminfo(), usable);
        self.proven = defect.is_none();
        defect
    }

    /// The ids of GPUs that jobs had and that are not there any more, and why as far as that is known.
    fn gone(&mut self) -> (BTreeSet<String>, String) {
        let Some(gpus) = self.gpus.as_ref().filter(|gpus| !gpus.is_empty()) else { return Default::default() };
        let now = self.probe.gpus();
        let gone: BTreeSet<String> = gpus.difference(&ids(&now)).cloned().collect();
        let is_gone = |gpu: &&gpu::UnusableGpu| gpu.pci_address.is_some_and(|at| gone.iter().any(|id| is_at(id, at)));
        let reasons = now.unusable.iter().filter(is_gone).filter_map(|gpu| gpu.reasons.first());
        let reasons: Vec<_> = reasons.map(|reason| format!(": {}", reason.message)).collect();
        let why = format!("GPU {} is gone{}", list(&gone), reasons.concat());
        (gone, why)
    }

    fn restart(&mut self, reason: Reason, why: String, written: io::Result<()>) -> Option<String> {
        let times = self.record.times(reason);
        if times >= MOST_RESTARTS {
            let what = format!("{why}, after {times} restarts in a row for the same; it is not restarted again");
            let advice = "look at the GPU, its power and its cooling; switch the machine off and on to try again";
            self.given_up = Some(Defect::new(what, advice));
            return None;
        }
        match written.and(self.record.restart(reason)) {
            Ok(()) => Some(why),
            // If nothing can be written then, the machine is not fit after the restart, and is not restarted again.
            Err(error) => Some(format!("{why} (and that cannot be written down: {error})")),
        }
    }
}

impl<P: Probe> Fitness for Worker<P> {
    fn qualify(&mut self) -> Vec<Defect> {
        let mut defects: Vec<Defect> = self.given_up.iter().cloned().collect();
        let room = self.probe.room();
        defects.extend(checks::data(self.probe.data(), &room));
        if let Ok(room) = room {
            defects.extend(checks::outbox(&self.probe.outbox(), room.total));
        }
        defects.extend(checks::clock(self.probe.now(), &self.probe.image_made()));
        defects.extend(checks::memory(&self.probe.memory()));
        match self.missing() {
            Some(defect) => defects.push(defect),
            None => defects.extend(self.unproven()),
        }
        if defects.is_empty() {
            self.pauses = pauses();
        }
        defects
    }

    fn check(&mut self, ended: Ended) -> Option<String> {
        let Ended { verdict, stuck, contained } = ended;
        let (gone, why) = self.gone();
        if !gone.is_empty() {
            let missing = self.record.missing().union(&gone).cloned().collect();
            let written = self.record.set_missing(missing);
            return self.restart(Reason::GpuGone, why, written);
        }
        if stuck {
            let why = "a process of a test cannot be killed: it hangs in the kernel";
            return self.restart(Reason::Stuck, why.into(), Ok(()));
        }
        match verdict {
            // Restarted to be sure, but not counted: a library that is broken in one place makes all its users' tests
            // fault, on a machine that works.
            Some(Verdict::GpuFault) if contained => Some("a test made the GPU fault".into()),
            Some(Verdict::GpuFault) => {
                let why = "the kernel told of a fault of the GPU while a job ran";
                self.restart(Reason::GpuFault, why.into(), Ok(()))
            }
            Some(Verdict::Pass | Verdict::Fail) => {
                // If it cannot be written, the machine only gives up earlier.
                drop(self.record.settle());
                None
            }
            // Nothing can be said: perhaps no test ran at all.
            _ => None,
        }
    }

    fn pause(&mut self) -> Duration {
        self.pauses.next_pause()
    }
}

fn pauses() -> Pauses {
    Pauses::new(&Pace { first_pause: FIRST_PAUSE, longest_pause: LONGEST_PAUSE, ..Pace::default() })
}

fn ids(inventory: &Inventory) -> BTreeSet<String> {
    inventory.gpus.iter().filter(|gpu| !gpu.simulated).map(|gpu| gpu.id.clone()).collect()
}

/// Whether an id is of the GPU there, or of a partition of it.
fn is_at(id: &str, address: gpu::PciAddress) -> bool {
    id.split('/').next() == Some(&*address.to_string())
}

fn list(ids: &BTreeSet<String>) -> String {
    ids.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
