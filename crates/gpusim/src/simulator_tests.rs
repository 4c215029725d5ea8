#[path = "simulator_tests/ending.rs"]
mod ending;

use std::time::Duration;

use proptest::prelude::*;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use super::*;
use crate::kfd_abi::{
    AcquireVm, AllocMemory, AvailableMemory, CreateEvent, CreateQueue, ExportDmabuf, FreeMemory, MapMemory,
    RuntimeEnable, SaveAreaHeader, event_type, memory_flag, number, queue_type,
};
use crate::memory::tests::Piece;

/// Where the program has its memory, and what of it its GPU gets.
const BASE: u64 = 0x10_0000;
const LENGTH: usize = 0x4_0000;
/// Arguments of requests.
const ARGUMENT: u64 = BASE;
/// A list of GPUs.
const LIST: u64 = BASE + 0x800;
const WRITE_POINTER: u64 = BASE + 0x2038;
const READ_POINTER: u64 = BASE + 0x2080;
const RING: u64 = BASE + 0x4000;
const SAVE_AREA: u64 = BASE + 0x6000;
const SIGNAL: u64 = BASE + 0x7000;
const MAILBOX: u64 = BASE + 0x7800;
const DATA: u64 = BASE + 0x1_0000;

const PROGRAM: u64 = 1;

/// A program with one GPU that has all of the program's memory.
struct Program {
    simulator: Simulator,
    memory: Piece,
    gpu_id: u32,
}

impl Program {
    fn new(target: &str) -> Self {
        let machine = Machine::new(&gpu::simulate(target).unwrap(), 1 << 30, 4).unwrap();
        let gpu_id = machine.devices()[0].gpu_id;
        let mut simulator = Simulator::new(machine, Kernels::Refuse);
        let memory = Piece::new(BASE, LENGTH);
        simulator.enter(PROGRAM, Box::new(memory.clone()));
        Self { simulator, memory, gpu_id }
    }

    fn with_memory(target: &str) -> Self {
        let mut program = Self::new(target);
        program.acquire();
        let handle = program.allocate(BASE, LENGTH as u64, memory_flag::VRAM).unwrap();
        program.map(handle).unwrap();
        program
    }

    fn put(&self, address: u64, value: &(impl IntoBytes + Immutable)) {
        self.memory.write(address, value.as_bytes()).unwrap();
    }

    fn get<T: FromBytes + IntoBytes>(&self, address: u64) -> T {
        crate::memory::read(&self.memory, address).unwrap()
    }

    fn ask<T: FromBytes + IntoBytes + Immutable>(&mut self, index: u8, value: &T) -> Result<T, Errno> {
        self.put(ARGUMENT, value);
        let size = u32::try_from(size_of::<T>()).unwrap();
        let number = 3 << 30 | size << 16 | u32::from(KFD) << 8 | u32::from(index);
        let request = Request { node: Node::Kfd, number, argument: ARGUMENT };
        match self.simulator.ioctl(PROGRAM, &request, 0, Duration::ZERO) {
            Answer::Now(result) => result.map(|()| self.get(ARGUMENT)),
            Answer::Later => panic!("it waits"),
        }
    }

    fn acquire(&mut self) {
        let gpu_id = self.gpu_id;
        self.ask(number::ACQUIRE_VM, &AcquireVm { drm_fd: 3, gpu_id }).unwrap();
    }

    fn allocate(&mut self, va_addr: u64, size: u64, flags: u32) -> Result<u64, Errno> {
        let gpu_id = self.gpu_id;
        let wanted = AllocMemory { va_addr, size, handle: 0, mmap_offset: 0, gpu_id, flags };
        self.ask(number::ALLOC_MEMORY_OF_GPU, &wanted).map(|done| done.handle)
    }

    fn list(&self, handle: u64) -> MapMemory {
        self.put(LIST, &self.gpu_id);
        MapMemory { handle, device_ids_array_ptr: LIST, n_devices: 1, n_success: 0 }
    }

    fn map(&mut self, handle: u64) -> Result<(), Errno> {
        let list = self.list(handle);
        self.ask(number::MAP_MEMORY_TO_GPU, &list).map(|done| assert_eq!(done.n_success, 1))
    }

