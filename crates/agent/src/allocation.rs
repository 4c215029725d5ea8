//! [`Allocation`]: which GPUs of a machine, and how many parts of its memory and processes, each running job has.
//!
//! A machine is divided into as many equal parts as jobs may run at once. A job has a part for each of its GPUs, or more
//! if it asks for more memory than these have; a job without a GPU has one. What a job has does not depend on how many
//! others run, so its result is the same beside others as alone.

use std::collections::{BTreeMap, BTreeSet};

use gpu::{Gpu, Inventory, Target};
use protocol::{GpuNeed, Job, Machine};

/// Processors and memory in MiB that the machine has for each job, where jobs without GPUs run beside others.
const BESIDE: (u64, u64) = (4, 8 << 10);

/// The least memory of a part, in MiB, unless the number of parts is set.
const LEAST_MEMORY: u64 = 1024;

/// A part of a machine: its GPUs, and a fraction of everything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The GPUs, in the machine's order.
    pub gpus: Vec<Gpu>,
    /// How many of the machine's parts.
    pub parts: u32,
    /// Into how many parts the machine is divided.
    pub of: u32,
}

impl Share {
    /// Ids of the GPUs.
    pub fn ids(&self) -> Vec<String> {
        self.gpus.iter().map(|gpu| gpu.id.clone()).collect()
    }

    /// This fraction of a number.
    pub fn of_number(&self, whole: u64) -> u64 {
        let fraction = u128::from(whole) * u128::from(self.parts) / u128::from(self.of.max(1));
        u64::try_from(fraction).unwrap_or(whole)
    }
}

/// Whether a job can begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// Now, with this share.
    Now(Share),
    /// Once other jobs have ended.
    Later,
    /// Not on this machine.
    Never(Unsuitable),
}

/// Why a machine cannot run a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsuitable {
    /// It lacks the GPUs.
    #[error("it needs {}{need}{}, and this machine has {}", times(*.count), with(*.memory), listed(.there, .memory.is_some()))]
    Gpus {
        /// What the job needs.
        need: GpuNeed,
        /// MiB that each of them has to have.
        memory: Option<u64>,
        /// How many of them.
        count: usize,
        /// Targets of the machine's GPUs, and their memory in MiB.
        there: Vec<(Target, u64)>,
    },
    /// It has too little memory.
    #[error("it needs {needed} MiB of memory, and this machine has {there} MiB")]
    Memory {
        /// MiB that the job needs.
        needed: u64,
        /// MiB that the machine has.
        there: u64,
    },
}

fn times(count: usize) -> String {
    if count > 1 { format!("{count} times ") } else { String::new() }
}

fn with(memory: Option<u64>) -> String {
    memory.map(|memory| format!(" with {memory} MiB")).unwrap_or_default()
}

fn listed(gpus: &[(Target, u64)], memory_matters: bool) -> String {
    if gpus.is_empty() {
        return "no GPU that can be used".to_owned();
    }
    let word = |(target, memory): &(Target, u64)| format!("{target}{}", with(memory_matters.then_some(*memory)));
    gpus.iter().map(word).collect::<Vec<_>>().join(", ")
}

/// What can be given to jobs now, for a source that chooses among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Ids of the free GPUs.
    pub gpus: Vec<String>,
    /// Whether a job without a GPU can begin.
    pub without_gpu: bool,
    /// MiB of memory that no job has.
    pub memory: u64,
    /// Whether nothing runs, so that this is the whole machine.
    pub is_all: bool,
}

/// What a running job has.
#[derive(Debug, Clone)]
struct Held {
    share: Share,
    alone: bool,
}

/// The parts of a machine, and who has them.
#[derive(Debug, Clone)]
pub struct Allocation {
    inventory: Inventory,
    /// Memory for jobs, in MiB.
    memory: u64,
    parts: u32,
    /// How many jobs without GPUs may run at once.
    without_gpu: usize,
    set_aside: BTreeSet<String>,
    held: BTreeMap<String, Held>,
}

impl Allocation {
    /// Divides a machine. `most` is how many jobs may run at once; if it is not given, one for each GPU that there is
    /// memory for, and jobs without GPUs beside them where there are processors and memory for it.
    pub fn new(machine: &Machine, most: Option<u32>) -> Self {
        let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let gpus = count(machine.gpus.gpus.len() as u64);
        let room = (u64::from(machine.processors) / BESIDE.0).min(machine.memory / BESIDE.1);
        let (parts, beside) = if let Some(most) = most {
            (most.max(1), most.saturating_sub(gpus))
        } else {
            let beside = count(room).saturating_sub(gpus).min(gpus);
            (gpus.saturating_add(beside).min(count(machine.memory / LEAST_MEMORY)).max(1), beside)
        };
        Self {
            inventory: machine.gpus.clone(),
            memory: machine.memory,
            parts,
            without_gpu: beside.max(1) as usize,
            set_aside: BTreeSet::new(),
            held: BTreeMap::new(),
        }
    }

