//! Answers to the requests on `/dev/dri/*` (kernel `drivers/gpu/drm/drm_ioctl.c`, `amd/amdgpu/amdgpu_kms.c`): those by
//! which libraries ask about the GPU. Nothing can be drawn.

use zerocopy::{FromZeros, IntoBytes};

use crate::address_range::END;
use crate::device::Device;
use crate::drm_abi::{
    self, Client, DeviceInfo, Firmware, GemClose, GetCap, Heap, Info, MemoryInfo, Vbios, Version, VramGtt, number,
    query,
};
use crate::errno::Errno;
use crate::kfd::{Context, with};
use crate::memory::Memory;
use crate::process::{Process, ticks};
use crate::request::DRM;

/// What DRM says the driver is.
const NAME: &str = "amdgpu";
const DATE: &str = "0";
const DESCRIPTION: &str = "AMD GPU";
/// `AMDGPU_IDS_FLAGS_FUSION`: the GPU is part of a processor.
const INTEGRATED: u64 = 1;
/// `AMDGPU_VRAM_TYPE_*`.
const HBM: u32 = 6;
const GDDR6: u32 = 9;
const DDR4: u32 = 8;
/// Memory buses from this width on are those of HBM.
const WIDE: u32 = 1024;
/// First address and granularity of buffers that programs place.
const FIRST_ADDRESS: u64 = 0x20_0000;
const PAGE: u32 = 4096;

/// Answers a request to the GPU with this index.
pub(crate) fn answer(
    process: &mut Process,
    context: &Context<'_>,
    device: usize,
    number: u8,
    bytes: &mut [u8],
) -> Result<(), Errno> {
    let Some(gpu) = context.machine.devices().get(device) else { return Err(Errno::Invalid) };
    match number {
        number::VERSION => with(bytes, |version: &mut Version| {
            (version.version_major, version.version_minor, version.version_patchlevel) =
                (drm_abi::MAJOR, drm_abi::MINOR, 0);
            let memory = process.memory.as_ref();
            version.name_len = text(memory, version.name, version.name_len, NAME)?;
            version.date_len = text(memory, version.date, version.date_len, DATE)?;
            version.desc_len = text(memory, version.desc, version.desc_len, DESCRIPTION)?;
            Ok(())
        }),
        number::GET_CLIENT => with(bytes, |client: &mut Client| {
            client.auth = 1;
            Ok(())
        }),
        number::GET_CAP => with(bytes, |capability: &mut GetCap| {
            // `DRM_CAP_PRIME`: both directions; `DRM_CAP_SYNCOBJ` and `DRM_CAP_SYNCOBJ_TIMELINE`: no.
            capability.value = if capability.capability == 5 { 3 } else { 0 };
            Ok(())
        }),
        // There are no handles.
        number::GEM_CLOSE => with(bytes, |_: &mut GemClose| Err(Errno::Invalid)),
        number::INFO => with(bytes, |request: &mut Info| info(process, context, gpu, device, request)),
        number => {
            process.report.unknown_requests.insert((DRM, number));
            Err(Errno::Invalid)
        }
    }
}

/// Writes as much of a text as there is room for; returns its length.
fn text(memory: &dyn Memory, address: u64, room: u64, text: &str) -> Result<u64, Errno> {
    let length = usize::try_from(room).unwrap_or(usize::MAX).min(text.len());
    if address != 0 && length > 0 {
        let bytes = text.as_bytes().get(..length).unwrap_or_default();
        memory.write(address, bytes).map_err(|_| Errno::BadAddress)?;
    }
    Ok(text.len() as u64)
}