    fn queue(&mut self, kind: u32) -> u32 {
        let mut wanted = CreateQueue::new_zeroed();
        (wanted.ring_base_address, wanted.ring_size) = (RING, 0x1000);
        (wanted.write_pointer_address, wanted.read_pointer_address) = (WRITE_POINTER, READ_POINTER);
        (wanted.gpu_id, wanted.queue_type, wanted.queue_percentage) = (self.gpu_id, kind, 100);
        wanted.ctx_save_restore_address = SAVE_AREA;
        self.ask(number::CREATE_QUEUE, &wanted).unwrap().queue_id
    }

    fn event(&mut self, kind: u32) -> u32 {
        let mut wanted = CreateEvent::new_zeroed();
        wanted.event_type = kind;
        self.ask(number::CREATE_EVENT, &wanted).unwrap().event_id
    }

    /// Makes a signal with the value 1 and an event.
    fn signal(&mut self) {
        let event = self.event(event_type::SIGNAL);
        self.put(SIGNAL, &[1_u64, 1, MAILBOX, event.into()]);
    }

    fn signal_value(&self) -> u64 {
        self.get(SIGNAL + 8)
    }

    /// Puts words into the ring and tells the queue.
    fn submit(&mut self, words: &[u32], written: u64) -> Report {
        self.put(RING, &0_u32);
        self.memory.write(RING, words.as_bytes()).unwrap();
        self.put(WRITE_POINTER, &written);
        self.simulator.step(Duration::ZERO);
        self.simulator.report()
    }

    /// Puts a packet into the ring that launches a kernel.
    fn put_launch(&self, fields: [u64; 7]) {
        let packet: Vec<u64> = [&[LAUNCH][..], &fields].concat();
        self.put(RING, &[0_u8; 64]);
        self.memory.write(RING, packet.as_bytes()).unwrap();
        self.put(WRITE_POINTER, &1_u64);
    }

    /// Launches a kernel.
    fn launch(&mut self, fields: [u64; 7]) -> Report {
        self.put_launch(fields);
        self.simulator.step(Duration::ZERO);
        self.simulator.report()
    }

    /// Puts an AQL packet into the ring.
    fn packet(&mut self, kind: u8, fields: [u64; 7]) -> Report {
        let mut packet = vec![u64::from(kind)];
        packet.extend(fields);
        self.put(RING, &[0_u8; 64]);
        self.memory.write(RING, packet.as_bytes()).unwrap();
        self.put(WRITE_POINTER, &1_u64);
        self.simulator.step(Duration::ZERO);
        self.simulator.report()
    }
}

fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

fn copy(from: u64, to: u64, length: u32) -> Vec<u32> {
    let ([from_low, from_high], [to_low, to_high]) = (halves(from), halves(to));
    vec![1, length - 1, 0, from_low, from_high, to_low, to_high]
}

#[test]
fn a_copy_moves_the_programs_bytes_and_says_when_it_is_done() {
    let mut program = Program::with_memory("gfx1100");
    program.queue(queue_type::SDMA);
    program.memory.write(DATA, b"rocbed").unwrap();
    let mut words = copy(DATA, DATA + 0x1001, 6);
    let [low, high] = halves(MAILBOX);
    words.extend([5, low, high, 77]);
    let report = program.submit(&words, 44);
    assert_eq!((report.copies, report.copied, report.refused()), (1, 6, false));
    assert_eq!(program.get::<[u8; 6]>(DATA + 0x1001), *b"rocbed");
    assert_eq!(program.get::<u32>(MAILBOX), 77);
    assert_eq!(program.get::<u64>(READ_POINTER), 44);
}

#[test]
fn a_fill_writes_every_word_and_no_more() {
    let mut program = Program::with_memory("gfx906");
    program.queue(queue_type::SDMA);
    let [low, high] = halves(DATA);
    program.submit(&[0x8000_000b, low, high, 0x5a5a_5a5a, 4 * 2], 20);
    assert_eq!(program.get::<[u32; 4]>(DATA), [0x5a5a_5a5a, 0x5a5a_5a5a, 0x5a5a_5a5a, 0]);
}

