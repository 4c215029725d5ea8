//! Limits of addresses for processes and GPUs, and the size of a page.

/// Bytes of a page, the smallest piece of memory that can be mapped.
pub(crate) const PAGE: u64 = 4096;

/// First address that a process can't have (47 bits), and so the end of what GPUs may use.
pub(crate) const END: u64 = 1 << 47;
