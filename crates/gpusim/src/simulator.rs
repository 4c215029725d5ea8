//! [`Simulator`]: the GPUs, and all processes that use them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::device::Machine;
use crate::drm;
use crate::errno::Errno;
use crate::kfd::{self, Context, Progress};
use crate::memory::Memory;
use crate::packet::Kernels;
use crate::process::Process;
use crate::queue::Queue;
use crate::report::Report;
use crate::request::{DRM, KFD, Node, Request};

/// The answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The request is done; what it answers is in the program's memory.
    Now(Result<(), Errno>),
    /// [`Simulator::step`] has the answer later.
    Later,
}

/// The answer to a request that waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// What [`Simulator::ioctl`] was given for it.
    pub token: u64,
    /// The answer.
    pub result: Result<(), Errno>,
}

/// The simulated GPUs with the processes that use them, each named by a number of the caller's.
pub struct Simulator {
    machine: Machine,
    kernels: Kernels,
    processes: BTreeMap<u64, Process>,
    /// Of processes that have ended.
    report: Report,
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator").field("machine", &self.machine).finish_non_exhaustive()
    }
}

impl Simulator {
    /// GPUs that no process uses yet.
    pub fn new(machine: Machine, kernels: Kernels) -> Self {
        Self { machine, kernels, processes: BTreeMap::new(), report: Report::default() }
    }

    /// The GPUs.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Whether the process is known.
    pub fn has(&self, process: u64) -> bool {
        self.processes.contains_key(&process)
    }

    /// A new process with its memory. One that has the same name is forgotten.
    pub fn enter(&mut self, process: u64, memory: Box<dyn Memory>) {
        self.leave(process);
        self.processes.insert(process, Process::new(memory));
    }

    /// A process has ended or executes another program: all that it had is given back.
    pub fn leave(&mut self, process: u64) {
        if let Some(mut gone) = self.processes.remove(&process) {
            gone.report.unfinished_kernels += gone.queues.values().map(Queue::unfinished).sum::<u64>();
            self.report.add(&gone.report);
        }
    }

    /// Answers a request of a process that has entered. `now` is the time since the machine started; `token` is the name of
    /// the request if its answer comes later.
    pub fn ioctl(&mut self, process: u64, request: &Request, token: u64, now: Duration) -> Answer {
        let used = |process: &Process, device| process.space.used(device);
        let devices = 0..self.machine.devices().len();
        let others = || self.processes.iter().filter(|(name, _)| **name != process).map(|(_, process)| process);
        let taken: Vec<u64> = devices.map(|device| others().map(|other| used(other, device)).sum()).collect();
        let Some(process) = self.processes.get_mut(&process) else { return Answer::Now(Err(Errno::BadDescriptor)) };
        process.report.requests += 1;
        let mut bytes = vec![0; request.size()];
        if request.is_read() && process.memory.read(request.argument, &mut bytes).is_err() {
            return Answer::Now(Err(Errno::BadAddress));
        }
        let context = Context { machine: &self.machine, taken: &taken, now, token, argument: request.argument };
        let result = match (request.node, request.kind()) {
            (Node::Kfd, KFD) => {
                if !process.opened_kfd {
                    process.opened_kfd = true;
                    process.report.processes += 1;
                }
                kfd::answer(process, &context, request.index(), &mut bytes)
            }
            (Node::Dri(device), DRM) => {
                drm::answer(process, &context, device, request.index(), &mut bytes).map(|()| Progress::Done)
            }
            _ => Err(Errno::NoSuchRequest),
        };
        match result {
            Ok(Progress::Waits) => Answer::Later,
            Ok(Progress::Done) if request.is_written() => {
                Answer::Now(process.memory.write(request.argument, &bytes).map_err(|_| Errno::BadAddress))
            }
            Ok(Progress::Done) => Answer::Now(Ok(())),
            Err(error) => Answer::Now(Err(error)),
        }
    }

    /// Forgets a request whose answer nobody waits for any more.
    pub fn forget(&mut self, process: u64, token: u64) {
        if let Some(process) = self.processes.get_mut(&process) {
            process.events.forget(token);
        }
    }

    /// Carries out what stands in all queues. Returns the requests that ended, and whether a queue had anything.
    pub fn step(&mut self, now: Duration) -> (Vec<Ended>, bool) {
        let mut busy = false;
        let mut ended = Vec::new();
        for process in self.processes.values_mut() {
            busy |= process.step(&self.machine, self.kernels, now);
            let done = process.events.ended(process.memory.as_ref(), now);
            ended.extend(done.into_iter().map(|(token, result)| Ended { token, result }));
        }
        (ended, busy)
    }

    /// Whether there are queues, so that [`Simulator::step`] has to be called again and again.
    pub fn has_queues(&self) -> bool {
        self.processes.values().any(|process| !process.queues.is_empty())
    }

    /// When a waiting request ends though nothing happens, as time since the machine started.
    pub fn next_end(&self) -> Option<Duration> {
        self.processes.values().filter_map(|process| process.events.next_end()).min()
    }

    /// What was done with the GPUs until now.
    pub fn report(&self) -> Report {
        let mut report = self.report.clone();
        for process in self.processes.values() {
            report.add(&process.report);
        }
        report
    }
}

#[cfg(test)]
#[path = "simulator_tests.rs"]
mod tests;