#[test]
fn a_rectangle_is_copied_row_by_row_in_both_formats() {
    for (target, pitch_shift) in [("gfx1030", 13), ("gfx1201", 16)] {
        let mut program = Program::with_memory(target);
        program.queue(queue_type::SDMA);
        program.memory.write(DATA, b"abcdefghijkl").unwrap();
        let ([from, high], [to, _]) = (halves(DATA), halves(DATA + 0x100));
        // Two rows of two bytes, from rows of four to rows of eight.
        let (source, destination) = ([from, high, 1, 3 << pitch_shift, 0], [to, high, 0, 7 << pitch_shift, 0]);
        let words = [&[1 | 4 << 8][..], &source, &destination, &[1 | 1 << 16, 0]].concat();
        let report = program.submit(&words, 52);
        assert_eq!((report.copied, report.faults), (4, 0), "{target}");
        assert_eq!(program.get::<[u8; 10]>(DATA + 0x100), *b"bc\0\0\0\0\0\0fg", "{target}");
    }
}

#[test]
fn a_copy_from_freed_memory_is_a_memory_fault() {
    let mut program = Program::with_memory("gfx1030");
    program.queue(queue_type::SDMA);
    let event = program.event(event_type::MEMORY);
    let report = program.submit(&copy(BASE + LENGTH as u64, DATA, 16), 28);
    assert_eq!((report.faults, report.copies), (1, 0));
    assert_eq!(report.milestone(), "accessed memory that the GPU does not have");
    let mut wait = [0_u64; 6];
    wait[5] = event.into();
    program.put(DATA, &wait);
    let arguments =
        crate::kfd_abi::WaitEvents { events_ptr: DATA, num_events: 1, wait_for_all: 0, timeout: 0, wait_result: 9 };
    program.put(ARGUMENT, &arguments);
    let number = 3 << 30 | 24 << 16 | u32::from(KFD) << 8 | u32::from(number::WAIT_EVENTS);
    let request = Request { node: Node::Kfd, number, argument: ARGUMENT };
    assert_eq!(program.simulator.ioctl(PROGRAM, &request, 5, Duration::ZERO), Answer::Later);
    let (ended, _) = program.simulator.step(Duration::ZERO);
    assert_eq!(ended, [Ended { token: 5, result: Ok(()) }]);
    let [not_present, _, address, gpu_id, ..]: [u64; 6] = program.get(DATA);
    assert_eq!((not_present, address), (1, BASE + LENGTH as u64));
    assert_eq!(gpu_id, u64::from(program.gpu_id));
}

#[test]
fn a_kernel_is_refused_and_its_completion_is_never_told() {
    let mut program = Program::with_memory("gfx1100");
    program.signal();
    program.put(SIGNAL, &[1_u64, 1, 0, 0]);
    // The queue's own signal, where `amd_queue_t` has it.
    program.put(WRITE_POINTER - 0x38 + 0xc0, &SIGNAL);
    program.queue(queue_type::COMPUTE_AQL);
    let completion = DATA;
    program.put(completion, &[1_u64, 1, 0, 0]);
    let report = program.packet(2, [0, 0, 0, 0, 0, 0, completion]);
    assert_eq!((report.refused_kernels, report.refused()), (1, true));
    assert_eq!(report.milestone(), "reached the first kernel launch");
    assert_eq!(program.get::<u64>(completion + 8), 1, "nothing says that it was done");
    assert_eq!(program.signal_value(), 1 << 30);
    assert_eq!(program.get::<u64>(READ_POINTER), 0);
}

#[test]
fn a_skipped_kernel_completes_and_the_report_is_of_no_success() {
    let mut program = Program::with_memory("gfx1100");
    program.simulator.kernels = Kernels::Skip;
    program.signal();
    program.queue(queue_type::COMPUTE_AQL);
    let report = program.packet(2, [0, 0, 0, 0, 0, 0, SIGNAL]);
    assert_eq!(program.signal_value(), 0);
    assert_eq!((report.skipped_kernels, report.refused_kernels, report.refused()), (1, 0, true));
    let text = report.to_string();
    assert!(text.starts_with("went on after kernels that did not run (") && text.ends_with(", skipped 1)"), "{text}");
}

/// Puts a kernel at `DATA` that stores 42 where its first argument points, and returns the fields of its packet: one
/// workgroup of 32, with arguments at `DATA + 0x800`.
fn kernel(program: &Program, place: u64, code: &[u32]) -> [u64; 7] {
    let mut descriptor = [0_u32; 16];
    // Its code follows. It has two registers with the arguments' address; waves of 32.
    descriptor[4] = 64;
    (descriptor[12], descriptor[13], descriptor[14]) = (0xf0 << 12, 2 << 1, 1 << 3 | 1 << 10);
    program.put(DATA, &descriptor);
    program.memory.write(DATA + 64, code.as_bytes()).unwrap();
    program.put(DATA + 0x800, &place);
    [1 | 32 << 32, 1 | 1 << 32, 0, DATA, DATA + 0x800, 0, SIGNAL]
}

