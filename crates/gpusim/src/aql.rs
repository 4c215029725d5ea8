//! AQL packets (HSA Platform System Architecture, section 2.9; `ROCr`'s `amd_hsa_queue.h` and `amd_hsa_signal.h`).
//!
//! Barriers are carried out; so are commands that only look after caches, as there are none. A kernel dispatch stops the
//! queue, unless kernels are skipped or run.

use rdna::Dispatch;

use crate::kernel;
use crate::packet::{AQL_PACKET, Kernels, Packet, Stop, Surroundings};

/// `hsa_packet_type_t`, the low byte of a packet's header.
mod packet {
    pub(super) const VENDOR: u8 = 0;
    pub(super) const INVALID: u8 = 1;
    pub(super) const KERNEL_DISPATCH: u8 = 2;
    pub(super) const BARRIER_AND: u8 = 3;
    pub(super) const BARRIER_OR: u8 = 5;
}

/// `amd_aql_format8_t`, the third byte of packets of the vendor.
mod format {
    pub(super) const PM4: u8 = 1;
    pub(super) const BARRIER_VALUE: u8 = 2;
}

/// Bits of the value that a queue's own signal is set to when it stops (`AqlQueue::DynamicQueueEventsHandler`).
pub(crate) mod inactive {
    pub(crate) const TRAP: u64 = 1 << 31;
    pub(crate) const INVALID_FORMAT: u64 = 1 << 5;
    pub(crate) const ILLEGAL_INSTRUCTION: u64 = 1 << 30;
}

/// Offsets in `amd_queue_t`: of the write index, to which a queue's write pointer points, and of its own signal.
const WRITE_INDEX: u64 = 0x38;
const INACTIVE_SIGNAL: u64 = 0xc0;
/// Most double words of commands for caches.
const MOST_COMMANDS: u64 = 4096;

/// Where a queue is in the program's memory.
pub(crate) struct Place {
    pub(crate) ring: u64,
    /// Bytes of the ring.
    pub(crate) size: u64,
    pub(crate) write_pointer: u64,
}

/// Carries out the packet with this index, or some more of the kernel that it launched. The error is an address that the
/// GPU has no memory at.
pub(crate) fn run(
    around: &mut Surroundings<'_>,
    place: &Place,
    index: u64,
    kernel: &mut Option<Box<Dispatch>>,
) -> Result<Packet, u64> {
    let places = (place.size / AQL_PACKET).max(1);
    let at = place.ring.checked_add(index % places * AQL_PACKET).ok_or(place.ring)?;
    let mut bytes = [0; AQL_PACKET as usize];
    around.view.read(at, &mut bytes)?;
    let fields: [u64; 8] =
        std::array::from_fn(|field| bytes.as_chunks().0.get(field).map_or(0, |bytes| u64::from_le_bytes(*bytes)));
    let [kind, _, vendor, ..] = bytes;
    let [_, first, second, third, fourth, fifth, _, completion] = fields;
    match kind {
        packet::INVALID => return Ok(Packet::Waits),
        packet::KERNEL_DISPATCH => match around.kernels {
            Kernels::Refuse => return Ok(Packet::Stops(Stop::Kernel)),
            Kernels::Skip => around.report.skipped_kernels += 1,
            Kernels::Run => {
                match kernel::run(around, kernel, &bytes, at, place.write_pointer.wrapping_sub(WRITE_INDEX)) {
                    Packet::Done(_) => {}
                    other => return Ok(other),
                }
            }
        },
        packet::BARRIER_AND | packet::BARRIER_OR => {
            let mut signals =
                [first, second, third, fourth, fifth].into_iter().filter(|signal| *signal != 0).peekable();
            let is_zero = |signal: u64| value(around, signal).map(|value| value == 0);
            let mut met = kind == packet::BARRIER_AND || signals.peek().is_none();
            for signal in signals {
                met = if kind == packet::BARRIER_AND { met && is_zero(signal)? } else { met || is_zero(signal)? };
            }
            if !met {
                return Ok(Packet::Waits);
            }
        }
        packet::VENDOR if vendor == format::BARRIER_VALUE => {
            let [condition, ..] = fifth_half(&bytes);
            let found = (value(around, first)? & third).cast_signed();
            let wanted = second.cast_signed();
            let met = match condition {
                0 => found == wanted,
                1 => found != wanted,
                2 => found < wanted,
                3 => found >= wanted,
                _ => return Ok(Packet::Stops(Stop::Unknown)),
            };
            if !met {
                return Ok(Packet::Waits);
            }
        }
        packet::VENDOR if vendor == format::PM4 => {
            if !is_about_caches(around, &bytes)? {
                return Ok(Packet::Stops(Stop::Unknown));
            }
        }
        _ => return Ok(Packet::Stops(Stop::Unknown)),
    }
    complete(around, completion)?;
    around.view.write(at, &[packet::INVALID, 0])?;
    Ok(Packet::Done(1))
}

