//! [`AddressSpace`]: the memory that a process has for its GPUs, and which of them may access it.

use std::collections::BTreeMap;

use crate::address_range::{END, PAGE};
use crate::errno::Errno;
use crate::kfd_abi::memory_flag;
use crate::memory::{Fault, Memory};
use crate::svm::SharedMemory;

/// Most pieces of memory of one process.
const MOST: usize = 1 << 20;

/// A piece of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allocation {
    /// Where the GPUs have it.
    address: u64,
    size: u64,
    /// Where the program has it: other than above only for memory that the program brought itself.
    host: u64,
    /// Index of the GPU that it was allocated on.
    device: usize,
    /// Whether it takes that GPU's own memory.
    own: bool,
    /// Whether it stands for registers: no data is in it.
    registers: bool,
    /// GPUs that may access it, one bit for each index.
    mapped: u64,
}

/// All memory of a process.
#[derive(Debug, Default)]
pub(crate) struct AddressSpace {
    allocations: BTreeMap<u64, Allocation>,
    /// Handles by the address for GPUs, of those that any may access.
    mapped: BTreeMap<u64, u64>,
    last: u64,
    /// What GPUs may access of the program's memory besides.
    pub(crate) shared: SharedMemory,
}

/// What a program asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) address: u64,
    pub(crate) size: u64,
    pub(crate) host: u64,
    pub(crate) device: usize,
    pub(crate) flags: u32,
}

impl AddressSpace {
    /// Allocates memory; `free` is what the GPU has left. Returns a handle, never 0.
    pub(crate) fn allocate(&mut self, wanted: &Wanted, free: u64) -> Result<u64, Errno> {
        let Wanted { address, size, host, device, flags } = *wanted;
        let end = address.checked_add(size).filter(|end| *end <= END);
        if size == 0 || address % PAGE != 0 || end.is_none() || (flags & memory_flag::KINDS).count_ones() != 1 {
            return Err(Errno::Invalid);
        }
        let own = flags & memory_flag::VRAM != 0;
        if own && size > free || self.allocations.len() >= MOST {
            return Err(Errno::NoMemory);
        }
        let brought = flags & memory_flag::USERPTR != 0;
        if brought && host.checked_add(size).is_none_or(|end| end > END) {
            return Err(Errno::BadAddress);
        }
        self.last += 1;
        let handle = self.last | (device as u64 + 1) << 32;
        let registers = flags & (memory_flag::DOORBELL | memory_flag::MMIO_REMAP) != 0;
        let host = if brought { host } else { address };
        self.allocations.insert(handle, Allocation { address, size, host, device, own, registers, mapped: 0 });
        Ok(handle)
    }

    /// Gives memory back; as in the kernel only if no GPU may access it any more.
    pub(crate) fn free(&mut self, handle: u64) -> Result<(), Errno> {
        let allocation = self.allocations.get(&handle).ok_or(Errno::Invalid)?;
        if allocation.mapped != 0 {
            return Err(Errno::Busy);
        }
        self.allocations.remove(&handle);
        Ok(())
    }

    /// Whether there is such a handle.
    pub(crate) fn has(&self, handle: u64) -> bool {
        self.allocations.contains_key(&handle)
    }

    /// Lets a GPU access memory. It is an error if other memory is at that address.
    pub(crate) fn map(&mut self, handle: u64, device: usize) -> Result<(), Errno> {
        let allocation = self.allocations.get(&handle).copied().ok_or(Errno::Invalid)?;
        if allocation.mapped == 0 {
            let end = allocation.address.saturating_add(allocation.size);
            let last = self.mapped.range(..end).next_back().and_then(|(_, other)| self.allocations.get(other));
            if last.is_some_and(|other| other.address.saturating_add(other.size) > allocation.address) {
                return Err(Errno::Invalid);
            }
            self.mapped.insert(allocation.address, handle);
        }
        if let Some(allocation) = self.allocations.get_mut(&handle) {
            allocation.mapped |= bit(device);
        }
        Ok(())
    }

    /// Forbids a GPU to access memory.
    pub(crate) fn unmap(&mut self, handle: u64, device: usize) -> Result<(), Errno> {
        let allocation = self.allocations.get_mut(&handle).ok_or(Errno::Invalid)?;
        allocation.mapped &= !bit(device);
        if allocation.mapped == 0 && self.mapped.get(&allocation.address) == Some(&handle) {
            self.mapped.remove(&allocation.address);
        }
        Ok(())
    }

    /// Bytes that are taken of a GPU's own memory.
    pub(crate) fn used(&self, device: usize) -> u64 {
        let own = self.allocations.values().filter(|allocation| allocation.own && allocation.device == device);
        own.map(|allocation| allocation.size).fold(0, u64::saturating_add)
    }

