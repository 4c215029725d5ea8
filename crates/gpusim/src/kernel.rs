//! Kernels that run on the processor, a piece at a time.

use rdna::{Architecture, Dispatch, Problem, Progress};

use crate::address_space::View;
use crate::packet::{AQL_PACKET, Packet, Stop, Surroundings};

/// Instructions that are carried out at once: some milliseconds, so that requests and other queues have their turn.
const TURN: u64 = 20_000;
/// Most instructions of one launch, each of a whole wave: some minutes.
const LIMIT: u64 = if cfg!(test) { 200_000 } else { 2_000_000_000 };

/// What kernels see of the program's memory.
struct KernelMemory<'a>(View<'a>);

impl rdna::Memory for KernelMemory<'_> {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), rdna::Fault> {
        self.0.read(address, bytes).map_err(|address| rdna::Fault { address })
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), rdna::Fault> {
        self.0.write(address, bytes).map_err(|address| rdna::Fault { address })
    }
}

/// Runs some more of the kernel that a packet launches; `kernel` has it while it runs. `at` is where the packet is, `queue`
/// where the structure of its queue is. [`Packet::Done`] means that the kernel has ended well.
pub(crate) fn run(
    around: &mut Surroundings<'_>,
    kernel: &mut Option<Box<Dispatch>>,
    packet: &[u8; AQL_PACKET as usize],
    at: u64,
    queue: u64,
) -> Packet {
    let Some(architecture) = Architecture::of_major(around.major) else { return Packet::Stops(Stop::Kernel) };
    let memory = KernelMemory(around.view);
    let dispatch = if let Some(dispatch) = kernel {
        dispatch
    } else {
        let launched = rdna::Packet::parse(packet)
            .and_then(|packet| Dispatch::new(architecture, packet, at, queue, LIMIT, &memory));
        match launched {
            Ok(launched) => kernel.insert(Box::new(launched)),
            Err(_) if is_gone(around, queue) => return Packet::Stops(Stop::Gone),
            Err(problem) => return stop(around, &problem),
        }
    };
    let before = dispatch.executed();
    let progress = dispatch.run(&memory, TURN);
    around.report.instructions += dispatch.executed() - before;
    match progress {
        Ok(Progress::Runs) => return Packet::Runs,
        Ok(Progress::Done) => around.report.run_kernels += 1,
        Err(_) if is_gone(around, queue) => return Packet::Stops(Stop::Gone),
        Err(problem) => return stop(around, &problem),
    }
    *kernel = None;
    Packet::Done(1)
}

/// Whether the program was killed meanwhile: it has no memory any more, and its kernel did nothing wrong.
fn is_gone(around: &Surroundings<'_>, queue: u64) -> bool {
    around.view.memory.read(queue, &mut [0; 8]).is_err()
}

/// What the program is told of a kernel that can't go on. People are told all of the first one.
fn stop(around: &mut Surroundings<'_>, problem: &Problem) -> Packet {
    around.report.problem.get_or_insert_with(|| problem.to_string());
    Packet::Stops(match problem {
        Problem::Fault { fault, .. } => Stop::Fault(fault.address),
        Problem::NoCode { address } => Stop::Fault(*address),
        Problem::Trap { .. } => Stop::Trap,
        Problem::TooLong { .. } => Stop::Hang,
        Problem::UnknownInstruction { .. } | Problem::Unsupported { .. } | Problem::Launch(_) => Stop::Kernel,
    })
}