/// The first bytes after the fourth field: the condition of a barrier on a value.
fn fifth_half(bytes: &[u8; AQL_PACKET as usize]) -> [u8; 4] {
    bytes.as_chunks::<4>().0.get(8).copied().unwrap_or_default()
}

/// The value of a signal (`amd_signal_t`).
fn value(around: &Surroundings<'_>, signal: u64) -> Result<u64, u64> {
    around.view.read_u64(signal.checked_add(8).ok_or(signal)?)
}

/// Subtracts one from a packet's signal, notes when, and wakes who waits for it.
fn complete(around: &mut Surroundings<'_>, signal: u64) -> Result<(), u64> {
    if signal == 0 {
        return Ok(());
    }
    let field = |offset| signal.checked_add(offset).ok_or(signal);
    around.view.write_u64(field(32)?, around.ticks)?;
    around.view.write_u64(field(40)?, around.ticks)?;
    let before = around.view.read_u64(field(8)?)?;
    around.view.write_u64(field(8)?, before.wrapping_sub(1))?;
    wake(around, signal)
}

/// Tells the event of a signal, if it has one.
fn wake(around: &mut Surroundings<'_>, signal: u64) -> Result<(), u64> {
    let field = |offset| signal.checked_add(offset).ok_or(signal);
    let mailbox = around.view.read_u64(field(16)?)?;
    if mailbox != 0 {
        let event = around.view.read_u32(field(24)?)?;
        around.view.write_u64(mailbox, event.into())?;
        // The interrupt of an event that is gone is dropped.
        let _ = around.events.set(event);
    }
    Ok(())
}

/// Sets a queue's own signal to the reason why it stopped. `write_pointer` points into its `amd_queue_t`.
pub(crate) fn stop(around: &mut Surroundings<'_>, write_pointer: u64, reason: u64) -> Result<(), u64> {
    let queue = write_pointer.checked_sub(WRITE_INDEX).ok_or(write_pointer)?;
    let signal = around.view.read_u64(queue.checked_add(INACTIVE_SIGNAL).ok_or(queue)?)?;
    if signal == 0 {
        return Ok(());
    }
    around.view.write_u64(signal.checked_add(8).ok_or(signal)?, reason)?;
    wake(around, signal)
}

/// Whether a packet's PM4 commands only look after caches: then there is nothing to do.
fn is_about_caches(around: &Surroundings<'_>, packet: &[u8; AQL_PACKET as usize]) -> Result<bool, u64> {
    const INDIRECT_BUFFER: u32 = 0x3f;
    const NOP: u32 = 0x10;
    const ACQUIRE_MEM: u32 = 0x58;
    let word = |index: usize| packet.as_chunks().0.get(index).map_or(0, |bytes| u32::from_le_bytes(*bytes));
    // Bits 8 to 15 of a command's header are its number, 16 to 29 how many words follow, less one.
    let number = |header: u32| header >> 8 & 0xff;
    if number(word(1)) != INDIRECT_BUFFER {
        return Ok(false);
    }
    let base = u64::from(word(2) & !3) | u64::from(word(3) & 0xffff) << 32;
    let words = u64::from(word(4) & 0xf_ffff);
    let mut at = 0;
    while at < words.min(MOST_COMMANDS) {
        let header = around.view.read_u32(base.checked_add(at * 4).ok_or(base)?)?;
        if header >> 30 != 3 || !matches!(number(header), NOP | ACQUIRE_MEM) {
            return Ok(false);
        }
        at += u64::from(header >> 16 & 0x3fff) + 2;
    }
    Ok(words <= MOST_COMMANDS)
}
