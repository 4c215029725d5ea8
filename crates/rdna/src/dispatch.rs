//! [`Dispatch`]: a launch of a kernel that is carried out step by step.

use crate::architecture::Architecture;
use crate::code::Code;
use crate::execute::execute;
use crate::launch::{Descriptor, Packet};
use crate::memory::Memory;
use crate::problem::Problem;
use crate::wave::State;
use crate::workgroup::Workgroup;

/// Instructions after which another wave of the workgroup has its turn, as it may be waited for in memory.
const WAVE_TURN: u64 = 4096;

/// How far a launch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There is more to do.
    Runs,
    /// The kernel has ended in all work-items.
    Done,
}

/// A launch. Workgroups run one after the other, in order, so that one may wait for what earlier ones write, as on a GPU.
#[derive(Debug)]
pub struct Dispatch {
    architecture: Architecture,
    packet: Packet,
    /// Address of the packet, and of the queue's structure, for kernels that look into them.
    places: (u64, u64),
    descriptor: Descriptor,
    code: Code,
    /// Number of the next workgroup, and how many there are in each dimension.
    next: u64,
    counts: [u64; 3],
    workgroup: Option<Workgroup>,
    /// The wave that has its turn.
    turn: usize,
    executed: u64,
    limit: u64,
}

impl Dispatch {
    /// A launch as a packet at `packet_address` says, of the queue whose structure (`amd_queue_t`) is at `queue_address`.
    /// The kernel is given `limit` instructions, counted for each wave.
    ///
    /// # Errors
    /// If the packet or the kernel's descriptor says what no GPU would run.
    pub fn new(
        architecture: Architecture,
        packet: Packet,
        packet_address: u64,
        queue_address: u64,
        limit: u64,
        memory: &dyn Memory,
    ) -> Result<Self, Problem> {
        let descriptor = Descriptor::read(packet.kernel, memory)?;
        let counts = [0, 1, 2].map(|index| u64::from(packet.grid[index].div_ceil(packet.workgroup[index])));
        Ok(Self {
            architecture,
            packet,
            places: (packet_address, queue_address),
            descriptor,
            code: Code::new(architecture),
            next: 0,
            counts,
            workgroup: None,
            turn: 0,
            executed: 0,
            limit,
        })
    }

    /// Instructions that were carried out until now; one for a whole wave counts as one.
    pub fn executed(&self) -> u64 {
        self.executed
    }

    /// Carries out some instructions: about `instructions`, or fewer if the kernel ends.
    ///
    /// # Errors
    /// If the kernel can't go on. It is over then.
    pub fn run(&mut self, memory: &dyn Memory, instructions: u64) -> Result<Progress, Problem> {
        let end = self.executed.saturating_add(instructions);
        while self.executed < end {
            if self.workgroup.is_none() && !self.begin_workgroup()? {
                return Ok(Progress::Done);
            }
            self.run_wave(memory, end)?;
        }
        Ok(Progress::Runs)
    }

    /// Begins the next workgroup; false if there is none.
    fn begin_workgroup(&mut self) -> Result<bool, Problem> {
        let [x, y, z] = self.counts;
        if self.next >= x.saturating_mul(y).saturating_mul(z) {
            return Ok(false);
        }
        let place = [self.next % x, self.next / x % y, self.next / x / y];
        let place = place.map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        self.next += 1;
        self.turn = 0;
        self.workgroup = Some(Workgroup::new(self.architecture, &self.packet, &self.descriptor, self.places, place)?);
        Ok(true)
    }

    /// Gives a wave of the workgroup its turn.
    fn run_wave(&mut self, memory: &dyn Memory, end: u64) -> Result<(), Problem> {
        let Some(workgroup) = &mut self.workgroup else { return Ok(()) };
        let count = workgroup.waves.len();
        let next = (0..count).map(|offset| (self.turn + offset) % count);
        let Some(index) = next.into_iter().find(|index| workgroup.waves[*index].state == State::Runs) else {
            if workgroup.waves.iter().all(|wave| wave.state == State::Ended) {
                self.workgroup = None;
                return Ok(());
            }
            // All that are left have come to the barrier.
            for wave in workgroup.waves.iter_mut().filter(|wave| wave.state == State::AtBarrier) {
                wave.state = State::Runs;
            }
            return Ok(());
        };
        self.turn = (index + 1) % count;
        let wave = &mut workgroup.waves[index];
        let end = end.min(self.executed.saturating_add(WAVE_TURN));
        while wave.state == State::Runs && self.executed < end {
            if self.executed >= self.limit {
                return Err(Problem::TooLong { limit: self.limit });
            }
            let address = wave.counter;
            let instruction = self.code.at(address, memory)?;
            wave.counter = address.wrapping_add(instruction.size);
            wave.clock = self.executed;
            self.executed += 1;
            execute(wave, &instruction, memory, &mut workgroup.shared)
                .map_err(|obstacle| obstacle.at(instruction.name, address))?;
        }
        Ok(())
    }
}
