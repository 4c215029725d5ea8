//! What a launch is: [`Packet`], and [`Descriptor`] of the kernel that it names.

use crate::memory::Memory;
use crate::problem::Problem;

/// Most work-items of a workgroup.
const MOST_ITEMS: u32 = 1024;
/// Most bytes of a workgroup's memory.
const MOST_SHARED: u32 = 64 << 10;
/// Most bytes of memory of its own that a work-item may have, so that those of a workgroup can be held.
const MOST_PRIVATE: u32 = 256 << 10;

/// A dispatch packet (HSA Platform System Architecture, section 2.9.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Work-items of a workgroup, in three dimensions.
    pub workgroup: [u32; 3],
    /// Work-items of all workgroups.
    pub grid: [u32; 3],
    /// Bytes of memory of its own for each work-item.
    pub private_size: u32,
    /// Bytes of memory for each workgroup.
    pub group_size: u32,
    /// Address of the kernel's descriptor.
    pub kernel: u64,
    /// Address of the arguments.
    pub arguments: u64,
}

fn short(bytes: &[u8; 64], at: usize) -> u32 {
    bytes.get(at..at + 2).and_then(|bytes| bytes.try_into().ok()).map_or(0, |bytes| u16::from_le_bytes(bytes).into())
}

fn word(bytes: &[u8; 64], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn long(bytes: &[u8; 64], at: usize) -> u64 {
    u64::from(word(bytes, at)) | u64::from(word(bytes, at + 4)) << 32
}

impl Packet {
    /// Reads a packet.
    ///
    /// # Errors
    /// If it says what no GPU would run.
    pub fn parse(bytes: &[u8; 64]) -> Result<Self, Problem> {
        let dimensions = short(bytes, 2) & 3;
        let size = |index: u32, value: u32| if index < dimensions { value } else { 1 };
        let packet = Self {
            workgroup: [0, 1, 2].map(|index| size(index, short(bytes, 4 + 2 * index as usize))),
            grid: [0, 1, 2].map(|index| size(index, word(bytes, 12 + 4 * index as usize))),
            private_size: word(bytes, 24),
            group_size: word(bytes, 28),
            kernel: long(bytes, 32),
            arguments: long(bytes, 40),
        };
        let items = packet.workgroup.iter().try_fold(1_u32, |product, size| product.checked_mul(*size));
        match items {
            Some(1..=MOST_ITEMS) if dimensions > 0 && !packet.grid.contains(&0) => {}
            _ => return Err(Problem::Launch("its workgroups or its grid have sizes that cannot be")),
        }
        if packet.group_size > MOST_SHARED {
            return Err(Problem::Launch("a workgroup has more memory than there is"));
        }
        if packet.private_size > MOST_PRIVATE {
            return Err(Problem::Launch("its work-items have more memory of their own than the interpreter gives"));
        }
        Ok(packet)
    }
}

/// What a kernel has in registers when it begins, in the order of the registers; bits of its descriptor say which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    PrivateBuffer,
    Packet,
    Queue,
    Arguments,
    DispatchId,
    FlatScratch,
    PrivateSize,
}

impl Given {
    /// All, with the registers that each takes.
    pub(crate) const ALL: [(Self, u8); 7] = [
        (Self::PrivateBuffer, 4),
        (Self::Packet, 2),
        (Self::Queue, 2),
        (Self::Arguments, 2),
        (Self::DispatchId, 2),
        (Self::FlatScratch, 2),
        (Self::PrivateSize, 1),
    ];
}

/// A kernel's descriptor (64 bytes before its code; "Code Object V3 Kernel Descriptor" in LLVM's user guide for AMDGPU).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptor {
    /// Address of the first instruction.
    pub(crate) code: u64,
    /// Bytes of memory that the kernel itself wants for a workgroup, and for a work-item.
    pub(crate) group_size: u32,
    pub(crate) private_size: u32,
    pub(crate) given: u16,
    /// Scalar registers that are filled before those with the workgroup's place.
    pub(crate) user_registers: u8,
    /// Whether the workgroup's place is given in each dimension.
    pub(crate) has_place: [bool; 3],
    pub(crate) has_group_information: bool,
    pub(crate) has_private: bool,
    /// In how many dimensions work-items have their place.
    pub(crate) item_dimensions: u8,
    /// `MODE` at the start: rounding and subnormal numbers.
    pub(crate) mode: u32,
    /// Lanes of its waves.
    pub(crate) lanes: usize,
    /// Vector registers of its waves.
    pub(crate) registers: usize,
}

impl Descriptor {
    pub(crate) fn read(at: u64, memory: &dyn Memory) -> Result<Self, Problem> {
        let mut bytes = [0; 64];
        memory.read(at, &mut bytes).map_err(|_| Problem::Launch("there is no memory where its descriptor is"))?;
        let (resources1, resources2) = (word(&bytes, 48), word(&bytes, 52));
        let given = short(&bytes, 56) as u16;
        let bit = |word: u32, bit: u32| word >> bit & 1 != 0;
        if word(&bytes, 56) >> 16 != 0 {
            return Err(Problem::Launch("its arguments are to be in registers, which this generation cannot do"));
        }
        let lanes = if given >> 10 & 1 != 0 { 32 } else { 64 };
        // Allocated in portions of eight, of four for waves of 64.
        let registers = ((resources1 & 0x3f) as usize + 1) * (256 / lanes);
        let descriptor = Self {
            code: at.wrapping_add(long(&bytes, 16)),
            group_size: word(&bytes, 0),
            private_size: word(&bytes, 4),
            given,
            user_registers: (resources2 >> 1 & 0x1f) as u8,
            has_place: [bit(resources2, 7), bit(resources2, 8), bit(resources2, 9)],
            has_group_information: bit(resources2, 10),
            has_private: bit(resources2, 0),
            item_dimensions: (resources2 >> 11 & 3) as u8 + 1,
            mode: resources1 >> 12 & 0xff,
            lanes,
            registers,
        };
        if descriptor.mode & 0xf != 0 {
            return Err(Problem::Launch("it rounds otherwise than to the nearest"));
        }
        if descriptor.private_size > MOST_PRIVATE || descriptor.group_size > MOST_SHARED {
            return Err(Problem::Launch("it wants more memory than there is"));
        }
        Ok(descriptor)
    }

    pub(crate) fn gives(&self, what: Given) -> bool {
        self.given >> what as u16 & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(dimensions: u8, workgroup: u16, grid: u32) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[2] = dimensions;
        bytes[4..6].copy_from_slice(&workgroup.to_le_bytes());
        bytes[12..16].copy_from_slice(&grid.to_le_bytes());
        bytes
    }

    #[test]
    fn dimensions_that_are_not_used_have_one_item() {
        let parsed = Packet::parse(&packet(1, 64, 1000)).unwrap();
        assert_eq!((parsed.workgroup, parsed.grid), ([64, 1, 1], [1000, 1, 1]));
    }

    #[test]
    fn sizes_that_no_gpu_has_are_refused() {
        for bytes in [packet(0, 64, 64), packet(1, 0, 64), packet(1, 1025, 64), packet(1, 64, 0)] {
            assert!(matches!(Packet::parse(&bytes), Err(Problem::Launch(_))), "{bytes:?}");
        }
        let mut bytes = packet(1, 64, 64);
        bytes[31] = 1;
        assert!(matches!(Packet::parse(&bytes), Err(Problem::Launch(_))));
    }
}
