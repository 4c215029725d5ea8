//! Access to little-endian fields at byte offsets, which all ext4 structures consist of.
//!
//! The writers index buffers of known size; the getters are used on untrusted bytes and return 0 for fields outside,
//! so that a short structure cannot cause a panic.

pub(super) fn put16(buffer: &mut [u8], at: usize, value: u16) {
    buffer[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

pub(super) fn put32(buffer: &mut [u8], at: usize, value: u32) {
    buffer[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Writes a value to two fields: its low 32 bits at `low`, the next 32 at `high`.
pub(super) fn put_split(buffer: &mut [u8], low: usize, high: usize, value: u64) {
    put32(buffer, low, value as u32);
    put32(buffer, high, (value >> 32) as u32);
}

pub(super) fn get8(buffer: &[u8], at: usize) -> u8 {
    buffer.get(at).copied().unwrap_or(0)
}

pub(super) fn get16(buffer: &[u8], at: usize) -> u16 {
    let bytes = at.checked_add(2).and_then(|end| buffer.get(at..end)).and_then(|bytes| bytes.try_into().ok());
    u16::from_le_bytes(bytes.unwrap_or_default())
}

pub(super) fn get32(buffer: &[u8], at: usize) -> u32 {
    let bytes = at.checked_add(4).and_then(|end| buffer.get(at..end)).and_then(|bytes| bytes.try_into().ok());
    u32::from_le_bytes(bytes.unwrap_or_default())
}

/// Reads a value that [`put_split`] wrote.
pub(super) fn get_split(buffer: &[u8], low: usize, high: usize) -> u64 {
    u64::from(get32(buffer, low)) | u64::from(get32(buffer, high)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_outside_gives_zero() {
        assert_eq!(get32(&[1, 2, 3], 0), 0);
        assert_eq!(get16(&[1, 2, 3], usize::MAX), 0);
        assert_eq!(get16(&[1, 2, 3], 1), 0x0302);
    }
}
