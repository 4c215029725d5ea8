//! [`SharedMemory`]: ranges of a program's own memory that GPUs may access without an allocation, and their attributes
//! (kernel `drivers/gpu/drm/amd/amdkfd/kfd_svm.c`). Pages never move here, so places and hints are only kept.

use std::collections::BTreeMap;

use crate::address_range::{END, PAGE};
use crate::device::Machine;
use crate::errno::Errno;
use crate::kfd_abi::{SvmAttribute, svm_attribute, svm_flag};

/// Most ranges with different attributes.
const MOST: usize = 1 << 16;
/// `KFD_IOCTL_SVM_LOCATION_*`: the system's memory, and no wish or different ones.
const SYSTEM: u32 = 0;
const UNDEFINED: u32 = u32::MAX;
/// Pages that move together, as a power of two: 2 MiB unless it is set, and at most this.
const USUAL_GRANULARITY: u32 = 9;
const MOST_GRANULARITY: u32 = 0x3f;

/// What a range has. The numbers of GPUs are KFD's, the masks have one bit for each GPU's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Attributes {
    preferred: u32,
    prefetched: u32,
    flags: u32,
    granularity: u32,
    access: u64,
    in_place: u64,
}

impl Default for Attributes {
    fn default() -> Self {
        Self {
            preferred: UNDEFINED,
            prefetched: UNDEFINED,
            flags: svm_flag::HOST_ACCESS | svm_flag::COHERENT,
            granularity: USUAL_GRANULARITY,
            access: 0,
            in_place: 0,
        }
    }
}

impl Attributes {
    fn set(&mut self, attribute: SvmAttribute, machine: &Machine) -> Result<(), Errno> {
        let SvmAttribute { kind, value } = attribute;
        let gpu = || machine.index_of(value).map(|index| 1 << index).ok_or(Errno::Invalid);
        let place = || if matches!(value, SYSTEM | UNDEFINED) { Ok(value) } else { gpu().map(|_: u64| value) };
        match kind {
            svm_attribute::PREFERRED_LOCATION => self.preferred = place()?,
            svm_attribute::PREFETCH_LOCATION => self.prefetched = place()?,
            svm_attribute::ACCESS => (self.access, self.in_place) = (self.access | gpu()?, self.in_place & !gpu()?),
            svm_attribute::ACCESS_IN_PLACE => {
                (self.access, self.in_place) = (self.access & !gpu()?, self.in_place | gpu()?);
            }
            svm_attribute::NO_ACCESS => {
                (self.access, self.in_place) = (self.access & !gpu()?, self.in_place & !gpu()?);
            }
            svm_attribute::SET_FLAGS => self.flags |= value,
            svm_attribute::CLEAR_FLAGS => self.flags &= !value,
            svm_attribute::GRANULARITY => self.granularity = value.min(MOST_GRANULARITY),
            _ => return Err(Errno::Invalid),
        }
        Ok(())
    }

    /// What holds for both.
    fn common(self, other: &Self) -> Self {
        let same = |ours: u32, theirs: u32| if ours == theirs { ours } else { UNDEFINED };
        let anyhow = (self.access | self.in_place) & (other.access | other.in_place);
        let in_place = anyhow & (self.in_place | other.in_place);
        Self {
            preferred: same(self.preferred, other.preferred),
            prefetched: same(self.prefetched, other.prefetched),
            flags: self.flags & other.flags,
            granularity: self.granularity.min(other.granularity),
            access: anyhow & !in_place,
            in_place,
        }
    }
}

/// The ranges by their first address, each with its end. They do not overlap.
#[derive(Debug, Default)]
pub(crate) struct SharedMemory(BTreeMap<u64, (u64, Attributes)>);

/// The range that begins at an address and has so many bytes; an error unless it is of whole pages.
fn range(start: u64, size: u64) -> Result<u64, Errno> {
    let end = start.checked_add(size).filter(|end| *end <= END && size > 0).ok_or(Errno::Invalid)?;
    if start > 0 && start.is_multiple_of(PAGE) && size.is_multiple_of(PAGE) { Ok(end) } else { Err(Errno::Invalid) }
}

