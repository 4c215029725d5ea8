//! Answers to the requests on `/dev/kfd` (kernel `drivers/gpu/drm/amd/amdkfd/kfd_chardev.c`).

use std::time::Duration;

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::address_range::END;
use crate::address_space::Wanted;
use crate::device::Machine;
use crate::errno::Errno;
use crate::kfd_abi::{
    self, AcquireVm, AllocMemory, Apertures, AvailableMemory, CreateEvent, CreateQueue, DestroyQueue, ExportDmabuf,
    FreeMemory, GetApertures, GetClockCounters, GetTileConfig, GetVersion, MapMemory, OneEvent, RuntimeEnable,
    SetCuMask, SetMemoryPolicy, SetScratch, SetTrapHandler, SetXnackMode, SvmAttribute, SvmHeader, UpdateQueue,
    WaitEvents, event_type, memory_flag, number, svm_operation,
};
use crate::memory;
use crate::process::{Process, ticks};
use crate::queue::Queue;

/// Most queues of a process.
const MOST_QUEUES: usize = 1024;
/// Most GPUs in one list.
const MOST_DEVICES: u32 = 64;
/// Address ranges for a work group's memory and a lane's own; GPUs of version 9 and later have them there.
const LDS: u64 = 0x1000_0000_0000_0000;
const SCRATCH: u64 = 0x2000_0000_0000_0000;
const APERTURE: u64 = 0xffff_ffff;
/// First address that GPUs may use.
const FIRST_ADDRESS: u64 = 0x4000;
/// Bytes of a queue's doorbell, as far as there are different ones in the pages that a process maps.
const DOORBELL: u64 = 8;

/// What says that there is a page for signals; it is not mapped, as every program brings one.
const EVENT_PAGE: u64 = 1 << 12;

/// What surrounds a request.
pub(crate) struct Context<'a> {
    pub(crate) machine: &'a Machine,
    /// Bytes that other processes have of each GPU's memory.
    pub(crate) taken: &'a [u64],
    /// Time since the machine started.
    pub(crate) now: Duration,
    /// Names the request if its answer comes later.
    pub(crate) token: u64,
    /// Address of the argument.
    pub(crate) argument: u64,
}

impl Context<'_> {
    fn device(&self, gpu_id: u32) -> Result<usize, Errno> {
        self.machine.index_of(gpu_id).ok_or(Errno::Invalid)
    }

    /// Bytes of a GPU's memory that are left.
    fn free(&self, process: &Process, device: usize) -> u64 {
        let total = self.machine.devices().get(device).map_or(0, |device| device.memory);
        let taken = self.taken.get(device).copied().unwrap_or(0).saturating_add(process.space.used(device));
        total.saturating_sub(taken)
    }
}

/// Whether an answer is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Done,
    /// [`crate::events::Events::ended`] has it later.
    Waits,
}

