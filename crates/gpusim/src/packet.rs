//! Types that AQL and SDMA packets share: what they have effects on ([`Surroundings`]), and how they end ([`Packet`],
//! [`Stop`]).

use crate::address_space::View;
use crate::events::Events;
use crate::report::Report;

/// Bytes of an AQL packet.
pub(crate) const AQL_PACKET: u64 = 64;

/// What comes of a kernel that is launched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kernels {
    /// Its queue stops, and the program is told of an illegal instruction.
    #[default]
    Refuse,
    /// It counts as done, and has done nothing. Programs go on with data that is wrong, so nothing that they say counts.
    Skip,
    /// It runs on the processor, if it is for gfx10 or gfx11, and is refused otherwise.
    Run,
}

/// Why a queue stopped for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// A kernel was launched, or could not go on.
    Kernel,
    /// A kernel ended itself.
    Trap,
    /// A kernel did not end.
    Hang,
    /// A packet that is not known.
    Unknown,
    /// The GPU accessed an address that it has no memory at.
    Fault(u64),
    /// The queue itself is no longer in the program's memory.
    Gone,
}

/// What came of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packet {
    /// It was carried out and took so much of the ring: bytes for SDMA, packets for AQL.
    Done(u64),
    /// It waits for something.
    Waits,
    /// It goes on for longer than one turn.
    Runs,
    /// The queue stops.
    Stops(Stop),
}

/// The clock of the GPU and what packets have effects on.
pub(crate) struct Surroundings<'a> {
    pub(crate) view: View<'a>,
    pub(crate) events: &'a mut Events,
    pub(crate) report: &'a mut Report,
    /// Ticks of the GPU's clock.
    pub(crate) ticks: u64,
    pub(crate) gpu_id: u32,
    /// Major version of the GPU's instruction set.
    pub(crate) major: u8,
    /// Whether the program wants errors as masks at the place that the queue names.
    pub(crate) has_runtime: bool,
    pub(crate) kernels: Kernels,
}