impl SharedMemory {
    /// Sets attributes of a range; none of them if one is wrong.
    pub(crate) fn set(
        &mut self,
        (start, size): (u64, u64),
        wanted: &[SvmAttribute],
        machine: &Machine,
    ) -> Result<(), Errno> {
        let end = range(start, size)?;
        wanted.iter().try_for_each(|attribute| Attributes::default().set(*attribute, machine))?;
        // Two cuts, and at most as many gaps to fill as there are ranges in between.
        if self.0.len().saturating_add(self.0.range(start..end).count()).saturating_add(3) > MOST {
            return Err(Errno::NoMemory);
        }
        self.cut(start);
        self.cut(end);
        let mut at = start;
        while at < end {
            match self.0.range(at..end).next().map(|(first, (last, _))| (*first, *last)) {
                Some((first, last)) if first == at => at = last,
                next => {
                    let last = next.map_or(end, |(first, _)| first);
                    self.0.insert(at, (last, Attributes::default()));
                    at = last;
                }
            }
        }
        for (_, attributes) in self.0.range_mut(start..end).map(|(_, range)| range) {
            for attribute in wanted {
                attributes.set(*attribute, machine)?;
            }
        }
        Ok(())
    }

    /// Answers what the attributes of a range are: the common ones of all that is in it.
    pub(crate) fn get(
        &self,
        (start, size): (u64, u64),
        asked: &mut [SvmAttribute],
        machine: &Machine,
    ) -> Result<(), Errno> {
        let end = range(start, size)?;
        let mut common: Option<Attributes> = None;
        let mut flags_of_any = 0;
        let mut at = start;
        while at < end {
            let (next, attributes) = match self.at(at) {
                Some((last, attributes)) => (last, *attributes),
                None => (self.0.range(at..end).next().map_or(end, |(first, _)| *first), Attributes::default()),
            };
            flags_of_any |= attributes.flags;
            common = Some(common.map_or(attributes, |common| common.common(&attributes)));
            at = next;
        }
        let common = common.unwrap_or_default();
        for SvmAttribute { kind, value } in asked {
            match *kind {
                svm_attribute::PREFERRED_LOCATION => *value = common.preferred,
                svm_attribute::PREFETCH_LOCATION => *value = common.prefetched,
                svm_attribute::ACCESS | svm_attribute::ACCESS_IN_PLACE | svm_attribute::NO_ACCESS => {
                    let gpu = 1_u64 << machine.index_of(*value).ok_or(Errno::Invalid)?;
                    *kind = match (common.access & gpu != 0, common.in_place & gpu != 0) {
                        (true, _) => svm_attribute::ACCESS,
                        (false, true) => svm_attribute::ACCESS_IN_PLACE,
                        (false, false) => svm_attribute::NO_ACCESS,
                    };
                }
                svm_attribute::SET_FLAGS => *value = common.flags,
                // Those that no part has.
                svm_attribute::CLEAR_FLAGS => *value = !flags_of_any,
                svm_attribute::GRANULARITY => *value = common.granularity,
                _ => return Err(Errno::Invalid),
            }
        }
        Ok(())
    }

    /// How many bytes from an address on a GPU may access; `None` if it may not access the first.
    pub(crate) fn accessible(&self, device: usize, address: u64) -> Option<u64> {
        let (end, attributes) = self.at(address)?;
        let gpu = u32::try_from(device).ok().and_then(|device| 1_u64.checked_shl(device))?;
        ((attributes.access | attributes.in_place) & gpu != 0).then(|| end - address)
    }

    fn at(&self, address: u64) -> Option<(u64, &Attributes)> {
        let (_, (end, attributes)) = self.0.range(..=address).next_back()?;
        (address < *end).then_some((*end, attributes))
    }