/// Answers a request. `bytes` is its argument, and has the answer afterwards.
pub(crate) fn answer(
    process: &mut Process,
    context: &Context<'_>,
    number: u8,
    bytes: &mut [u8],
) -> Result<Progress, Errno> {
    let done = match number {
        number::GET_VERSION => with(bytes, |version: &mut GetVersion| {
            (version.major_version, version.minor_version) = (kfd_abi::MAJOR, kfd_abi::MINOR);
            Ok(())
        }),
        number::CREATE_QUEUE => with(bytes, |arguments| create_queue(process, context, arguments)),
        number::DESTROY_QUEUE => with(bytes, |arguments: &mut DestroyQueue| {
            let gone = process.queues.remove(&arguments.queue_id).ok_or(Errno::Invalid)?;
            process.report.unfinished_kernels += gone.unfinished();
            Ok(())
        }),
        number::UPDATE_QUEUE => with(bytes, |arguments| update_queue(process, arguments)),
        number::SET_CU_MASK => with(bytes, |arguments: &mut SetCuMask| {
            let fits = arguments.num_cu_mask > 0 && arguments.num_cu_mask.is_multiple_of(32);
            has_queue(process, arguments.queue_id).and(if fits { Ok(()) } else { Err(Errno::Invalid) })
        }),
        number::GET_CLOCK_COUNTERS => with(bytes, |clock: &mut GetClockCounters| {
            // The kernel answers without a GPU too, with 0 for its clock.
            let gpu = context.device(clock.gpu_id).is_ok();
            let nanoseconds = u64::try_from(context.now.as_nanos()).unwrap_or(u64::MAX);
            clock.gpu_clock_counter = if gpu { ticks(context.now) } else { 0 };
            (clock.cpu_clock_counter, clock.system_clock_counter) = (nanoseconds, nanoseconds);
            clock.system_clock_freq = 1_000_000_000;
            Ok(())
        }),
        number::GET_PROCESS_APERTURES_NEW => with(bytes, |arguments| apertures(process, context, arguments)),
        number::ACQUIRE_VM => with(bytes, |arguments: &mut AcquireVm| {
            process.acquired |= 1 << context.device(arguments.gpu_id)?;
            Ok(())
        }),
        number::SET_MEMORY_POLICY => with(bytes, |arguments: &mut SetMemoryPolicy| {
            let policies = arguments.default_policy <= 1 && arguments.alternate_policy <= 1;
            context.device(arguments.gpu_id).and(if policies { Ok(()) } else { Err(Errno::Invalid) })
        }),
        number::SET_SCRATCH_BACKING_VA => {
            with(bytes, |arguments: &mut SetScratch| context.device(arguments.gpu_id).map(drop))
        }
        number::SET_TRAP_HANDLER => {
            with(bytes, |arguments: &mut SetTrapHandler| context.device(arguments.gpu_id).map(drop))
        }
        number::GET_TILE_CONFIG => with(bytes, |arguments: &mut GetTileConfig| {
            context.device(arguments.gpu_id)?;
            (arguments.num_tile_configs, arguments.num_macro_tile_configs) = (0, 0);
            (arguments.gb_addr_config, arguments.num_banks, arguments.num_ranks) = (0x444, 4, 2);
            Ok(())
        }),
        number::ALLOC_MEMORY_OF_GPU => with(bytes, |arguments| allocate(process, context, arguments)),
        number::FREE_MEMORY_OF_GPU => with(bytes, |arguments: &mut FreeMemory| process.space.free(arguments.handle)),
        number::MAP_MEMORY_TO_GPU => with(bytes, |arguments| map(process, context, arguments, true)),
        number::UNMAP_MEMORY_FROM_GPU => with(bytes, |arguments| map(process, context, arguments, false)),
        number::AVAILABLE_MEMORY => with(bytes, |arguments: &mut AvailableMemory| {
            // In units of 2 MiB, as the kernel rounds it.
            arguments.available = context.free(process, context.device(arguments.gpu_id)?) >> 21 << 21;
            Ok(())
        }),
        number::CREATE_EVENT => with(bytes, |arguments: &mut CreateEvent| {
            if arguments.event_page_offset != 0 && !process.space.has(arguments.event_page_offset) {
                return Err(Errno::Invalid);
            }
            let id = process.events.create(arguments.event_type, arguments.auto_reset != 0)?;
            (arguments.event_id, arguments.event_trigger_data, arguments.event_slot_index) = (id, id, id - 1);
            if arguments.event_type == event_type::SIGNAL {
                // Signals have a place in the page that the program brought with its first event. Without this, libraries
                // give the GPU no place to write to, and it tells nobody of the signal.
                arguments.event_page_offset = EVENT_PAGE;
            }
            Ok(())
        }),
        number::DESTROY_EVENT => with(bytes, |event: &mut OneEvent| process.events.destroy(event.event_id)),
        number::SET_EVENT => with(bytes, |event: &mut OneEvent| process.events.set(event.event_id)),
        number::RESET_EVENT => with(bytes, |event: &mut OneEvent| process.events.reset(event.event_id)),
        number::WAIT_EVENTS => {
            return with(bytes, |arguments: &mut WaitEvents| {
                let (events, memory) = (&mut process.events, process.memory.as_ref());
                events.wait(context.token, *arguments, context.argument, memory, context.now)
            })
            .map(|()| Progress::Waits);
        }
        number::SVM => shared(process, context, bytes),
        number::SET_XNACK_MODE => with(bytes, |arguments: &mut SetXnackMode| {
            // Page faults are not simulated.
            if arguments.xnack_enabled > 0 {
                return Err(Errno::NotPermitted);
            }
            arguments.xnack_enabled = 0;
            Ok(())
        }),
        number::RUNTIME_ENABLE => with(bytes, |arguments: &mut RuntimeEnable| {
            process.has_runtime = arguments.mode_mask & kfd_abi::RUNTIME_ENABLE != 0;
            arguments.capabilities_mask = kfd_abi::KERNEL_DUMPS_CORE;
            Ok(())
        }),
        number::EXPORT_DMABUF => with(bytes, |arguments: &mut ExportDmabuf| export(process, arguments)),
        // As no dmabuf was ever handed out, whatever file is named is not one, as `dma_buf_get` of the kernel says.
        number::GET_DMABUF_INFO | number::IMPORT_DMABUF => Err(Errno::Invalid),
        // Programs are told what they are told by Debian's kernel, so the simulation lacks nothing.
        number::OWN_MODULE.. => Err(Errno::NoSuchRequest),
        number => {
            process.report.unknown_requests.insert((crate::request::KFD, number));
            Err(Errno::NoSuchRequest)
        }
    };
    done.map(|()| Progress::Done)
}

