//! GPUs that get no jobs: those with too many faults, those that are lost, and those named in the settings or by a
//! person.

use std::collections::{BTreeMap, BTreeSet};

use gpu::{FaultKind, Gpu, Inventory, Reason, ReasonKind, UnusableGpu};
use serde::{Deserialize, Serialize};

/// A GPU with this many faults in a row, each in another job, gets no more jobs.
pub(crate) const MOST_FAULTS: u32 = 3;

/// The faults of GPUs, by each GPU's unique id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Quarantine(BTreeMap<String, Remembered>);

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    /// The GPU's id, that is, its slot at the time.
    id: String,
    /// Number of jobs in which it had a fault that was not the test's own doing.
    faults: u32,
    /// How many of them were the latest ones, with no successful job in between.
    in_row: u32,
    #[serde(default)]
    kinds: BTreeSet<FaultKind>,
    /// The reason why it gets no jobs, if it gets none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left_out: Option<String>,
}

/// A chip keeps its unique id in another slot; partitions of one chip share it.
fn key(gpu: &Gpu) -> &str {
    gpu.unique_id.as_deref().filter(|_| gpu.partition.is_none()).unwrap_or(&gpu.id)
}

impl Quarantine {
    /// Records faults of a GPU in one job. Returns the number of such jobs in a row.
    pub(crate) fn fault(&mut self, gpu: &Gpu, kinds: &BTreeSet<FaultKind>) -> u32 {
        let remembered = self.0.entry(key(gpu).to_owned()).or_default();
        remembered.id.clone_from(&gpu.id);
        remembered.faults = remembered.faults.saturating_add(1);
        remembered.in_row = remembered.in_row.saturating_add(1);
        remembered.kinds.extend(kinds);
        remembered.in_row
    }

    /// Records a job with this GPU that ended well.
    pub(crate) fn well(&mut self, gpu: &Gpu) {
        if let Some(remembered) = self.0.get_mut(key(gpu)) {
            remembered.in_row = 0;
        }
    }

    /// Gives the GPU no more jobs, for this reason.
    pub(crate) fn leave_out(&mut self, gpu: &Gpu, why: String) {
        let remembered = self.0.entry(key(gpu).to_owned()).or_default();
        remembered.id.clone_from(&gpu.id);
        remembered.left_out = Some(why);
    }

    /// Forgets the GPUs with these ids or unique ids, all if the list is empty. Returns the ids of those that got no
    /// jobs.
    pub(crate) fn retry(&mut self, named: &[String]) -> Vec<String> {
        let mut back = Vec::new();
        self.0.retain(|key, remembered| {
            let is_meant = named.is_empty() || named.iter().any(|name| name == key || *name == remembered.id);
            if is_meant && remembered.left_out.is_some() {
                back.push(remembered.id.clone());
            }
            !is_meant
        });
        back
    }

    /// Moves GPUs that get no jobs to the inventory's unusable ones, with the reason.
    pub(crate) fn apply(&self, inventory: &mut Inventory, by_hand: &[String], missing: &BTreeSet<String>) {
        let (mut left_out, mut kept) = (Vec::new(), Vec::new());
        for gpu in std::mem::take(&mut inventory.gpus) {
            let named = |name: &String| *name == gpu.id || Some(name) == gpu.unique_id.as_ref();
            let reason = if by_hand.iter().any(named) {
                Some(Reason::new(
                    ReasonKind::LeftOut,
                    format!("GPU {}{} gets no jobs: the setting leave-out names it", gpu.id, unique(&gpu)),
                    "take it out of leave-out= to use it again",
                ))
            } else {
                self.0.get(key(&gpu)).and_then(|remembered| Some(quarantined(&gpu, remembered.left_out.as_ref()?)))
            };
            match reason {
                Some(reason) => left_out.push(unusable(&gpu, reason)),
                None => kept.push(gpu),
            }
        }
        inventory.gpus = kept;
        let is_named = |id: &&String| {
            let here =
                |gpu: &UnusableGpu| gpu.pci_address.is_some_and(|at| id.split('/').next() == Some(&*at.to_string()));
            !inventory.gpus.iter().any(|gpu| gpu.id == **id) && !inventory.unusable.iter().any(here)
        };
        let gone: Vec<_> = missing.iter().filter(is_named).map(|id| lost(id)).collect();
        inventory.unusable.extend(left_out);
        inventory.unusable.extend(gone);
    }
}

