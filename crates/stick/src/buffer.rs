//! Buffers for direct I/O.

/// The alignment that open(2) requires of buffers for `O_DIRECT`, in bytes: no device needs more than a page.
const ALIGNMENT: usize = 4096;

/// A buffer that begins at a multiple of 4096 in memory.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl Buffer {
    /// A buffer of zeros.
    pub(crate) fn new(length: usize) -> Self {
        let bytes = vec![0; length + ALIGNMENT];
        // If the allocator cannot align it, direct I/O fails with EINVAL, and nothing is lost.
        let start = bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self { bytes, start, length }
    }

    /// A copy of these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut buffer = Self::new(bytes.len());
        buffer.bytes_mut().copy_from_slice(bytes);
        buffer
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..self.start + self.length).unwrap_or_default()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.start + self.length).unwrap_or_default()
    }
}

/// Whether all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // Sixteen at a time, which the compiler turns into wide comparisons.
    let (chunks, rest) = bytes.as_chunks::<16>();
    chunks.iter().all(|chunk| u128::from_ne_bytes(*chunk) == 0) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_begins_at_a_page() {
        for length in [1, 512, 4096, 100_000] {
            let mut buffer = Buffer::new(length);
            assert_eq!(buffer.bytes().as_ptr().align_offset(ALIGNMENT), 0);
            assert_eq!(buffer.bytes_mut().len(), length);
            assert!(is_zero(buffer.bytes()));
        }
        assert_eq!(Buffer::of(b"abc").bytes(), b"abc");
        assert!(!is_zero(&[0, 0, 1]) && !is_zero(&[&[0; 40][..], &[1]].concat()));
    }
}
