//! [`Report`]: how far programs came on the simulated GPUs.

use std::collections::BTreeSet;
use std::fmt;

/// What programs did with the GPUs, over all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Requests that were answered.
    pub requests: u64,
    /// Processes that opened KFD.
    pub processes: u64,
    /// Pieces of memory of the GPU, or for it, that were allocated.
    pub allocations: u64,
    /// Queues for kernels and copies.
    pub queues: u64,
    /// Copies and fills that were carried out.
    pub copies: u64,
    /// Bytes that they moved.
    pub copied: u64,
    /// Kernels that were launched and did not run, or could not go on.
    pub refused_kernels: u64,
    /// Kernels that count as done and did nothing, as was asked for.
    pub skipped_kernels: u64,
    /// Kernels that ran on the processor, and had not ended when their program or their queue did.
    pub unfinished_kernels: u64,
    /// Kernels that ran on the processor until their end.
    pub run_kernels: u64,
    /// Instructions of kernels that ran, each of a whole wave.
    pub instructions: u64,
    /// Why the first kernel that could not go on could not.
    pub problem: Option<String>,
    /// Accesses to memory that the GPU had not, which end the program.
    pub faults: u64,
    /// Packets that the queues don't know; each has stopped its queue.
    pub unknown_packets: u64,
    /// Requests that are not simulated: file and number.
    pub unknown_requests: BTreeSet<(u8, u8)>,
}

impl Report {
    /// Whether anything was asked of the GPU that it could not do, so that nothing a program says about it counts.
    pub fn refused(&self) -> bool {
        self.refused_kernels > 0 || self.skipped_kernels > 0 || self.unfinished_kernels > 0 || self.unknown_packets > 0
    }

    /// The furthest that was reached, for people.
    pub fn milestone(&self) -> &'static str {
        match self {
            Self { refused_kernels: 1.., problem: Some(_), .. } => "reached a kernel that cannot be interpreted",
            Self { refused_kernels: 1.., .. } => "reached the first kernel launch",
            Self { skipped_kernels: 1.., .. } => "went on after kernels that did not run",
            Self { unfinished_kernels: 1.., .. } => "ended before a kernel did",
            Self { unknown_packets: 1.., .. } => "reached a command that is not simulated",
            Self { faults: 1.., .. } => "accessed memory that the GPU does not have",
            Self { run_kernels: 1.., .. } => "ran kernels, interpreted on the processor",
            Self { copies: 1.., .. } => "copied memory to or from the GPU",
            Self { queues: 1.., .. } => "made a queue",
            Self { allocations: 1.., .. } => "allocated memory for the GPU",
            Self { processes: 1.., .. } => "opened the GPU",
            Self { requests: 1.., .. } => "asked about the GPU",
            _ => "did not use the GPU",
        }
    }

    /// Adds what another report says.
    pub fn add(&mut self, other: &Self) {
        for (ours, theirs) in [
            (&mut self.requests, other.requests),
            (&mut self.processes, other.processes),
            (&mut self.allocations, other.allocations),
            (&mut self.queues, other.queues),
            (&mut self.copies, other.copies),
            (&mut self.copied, other.copied),
            (&mut self.refused_kernels, other.refused_kernels),
            (&mut self.skipped_kernels, other.skipped_kernels),
            (&mut self.unfinished_kernels, other.unfinished_kernels),
            (&mut self.run_kernels, other.run_kernels),
            (&mut self.instructions, other.instructions),
            (&mut self.faults, other.faults),
            (&mut self.unknown_packets, other.unknown_packets),
        ] {
            *ours = ours.saturating_add(theirs);
        }
        self.problem = self.problem.take().or_else(|| other.problem.clone());
        self.unknown_requests.extend(other.unknown_requests.iter().copied());
    }
}

impl fmt::Display for Report {
    /// One line: the milestone and the counts behind it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (requests {}, copies {}", self.milestone(), self.requests, self.copies)?;
        if self.copied > 0 {
            write!(f, " of {} bytes", self.copied)?;
        }
        write!(f, ", kernels refused {}", self.refused_kernels)?;
        if self.skipped_kernels > 0 {
            write!(f, ", skipped {}", self.skipped_kernels)?;
        }
        if self.unfinished_kernels > 0 {
            write!(f, ", unfinished {}", self.unfinished_kernels)?;
        }
        if self.run_kernels > 0 || self.instructions > 0 {
            write!(f, ", interpreted {} of {} instructions", self.run_kernels, self.instructions)?;
        }
        if self.faults > 0 {
            write!(f, ", memory faults {}", self.faults)?;
        }
        if !self.unknown_requests.is_empty() {
            let names =
                self.unknown_requests.iter().map(|(kind, number)| format!("{}:{number:#04x}", char::from(*kind)));
            write!(f, ", requests not simulated {}", names.collect::<Vec<_>>().join(" "))?;
        }
        write!(f, ")")?;
        match &self.problem {
            Some(problem) => write!(f, "; a kernel could not go on: {problem}"),
            None => Ok(()),
        }
    }
}
