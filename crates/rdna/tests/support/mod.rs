//! A program's memory with a code object in it, and launches of its kernels.
#![allow(dead_code, reason = "each program uses its part of this")]

use std::cell::RefCell;

use object::{Object, ObjectSegment, ObjectSymbol};
use rdna::{Architecture, Dispatch, Fault, Memory, Packet, Problem, Progress};

/// Where the memory begins.
pub const BASE: u64 = 0x7f00_0000_0000;
/// Where kernels' data begins.
const DATA: u64 = BASE + 0x10_0000;
const LENGTH: usize = 0x40_0000;
/// Instructions that a kernel is given.
const LIMIT: u64 = 500_000;

/// The code objects: architecture, lanes, bytes.
pub fn objects() -> [(Architecture, usize, &'static [u8]); 4] {
    [
        (Architecture::Gfx10, 32, include_bytes!("../kernels/gfx1030.co")),
        (Architecture::Gfx10, 64, include_bytes!("../kernels/gfx1030-wave64.co")),
        (Architecture::Gfx11, 32, include_bytes!("../kernels/gfx1100.co")),
        (Architecture::Gfx11, 64, include_bytes!("../kernels/gfx1100-wave64.co")),
    ]
}

struct Bytes(RefCell<Vec<u8>>);

impl Bytes {
    fn range(address: u64, length: usize) -> Result<std::ops::Range<usize>, Fault> {
        let fault = Fault { address };
        let start = address.checked_sub(BASE).and_then(|start| usize::try_from(start).ok()).ok_or(fault)?;
        let end = start.checked_add(length).filter(|end| *end <= LENGTH).ok_or(fault)?;
        Ok(start..end)
    }
}

impl Memory for Bytes {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        let range = Self::range(address, bytes.len())?;
        bytes.copy_from_slice(&self.0.borrow()[range]);
        Ok(())
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        let range = Self::range(address, bytes.len())?;
        self.0.borrow_mut()[range].copy_from_slice(bytes);
        Ok(())
    }
}

/// A program that has loaded a code object.
pub struct Program {
    pub architecture: Architecture,
    memory: Bytes,
    kernels: Vec<(String, u64)>,
    next: u64,
    /// Instructions of the last kernel.
    pub executed: u64,
}

impl Program {
    pub fn new(architecture: Architecture, object: &[u8]) -> Self {
        let file = object::File::parse(object).expect("a code object");
        let memory = Bytes(RefCell::new(vec![0; LENGTH]));
        for segment in file.segments() {
            memory.write(BASE + segment.address(), segment.data().expect("its data")).expect("room for the code");
        }
        let kernel = |symbol: object::Symbol| {
            Some((symbol.name().ok()?.strip_suffix(".kd")?.to_owned(), BASE + symbol.address()))
        };
        let kernels = file.dynamic_symbols().filter_map(kernel).collect();
        Self { architecture, memory, kernels, next: DATA, executed: 0 }
    }

    /// A program with one kernel `words`, of these words and waves of 32. It begins with the address of its arguments in s[0:1]
    /// and the work-item's number in v0.
    pub fn of_words(architecture: Architecture, words: &[u32]) -> Self {
        let mut descriptor = [0_u8; 64];
        // The code follows. 32 registers, subnormal numbers are kept; two scalar registers, which have the arguments' address.
        descriptor[16] = 64;
        descriptor[48..52].copy_from_slice(&(3_u32 | 0xf0 << 12).to_le_bytes());
        descriptor[52] = 2 << 1;
        descriptor[56..58].copy_from_slice(&(1_u16 << 3 | 1 << 10).to_le_bytes());
        let memory = Bytes(RefCell::new(vec![0; LENGTH]));
        let code: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        memory.write(BASE, &[descriptor.to_vec(), code].concat()).expect("room for the code");
        Self { architecture, memory, kernels: vec![("words".to_owned(), BASE)], next: DATA, executed: 0 }
    }

    /// Room for so many bytes.
    pub fn allocate(&mut self, length: usize) -> u64 {
        let address = self.next;
        self.next = (address + length as u64).next_multiple_of(256);
        address
    }