/// Has a structure from an argument of any length: as in the kernel, what is missing of it is 0, and what there is more is
/// left alone.
pub(crate) fn with<T: FromBytes + IntoBytes + Immutable>(
    bytes: &mut [u8],
    answer: impl FnOnce(&mut T) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut value = T::new_zeroed();
    for (to, from) in value.as_mut_bytes().iter_mut().zip(bytes.iter()) {
        *to = *from;
    }
    answer(&mut value)?;
    for (to, from) in bytes.iter_mut().zip(value.as_bytes()) {
        *to = *from;
    }
    Ok(())
}

/// Refuses to hand memory out as a file (dmabuf), which is not simulated: the program's pages belong to it alone. As a kernel
/// without the request does, not with an error of the memory, which programs would look for elsewhere.
fn export(process: &mut Process, arguments: &ExportDmabuf) -> Result<(), Errno> {
    if !process.space.has(arguments.handle) {
        return Err(Errno::Invalid);
    }
    process.report.unknown_requests.insert((crate::request::KFD, number::EXPORT_DMABUF));
    Err(Errno::NoSuchRequest)
}

fn has_queue(process: &Process, id: u32) -> Result<(), Errno> {
    if process.queues.contains_key(&id) { Ok(()) } else { Err(Errno::Invalid) }
}

fn create_queue(process: &mut Process, context: &Context<'_>, arguments: &mut CreateQueue) -> Result<(), Errno> {
    let device = context.device(arguments.gpu_id)?;
    let size = arguments.ring_size;
    let in_order = arguments.ring_base_address != 0 && size.is_power_of_two() && size >= 64;
    if !in_order || arguments.queue_percentage & 0xff > 100 || arguments.queue_priority > 15 {
        return Err(Errno::Invalid);
    }
    if process.acquired & 1 << device == 0 {
        return Err(Errno::NotPermitted);
    }
    for pointer in [arguments.write_pointer_address, arguments.read_pointer_address] {
        memory::read::<u64>(process.memory.as_ref(), pointer).map_err(|_| Errno::BadAddress)?;
    }
    if process.queues.len() >= MOST_QUEUES {
        return Err(Errno::NoMemory);
    }
    let queue = Queue::new(arguments, device).ok_or(Errno::Invalid)?;
    let id = process.last_queue;
    process.last_queue = id.checked_add(1).ok_or(Errno::NoMemory)?;
    process.queues.insert(id, queue);
    process.report.queues += 1;
    arguments.queue_id = id;
    // Nothing is written to a doorbell that anybody reads: what the program has queued is seen in its memory. Its page is
    // mapped at the offset 0 of the device that stands for KFD, as what is mapped beyond its own length can't be accessed.
    arguments.doorbell_offset = u64::from(id) % MOST_QUEUES as u64 * DOORBELL;
    Ok(())
}

fn update_queue(process: &mut Process, arguments: &mut UpdateQueue) -> Result<(), Errno> {
    let size = arguments.ring_size;
    if size != 0 && !size.is_power_of_two() || arguments.queue_percentage & 0xff > 100 || arguments.queue_priority > 15
    {
        return Err(Errno::Invalid);
    }
    let queue = process.queues.get_mut(&arguments.queue_id).ok_or(Errno::Invalid)?;
    queue.update(arguments.ring_base_address, size, arguments.queue_percentage & 0xff);
    Ok(())
}

