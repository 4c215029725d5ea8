//! [`Memory`]: access to the memory of a program that uses the simulated GPUs.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The range is not, or not wholly, in the program's memory, or the program has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not in the program's memory")]
pub struct Fault;

/// The memory of one process.
pub trait Memory {
    /// Reads as many bytes as there is room for.
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Fault>;

    /// Writes all bytes.
    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault>;
}

/// Reads a structure of the kernel's interface.
pub(crate) fn read<T: FromBytes + IntoBytes>(memory: &dyn Memory, address: u64) -> Result<T, Fault> {
    let mut value = T::new_zeroed();
    memory.read(address, value.as_mut_bytes())?;
    Ok(value)
}

/// Writes one.
pub(crate) fn write<T: IntoBytes + Immutable>(memory: &dyn Memory, address: u64, value: &T) -> Result<(), Fault> {
    memory.write(address, value.as_bytes())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::{Fault, Memory};

    /// A program's memory: one piece that begins at an address.
    #[derive(Debug, Clone)]
    pub(crate) struct Piece {
        pub(crate) base: u64,
        pub(crate) bytes: Rc<RefCell<Vec<u8>>>,
    }

    impl Piece {
        pub(crate) fn new(base: u64, length: usize) -> Self {
            Self { base, bytes: Rc::new(RefCell::new(vec![0; length])) }
        }

        fn range(&self, address: u64, length: usize) -> Result<std::ops::Range<usize>, Fault> {
            let start = address.checked_sub(self.base).and_then(|at| usize::try_from(at).ok()).ok_or(Fault)?;
            let end = start.checked_add(length).filter(|end| *end <= self.bytes.borrow().len()).ok_or(Fault)?;
            Ok(start..end)
        }
    }

    impl Memory for Piece {
        fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Fault> {
            let range = self.range(address, bytes.len())?;
            bytes.copy_from_slice(&self.bytes.borrow()[range]);
            Ok(())
        }

        fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
            let range = self.range(address, bytes.len())?;
            self.bytes.borrow_mut()[range].copy_from_slice(bytes);
            Ok(())
        }
    }
}