    /// Splits a range that a GPU accesses into the ranges where the program has it; an error has the first address that
    /// the GPU may not access.
    pub(crate) fn ranges(&self, device: usize, address: u64, length: u64) -> Result<Vec<(u64, u64)>, u64> {
        let (mut at, mut left) = (address, length);
        let mut ranges = Vec::new();
        while left > 0 {
            let found = self.mapped.range(..=at).next_back().and_then(|(_, handle)| self.allocations.get(handle));
            let found = found.filter(|found| found.mapped & bit(device) != 0 && !found.registers);
            let found = found.map(|found| (found, at - found.address)).filter(|(found, inside)| *inside < found.size);
            let (host, there) = match found {
                Some((found, inside)) => (found.host.checked_add(inside).ok_or(at)?, found.size - inside),
                None => (at, self.shared.accessible(device, at).ok_or(at)?),
            };
            let piece = left.min(there);
            ranges.push((host, piece));
            left -= piece;
            at = at.checked_add(piece).ok_or(at)?;
        }
        Ok(ranges)
    }
}

fn bit(device: usize) -> u64 {
    u32::try_from(device).ok().and_then(|device| 1_u64.checked_shl(device)).unwrap_or(0)
}

/// The memory as one GPU accesses it. Errors are the first address that it may not access.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) space: &'a AddressSpace,
    pub(crate) memory: &'a dyn Memory,
    pub(crate) device: usize,
}

impl View<'_> {
    pub(crate) fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), u64> {
        let mut rest = bytes;
        let mut at = address;
        for (host, length) in self.space.ranges(self.device, address, rest.len() as u64)? {
            let length = usize::try_from(length).map_err(|_| at)?;
            let (piece, after) = rest.split_at_mut_checked(length).ok_or(at)?;
            self.memory.read(host, piece).map_err(|Fault| at)?;
            rest = after;
            at = at.saturating_add(length as u64);
        }
        Ok(())
    }

    pub(crate) fn write(&self, address: u64, bytes: &[u8]) -> Result<(), u64> {
        let mut rest = bytes;
        let mut at = address;
        for (host, length) in self.space.ranges(self.device, address, rest.len() as u64)? {
            let length = usize::try_from(length).map_err(|_| at)?;
            let (piece, after) = rest.split_at_checked(length).ok_or(at)?;
            self.memory.write(host, piece).map_err(|Fault| at)?;
            rest = after;
            at = at.saturating_add(length as u64);
        }
        Ok(())
    }

    pub(crate) fn read_u32(&self, address: u64) -> Result<u32, u64> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    pub(crate) fn read_u64(&self, address: u64) -> Result<u64, u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    pub(crate) fn write_u32(&self, address: u64, value: u32) -> Result<(), u64> {
        self.write(address, &value.to_le_bytes())
    }

    pub(crate) fn write_u64(&self, address: u64, value: u64) -> Result<(), u64> {
        self.write(address, &value.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wanted(address: u64, size: u64) -> Wanted {
        Wanted { address, size, host: 0, device: 0, flags: memory_flag::VRAM }
    }

    #[test]
    fn memory_that_is_not_mapped_or_freed_is_not_accessible() {
        let mut space = AddressSpace::default();
        let handle = space.allocate(&wanted(0x10_0000, 0x2000), u64::MAX).unwrap();
        assert_eq!(space.ranges(0, 0x10_0000, 8), Err(0x10_0000));
        space.map(handle, 0).unwrap();
        assert_eq!(space.ranges(0, 0x10_1ff8, 8), Ok(vec![(0x10_1ff8, 8)]));
        assert_eq!(space.ranges(0, 0x10_1ff8, 16), Err(0x10_2000));
        assert_eq!(space.ranges(1, 0x10_0000, 8), Err(0x10_0000), "another GPU");
        assert_eq!(space.free(handle), Err(Errno::Busy));
        space.unmap(handle, 0).unwrap();
        space.free(handle).unwrap();
        assert_eq!(space.ranges(0, 0x10_0000, 8), Err(0x10_0000));
        assert_eq!(space.free(handle), Err(Errno::Invalid), "twice");
    }

    #[test]
    fn two_pieces_can_not_be_at_one_address() {
        let mut space = AddressSpace::default();
        let first = space.allocate(&wanted(0x10_0000, 0x2000), u64::MAX).unwrap();
        let second = space.allocate(&wanted(0x10_1000, 0x2000), u64::MAX).unwrap();
        space.map(first, 0).unwrap();
        assert_eq!(space.map(second, 0), Err(Errno::Invalid));
        space.map(first, 1).unwrap();
    }

    #[test]
    fn a_gpu_has_only_as_much_memory_as_it_has() {
        let mut space = AddressSpace::default();
        assert_eq!(space.allocate(&wanted(0x1000, 0x3000), 0x2000), Err(Errno::NoMemory));
        space.allocate(&wanted(0x1000, 0x2000), 0x2000).unwrap();
        assert_eq!(space.used(0), 0x2000);
    }

    proptest! {
        #[test]
        fn ranges_cover_exactly_what_was_asked_for(
            pieces in proptest::collection::vec((0_u64..64, 1_u64..8), 0..20),
            at in 0_u64..300_000,
            length in 0_u64..100_000,
        ) {
            let mut space = AddressSpace::default();
            for (page, pages) in pieces {
                let handle = space.allocate(&wanted(page * PAGE, pages * PAGE), u64::MAX).unwrap();
                let _ = space.map(handle, 0);
            }
            match space.ranges(0, at, length) {
                Ok(ranges) => prop_assert_eq!(ranges.iter().map(|(_, length)| length).sum::<u64>(), length),
                Err(first) => prop_assert!((at..at + length).contains(&first)),
            }
        }
    }
}