fn apertures(process: &Process, context: &Context<'_>, arguments: &mut GetApertures) -> Result<(), Errno> {
    let devices = context.machine.devices();
    let places = usize::try_from(arguments.num_of_nodes).unwrap_or(usize::MAX);
    let mut at = arguments.kfd_process_device_apertures_ptr;
    for device in devices.iter().take(places) {
        let apertures = Apertures {
            lds_base: LDS,
            lds_limit: LDS | APERTURE,
            scratch_base: SCRATCH,
            scratch_limit: SCRATCH | APERTURE,
            gpuvm_base: FIRST_ADDRESS,
            gpuvm_limit: END - 1,
            gpu_id: device.gpu_id,
            pad: 0,
        };
        memory::write(process.memory.as_ref(), at, &apertures).map_err(|_| Errno::BadAddress)?;
        at = at.checked_add(size_of::<Apertures>() as u64).ok_or(Errno::BadAddress)?;
    }
    // Without an array it asks how many there are.
    let written = if places == 0 { devices.len() } else { devices.len().min(places) };
    arguments.num_of_nodes = u32::try_from(written).unwrap_or(u32::MAX);
    Ok(())
}

fn allocate(process: &mut Process, context: &Context<'_>, arguments: &mut AllocMemory) -> Result<(), Errno> {
    let device = context.device(arguments.gpu_id)?;
    if process.acquired & 1 << device == 0 {
        return Err(Errno::NotPermitted);
    }
    let own = arguments.flags & memory_flag::VRAM != 0;
    if !own && arguments.size > context.machine.system_memory {
        return Err(Errno::NoMemory);
    }
    let wanted = Wanted {
        address: arguments.va_addr,
        size: arguments.size,
        host: arguments.mmap_offset,
        device,
        flags: arguments.flags,
    };
    let free = context.free(process, device);
    arguments.handle = process.space.allocate(&wanted, free)?;
    if arguments.flags & memory_flag::USERPTR == 0 {
        // Every mapping of the device is memory of its own, wherever in the file it is.
        arguments.mmap_offset = 0;
    }
    process.report.allocations += 1;
    Ok(())
}

/// Sets or gets attributes of the program's memory: a header, and an array that follows it.
fn shared(process: &mut Process, context: &Context<'_>, bytes: &mut [u8]) -> Result<(), Errno> {
    let mut header = SvmHeader::new_zeroed();
    with(bytes, |arguments: &mut SvmHeader| {
        header = *arguments;
        Ok(())
    })?;
    let array = bytes.get_mut(size_of::<SvmHeader>()..).unwrap_or_default();
    let count = usize::try_from(header.nattr).unwrap_or(usize::MAX);
    let places = array.as_chunks_mut::<{ size_of::<SvmAttribute>() }>().0.get_mut(..count).ok_or(Errno::Invalid)?;
    let mut attributes: Vec<SvmAttribute> = places.iter().map(|place| zerocopy::transmute!(*place)).collect();
    let range = (header.start_addr, header.size);
    match header.op {
        svm_operation::SET => process.space.shared.set(range, &attributes, context.machine),
        svm_operation::GET => {
            process.space.shared.get(range, &mut attributes, context.machine)?;
            for (place, attribute) in places.iter_mut().zip(attributes) {
                *place = zerocopy::transmute!(attribute);
            }
            Ok(())
        }
        _ => Err(Errno::Invalid),
    }
}

fn map(process: &mut Process, context: &Context<'_>, arguments: &mut MapMemory, map: bool) -> Result<(), Errno> {
    let (count, first) = (arguments.n_devices, arguments.n_success);
    if count == 0 || count > MOST_DEVICES || first > count || !process.space.has(arguments.handle) {
        return Err(Errno::Invalid);
    }
    for index in first..count {
        let at = arguments.device_ids_array_ptr.checked_add(u64::from(index) * 4).ok_or(Errno::BadAddress)?;
        let gpu_id: u32 = memory::read(process.memory.as_ref(), at).map_err(|_| Errno::BadAddress)?;
        let device = context.device(gpu_id)?;
        if map {
            process.space.map(arguments.handle, device)?;
        } else {
            process.space.unmap(arguments.handle, device)?;
        }
        arguments.n_success = index + 1;
    }
    Ok(())
}