/// What such a packet begins with: one dimension, and workgroups of 32.
const LAUNCH: u64 = 2 | 1 << 16 | 32 << 32 | 1 << 48;

const STORES: [u32; 9] = [
    0xf404_0000, // s_load_dwordx2 s[0:1], s[0:1], 0x0
    0xfa00_0000,
    0x7e00_02aa, // v_mov_b32 v0, 42
    0x7e02_0280, // v_mov_b32 v1, 0
    0xbf8c_c07f, // s_waitcnt lgkmcnt(0)
    0xdc70_8000, // global_store_dword v1, v0, s[0:1]
    0x0000_0001,
    0xbf81_0000, // s_endpgm
    0,
];

#[test]
fn a_kernel_runs_if_it_is_asked_for() {
    let mut program = Program::with_memory("gfx1030");
    program.simulator.kernels = Kernels::Run;
    program.signal();
    program.queue(queue_type::COMPUTE_AQL);
    let fields = kernel(&program, DATA + 0x1000, &STORES);
    let report = program.launch(fields);
    assert_eq!(report.problem, None);
    assert_eq!((program.get::<u32>(DATA + 0x1000), program.signal_value()), (42, 0));
    assert_eq!((report.run_kernels, report.instructions, report.refused()), (1, 6, false));
    let text = report.to_string();
    assert!(text.starts_with("ran kernels, interpreted on the processor (requests "), "{text}");
    assert!(text.ends_with(", interpreted 1 of 6 instructions)"), "{text}");
}

#[test]
fn a_kernel_with_an_unknown_instruction_is_an_illegal_one_and_is_named() {
    let mut program = Program::with_memory("gfx1030");
    program.simulator.kernels = Kernels::Run;
    program.signal();
    program.queue(queue_type::COMPUTE_AQL);
    program.put(WRITE_POINTER - 0x38 + 0xc0, &SIGNAL);
    let fields = kernel(&program, DATA + 0x1000, &[0xd544_0000, 0x040e_0501]);
    let report = program.launch(fields);
    assert_eq!((report.refused_kernels, report.run_kernels, report.refused()), (1, 0, true));
    let text = report.to_string();
    assert!(text.starts_with("reached a kernel that cannot be interpreted ("), "{text}");
    assert!(text.contains("the interpreter does not know v_cubeid_f32 (d5440000 040e0501"), "{text}");
    assert_eq!(program.signal_value(), 1 << 30);
}

#[test]
fn a_kernel_that_stores_where_nothing_is_faults() {
    let mut program = Program::with_memory("gfx1030");
    program.simulator.kernels = Kernels::Run;
    program.signal();
    program.queue(queue_type::COMPUTE_AQL);
    let fields = kernel(&program, 0x1000, &STORES);
    let report = program.launch(fields);
    assert_eq!((report.faults, report.run_kernels), (1, 0));
    assert_eq!(program.signal_value(), 1, "nothing says that it was done");
}

#[test]
fn a_program_that_does_not_wait_for_its_kernel_says_nothing() {
    let mut program = Program::with_memory("gfx1030");
    program.simulator.kernels = Kernels::Run;
    program.signal();
    program.queue(queue_type::COMPUTE_AQL);
    // s_branch to itself.
    let fields = kernel(&program, 0, &[0xbf82_ffff]);
    assert!(!program.launch(fields).refused(), "it runs");
    program.simulator.leave(PROGRAM);
    let report = program.simulator.report();
    assert_eq!((report.unfinished_kernels, report.refused()), (1, true));
    assert!(report.to_string().starts_with("ended before a kernel did"), "{report}");
}

