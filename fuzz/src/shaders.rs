//! Kernels for the interpreter.

use std::cell::RefCell;

use rdna::{Architecture, Dispatch, Fault, Memory, Packet, Progress};

/// Where the memory begins, and how long it is.
const BASE: u64 = 0x1000;
const LENGTH: usize = 1 << 14;
/// Instructions that a kernel is given.
const LIMIT: u64 = 5000;

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

/// A generation, a kernel's descriptor and its code, which may write over themselves. Whatever they are, the launch ends
/// within its limit.
pub fn gpu_kernel(data: &[u8]) {
    let Some((generation, kernel)) = data.split_first() else { return };
    let Some(architecture) = Architecture::of_major(10 + (generation & 1)) else { return };
    let mut bytes = kernel.get(..kernel.len().min(LENGTH)).unwrap_or_default().to_vec();
    bytes.resize(LENGTH, 0);
    let memory = Bytes(RefCell::new(bytes));
    let sizes = [u32::from(generation >> 1) + 1, 1, 1];
    let packet = Packet {
        workgroup: sizes,
        grid: sizes.map(|size| size + size / 3),
        private_size: 64,
        group_size: 512,
        kernel: BASE,
        arguments: BASE + 0x1000,
    };
    let Ok(mut dispatch) = Dispatch::new(architecture, packet, BASE, BASE, LIMIT, &memory) else { return };
    while let Ok(Progress::Runs) = dispatch.run(&memory, 512) {}
    assert!(dispatch.executed() <= LIMIT);
}
