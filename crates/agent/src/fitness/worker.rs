//! [`Worker`]: the fitness of a machine that has to look after itself.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use gpu::{FaultKind, Gpu, Inventory};
use protocol::Verdict;
use transfer::Backoff;

use super::command::Answer;
use super::probe::Probe;
use super::quarantine::MOST_FAULTS;
use super::record::{FILE, Reason, RestartRecord};
use super::{Defect, EndedJob, Fitness, checks};

/// The most restarts in a row for one reason.
pub(crate) const MOST_RESTARTS: u32 = 2;

/// Pauses between checks of an unfit machine. The clock may be set a moment after the start.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(180);

/// Checks a machine, and remembers its defects over restarts.
#[derive(Debug)]
pub struct Worker<P> {
    probe: P,
    record: RestartRecord,
    /// Ids of the GPUs that jobs get; `None` if they are simulated.
    gpus: Option<BTreeSet<String>>,
    /// The same GPUs, simulated or not.
    known: Vec<Gpu>,
    /// Ids of those that ROCm was not asked for since the start, or since their last job.
    to_prove: BTreeSet<String>,
    /// The reason for a restart that is needed because a GPU was left out.
    restart: Option<String>,
    /// The defect that restarts do not fix.
    given_up: Option<Defect>,
    backoff: Backoff,
}

impl<P: Probe> Worker<P> {
    /// A machine with these GPUs and this record.
    pub fn new(probe: P, record: RestartRecord, inventory: &Inventory) -> Self {
        let gpus = (!inventory.simulated).then(|| ids(inventory));
        let known = inventory.gpus.clone();
        let to_prove = ids(inventory);
        Self {
            probe,
            record,
            gpus,
            known,
            to_prove,
            restart: None,
            given_up: None,
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
        }
    }

