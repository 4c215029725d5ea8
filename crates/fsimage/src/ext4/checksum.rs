//! The crc32c of `metadata_csum`: ext4 starts it from a seed and does not invert the result.

/// Continues a checksum over more bytes.
pub(super) fn crc(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

/// Seed of all checksums of a file system, from its UUID.
pub(super) fn file_system_seed(uuid: &[u8; 16]) -> u32 {
    crc(u32::MAX, uuid)
}

/// Seed of the checksums of everything that belongs to an inode.
pub(super) fn inode_seed(file_system: u32, number: u32, generation: u32) -> u32 {
    crc(crc(file_system, &number.to_le_bytes()), &generation.to_le_bytes())
}

#[cfg(test)]
mod tests {
    #[test]
    fn is_the_usual_crc32c_without_the_last_inversion() {
        assert_eq!(!super::crc(u32::MAX, b"123456789"), 0xe306_9283); // the check value of CRC-32C
    }
}
