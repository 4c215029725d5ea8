//! Requirements of jobs, free resources of machines, and whether they match.

use gpu::{Gpu, Inventory, Target};
use protocol::api::Claim;
use protocol::{GpuNeed, Job, Machine};

/// A job's requirements. Jobs with the same requirements wait in the same queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Need {
    gpu: GpuNeed,
    gpus: u32,
    memory: u64,
    gpu_memory: Option<u64>,
}

/// The free resources of a machine.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    /// The free GPUs.
    free: Inventory,
    /// How many GPUs it has, busy or not.
    gpus: usize,
    /// Whether a job that gets no GPU can begin.
    without_gpu: bool,
    memory: u64,
}

/// The part of an offer that decides whether a job fits. Workers with the same key wait in the same queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct OfferKey {
    /// Target of each free GPU, and its memory in MiB.
    free: Vec<(Target, u64)>,
    gpus: usize,
    without_gpu: bool,
    memory: u64,
}

impl Need {
    pub(crate) fn of(job: &Job) -> Self {
        Self { gpu: job.gpu.clone(), gpus: job.gpus, memory: job.memory.unwrap_or(0), gpu_memory: job.gpu_memory }
    }

    /// Whether a machine with this offer can take the job. A job without a GPU, and one that does not say, may go to
    /// any machine, even one with GPUs: it does not wait for a better suited one. One that does not say waits for a GPU
    /// of a machine whose GPUs are busy.
    pub(crate) fn fits(&self, offer: &Offer) -> bool {
        let wanted = match self.gpu {
            GpuNeed::None => 0,
            GpuNeed::IfThere => (self.gpus as usize).min(offer.gpus),
            GpuNeed::Any | GpuNeed::Targets(_) => self.gpus as usize,
        };
        let has_place = if wanted == 0 { offer.without_gpu } else { self.usable(&offer.free) >= wanted };
        offer.memory >= self.memory && has_place
    }

    /// Whether the machine could take the job if it were idle.
    pub(crate) fn fits_machine(&self, machine: &Machine) -> bool {
        machine.memory >= self.memory
            && (!self.gpu.is_required() || self.usable(&machine.gpus) as u64 >= u64::from(self.gpus))
    }

    /// How many GPUs of an inventory it may get.
    fn usable(&self, gpus: &Inventory) -> usize {
        protocol::usable_gpus(&self.gpu, self.gpu_memory, gpus).len()
    }

    /// Whether a job needs more of the machine than one job that ends there may free: several GPUs, or more memory than
    /// comes with one.
    pub(crate) fn is_of_several(&self, machine: &Machine) -> bool {
        let gpus = machine.gpus.gpus.len().max(1);
        let wanted = if self.gpu == GpuNeed::None { 0 } else { (self.gpus as usize).min(gpus) };
        wanted > 1 || self.memory > machine.memory / gpus as u64
    }

    /// The requirements in words; empty if there are none.
    pub(crate) fn words(&self) -> String {
        let gpu = match (&self.gpu, self.gpus) {
            (GpuNeed::None | GpuNeed::IfThere, _) => None,
            (need, 1) => Some(need.to_string()),
            (GpuNeed::Any, count) => Some(format!("{count} GPUs")),
            (need, count) => Some(format!("{count} GPUs of {need}")),
        };
        let gpu = gpu.map(|gpu| match self.gpu_memory {
            Some(memory) => format!("{gpu} with {memory} MiB"),
            None => gpu,
        });
        let memory = (self.memory > 0).then(|| format!("{} MiB of memory", self.memory));
        gpu.into_iter().chain(memory).collect::<Vec<_>>().join(" and ")
    }
}

impl Offer {
    /// The offer of an idle machine.
    pub(crate) fn all(machine: &Machine) -> Self {
        let free = machine.gpus.clone();
        Self { gpus: free.gpus.len(), free, without_gpu: true, memory: machine.memory }
    }

    /// What a machine has free, as its claim says.
    pub(crate) fn of(machine: &Machine, claim: &Claim) -> Self {
        let mut offer = Self::all(machine);
        if let Some(free) = &claim.gpus {
            offer.free.gpus.retain(|gpu| free.contains(&gpu.id));
            offer.without_gpu = claim.without_gpu;
            offer.memory = claim.memory.unwrap_or(machine.memory).min(machine.memory);
        }
        offer
    }