#[test]
fn a_kernel_that_does_not_end_leaves_requests_their_turn() {
    let mut program = Program::with_memory("gfx1030");
    program.simulator.kernels = Kernels::Run;
    program.signal();
    program.queue(queue_type::COMPUTE_AQL);
    // s_branch to itself.
    let fields = kernel(&program, 0, &[0xbf82_ffff]);
    let report = program.launch(fields);
    assert!(report.instructions > 0 && report.run_kernels == 0);
    assert!(program.simulator.step(Duration::ZERO).1, "there is more to do");
    // A GPU would not have been that slow, so what the program says of it does not count.
    while program.simulator.step(Duration::ZERO).1 {}
    let report = program.simulator.report();
    assert_eq!((report.refused_kernels, report.run_kernels, report.refused()), (1, 0, true));
    assert!(report.to_string().contains("reached a kernel that cannot be interpreted"), "{report}");
    program.simulator.leave(PROGRAM);
    assert!(!program.simulator.has_queues());
}

#[test]
fn a_kernel_for_other_gpus_is_refused_even_if_it_is_to_run() {
    let mut program = Program::with_memory("gfx90a");
    program.simulator.kernels = Kernels::Run;
    program.signal();
    program.queue(queue_type::COMPUTE_AQL);
    let fields = kernel(&program, DATA, &STORES);
    let report = program.launch(fields);
    assert_eq!((report.refused_kernels, report.milestone()), (1, "reached the first kernel launch"));
}

#[test]
fn a_program_that_enabled_the_runtime_hears_of_errors_as_it_asked() {
    let mut program = Program::with_memory("gfx90a");
    program.ask(number::RUNTIME_ENABLE, &RuntimeEnable { r_debug: 0, mode_mask: 1, capabilities_mask: 0 }).unwrap();
    let mut header = SaveAreaHeader::new_zeroed();
    header.err_payload_addr = DATA;
    header.err_event_id = program.event(event_type::SIGNAL);
    program.put(SAVE_AREA, &header);
    program.queue(queue_type::COMPUTE_AQL);
    program.packet(2, [0; 7]);
    assert_eq!(program.get::<u64>(DATA), 1 << 3);
}

#[test]
fn a_barrier_waits_for_its_signals() {
    let mut program = Program::with_memory("gfx1030");
    program.signal();
    program.queue(queue_type::COMPUTE_AQL);
    let dependency = DATA;
    program.put(dependency, &[1_u64, 1, 0, 0]);
    program.packet(3, [dependency, 0, 0, 0, 0, 0, SIGNAL]);
    assert_eq!(program.signal_value(), 1);
    program.put(dependency + 8, &0_u64);
    program.simulator.step(Duration::ZERO);
    assert_eq!(program.signal_value(), 0);
    assert_ne!(program.get::<u64>(MAILBOX), 0);
}

#[test]
fn memory_is_counted_over_all_processes_and_given_back_when_they_end() {
    let mut program = Program::with_memory("gfx1030");
    let other = Piece::new(BASE, LENGTH);
    program.simulator.enter(2, Box::new(other));
    let total = program.simulator.machine().devices()[0].memory;
    let ask = |program: &mut Program| {
        let gpu_id = program.gpu_id;
        program.ask(number::AVAILABLE_MEMORY, &AvailableMemory { available: 0, gpu_id, pad: 0 }).unwrap().available
    };
    program.allocate(1 << 32, 4 << 30, memory_flag::VRAM).unwrap();
    assert!(ask(&mut program) <= total - (4 << 30));
    program.simulator.leave(PROGRAM);
    let memory = program.memory.clone();
    program.simulator.enter(PROGRAM, Box::new(memory));
    assert_eq!(ask(&mut program), total);
}

#[test]
fn wrong_numbers_are_refused_as_the_kernel_does() {
    let mut program = Program::with_memory("gfx1030");
    assert_eq!(program.ask(number::FREE_MEMORY_OF_GPU, &FreeMemory { handle: 99 }).err(), Some(Errno::Invalid));
    assert_eq!(program.map(99), Err(Errno::Invalid));
    assert_eq!(program.allocate(0x1000, 0, memory_flag::VRAM), Err(Errno::Invalid));
    assert_eq!(program.allocate(0x1001, 0x1000, memory_flag::VRAM), Err(Errno::Invalid));
    assert_eq!(program.allocate(0x1000, 0x1000, 0), Err(Errno::Invalid));
    assert_eq!(program.allocate(u64::MAX - 0xfff, 0x1000, memory_flag::VRAM), Err(Errno::Invalid));
    assert_eq!(program.allocate(0x1000, 1 << 46, memory_flag::VRAM), Err(Errno::NoMemory));
    let mut acquired = Program::new("gfx1030");
    assert_eq!(acquired.allocate(0x1000, 0x1000, memory_flag::VRAM), Err(Errno::NotPermitted));
    acquired.gpu_id = 1;
    assert_eq!(acquired.allocate(0x1000, 0x1000, memory_flag::VRAM), Err(Errno::Invalid));
    let mut unknown = 0_u32;
    unknown += acquired.ask(0x7f, &0_u64).is_err_and(|error| error == Errno::NoSuchRequest) as u32;
    assert_eq!((unknown, acquired.simulator.report().unknown_requests.len()), (1, 1));
}