/// The reason in the inventory for a GPU that gets no jobs.
fn quarantined(gpu: &Gpu, why: &str) -> Reason {
    Reason::new(
        ReasonKind::Quarantined,
        format!("GPU {}{} gets no jobs: {why}", gpu.id, unique(gpu)),
        "look at its power, cooling and slot; `rocbed workers retry-gpu` or removing fitness.json from the data \
         directory has it tried again",
    )
}

impl Remembered {
    /// `it had faults in 3 jobs, the last 3 in a row (hang, reset)`
    fn explain(&self) -> String {
        let kinds: Vec<_> = self.kinds.iter().map(|kind| kind.name()).collect();
        let jobs = match self.faults {
            1 => "one job".to_owned(),
            faults => format!("{faults} jobs, the last {} in a row", self.in_row),
        };
        format!("it had faults in {jobs} ({})", kinds.join(", "))
    }
}

impl Quarantine {
    /// Explains why a GPU with its faults gets no more jobs.
    pub(crate) fn explain(&self, gpu: &Gpu) -> String {
        self.0.get(key(gpu)).map(Remembered::explain).unwrap_or_default()
    }
}

fn unique(gpu: &Gpu) -> String {
    gpu.unique_id.as_ref().map_or(String::new(), |id| format!(" (unique id {id})"))
}

fn unusable(gpu: &Gpu, reason: Reason) -> UnusableGpu {
    UnusableGpu {
        name: gpu.name.clone(),
        pci_address: gpu.pci_address,
        pci_id: gpu.pci_id.clone(),
        driver: (!gpu.simulated).then(|| "amdgpu".to_owned()),
        likely_target: Some(gpu.target),
        reasons: vec![reason],
    }
}

fn lost(id: &str) -> UnusableGpu {
    UnusableGpu {
        name: format!("GPU {id}"),
        pci_address: id.split('/').next().and_then(|address| address.parse().ok()),
        pci_id: None,
        driver: None,
        likely_target: None,
        reasons: vec![Reason::new(
            ReasonKind::Quarantined,
            format!("GPU {id} was lost in a job, and is not back after a restart"),
            "switch the machine off and on, see that the GPU sits well and has power; if you took it out, remove fitness.json \
             from the data directory",
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_is_known_by_its_number_wherever_it_is() {
        let mut inventory = gpu::simulate("gfx1030,gfx1030").unwrap();
        inventory.gpus[0].unique_id = Some("0a1b".into());
        let mut quarantine = Quarantine::default();
        let kinds = BTreeSet::from([FaultKind::Hang]);
        assert_eq!(quarantine.fault(&inventory.gpus[0], &kinds), 1);
        quarantine.well(&inventory.gpus[0]);
        assert_eq!(quarantine.fault(&inventory.gpus[0], &kinds), 1, "a good job was between them");
        let why = quarantine.explain(&inventory.gpus[0]);
        assert_eq!(why, "it had faults in 2 jobs, the last 1 in a row (hang)");
        quarantine.leave_out(&inventory.gpus[0].clone(), why);
        inventory.gpus[0].id = "elsewhere".into();
        quarantine.apply(&mut inventory, &[], &BTreeSet::new());
        assert_eq!(inventory.gpus.len(), 1);
        let reason = &inventory.unusable[0].reasons[0];
        assert_eq!(reason.kind, ReasonKind::Quarantined);
        assert!(
            reason.message.starts_with("GPU elsewhere (unique id 0a1b) gets no jobs: it had faults in 2 jobs"),
            "{reason:?}"
        );
        assert_eq!(quarantine.retry(&["other".into()]).len(), 0);
        assert_eq!(quarantine.retry(&["0a1b".into()]), ["simulated-0"]);
    }

    #[test]
    fn a_setting_leaves_a_gpu_out() {
        let mut inventory = gpu::simulate("gfx1030,gfx1030").unwrap();
        Quarantine::default().apply(&mut inventory, &["simulated-1".into()], &BTreeSet::new());
        assert_eq!((inventory.gpus.len(), inventory.gpus[0].id.as_str()), (1, "simulated-0"));
        assert_eq!(inventory.unusable[0].reasons[0].kind, ReasonKind::LeftOut);
    }

    #[test]
    fn a_gpu_that_is_lost_is_named() {
        let mut inventory = gpu::simulate("gfx1030").unwrap();
        let missing = BTreeSet::from(["0000:43:00.0".to_owned()]);
        Quarantine::default().apply(&mut inventory, &[], &missing);
        assert!(inventory.unusable[0].reasons[0].message.contains("0000:43:00.0 was lost in a job"));
    }
}