    pub(crate) fn key(&self) -> OfferKey {
        let of = |gpu: &Gpu| (gpu.target, gpu.usable_memory() >> 20);
        let mut free: Vec<(Target, u64)> = self.free.gpus.iter().map(of).collect();
        free.sort_unstable();
        OfferKey { free, gpus: self.gpus, without_gpu: self.without_gpu, memory: self.memory }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(job: &str, gpus: &str, memory: u64) -> bool {
        let job: Job = serde_json::from_str(job).expect("a job");
        let gpus = if gpus.is_empty() { Inventory::default() } else { gpu::simulate(gpus).expect("targets") };
        Need::of(&job).fits(&Offer::all(&Machine { gpus, memory, ..Machine::default() }))
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
            (r#"{"package": "rocblas", "gpu": "any", "gpu-memory": 4096}"#, "gfx906", true),
            (r#"{"package": "rocblas", "gpu": "any", "gpu-memory": 4194304}"#, "gfx906", false),
        ] {
            assert_eq!(fits(job, gpus, 1024), fit, "{job} on {gpus}");
        }
    }

    #[test]
    fn only_free_gpus_count() {
        let gpus = gpu::simulate("gfx906,gfx1030").expect("targets");
        let machine = Machine { gpus, memory: 4096, ..Machine::default() };
        let with = |gpus: &[&str], without_gpu| {
            let gpus = Some(gpus.iter().map(|&id| id.to_owned()).collect());
            Offer::of(&machine, &Claim { gpus, without_gpu, memory: Some(2048), ..Claim::default() })
        };
        let (one, none) = (with(&["simulated-1"], false), with(&[], true));
        assert_eq!(one.key().free.iter().map(|(target, _)| target.to_string()).collect::<Vec<_>>(), ["gfx1030"]);
        for (job, on_one, on_none) in [
            (r#"{"package": "rocrand", "gpu": ["gfx1030"]}"#, true, false),
            (r#"{"package": "rocrand", "gpu": ["gfx906"]}"#, false, false),
            (r#"{"package": "rccl", "gpu": "any", "gpus": 2}"#, false, false),
            // It would be another test without a GPU.
            (r#"{"package": "gzip"}"#, true, false),
            (r#"{"package": "gzip", "gpu": "none"}"#, false, true),
            (r#"{"package": "gzip", "gpu": "none", "memory": 4096}"#, false, false),
        ] {
            let job: Job = serde_json::from_str(job).expect("a job");
            let need = Need::of(&job);
            assert_eq!((need.fits(&one), need.fits(&none)), (on_one, on_none), "{job:?}");
            assert!(need.fits_machine(&machine));
        }
    }

    #[test]
    fn several_gpus_or_much_memory_are_not_freed_by_one_job() {
        let gpus = gpu::simulate("gfx906,gfx1030").expect("targets");
        let machine = Machine { gpus, memory: 4096, ..Machine::default() };
        for (job, several) in [
            (r#"{"package": "rccl", "gpu": "any", "gpus": 2}"#, true),
            (r#"{"package": "rocrand", "gpu": "any"}"#, false),
            (r#"{"package": "gzip", "gpu": "none", "gpus": 2}"#, false),
            (r#"{"package": "gzip", "gpu": "none", "memory": 2048}"#, false),
            (r#"{"package": "gzip", "gpu": "none", "memory": 2049}"#, true),
        ] {
            let job: Job = serde_json::from_str(job).expect("a job");
            assert_eq!(Need::of(&job).is_of_several(&machine), several, "{job:?}");
        }
    }

    #[test]
    fn needs_have_words() {
        let job: Job =
            serde_json::from_str(r#"{"package": "rccl", "gpu": ["gfx906"], "gpus": 2, "memory": 9}"#).expect("a job");
        assert_eq!(Need::of(&job).words(), "2 GPUs of gfx906 and 9 MiB of memory");
        let job: Job = serde_json::from_str(r#"{"package": "rocblas", "gpu": "any", "gpu-memory": 9}"#).expect("a job");
        assert_eq!(Need::of(&job).words(), "any GPU with 9 MiB");
    }
}
