//! [`Process`]: what KFD keeps for a process that has it open.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::address_space::{AddressSpace, View};
use crate::device::Machine;
use crate::events::Events;
use crate::memory::Memory;
use crate::packet::{Kernels, Surroundings};
use crate::queue::Queue;
use crate::report::Report;

/// A process with its memory for GPUs, events and queues.
pub(crate) struct Process {
    pub(crate) memory: Box<dyn Memory>,
    pub(crate) space: AddressSpace,
    pub(crate) events: Events,
    pub(crate) queues: BTreeMap<u32, Queue>,
    /// GPUs whose address space it has acquired, one bit for each index.
    pub(crate) acquired: u64,
    pub(crate) last_queue: u32,
    /// Whether it enabled the runtime, and so is told of errors where its queues say.
    pub(crate) has_runtime: bool,
    pub(crate) opened_kfd: bool,
    pub(crate) report: Report,
}

impl Process {
    pub(crate) fn new(memory: Box<dyn Memory>) -> Self {
        Self {
            memory,
            space: AddressSpace::default(),
            events: Events::default(),
            queues: BTreeMap::new(),
            acquired: 0,
            last_queue: 0,
            has_runtime: false,
            opened_kfd: false,
            report: Report::default(),
        }
    }

    /// Carries out what stands in the queues; whether there was anything.
    pub(crate) fn step(&mut self, machine: &Machine, kernels: Kernels, now: Duration) -> bool {
        let Self { memory, space, events, queues, report, has_runtime, .. } = self;
        let mut busy = false;
        for queue in queues.values_mut() {
            let Some(device) = machine.devices().get(queue.device) else { continue };
            let mut around = Surroundings {
                view: View { space, memory: memory.as_ref(), device: queue.device },
                events,
                report,
                ticks: ticks(now),
                gpu_id: device.gpu_id,
                major: device.major(),
                has_runtime: *has_runtime,
                kernels,
            };
            busy |= queue.step(&mut around);
        }
        busy
    }
}

/// Ticks of a GPU's clock, which has 100 MHz.
pub(crate) fn ticks(now: Duration) -> u64 {
    u64::try_from(now.as_nanos() / 10).unwrap_or(u64::MAX)
}
