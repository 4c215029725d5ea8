//! The structures of DRM's and amdgpu's interface (kernel `include/uapi/drm/drm.h`, `amdgpu_drm.h`) that are simulated.
//! Field names are the kernel's.

use crate::abi::structures;

/// Version of amdgpu's interface.
pub(crate) const MAJOR: u32 = 3;
pub(crate) const MINOR: u32 = 64;

/// Numbers of the requests; from 0x40 on they are amdgpu's.
pub(crate) mod number {
    pub(crate) const VERSION: u8 = 0x00;
    pub(crate) const GET_CLIENT: u8 = 0x05;
    pub(crate) const GEM_CLOSE: u8 = 0x09;
    pub(crate) const GET_CAP: u8 = 0x0c;
    pub(crate) const INFO: u8 = 0x45;
}

/// `AMDGPU_INFO_*`: what is asked for.
pub(crate) mod query {
    pub(crate) const ACCEL_WORKING: u32 = 0x00;
    pub(crate) const HW_IP_INFO: u32 = 0x02;
    pub(crate) const HW_IP_COUNT: u32 = 0x03;
    pub(crate) const TIMESTAMP: u32 = 0x05;
    pub(crate) const FW_VERSION: u32 = 0x0e;
    pub(crate) const NUM_BYTES_MOVED: u32 = 0x0f;
    pub(crate) const VRAM_USAGE: u32 = 0x10;
    pub(crate) const GTT_USAGE: u32 = 0x11;
    pub(crate) const GDS_CONFIG: u32 = 0x13;
    pub(crate) const VRAM_GTT: u32 = 0x14;
    pub(crate) const READ_MMR_REG: u32 = 0x15;
    pub(crate) const DEV_INFO: u32 = 0x16;
    pub(crate) const VIS_VRAM_USAGE: u32 = 0x17;
    pub(crate) const NUM_EVICTIONS: u32 = 0x18;
    pub(crate) const MEMORY: u32 = 0x19;
    pub(crate) const VBIOS: u32 = 0x1b;
    pub(crate) const VRAM_LOST_COUNTER: u32 = 0x1f;
    pub(crate) const RAS_ENABLED_FEATURES: u32 = 0x20;
}

structures! {
    /// `drm_version`: three texts, each with the room that the program has for it and its address.
    Version {
        version_major: u32,
        version_minor: u32,
        version_patchlevel: u32,
        pad: u32,
        name_len: u64,
        name: u64,
        date_len: u64,
        date: u64,
        desc_len: u64,
        desc: u64,
    }

    /// `drm_client`.
    Client {
        idx: u32,
        /// Whether the client may use the device.
        auth: u32,
        pid: u64,
        uid: u64,
        magic: u64,
        iocs: u64,
    }

    /// `drm_gem_close`.
    GemClose { handle: u32, pad: u32, }

    /// `drm_get_cap`.
    GetCap { capability: u64, value: u64, }

    /// `drm_amdgpu_info`.
    Info {
        /// Where the answer is to be.
        return_pointer: u64,
        /// Room there, in bytes.
        return_size: u32,
        query: u32,
        /// Depends on the question; for firmware and blocks of hardware, the first is which.
        details: [u32; 4],
    }

    /// `drm_amdgpu_info_device`.
    DeviceInfo {
        device_id: u32,
        chip_rev: u32,
        external_rev: u32,
        pci_rev: u32,
        family: u32,
        num_shader_engines: u32,
        num_shader_arrays_per_engine: u32,
        /// In kHz, as are the clocks.
        gpu_counter_freq: u32,
        max_engine_clock: u64,
        max_memory_clock: u64,
        cu_active_number: u32,
        cu_ao_mask: u32,
        /// By engine, then by array.
        cu_bitmap: [u32; 16],
        enabled_rb_pipes_mask: u32,
        num_rb_pipes: u32,
        num_hw_gfx_contexts: u32,
        pcie_gen: u32,
        ids_flags: u64,
        virtual_address_offset: u64,
        virtual_address_max: u64,
        virtual_address_alignment: u32,
        pte_fragment_size: u32,
        gart_page_size: u32,
        ce_ram_size: u32,
        vram_type: u32,
        vram_bit_width: u32,
        vce_harvest_config: u32,
        gc_double_offchip_lds_buf: u32,
        ngg_buffers: [u64; 4],
        ngg_sizes: [u32; 4],
        wave_front_size: u32,
        num_shader_visible_vgprs: u32,
        num_cu_per_sh: u32,
        num_tcc_blocks: u32,
        gs_vgt_table_depth: u32,
        gs_prim_buffer_depth: u32,
        max_gs_waves_per_vgt: u32,
        pcie_num_lanes: u32,
        cu_ao_bitmap: [u32; 16],
        high_va_offset: u64,
        high_va_max: u64,
        pa_sc_tile_steering_override: u32,
        pad: u32,
        tcc_disabled_mask: u64,
        min_engine_clock: u64,
        min_memory_clock: u64,
    }

    /// `drm_amdgpu_info_vram_gtt`, in bytes.
    VramGtt { vram_size: u64, vram_cpu_accessible_size: u64, gtt_size: u64, }

    /// `drm_amdgpu_heap_info`, in bytes.
    Heap { total_heap_size: u64, usable_heap_size: u64, heap_usage: u64, max_allocation: u64, }

    /// `drm_amdgpu_memory_info`.
    MemoryInfo { vram: Heap, cpu_accessible_vram: Heap, gtt: Heap, }

    /// `drm_amdgpu_info_firmware`.
    Firmware { ver: u32, feature: u32, }

    /// `drm_amdgpu_info_vbios`.
    Vbios { name: [u8; 64], vbios_pn: [u8; 64], version: u32, pad: u32, vbios_ver_str: [u8; 32], date: [u8; 32], }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_kernels_sizes_and_places() {
        assert_eq!(size_of::<Version>(), 64);
        assert_eq!(size_of::<Info>(), 32);
        assert_eq!(std::mem::offset_of!(DeviceInfo, ids_flags), 136);
        assert_eq!(std::mem::offset_of!(DeviceInfo, wave_front_size), 240);
        assert_eq!(std::mem::offset_of!(DeviceInfo, high_va_offset), 336);
        assert_eq!(size_of::<MemoryInfo>(), 96);
        assert_eq!(size_of::<Vbios>(), 200);
    }
}
