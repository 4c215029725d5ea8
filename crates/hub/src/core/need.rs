//! Requirements of jobs, free resources of machines, and whether they match.

use gpu::{Inventory, Target};
use protocol::{GpuNeed, Job, Machine};

/// A job's requirements. Jobs with the same requirements wait in the same queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Need {
    gpu: GpuNeed,
    gpus: u32,
    memory: u64,
}

/// The free resources of a machine.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    inventory: Inventory,
    memory: u64,
}

/// The part of an offer that decides whether a job fits. Workers with the same key wait in the same queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct OfferKey {
    targets: Vec<Target>,
    memory: u64,
}

impl Need {
    pub(crate) fn of(job: &Job) -> Self {
        Self { gpu: job.gpu.clone(), gpus: job.gpus, memory: job.memory.unwrap_or(0) }
    }

    /// Whether a machine with this offer can take the job. A job without a GPU, and one that does not say, may go to
    /// any machine, even one with GPUs: it does not wait for a better suited one.
    pub(crate) fn fits(&self, offer: &Offer) -> bool {
        self.fits_in(&offer.inventory, offer.memory)
    }

    /// Whether the machine could take the job if it were idle.
    pub(crate) fn fits_machine(&self, machine: &Machine) -> bool {
        self.fits_in(&machine.gpus, machine.memory)
    }

    fn fits_in(&self, inventory: &Inventory, memory: u64) -> bool {
        memory >= self.memory
            && (!self.gpu.is_required() || self.gpu.matching(inventory).len() as u64 >= u64::from(self.gpus))
    }

    /// The requirements in words; empty if there are none.
    pub(crate) fn words(&self) -> String {
        let gpu = match (&self.gpu, self.gpus) {
            (GpuNeed::None | GpuNeed::IfThere, _) => None,
            (need, 1) => Some(need.to_string()),
            (GpuNeed::Any, count) => Some(format!("{count} GPUs")),
            (need, count) => Some(format!("{count} GPUs of {need}")),
        };
        let memory = (self.memory > 0).then(|| format!("{} MiB of memory", self.memory));
        gpu.into_iter().chain(memory).collect::<Vec<_>>().join(" and ")
    }
}

impl Offer {
    /// The offer of a machine with these GPUs free; all of them if `free` is not given.
    pub(crate) fn new(machine: &Machine, free: Option<&[String]>) -> Self {
        let mut inventory = machine.gpus.clone();
        if let Some(free) = free {
            inventory.gpus.retain(|gpu| free.contains(&gpu.id));
        }
        Self { inventory, memory: machine.memory }
    }

    pub(crate) fn key(&self) -> OfferKey {
        let mut targets: Vec<Target> = self.inventory.gpus.iter().map(|gpu| gpu.target).collect();
        targets.sort_unstable();
        OfferKey { targets, memory: self.memory }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(job: &str, gpus: &str, memory: u64) -> bool {
        let job: Job = serde_json::from_str(job).expect("a job");
        let inventory = if gpus.is_empty() { Inventory::default() } else { gpu::simulate(gpus).expect("targets") };
        Need::of(&job).fits(&Offer { inventory, memory })
    }

    #[test]
    fn jobs_fit_machines_that_have_what_they_need() {
        for (job, gpus, fit) in [
            (r#"{"package": "gzip"}"#, "", true),
            (r#"{"package": "gzip", "gpu": "none"}"#, "gfx1030", true),
            (r#"{"package": "gzip", "gpu": "none", "gpus": 2}"#, "", true),
            (r#"{"package": "rocrand", "gpu": "any"}"#, "", false),
            (r#"{"package": "rocrand", "gpu": "any"}"#, "gfx906", true),
            (r#"{"package": "rocrand", "gpu": ["gfx10-3-generic"]}"#, "gfx1031", true),
            (r#"{"package": "rocrand", "gpu": ["gfx1030"]}"#, "gfx1031", false),
            (r#"{"package": "rccl", "gpu": "any", "gpus": 2}"#, "gfx906", false),
            (r#"{"package": "rccl", "gpu": ["gfx906"], "gpus": 2}"#, "gfx906,gfx1030", false),
            (r#"{"package": "rccl", "gpu": ["gfx906", "gfx1030"], "gpus": 2}"#, "gfx906,gfx1030", true),
            (r#"{"package": "gzip", "memory": 2048}"#, "", false),
        ] {
            assert_eq!(fits(job, gpus, 1024), fit, "{job} on {gpus}");
        }
    }

    #[test]
    fn only_free_gpus_count() {
        let machine = Machine { gpus: gpu::simulate("gfx906,gfx1030").expect("targets"), ..Machine::default() };
        let offer = Offer::new(&machine, Some(&["simulated-1".to_owned()]));
        assert_eq!(offer.key().targets.iter().map(ToString::to_string).collect::<Vec<_>>(), ["gfx1030"]);
    }

    #[test]
    fn needs_have_words() {
        let job: Job =
            serde_json::from_str(r#"{"package": "rccl", "gpu": ["gfx906"], "gpus": 2, "memory": 9}"#).expect("a job");
        assert_eq!(Need::of(&job).words(), "2 GPUs of gfx906 and 9 MiB of memory");
    }
}