fn info(
    process: &mut Process,
    context: &Context<'_>,
    gpu: &Device,
    device: usize,
    request: &Info,
) -> Result<(), Errno> {
    let used = context.taken.get(device).copied().unwrap_or(0).saturating_add(process.space.used(device));
    let answer = match request.query {
        query::ACCEL_WORKING => 1_u32.as_bytes().to_vec(),
        query::HW_IP_COUNT => hardware(request).map_or(0, |()| 1_u32).as_bytes().to_vec(),
        // `drm_amdgpu_info_hw_ip`: version, capabilities, alignments, rings.
        query::HW_IP_INFO => {
            let there = hardware(request).is_some();
            [gpu.major().into(), 0, 0, 0, 256, 256, u32::from(there), 0_u32].as_bytes().to_vec()
        }
        query::TIMESTAMP => ticks(context.now).as_bytes().to_vec(),
        query::FW_VERSION => Firmware { ver: 1, feature: 1 }.as_bytes().to_vec(),
        query::NUM_BYTES_MOVED | query::NUM_EVICTIONS | query::GTT_USAGE | query::RAS_ENABLED_FEATURES => {
            0_u64.as_bytes().to_vec()
        }
        query::VRAM_USAGE | query::VIS_VRAM_USAGE => used.as_bytes().to_vec(),
        query::GDS_CONFIG => [0_u32; 8].as_bytes().to_vec(),
        query::VRAM_GTT => {
            let sizes =
                VramGtt { vram_size: gpu.memory, vram_cpu_accessible_size: gpu.memory, gtt_size: gpu.shared_memory };
            sizes.as_bytes().to_vec()
        }
        // `offset`, `count`, ...: registers have no simulation and are 0.
        query::READ_MMR_REG => {
            let [_, count, ..] = request.details;
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            if count > 128 {
                return Err(Errno::Invalid);
            }
            vec![0; count * 4]
        }
        query::DEV_INFO => device_info(gpu).as_bytes().to_vec(),
        query::MEMORY => {
            let heap = |total: u64, used: u64| Heap {
                total_heap_size: total,
                usable_heap_size: total,
                heap_usage: used,
                max_allocation: total.saturating_sub(used) / 4 * 3,
            };
            let vram = heap(gpu.memory, used);
            MemoryInfo { vram, cpu_accessible_vram: vram, gtt: heap(gpu.shared_memory, 0) }.as_bytes().to_vec()
        }
        query::VBIOS => {
            let mut vbios = Vbios::new_zeroed();
            for (to, from) in vbios.vbios_pn.iter_mut().zip(b"simulated") {
                *to = *from;
            }
            vbios.as_bytes().to_vec()
        }
        query::VRAM_LOST_COUNTER => 0_u32.as_bytes().to_vec(),
        _ => {
            process.report.unknown_requests.insert((DRM, number::INFO));
            return Err(Errno::Invalid);
        }
    };
    let room = usize::try_from(request.return_size).unwrap_or(usize::MAX);
    let answer = answer.get(..room).unwrap_or(&answer);
    if request.return_size == 0 || request.return_pointer == 0 {
        return Err(Errno::Invalid);
    }
    process.memory.write(request.return_pointer, answer).map_err(|_| Errno::BadAddress)
}

/// Whether the GPU has a block of hardware: `AMDGPU_HW_IP_GFX`, `_COMPUTE` or `_DMA`.
fn hardware(request: &Info) -> Option<()> {
    let [kind, ..] = request.details;
    (kind <= 2).then_some(())
}

fn device_info(gpu: &Device) -> DeviceInfo {
    let mut info = DeviceInfo::new_zeroed();
    let chip = &gpu.chip;
    info.device_id = gpu.device_id.into();
    info.chip_rev = 1;
    info.external_rev = chip.external_revision;
    info.pci_rev = chip.revision.into();
    info.family = chip.family;
    (info.num_shader_engines, info.num_shader_arrays_per_engine) = chip.engines;
    info.gpu_counter_freq = 100_000;
    info.max_engine_clock = u64::from(chip.clock) * 1000;
    info.max_memory_clock = u64::from(chip.memory.0) * 1000;
    info.cu_active_number = gpu.compute_units;
    // The array has room for four engines with four arrays each, in which the kernel folds more.
    let per_array = gpu.units_per_array();
    let mask = 1_u32.checked_shl(per_array).map_or(u32::MAX, |bit| bit - 1);
    let (engines, arrays) = (chip.engines.0.min(4), chip.engines.1.min(4));
    for (index, bitmap) in (0_u32..).zip(&mut info.cu_bitmap) {
        if index / 4 < engines && index % 4 < arrays {
            *bitmap = mask;
        }
    }
    info.cu_ao_bitmap = info.cu_bitmap;
    let pipes = gpu.arrays().min(32);
    info.enabled_rb_pipes_mask = u32::MAX >> (32 - pipes);
    info.num_rb_pipes = pipes;
    info.num_hw_gfx_contexts = 8;
    info.pcie_gen = 4;
    info.pcie_num_lanes = 16;
    info.ids_flags = if gpu.integrated { INTEGRATED } else { 0 };
    (info.virtual_address_offset, info.virtual_address_max) = (FIRST_ADDRESS, END - u64::from(PAGE));
    (info.virtual_address_alignment, info.pte_fragment_size, info.gart_page_size) = (PAGE, 0x20_0000, PAGE);
    info.vram_type = match (gpu.integrated, chip.memory.1) {
        (true, _) => DDR4,
        (false, WIDE..) => HBM,
        (false, _) => GDDR6,
    };
    info.vram_bit_width = chip.memory.1;
    info.wave_front_size = gpu.wavefront();
    info.num_shader_visible_vgprs = if gpu.major() < 10 { 256 } else { 1024 };
    info.num_cu_per_sh = per_array;
    info.num_tcc_blocks = 16;
    info
}