    /// Whether a job can begin. One that is to run `alone` waits until no other runs, and others wait for it.
    pub fn fit(&self, job: &Job, alone: bool) -> Fit {
        let usable: Vec<&Gpu> =
            job.usable_gpus(&self.inventory).into_iter().filter(|gpu| !self.set_aside.contains(&gpu.id)).collect();
        let asked = job.gpus as usize;
        if job.gpu.is_required() && usable.len() < asked {
            let there = self.inventory.gpus.iter().map(|gpu| (gpu.target, gpu.usable_memory() >> 20)).collect();
            let (need, memory) = (job.gpu.clone(), job.gpu_memory);
            return Fit::Never(Unsuitable::Gpus { need, memory, count: asked, there });
        }
        if let Some(needed) = job.memory.filter(|needed| *needed > self.memory) {
            return Fit::Never(Unsuitable::Memory { needed, there: self.memory });
        }
        let wanted = if job.gpu == GpuNeed::None { 0 } else { asked.min(usable.len()) };
        let parts = self.parts_of(wanted, job.memory.unwrap_or(0));
        let is_blocked = self.held.values().any(|held| held.alone) || alone && !self.held.is_empty();
        if is_blocked || parts > self.free_parts() || wanted == 0 && !self.has_room_without_gpu() {
            return Fit::Later;
        }
        let free: Vec<&Gpu> = usable.into_iter().filter(|gpu| self.is_free(gpu)).collect();
        match choose(&free, wanted) {
            Some(gpus) => Fit::Now(Share { gpus, parts, of: self.parts }),
            None => Fit::Later,
        }
    }

    /// Gives a share to a job, under the name of its assignment.
    pub fn take(&mut self, name: &str, share: Share, alone: bool) {
        self.held.insert(name.to_owned(), Held { share, alone });
    }

    /// Takes the share back.
    pub fn release(&mut self, name: &str) {
        self.held.remove(name);
    }

    /// Gives these GPUs to no more jobs.
    pub fn set_aside(&mut self, gpus: impl IntoIterator<Item = String>) {
        self.set_aside.extend(gpus);
    }

    /// Ids of the GPUs that jobs have.
    pub fn busy(&self) -> BTreeSet<String> {
        self.held.values().flat_map(|held| held.share.ids()).collect()
    }

    /// Whether no job runs.
    pub fn is_idle(&self) -> bool {
        self.held.is_empty()
    }

    /// What can be given to another job; `None` if that is nothing.
    pub fn offer(&self) -> Option<Offer> {
        let parts = self.free_parts();
        if parts == 0 || self.held.values().any(|held| held.alone) {
            return None;
        }
        let usable = self.inventory.gpus.iter().filter(|gpu| !self.set_aside.contains(&gpu.id));
        let gpus: Vec<String> = usable.filter(|gpu| self.is_free(gpu)).map(|gpu| gpu.id.clone()).collect();
        let without_gpu = self.has_room_without_gpu();
        let memory = Share { gpus: Vec::new(), parts, of: self.parts }.of_number(self.memory);
        let is_all = self.held.is_empty() && self.set_aside.is_empty();
        (without_gpu || !gpus.is_empty()).then_some(Offer { gpus, without_gpu, memory, is_all })
    }

    /// How many parts a job has that has so many GPUs and needs so many MiB.
    fn parts_of(&self, gpus: usize, memory: u64) -> u32 {
        let for_memory = memory.saturating_mul(u64::from(self.parts)).div_ceil(self.memory.max(1));
        let wanted = for_memory.max(gpus as u64).max(1);
        u32::try_from(wanted).unwrap_or(u32::MAX).min(self.parts)
    }

    fn free_parts(&self) -> u32 {
        self.parts.saturating_sub(self.held.values().map(|held| held.share.parts).sum())
    }

    fn has_room_without_gpu(&self) -> bool {
        self.held.values().filter(|held| held.share.gpus.is_empty()).count() < self.without_gpu
    }

    fn is_free(&self, gpu: &Gpu) -> bool {
        !self.held.values().any(|held| held.share.gpus.iter().any(|other| other.id == gpu.id))
    }
}

/// What GPUs have in common that are better used together: an XGMI hive, the device that they are partitions of, or else
/// the socket (NUMA node) that they are connected to.
fn group(gpu: &Gpu) -> Option<String> {
    let hive = gpu.xgmi.as_ref().and_then(|xgmi| xgmi.hive.clone());
    let device = || gpu.partition.as_ref().and(gpu.pci_address).map(|address| address.to_string());
    hive.or_else(device).or_else(|| gpu.numa_node.map(|node| format!("node {node}")))
}

/// Chooses so many of the free GPUs; `None` if there are too few. They come from one group if one has enough, and then
/// from the one with the fewest, so that larger ones stay whole.
fn choose(free: &[&Gpu], wanted: usize) -> Option<Vec<Gpu>> {
    if free.len() < wanted {
        return None;
    }
    let mut groups: Vec<(Option<String>, Vec<usize>)> = Vec::new();
    for (place, gpu) in free.iter().enumerate() {
        let name = group(gpu);
        match groups.iter_mut().find(|(other, _)| *other == name) {
            Some((_, members)) => members.push(place),
            None => groups.push((name, vec![place])),
        }
    }
    let smallest = groups.iter().map(|(_, members)| members).filter(|members| members.len() >= wanted);
    let mut places: Vec<usize> = if let Some(members) = smallest.min_by_key(|members| members.len()) {
        members.iter().copied().take(wanted).collect()
    } else {
        groups.sort_by_key(|(_, members)| std::cmp::Reverse(members.len()));
        groups.into_iter().flat_map(|(_, members)| members).take(wanted).collect()
    };
    places.sort_unstable();
    Some(places.into_iter().filter_map(|place| free.get(place).map(|gpu| (*gpu).clone())).collect())
}

#[cfg(test)]
mod tests;