#[test]
fn an_argument_that_is_not_in_the_programs_memory_is_refused() {
    let mut program = Program::new("gfx1030");
    let number = 3 << 30 | 8 << 16 | u32::from(KFD) << 8 | 1;
    let request = Request { node: Node::Kfd, number, argument: 0 };
    assert_eq!(program.simulator.ioctl(PROGRAM, &request, 0, Duration::ZERO), Answer::Now(Err(Errno::BadAddress)));
    assert_eq!(program.simulator.ioctl(7, &request, 0, Duration::ZERO), Answer::Now(Err(Errno::BadDescriptor)));
}

proptest! {
    #[test]
    fn any_request_with_any_bytes_is_answered(
        requests in proptest::collection::vec((any::<u8>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..128)), 1..40),
    ) {
        let mut program = Program::with_memory("gfx1030,gfx942");
        for (token, (index, kfd, mut bytes)) in (0..).zip(requests) {
            // Most numbers of GPUs and addresses would be wrong, so some of them are made right.
            let gpu_id = program.gpu_id.to_le_bytes();
            for at in [0_usize, 4, 8, 32, 36] {
                if bytes.first().is_some_and(|byte| byte % 3 == 0) && bytes.len() >= at + 4 {
                    bytes[at..at + 4].copy_from_slice(&gpu_id);
                }
            }
            program.memory.write(ARGUMENT, &bytes).unwrap();
            let (node, kind) = if kfd { (Node::Kfd, KFD) } else { (Node::Dri(1), DRM) };
            let number = 3 << 30 | (bytes.len() as u32) << 16 | u32::from(kind) << 8 | u32::from(index % 0x50);
            let request = Request { node, number, argument: ARGUMENT };
            program.simulator.ioctl(PROGRAM, &request, token, Duration::from_millis(token));
            program.simulator.step(Duration::from_millis(token));
        }
    }

    #[test]
    fn any_packets_in_a_queue_are_taken(words in proptest::collection::vec(any::<u32>(), 0..64), kind in 0_u32..5, written in any::<u64>()) {
        let mut program = Program::with_memory("gfx1201");
        if kind == 0 {
            return Ok(());
        }
        program.queue(kind);
        program.submit(&words, written);
        program.submit(&words, u64::try_from(words.len()).unwrap() * 4);
    }
}

#[test]
fn memory_is_not_shared_with_other_processes_and_programs_are_told_so() {
    let mut program = Program::new("gfx1030");
    program.acquire();
    let handle = program.allocate(BASE, LENGTH as u64, memory_flag::VRAM).unwrap();
    let export = |handle: u64| ExportDmabuf { handle, flags: 0, dmabuf_fd: 0 };
    assert_eq!(program.ask(number::EXPORT_DMABUF, &export(handle + 1)).map(|_| ()), Err(Errno::Invalid));
    assert!(program.simulator.report().unknown_requests.is_empty());
    assert_eq!(program.ask(number::EXPORT_DMABUF, &export(handle)).map(|_| ()), Err(Errno::NoSuchRequest));
    // No file can be a dmabuf then.
    for request in [number::GET_DMABUF_INFO, number::IMPORT_DMABUF] {
        assert_eq!(program.ask(request, &[0_u64; 3]).map(|_| ()), Err(Errno::Invalid), "{request:#x}");
    }
    // `hipIpcGetMemHandle`, which Debian's kernel has no request for either.
    assert_eq!(program.ask(0x81, &[0_u64; 6]).map(|_| ()), Err(Errno::NoSuchRequest));
    let report = program.simulator.report().to_string();
    assert!(report.contains(", requests not simulated K:0x24)"), "{report}");
}
