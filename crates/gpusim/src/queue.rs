//! [`Queue`]: a ring of packets in a program's memory, which the GPU carries out.

use rdna::Dispatch;

use crate::kfd_abi::{CreateQueue, ILLEGAL_INSTRUCTION, SaveAreaHeader, TRAP, UNSUPPORTED_PACKET, queue_type};
use crate::memory::{self, Fault, Memory};
use crate::packet::{AQL_PACKET, Packet, Stop, Surroundings};
use crate::{aql, sdma};

/// Most packets that are carried out at once, so that other queues and requests have their turn.
const TURN: u32 = 64;
/// Bytes of moved memory after which a turn ends too.
const TURN_BYTES: u64 = 64 << 20;

/// The two languages of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Aql,
    Sdma,
}

/// A queue.
#[derive(Debug)]
pub(crate) struct Queue {
    language: Language,
    /// Index of its GPU.
    pub(crate) device: usize,
    ring: u64,
    size: u64,
    write_pointer: u64,
    read_pointer: u64,
    save_area: u64,
    read: u64,
    active: bool,
    stopped: bool,
    /// The kernel that runs.
    kernel: Option<Box<Dispatch>>,
}

impl Queue {
    /// A queue as a program describes it; `None` if it is of a kind that is not simulated.
    pub(crate) fn new(arguments: &CreateQueue, device: usize) -> Option<Self> {
        let language = match arguments.queue_type {
            queue_type::COMPUTE_AQL => Language::Aql,
            queue_type::SDMA | queue_type::SDMA_XGMI | queue_type::SDMA_BY_ENGINE => Language::Sdma,
            _ => return None,
        };
        Some(Self {
            language,
            device,
            ring: arguments.ring_base_address,
            size: arguments.ring_size.into(),
            write_pointer: arguments.write_pointer_address,
            read_pointer: arguments.read_pointer_address,
            save_area: arguments.ctx_save_restore_address,
            read: 0,
            active: arguments.queue_percentage != 0,
            stopped: false,
            kernel: None,
        })
    }

    /// Gives it another ring, or stops it while it has none.
    pub(crate) fn update(&mut self, ring: u64, size: u32, percentage: u32) {
        self.active = ring != 0 && size != 0 && percentage != 0;
        if self.active {
            (self.ring, self.size) = (ring, size.into());
        }
    }

    /// Carries out packets; whether there were any.
    pub(crate) fn step(&mut self, around: &mut Surroundings<'_>) -> bool {
        if self.stopped || !self.active {
            return false;
        }
        let Ok(write) = memory::read::<u64>(around.view.memory, self.write_pointer) else {
            self.stopped = true;
            return false;
        };
        let before = self.read;
        let mut runs = false;
        let copied = around.report.copied;
        for _ in 0..TURN {
            // The program may have set it to anything. More than the ring holds was never written.
            let unit = if self.language == Language::Aql { AQL_PACKET } else { 1 };
            let waiting = write.wrapping_sub(self.read);
            if waiting == 0 || waiting > self.size / unit || around.report.copied - copied > TURN_BYTES {
                break;
            }
            let packet = match self.language {
                Language::Aql => {
                    let place = aql::Place { ring: self.ring, size: self.size, write_pointer: self.write_pointer };
                    aql::run(around, &place, self.read, &mut self.kernel)
                }
                Language::Sdma => sdma::run(around, self.ring, self.size, self.read, waiting),
            };
            match packet.unwrap_or_else(|address| Packet::Stops(self.fault(address, around))) {
                Packet::Done(taken) => {
                    self.read = self.read.wrapping_add(taken);
                    if memory::write(around.view.memory, self.read_pointer, &self.read).is_err() {
                        self.stop(Stop::Gone, around);
                        break;
                    }
                }
                Packet::Waits => break,
                Packet::Runs => {
                    runs = true;
                    break;
                }
                Packet::Stops(why) => {
                    self.stop(why, around);
                    break;
                }
            }
        }
        runs || before != self.read
    }

    /// Why an address can't be accessed: a program that ended meanwhile has no memory any more, and did nothing wrong.
    fn fault(&self, address: u64, around: &Surroundings<'_>) -> Stop {
        match memory::read::<u64>(around.view.memory, self.write_pointer) {
            Ok(_) => Stop::Fault(address),
            Err(Fault) => Stop::Gone,
        }
    }

    /// Number of kernels that have begun and not ended: what a program says that does not wait for its kernel counts for
    /// nothing.
    pub(crate) fn unfinished(&self) -> u64 {
        self.kernel.is_some().into()
    }

    fn stop(&mut self, why: Stop, around: &mut Surroundings<'_>) {
        self.stopped = true;
        let unfinished = self.unfinished();
        self.kernel = None;
        match why {
            Stop::Kernel => {
                around.report.refused_kernels += 1;
                self.tell(ILLEGAL_INSTRUCTION, aql::inactive::ILLEGAL_INSTRUCTION, around);
            }
            Stop::Trap => self.tell(TRAP, aql::inactive::TRAP, around),
            Stop::Hang => {
                // It may be the simulation that takes too long: nothing that a program says then counts.
                around.report.refused_kernels += 1;
                around.events.hang(around.gpu_id);
            }
            Stop::Unknown => {
                around.report.unknown_packets += 1;
                match self.language {
                    Language::Aql => self.tell(UNSUPPORTED_PACKET, aql::inactive::INVALID_FORMAT, around),
                    Language::Sdma => around.events.hang(around.gpu_id),
                }
            }
            Stop::Fault(address) => {
                around.report.faults += 1;
                around.events.fault(address, around.gpu_id);
            }
            Stop::Gone => around.report.unfinished_kernels += unfinished,
        }
    }

    /// Reports an error of the queue: as a mask at the place and with the event that stand before the area for saving
    /// it, if the program asked for that by enabling the runtime, or else by the queue's own signal.
    fn tell(&self, mask: u64, signal: u64, around: &mut Surroundings<'_>) {
        let memory = around.view.memory;
        let header = memory::read::<SaveAreaHeader>(memory, self.save_area).ok();
        let place = header.filter(|header| around.has_runtime && header.err_payload_addr != 0);
        // An error that can't be delivered leaves the program waiting, as it would a GPU's.
        match place {
            Some(header) => {
                let _ = or(memory, header.err_payload_addr, mask);
                let _ = around.events.set(header.err_event_id);
            }
            None => {
                let _ = aql::stop(around, self.write_pointer, signal);
            }
        }
    }
}

fn or(memory: &dyn Memory, address: u64, mask: u64) -> Result<(), Fault> {
    let before: u64 = memory::read(memory, address)?;
    memory::write(memory, address, &(before | mask))
}
