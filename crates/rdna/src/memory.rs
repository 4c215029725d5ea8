//! [`Memory`]: what kernels read and write.

/// The kernel has no memory at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no memory at {address:#x} that the kernel may access")]
pub struct Fault {
    /// The first address without memory.
    pub address: u64,
}

/// The memory of the program that launched a kernel, as its GPU sees it.
pub trait Memory {
    /// Reads as many bytes as there is room for.
    ///
    /// # Errors
    /// If not all of them can be read.
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Fault>;

    /// Writes all bytes.
    ///
    /// # Errors
    /// If not all of them can be written.
    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault>;
}
