//! The structures of KFD's interface (kernel `include/uapi/linux/kfd_ioctl.h`) that are simulated. Field names are the
//! kernel's; what comes from the kernel is marked *out*.

use crate::abi::structures;

/// Version of the interface that is simulated.
pub(crate) const MAJOR: u32 = 1;
pub(crate) const MINOR: u32 = 18;

/// Numbers of the requests.
pub(crate) mod number {
    pub(crate) const GET_VERSION: u8 = 0x01;
    pub(crate) const CREATE_QUEUE: u8 = 0x02;
    pub(crate) const DESTROY_QUEUE: u8 = 0x03;
    pub(crate) const SET_MEMORY_POLICY: u8 = 0x04;
    pub(crate) const GET_CLOCK_COUNTERS: u8 = 0x05;
    pub(crate) const UPDATE_QUEUE: u8 = 0x07;
    pub(crate) const CREATE_EVENT: u8 = 0x08;
    pub(crate) const DESTROY_EVENT: u8 = 0x09;
    pub(crate) const SET_EVENT: u8 = 0x0a;
    pub(crate) const RESET_EVENT: u8 = 0x0b;
    pub(crate) const WAIT_EVENTS: u8 = 0x0c;
    pub(crate) const SET_SCRATCH_BACKING_VA: u8 = 0x11;
    pub(crate) const GET_TILE_CONFIG: u8 = 0x12;
    pub(crate) const SET_TRAP_HANDLER: u8 = 0x13;
    pub(crate) const GET_PROCESS_APERTURES_NEW: u8 = 0x14;
    pub(crate) const ACQUIRE_VM: u8 = 0x15;
    pub(crate) const ALLOC_MEMORY_OF_GPU: u8 = 0x16;
    pub(crate) const FREE_MEMORY_OF_GPU: u8 = 0x17;
    pub(crate) const MAP_MEMORY_TO_GPU: u8 = 0x18;
    pub(crate) const UNMAP_MEMORY_FROM_GPU: u8 = 0x19;
    pub(crate) const SET_CU_MASK: u8 = 0x1a;
    pub(crate) const GET_DMABUF_INFO: u8 = 0x1c;
    pub(crate) const IMPORT_DMABUF: u8 = 0x1d;
    pub(crate) const SVM: u8 = 0x20;
    pub(crate) const SET_XNACK_MODE: u8 = 0x21;
    pub(crate) const AVAILABLE_MEMORY: u8 = 0x23;
    pub(crate) const EXPORT_DMABUF: u8 = 0x24;
    pub(crate) const RUNTIME_ENABLE: u8 = 0x25;
    /// Numbers from here on are those of AMD's own kernel module: Debian's kernel does not have them. `IPC_EXPORT_HANDLE`,
    /// which `hipIpcGetMemHandle` makes, is 0x81.
    pub(crate) const OWN_MODULE: u8 = 0x80;
}

