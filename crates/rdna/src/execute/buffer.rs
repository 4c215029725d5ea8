//! Accesses of buffers, which four scalar registers describe ("buffer resource descriptor" in AMD's documents).

use super::bounds::{Bounds, Start};
use super::flat::{Accesses, Memories, Place, Registers, access};
use crate::format::{COMPONENTS, Format};
use crate::instruction::Buffer;
use crate::memory::Memory;
use crate::operand::Type;
use crate::problem::Obstacle;
use crate::table::{Access, BufferOperation, Item, Portion, Select};
use crate::wave::Wave;

/// Bits of a buffer's descriptor: that its items are interleaved, and that they are so by the lane's number.
const SWIZZLES: u32 = 1 << 31;
const ADDS_LANE: u32 = 1 << 23;

/// Whether a descriptor's second word says that the items are interleaved. In the later generation the field has two bits, the
/// length that is interleaved; in the earlier one bit 30 is about caches only.
fn swizzles(wave: &Wave, high: u32) -> bool {
    if wave.is_gfx11() { high >> 30 != 0 } else { high & SWIZZLES != 0 }
}

/// The descriptor by which kernels reach their work-items' own memory: it is known again by these bits.
pub(crate) const PRIVATE_BUFFER: [u32; 4] = [0, SWIZZLES, u32::MAX, ADDS_LANE];

pub(super) fn execute(
    wave: &mut Wave,
    buffer: &Buffer,
    memory: &dyn Memory,
    shared: &mut [u8],
) -> Result<(), Obstacle> {
    if buffer.operation.does_nothing() {
        return Ok(());
    }
    let words = [0, 1, 2, 3].map(|index| wave.scalar(buffer.descriptor.saturating_add(index)));
    let [low, high, _, flags] = words;
    let operation = match buffer.operation {
        BufferOperation::Untyped(access) => access,
        BufferOperation::Load(registers) => Access::Load(Portion::Item(loaded(wave, flags, registers)?)),
        BufferOperation::Store(registers) => Access::Store(Portion::Item(stored(wave, buffer.data, flags, registers)?)),
    };
    let scalar_offset = wave.uniform(buffer.scalar_offset, Type::B32) as u32;
    let vector_offset = |lane| {
        let register = usize::from(buffer.has_index);
        if buffer.has_offset { wave.vector_at(buffer.address, register, lane) } else { 0 }
    };
    let is_swizzled = swizzles(wave, high);
    let accesses = if is_swizzled && flags & ADDS_LANE != 0 {
        // The scalar offset counts bytes of the whole wave.
        let scalar_offset = scalar_offset / wave.size as u32;
        Accesses::new(wave, |lane| {
            Place::Private(vector_offset(lane).wrapping_add(buffer.offset).wrapping_add(scalar_offset))
        })
    } else if is_swizzled || flags & ADDS_LANE != 0 {
        return Err(Obstacle::Unsupported("an interleaved buffer"));
    } else {
        let base = u64::from(low) | u64::from(high & 0xffff) << 32;
        let bounds = Bounds::of(words, buffer.has_index)?;
        let length = match operation {
            Access::Load(portion) | Access::Store(portion) => portion.bytes() as u64,
            Access::Atomic { is_wide, .. } => {
                if is_wide {
                    8
                } else {
                    4
                }
            }
        };
        let start = |lane| Start {
            index: if buffer.has_index { wave.vector(buffer.address, lane).into() } else { 0 },
            offset: u64::from(vector_offset(lane)) + u64::from(buffer.offset),
            scalar_offset: scalar_offset.into(),
        };
        if wave.active().any(|lane| bounds.contains(start(lane), length).is_none()) {
            return Err(Obstacle::Unsupported("an access across a bound of a buffer"));
        }
        Accesses::new(wave, |lane| {
            let start = start(lane);
            let is_inside = bounds.contains(start, length) == Some(true);
            if is_inside { Place::Program(base.wrapping_add(bounds.distance(start))) } else { Place::Nowhere }
        })
    };
    let registers = Registers { data: buffer.data, destination: buffer.data, returns: buffer.returns };
    access(wave, operation, &accesses, registers, &mut Memories { program: memory, shared })
}

/// What a descriptor says of the items, for so many registers.
fn item(wave: &Wave, flags: u32, registers: u8) -> Result<Item, Obstacle> {
    // The later generation has a bit less for the format.
    let number = flags >> 12 & if wave.is_gfx11() { 0x3f } else { 0x7f };
    let format = Format::of(wave.architecture, number).ok_or(Obstacle::Unsupported("a buffer of this format"))?;
    let mut select = [Select::Zero; COMPONENTS];
    for (index, select) in select.iter_mut().enumerate() {
        *select = match flags >> (3 * index) & 7 {
            0 => Select::Zero,
            1 => Select::One,
            component @ 4..=7 => Select::Component(component as u8 - 4),
            _ => return Err(Obstacle::Unsupported("a buffer with this choice of components")),
        };
    }
    Ok(Item { format, select, registers })
}

fn loaded(wave: &Wave, flags: u32, registers: u8) -> Result<Item, Obstacle> {
    let item = item(wave, flags, registers)?;
    let is_missing = |select: &Select| matches!(select, Select::Component(number) if *number >= item.format.components);
    if item.selected().iter().any(is_missing) {
        return Err(Obstacle::Unsupported("a component that the buffer's format does not have"));
    }
    Ok(item)
}

/// Only stores that need no conversion: see [`Format::is_exact`].
fn stored(wave: &Wave, data: u8, flags: u32, registers: u8) -> Result<Item, Obstacle> {
    let item = item(wave, flags, registers)?;
    let in_order = item.selected().iter().zip(0..).all(|(select, number)| *select == Select::Component(number));
    if !in_order || item.format.components != registers {
        return Err(Obstacle::Unsupported("a store of other components than the buffer's format has"));
    }
    let mut numbers = wave.active().flat_map(|lane| (0..registers.into()).map(move |index| (index, lane)));
    if !numbers.all(|(index, lane)| item.format.is_exact(wave.vector_at(data, index, lane))) {
        return Err(Obstacle::Unsupported("a store that converts numbers to the buffer's format"));
    }
    Ok(item)
}