    /// Checks for GPUs that were gone before the restart, and still are.
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
        // The others work without it, and it is listed among the unusable ones.
        let is_missing = !still.is_empty() && self.known.is_empty();
        // If this cannot be written, it is written with the next change, or found again after the next start.
        let _ = self.record.set_missing(still);
        is_missing.then(|| Defect::new(what, advice))
    }

    /// Asks ROCm: at the start, after each job, and whenever the machine was not fit. GPUs of running jobs are left alone.
    fn unproven(&mut self, busy: &BTreeSet<String>) -> Option<Defect> {
        let usable = self.gpus.as_ref().map_or(0, |gpus| gpus.difference(busy).count());
        if usable == 0 || self.to_prove.is_subset(busy) {
            return None;
        }
        // Not those that are left out: the machine was restarted because of them.
        let mine = self.mine(busy);
        let answer = self.probe.rocminfo(mine.as_deref());
        let mut defect = checks::rocminfo(&answer, usable);
        if let (Some(_), Ok(Answer::Ended { success: false, .. } | Answer::Late { stuck: false })) = (&defect, &answer)
            && let Some(culprit) = self.culprit(busy)
        {
            let why = "rocminfo fails with it, and works without it";
            self.leave_out(&culprit, why);
            let what = format!("GPU {}: {why}", culprit.id);
            return Some(if self.restart.is_some() {
                Defect::passing(what, "the machine restarts without it")
            } else {
                Defect::new(what, format!("set leave-out={}: nothing here survives a restart", culprit.id))
            });
        }
        if defect.is_none() {
            defect = self.computes(busy);
        }
        if defect.is_none() {
            self.to_prove.retain(|gpu| busy.contains(gpu));
        }
        defect
    }

    /// Whether a GPU gets jobs, and no running job has it.
    fn is_idle(&self, gpu: &Gpu, busy: &BTreeSet<String>) -> bool {
        !busy.contains(&gpu.id) && self.known.iter().any(|known| known.id == gpu.id)
    }

    /// The indexes of the idle GPUs that jobs get, in ROCm's order; `None` if those are all.
    fn mine(&mut self, busy: &BTreeSet<String>) -> Option<Vec<usize>> {
        let all = self.probe.gpus().gpus;
        let mine: Vec<usize> =
            all.iter().enumerate().filter(|(_, gpu)| self.is_idle(gpu, busy)).map(|(index, _)| index).collect();
        (mine.len() < all.len()).then_some(mine)
    }

    /// Finds the one GPU of several without which rocminfo works.
    fn culprit(&mut self, busy: &BTreeSet<String>) -> Option<Gpu> {
        let all = self.probe.gpus().gpus;
        let mine = self.mine(busy).unwrap_or_else(|| (0..all.len()).collect());
        if mine.len() < 2 {
            return None;
        }
        mine.iter().find_map(|&index| {
            let others: Vec<usize> = mine.iter().copied().filter(|other| *other != index).collect();
            let answer = self.probe.rocminfo(Some(&others));
            checks::rocminfo(&answer, others.len()).is_none().then(|| all.get(index).cloned())?
        })
    }

    /// Runs a small kernel on each idle GPU. One of several where that fails is left out.
    fn computes(&mut self, busy: &BTreeSet<String>) -> Option<Defect> {
        let all = self.probe.gpus().gpus;
        for (index, gpu) in all.iter().enumerate() {
            if !self.is_idle(gpu, busy) {
                continue;
            }
            // Once may be chance, such as a slow disk at the first start; being left out lasts.
            if checks::compute(&self.probe.compute(index), &gpu.id).is_none() {
                continue;
            }
            let Some(defect) = checks::compute(&self.probe.compute(index), &gpu.id) else { continue };
            if self.known.len() > 1 && !defect.passes {
                self.leave_out(gpu, &defect.advice.what);
            }
            return Some(defect);
        }
        None
    }

    /// Gives a GPU no more jobs, from the next start on.
    fn leave_out(&mut self, gpu: &Gpu, why: &str) {
        let ((), written) = self.record.change_gpus(|gpus| gpus.leave_out(gpu, why.to_owned()));
        // If it cannot be written, a restart would change nothing.
        if written.is_ok() && self.probe.remembers() {
            self.restart = Some(format!("GPU {} gets no more jobs: {why}", gpu.id));
        }
    }

    /// Records the faults of GPUs in a job, each with its own. Returns the reason for a restart, if there is one.
    fn charge(&mut self, faulty: &BTreeMap<String, BTreeSet<FaultKind>>) -> Option<String> {
        let guilty: Vec<Gpu> = self.known.iter().filter(|gpu| faulty.contains_key(&gpu.id)).cloned().collect();
        let several = self.known.len() > guilty.len();
        let (mut why, mut written) = (Vec::new(), Ok(()));
        for gpu in &guilty {
            let kinds = faulty.get(&gpu.id).cloned().unwrap_or_default();
            let (in_row, result) = self.record.change_gpus(|gpus| gpus.fault(gpu, &kinds));
            written = written.and(result);
            let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
            why.push(format!("GPU {} had a fault ({})", gpu.id, names.join(", ")));
            if in_row >= MOST_FAULTS && several {
                let reason = self.record.gpus().explain(gpu);
                let ((), result) = self.record.change_gpus(|gpus| gpus.leave_out(gpu, reason.clone()));
                written = written.and(result);
                why.push(format!("it gets no more jobs: {reason}"));
            }
        }
        let why = why.join("; ");
        if guilty.is_empty() || !several {
            let why = if why.is_empty() { "the kernel told of a fault of the GPU while a job ran".into() } else { why };
            return self.restart(Reason::GpuFault, why, written);
        }
        // The count of the GPU's faults limits the number of restarts.
        match written {
            Ok(()) => Some(why),
            Err(error) => {
                self.restart(Reason::GpuFault, format!("{why} (and that cannot be written down: {error})"), Ok(()))
            }
        }
    }

    /// GPUs that KFD has and that do not answer: they count as gone.
    fn dead(&mut self) -> BTreeMap<String, String> {
        if self.gpus.is_none() {
            return BTreeMap::new();
        }
        let Self { probe, known, .. } = self;
        known.iter().filter_map(|gpu| Some((gpu.id.clone(), probe.defect(gpu)?))).collect()
    }

    /// The ids of GPUs that jobs had and that are gone, and the reason as far as it is known.
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
    fn qualify(&mut self, busy: &BTreeSet<String>) -> Vec<Defect> {
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
            None => defects.extend(self.unproven(busy)),
        }
        if defects.is_empty() {
            self.backoff.reset();
        }
        defects
    }

    fn check(&mut self, ended: EndedJob) -> Option<String> {
        let EndedJob { verdict, stuck, contained, gpus, mut faulty } = ended;
        // A job without GPUs has done nothing to them.
        self.to_prove.extend(gpus.iter().cloned());
        let (gone, why) = self.gone();
        if !gone.is_empty() {
            let missing = self.record.missing().union(&gone).cloned().collect();
            let written = self.record.set_missing(missing);
            return self.restart(Reason::GpuGone, why, written);
        }
        let dead = self.dead();
        if !dead.is_empty() {
            let why: Vec<_> = dead.iter().map(|(id, why)| format!("GPU {id}: {why}")).collect();
            for id in dead.into_keys() {
                faulty.entry(id).or_default().insert(FaultKind::Lost);
            }
            return self.charge(&faulty).map(|told| format!("{}; {told}", why.join("; ")));
        }
        if stuck {
            let why = "a process of a test cannot be killed: it hangs in the kernel";
            return self.restart(Reason::Stuck, why.into(), Ok(()));
        }
        match verdict {
            // Restarts to be sure, but does not count it: one broken library makes the tests of all its users fault
            // on a machine that works.
            Some(Verdict::GpuFault) if contained => Some("a test made the GPU fault".into()),
            Some(Verdict::GpuFault) => self.charge(&faulty),
            Some(Verdict::Pass | Verdict::Fail) => {
                // If this cannot be written, the machine only gives up earlier.
                let _ = self.record.settle();
                let well: Vec<Gpu> = self.known.iter().filter(|gpu| gpus.contains(&gpu.id)).cloned().collect();
                // If this cannot be written, the GPUs are only given up earlier.
                let _ = self.record.change_gpus(|known| well.iter().for_each(|gpu| known.well(gpu))).1;
                None
            }
            // No conclusion is possible: perhaps no test ran at all.
            _ => None,
        }
    }

    fn retry_gpus(&mut self, gpus: &[String]) -> String {
        let (back, written) = self.record.change_gpus(|known| known.retry(gpus));
        let written = written.and(self.record.set_missing(BTreeSet::new()));
        let which = if back.is_empty() { "no GPU was left out".to_owned() } else { format!("GPU {}", back.join(", ")) };
        let failed = written.err().map_or(String::new(), |error| format!(" (that cannot be written down: {error})"));
        format!("somebody wants GPUs to be tried again: {which}{failed}")
    }

    fn wants_restart(&mut self) -> Option<String> {
        self.restart.take()
    }

    fn pause(&mut self) -> Duration {
        self.backoff.next_pause()
    }
}

fn ids(inventory: &Inventory) -> BTreeSet<String> {
    inventory.gpus.iter().filter(|gpu| !gpu.simulated).map(|gpu| gpu.id.clone()).collect()
}

/// Whether an id is that of the GPU at this address, or of a partition of it.
fn is_at(id: &str, address: gpu::PciAddress) -> bool {
    id.split('/').next() == Some(&*address.to_string())
}

fn list(ids: &BTreeSet<String>) -> String {
    ids.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