    /// Memory with these numbers.
    pub fn put<T: Number>(&mut self, numbers: &[T]) -> u64 {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.bytes()).collect();
        let address = self.allocate(bytes.len());
        self.memory.write(address, &bytes).expect("room for data");
        address
    }

    /// Numbers that stand in memory.
    pub fn get<T: Number>(&self, address: u64, count: usize) -> Vec<T> {
        let mut bytes = vec![0; count * size_of::<T>()];
        self.memory.read(address, &mut bytes).expect("data");
        bytes.chunks(size_of::<T>()).map(T::from_bytes).collect()
    }

    /// Launches a kernel over so many work-items, in workgroups of so many, with its arguments' bytes.
    pub fn try_launch(
        &mut self,
        name: &str,
        grid: [u32; 3],
        workgroup: [u32; 3],
        arguments: &[u8],
    ) -> Result<(), Problem> {
        let arguments = self.put(arguments);
        let kernel = self.kernels.iter().find(|(kernel, _)| kernel == name).expect("the kernel").1;
        let mut packet = [0; 64];
        packet[2] = 3;
        for (index, size) in workgroup.iter().enumerate() {
            packet[4 + 2 * index..6 + 2 * index].copy_from_slice(&u16::try_from(*size).expect("a size").to_le_bytes());
        }
        for (index, size) in grid.iter().enumerate() {
            packet[12 + 4 * index..16 + 4 * index].copy_from_slice(&size.to_le_bytes());
        }
        // Kernels with a stack that is not known in advance get this; the others' descriptors say what they need.
        packet[24..28].copy_from_slice(&2048_u32.to_le_bytes());
        packet[32..40].copy_from_slice(&kernel.to_le_bytes());
        packet[40..48].copy_from_slice(&arguments.to_le_bytes());
        let place = self.put(&packet);
        let queue = self.allocate(256);
        let packet = Packet::parse(&packet)?;
        let mut dispatch = Dispatch::new(self.architecture, packet, place, queue, LIMIT, &self.memory)?;
        let result = loop {
            match dispatch.run(&self.memory, 10_000) {
                Ok(Progress::Runs) => {}
                Ok(Progress::Done) => break Ok(()),
                Err(problem) => break Err(problem),
            }
        };
        self.executed = dispatch.executed();
        result
    }

    /// Launches a kernel in workgroups of 128, which has to end.
    pub fn launch(&mut self, name: &str, items: usize, arguments: &[Argument]) {
        let bytes = bytes(arguments);
        let items = u32::try_from(items).expect("a size");
        let launched = self.try_launch(name, [items, 1, 1], [128, 1, 1], &bytes);
        launched.unwrap_or_else(|problem| panic!("{:?}: {name}: {problem}", self.architecture));
    }
}

/// An argument of a kernel.
#[derive(Clone, Copy)]
pub enum Argument {
    Place(u64),
    Number(u32),
}

/// Arguments as they stand in memory, each at a multiple of its size.
pub fn bytes(arguments: &[Argument]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for argument in arguments {
        match argument {
            Argument::Place(address) => {
                bytes.resize(bytes.len().next_multiple_of(8), 0);
                bytes.extend(address.to_le_bytes());
            }
            Argument::Number(number) => bytes.extend(number.to_le_bytes()),
        }
    }
    bytes.resize(bytes.len() + 256, 0);
    bytes
}

/// What memory can hold.
pub trait Number: Copy {
    fn bytes(self) -> Vec<u8>;
    fn from_bytes(bytes: &[u8]) -> Self;
}

macro_rules! numbers {
    ($($type:ty),*) => {
        $(impl Number for $type {
            fn bytes(self) -> Vec<u8> {
                self.to_le_bytes().to_vec()
            }

            fn from_bytes(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().expect("its size"))
            }
        })*
    };
}

numbers!(u8, u16, u32, i32, u64, i64, f32, f64);

/// Numbers that look random and are the same each time.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        // A linear congruential generator whose upper half is good enough.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let high = self.0 >> 32;
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        high << 32 | self.0 >> 32
    }

    pub fn word(&mut self) -> u32 {
        self.next() as u32
    }
}