    /// Makes two ranges of one that an address is within.
    fn cut(&mut self, address: u64) {
        let Some((_, range)) = self.0.range_mut(..address).next_back().filter(|(_, (end, _))| *end > address) else {
            return;
        };
        let (end, attributes) = *range;
        range.0 = address;
        self.0.insert(address, (end, attributes));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn machine() -> Machine {
        Machine::new(&gpu::simulate("gfx1030,gfx90a").unwrap(), 1 << 30, 1).unwrap()
    }

    fn attribute(kind: u32, value: u32) -> SvmAttribute {
        SvmAttribute { kind, value }
    }

    fn get(memory: &SharedMemory, range: (u64, u64), kind: u32, value: u32) -> (u32, u32) {
        let mut asked = [attribute(kind, value)];
        memory.get(range, &mut asked, &machine()).unwrap();
        (asked[0].kind, asked[0].value)
    }

    #[test]
    fn a_range_has_what_was_set_and_its_neighbours_have_not() {
        let (mut memory, machine) = (SharedMemory::default(), machine());
        let first = machine.devices()[0].gpu_id;
        memory.set((0x10_000, 0x4000), &[attribute(svm_attribute::ACCESS, first)], &machine).unwrap();
        assert_eq!(memory.accessible(0, 0x10_ff8 + 0x2000), Some(0x4000 - 0x2ff8));
        assert_eq!((memory.accessible(1, 0x10_000), memory.accessible(0, 0x14_000)), (None, None));
        memory.set((0x11_000, 0x1000), &[attribute(svm_attribute::NO_ACCESS, first)], &machine).unwrap();
        assert_eq!((memory.accessible(0, 0x10_000), memory.accessible(0, 0x11_000)), (Some(0x1000), None));
        assert_eq!(get(&memory, (0x10_000, 0x1000), svm_attribute::ACCESS, first).0, svm_attribute::ACCESS);
        assert_eq!(get(&memory, (0x10_000, 0x2000), svm_attribute::ACCESS, first).0, svm_attribute::NO_ACCESS);
    }

    #[test]
    fn what_differs_within_a_range_is_undefined() {
        let (mut memory, machine) = (SharedMemory::default(), machine());
        let gpu = machine.devices()[1].gpu_id;
        assert_eq!(get(&memory, (0x1000, 0x1000), svm_attribute::PREFERRED_LOCATION, 0).1, UNDEFINED);
        let wanted = [attribute(svm_attribute::PREFERRED_LOCATION, gpu), attribute(svm_attribute::GRANULARITY, 4)];
        memory.set((0x1000, 0x1000), &wanted, &machine).unwrap();
        assert_eq!(get(&memory, (0x1000, 0x1000), svm_attribute::PREFERRED_LOCATION, 0).1, gpu);
        assert_eq!(get(&memory, (0x1000, 0x2000), svm_attribute::PREFERRED_LOCATION, 0).1, UNDEFINED);
        assert_eq!(get(&memory, (0x1000, 0x2000), svm_attribute::GRANULARITY, 0).1, 4);
    }

    #[test]
    fn what_is_wrong_changes_nothing() {
        let (mut memory, machine) = (SharedMemory::default(), machine());
        let gpu = machine.devices()[0].gpu_id;
        let access = attribute(svm_attribute::ACCESS, gpu);
        for range in
            [(0, 0x1000), (0x1001, 0x1000), (0x1000, 0), (0x1000, 1), (u64::MAX - 0xfff, 0x2000), (END, 0x1000)]
        {
            assert_eq!(memory.set(range, &[access], &machine), Err(Errno::Invalid), "{range:x?}");
        }
        for wrong in
            [attribute(svm_attribute::ACCESS, 1), attribute(99, 0), attribute(svm_attribute::PREFETCH_LOCATION, 7)]
        {
            assert_eq!(memory.set((0x1000, 0x1000), &[access, wrong], &machine), Err(Errno::Invalid));
        }
        assert_eq!(memory.accessible(0, 0x1000), None);
    }

    proptest! {
        #[test]
        fn each_page_has_what_was_set_last(sets in proptest::collection::vec((1_u64..32, 1_u64..8, any::<bool>()), 0..24)) {
            let (mut memory, machine) = (SharedMemory::default(), machine());
            let gpu = machine.devices()[0].gpu_id;
            let mut pages = [false; 40];
            for (page, count, access) in sets {
                let kind = if access { svm_attribute::ACCESS_IN_PLACE } else { svm_attribute::NO_ACCESS };
                memory.set((page * PAGE, count * PAGE), &[attribute(kind, gpu)], &machine).unwrap();
                pages[page as usize..(page + count) as usize].fill(access);
            }
            for (page, access) in pages.iter().enumerate() {
                prop_assert_eq!(memory.accessible(0, page as u64 * PAGE).is_some(), *access);
            }
        }
    }
}