structures! {
    /// `kfd_ioctl_get_version_args`, all *out*.
    GetVersion { major_version: u32, minor_version: u32, }

    /// `kfd_ioctl_export_dmabuf_args`.
    ExportDmabuf { handle: u64, flags: u32, dmabuf_fd: u32, }

    /// `kfd_ioctl_create_queue_args`.
    CreateQueue {
        ring_base_address: u64,
        /// Where the program writes how far it has filled the ring.
        write_pointer_address: u64,
        /// Where the GPU writes how far it has emptied it.
        read_pointer_address: u64,
        /// *Out*: what to map of `/dev/kfd`.
        doorbell_offset: u64,
        /// In bytes.
        ring_size: u32,
        gpu_id: u32,
        queue_type: u32,
        queue_percentage: u32,
        queue_priority: u32,
        /// *Out*.
        queue_id: u32,
        eop_buffer_address: u64,
        eop_buffer_size: u64,
        /// Where a [`SaveAreaHeader`] stands.
        ctx_save_restore_address: u64,
        ctx_save_restore_size: u32,
        ctl_stack_size: u32,
        sdma_engine_id: u32,
        pad: u32,
    }

    /// `kfd_ioctl_destroy_queue_args`.
    DestroyQueue { queue_id: u32, pad: u32, }

    /// `kfd_ioctl_update_queue_args`; without a ring or a percentage the queue stops.
    UpdateQueue {
        ring_base_address: u64,
        queue_id: u32,
        ring_size: u32,
        queue_percentage: u32,
        queue_priority: u32,
    }

    /// `kfd_ioctl_set_cu_mask_args`.
    SetCuMask { queue_id: u32, num_cu_mask: u32, cu_mask_ptr: u64, }

    /// `kfd_context_save_area_header`: where errors of a queue are reported.
    SaveAreaHeader {
        wave_state: [u32; 4],
        debug_offset: u32,
        debug_size: u32,
        /// Address of the mask of errors.
        err_payload_addr: u64,
        /// Event to set then.
        err_event_id: u32,
        reserved1: u32,
    }

    /// `kfd_ioctl_set_memory_policy_args`.
    SetMemoryPolicy {
        alternate_aperture_base: u64,
        alternate_aperture_size: u64,
        gpu_id: u32,
        default_policy: u32,
        alternate_policy: u32,
        pad: u32,
    }

    /// `kfd_ioctl_get_clock_counters_args`, all *out* but the GPU.
    GetClockCounters {
        gpu_clock_counter: u64,
        cpu_clock_counter: u64,
        system_clock_counter: u64,
        system_clock_freq: u64,
        gpu_id: u32,
        pad: u32,
    }

    /// `kfd_process_device_apertures`, *out*: address ranges that mean something else than memory, and those of memory.
    Apertures {
        lds_base: u64,
        lds_limit: u64,
        scratch_base: u64,
        scratch_limit: u64,
        gpuvm_base: u64,
        gpuvm_limit: u64,
        gpu_id: u32,
        pad: u32,
    }

    /// `kfd_ioctl_get_process_apertures_new_args`.
    GetApertures {
        /// Array of [`Apertures`].
        kfd_process_device_apertures_ptr: u64,
        /// Places in it; *out*: GPUs.
        num_of_nodes: u32,
        pad: u32,
    }

    /// `kfd_ioctl_create_event_args`.
    CreateEvent {
        /// Handle of the memory for signals; *out*: what to map of `/dev/kfd`.
        event_page_offset: u64,
        /// *Out*.
        event_trigger_data: u32,
        event_type: u32,
        auto_reset: u32,
        node_id: u32,
        /// *Out*.
        event_id: u32,
        /// *Out*.
        event_slot_index: u32,
    }

    /// `kfd_ioctl_destroy_event_args`, `kfd_ioctl_set_event_args` and `kfd_ioctl_reset_event_args`.
    OneEvent { event_id: u32, pad: u32, }

    /// `kfd_ioctl_wait_events_args`.
    WaitEvents {
        /// Array of [`EventData`].
        events_ptr: u64,
        num_events: u32,
        wait_for_all: u32,
        /// Milliseconds; all bits set for no end.
        timeout: u32,
        /// *Out*.
        wait_result: u32,
    }

    /// `kfd_event_data`. The first fields are a union: those of a memory exception, of which the first eight bytes are
    /// the age of a signal.
    EventData {
        /// For signals, the age that the program has seen, 0 to wait for the event's state; *out*: its age.
        last_event_age: u64,
        no_execute: u32,
        imprecise: u32,
        /// Address of a memory fault.
        va: u64,
        gpu_id: u32,
        error_type: u32,
        kfd_event_data_ext: u64,
        event_id: u32,
        pad: u32,
    }

    /// `kfd_ioctl_set_scratch_backing_va_args`.
    SetScratch { va_addr: u64, gpu_id: u32, pad: u32, }

    /// `kfd_ioctl_get_tile_config_args`.
    GetTileConfig {
        tile_config_ptr: u64,
        macro_tile_config_ptr: u64,
        num_tile_configs: u32,
        num_macro_tile_configs: u32,
        gpu_id: u32,
        /// *Out*, as are the following.
        gb_addr_config: u32,
        num_banks: u32,
        num_ranks: u32,
    }

    /// `kfd_ioctl_set_trap_handler_args`.
    SetTrapHandler { tba_addr: u64, tma_addr: u64, gpu_id: u32, pad: u32, }

    /// `kfd_ioctl_acquire_vm_args`.
    AcquireVm { drm_fd: u32, gpu_id: u32, }

    /// `kfd_ioctl_alloc_memory_of_gpu_args`.
    AllocMemory {
        /// Address for the GPU.
        va_addr: u64,
        size: u64,
        /// *Out*.
        handle: u64,
        /// Address in the program, for memory that it has already; *out*: what to map of the render node.
        mmap_offset: u64,
        gpu_id: u32,
        flags: u32,
    }

    /// `kfd_ioctl_free_memory_of_gpu_args`.
    FreeMemory { handle: u64, }

    /// `kfd_ioctl_map_memory_to_gpu_args` and `kfd_ioctl_unmap_memory_from_gpu_args`.
    MapMemory {
        handle: u64,
        /// Array of KFD's numbers of GPUs.
        device_ids_array_ptr: u64,
        n_devices: u32,
        /// How many are done already, *in* and *out*.
        n_success: u32,
    }

    /// `kfd_ioctl_set_xnack_mode_args`: 0 off, positive on, negative asks.
    SetXnackMode { xnack_enabled: i32, }

    /// `kfd_ioctl_svm_args` without the array of [`SvmAttribute`] that follows it.
    SvmHeader {
        start_addr: u64,
        size: u64,
        op: u32,
        nattr: u32,
    }

    /// `kfd_ioctl_svm_attribute`: a [`svm_attribute`] and its value.
    SvmAttribute { kind: u32, value: u32, }

    /// `kfd_ioctl_get_available_memory_args`.
    AvailableMemory {
        /// *Out*, in bytes.
        available: u64,
        gpu_id: u32,
        pad: u32,
    }

    /// `kfd_ioctl_runtime_enable_args`.
    RuntimeEnable {
        r_debug: u64,
        mode_mask: u32,
        /// *Out*.
        capabilities_mask: u32,
    }
}

