//! [`Workgroup`]: the waves that share memory and wait for each other, and what is in their registers at the start.

use crate::architecture::Architecture;
use crate::execute::PRIVATE_BUFFER;
use crate::launch::{Descriptor, Given, Packet};
use crate::operand::register;
use crate::problem::Problem;
use crate::wave::Wave;

/// Most scalar registers that can be filled at the start.
const MOST_REGISTERS: u8 = 32;

/// A workgroup that runs.
#[derive(Debug)]
pub(crate) struct Workgroup {
    pub(crate) waves: Vec<Wave>,
    /// Its memory (LDS).
    pub(crate) shared: Vec<u8>,
}

impl Workgroup {
    /// The workgroup at a place of the grid. `places` are the addresses of the packet and of the queue's structure.
    pub(crate) fn new(
        architecture: Architecture,
        packet: &Packet,
        descriptor: &Descriptor,
        places: (u64, u64),
        place: [u32; 3],
    ) -> Result<Self, Problem> {
        // The last workgroups have the items that are left.
        let size = [0, 1, 2].map(|index| {
            let begin = place[index].saturating_mul(packet.workgroup[index]);
            packet.grid[index].saturating_sub(begin).min(packet.workgroup[index])
        });
        let items = size.iter().product::<u32>();
        let lanes = descriptor.lanes;
        let private_size = packet.private_size.max(descriptor.private_size) as usize;
        let count = (items as usize).div_ceil(lanes);
        let mut waves = Vec::with_capacity(count);
        for index in 0..count {
            let mut wave = Wave::new(architecture, lanes, descriptor.registers, descriptor.code, private_size);
            wave.mode = descriptor.mode;
            let first = (index * lanes) as u32;
            let active = (items - first).min(lanes as u32);
            wave.set_mask(register::EXEC, if active == 64 { u64::MAX } else { (1 << active) - 1 });
            fill_scalars(&mut wave, packet, descriptor, places, place)?;
            for lane in 0..lanes {
                let item = first + lane as u32;
                let item = [item % size[0], item / size[0] % size[1], item / size[0] / size[1]];
                fill_items(&mut wave, descriptor, lane, item);
            }
            waves.push(wave);
        }
        let shared = vec![0; packet.group_size.max(descriptor.group_size) as usize];
        Ok(Self { waves, shared })
    }
}

fn fill_scalars(
    wave: &mut Wave,
    packet: &Packet,
    descriptor: &Descriptor,
    (packet_address, queue_address): (u64, u64),
    place: [u32; 3],
) -> Result<(), Problem> {
    let mut next = 0;
    for (what, registers) in Given::ALL {
        if !descriptor.gives(what) {
            continue;
        }
        match what {
            Given::PrivateBuffer => {
                for (number, word) in (next..).zip(PRIVATE_BUFFER) {
                    wave.set_scalar(number, word);
                }
            }
            Given::Packet => wave.set_scalar_pair(next, packet_address),
            Given::Queue => wave.set_scalar_pair(next, queue_address),
            Given::Arguments => wave.set_scalar_pair(next, packet.arguments),
            // Work-items' own memory is found without them.
            Given::DispatchId | Given::FlatScratch => wave.set_scalar_pair(next, 0),
            Given::PrivateSize => wave.set_scalar(next, packet.private_size),
        }
        next += registers;
    }
    if descriptor.user_registers > MOST_REGISTERS || next > descriptor.user_registers {
        return Err(Problem::Launch("it has more in registers than there are for it"));
    }
    next = descriptor.user_registers;
    for (has, number) in descriptor.has_place.into_iter().zip(place) {
        if has {
            wave.set_scalar(next, number);
            next += 1;
        }
    }
    if descriptor.has_group_information {
        return Err(Problem::Launch("it wants to know about its waves, which is not known here"));
    }
    // In gfx10 the offset of the wave's memory follows, which is 0 here.
    if descriptor.has_private && !wave.is_gfx11() {
        wave.set_scalar(next, 0);
    }
    Ok(())
}

/// The place of a work-item: in registers of its own, or in gfx11 in ten bits each of the first one.
fn fill_items(wave: &mut Wave, descriptor: &Descriptor, lane: usize, item: [u32; 3]) {
    let given = item.iter().enumerate().take(descriptor.item_dimensions.into());
    if wave.is_gfx11() {
        let packed = given.fold(0, |packed, (index, number)| packed | (number & 0x3ff) << (10 * index));
        wave.set_vector(0, lane, packed);
    } else {
        for (index, number) in given {
            wave.set_vector_at(0, index, lane, *number);
        }
    }
}