/// `KFD_IOC_QUEUE_TYPE_*`.
pub(crate) mod queue_type {
    pub(crate) const SDMA: u32 = 1;
    pub(crate) const COMPUTE_AQL: u32 = 2;
    pub(crate) const SDMA_XGMI: u32 = 3;
    pub(crate) const SDMA_BY_ENGINE: u32 = 4;
}

/// `KFD_IOC_ALLOC_MEM_FLAGS_*`: what kind of memory.
pub(crate) mod memory_flag {
    pub(crate) const VRAM: u32 = 1 << 0;
    pub(crate) const USERPTR: u32 = 1 << 2;
    pub(crate) const DOORBELL: u32 = 1 << 3;
    pub(crate) const MMIO_REMAP: u32 = 1 << 4;
    pub(crate) const KINDS: u32 = 0b1_1111;
}

/// `KFD_IOC_EVENT_*`: kinds of events.
pub(crate) mod event_type {
    pub(crate) const SIGNAL: u32 = 0;
    pub(crate) const HW_EXCEPTION: u32 = 3;
    pub(crate) const MEMORY: u32 = 8;
}

/// `KFD_IOCTL_SVM_OP_*`.
pub(crate) mod svm_operation {
    pub(crate) const SET: u32 = 0;
    pub(crate) const GET: u32 = 1;
}

/// `KFD_IOCTL_SVM_ATTR_*`. The value of a location or an access is KFD's number of a GPU.
pub(crate) mod svm_attribute {
    pub(crate) const PREFERRED_LOCATION: u32 = 0;
    pub(crate) const PREFETCH_LOCATION: u32 = 1;
    pub(crate) const ACCESS: u32 = 2;
    pub(crate) const ACCESS_IN_PLACE: u32 = 3;
    pub(crate) const NO_ACCESS: u32 = 4;
    pub(crate) const SET_FLAGS: u32 = 5;
    pub(crate) const CLEAR_FLAGS: u32 = 6;
    pub(crate) const GRANULARITY: u32 = 7;
}

/// `KFD_IOCTL_SVM_FLAG_*` that every range has from the start.
pub(crate) mod svm_flag {
    pub(crate) const HOST_ACCESS: u32 = 1;
    pub(crate) const COHERENT: u32 = 2;
}

/// `KFD_IOC_WAIT_RESULT_*`.
pub(crate) mod wait_result {
    pub(crate) const COMPLETE: u32 = 0;
    pub(crate) const TIMEOUT: u32 = 1;
    pub(crate) const FAIL: u32 = 2;
}

/// `KFD_RUNTIME_ENABLE_MODE_ENABLE_MASK`.
pub(crate) const RUNTIME_ENABLE: u32 = 1;
/// `KFD_RUNTIME_ENABLE_CAPS_SUPPORTS_CORE_DUMP_MASK`: with it `ROCr` leaves dumps of the GPU to the kernel.
pub(crate) const KERNEL_DUMPS_CORE: u32 = 1;

/// `EC_QUEUE_WAVE_TRAP`, `EC_QUEUE_WAVE_ILLEGAL_INSTRUCTION` and `EC_QUEUE_PACKET_UNSUPPORTED` as bits of an error mask.
pub(crate) const TRAP: u64 = 1 << 1;
pub(crate) const ILLEGAL_INSTRUCTION: u64 = 1 << 3;
pub(crate) const UNSUPPORTED_PACKET: u64 = 1 << 19;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_kernels_sizes() {
        assert_eq!(size_of::<CreateQueue>(), 96);
        assert_eq!(size_of::<EventData>(), 48);
        assert_eq!(size_of::<AllocMemory>(), 40);
        assert_eq!(size_of::<Apertures>(), 56);
        assert_eq!(size_of::<SaveAreaHeader>(), 40);
        assert_eq!(size_of::<GetTileConfig>(), 40);
        assert_eq!((size_of::<SvmHeader>(), size_of::<SvmAttribute>()), (24, 8));
    }
}
