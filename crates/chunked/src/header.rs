//! The frame at the start of a chunk file.

use sha256::Digest;

/// The magic number and length of the skippable frame (RFC 8878, section 3.1.2).
const START: [u8; 8] = [0x5a, 0x2a, 0x4d, 0x18, 40, 0, 0, 0];

/// What a chunk file says of the whole, in a frame that decoders pass over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Size of the whole, in bytes.
    pub size: u64,
    /// SHA-256 of the whole.
    pub sha256: Digest,
}

impl Header {
    /// Length of the frame, in bytes.
    pub const LENGTH: usize = 48;

    /// The frame.
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        let (start, rest) = bytes.split_at_mut(START.len());
        start.copy_from_slice(&START);
        let (size, sha256) = rest.split_at_mut(8);
        size.copy_from_slice(&self.size.to_le_bytes());
        sha256.copy_from_slice(self.sha256.as_bytes());
        bytes
    }

    /// Reads the frame that a chunk file begins with; `None` for any other file.
    pub fn parse(file: &[u8]) -> Option<Self> {
        let (size, rest) = file.strip_prefix(&START)?.split_first_chunk::<8>()?;
        Some(Self { size: u64::from_le_bytes(*size), sha256: Digest::from(*rest.first_chunk::<32>()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let header = Header { size: 1 << 33, sha256: [7; 32].into() };
        assert_eq!(Header::parse(&header.to_bytes()), Some(header));
        assert_eq!(Header::parse(&[&header.to_bytes()[..], b"more"].concat()), Some(header));
    }

    #[test]
    fn other_files_have_none() {
        let bytes = Header { size: 1, sha256: [7; 32].into() }.to_bytes();
        assert_eq!(Header::parse(&bytes[..47]), None);
        assert_eq!(Header::parse(&[0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0]), None);
        assert_eq!(Header::parse(b""), None);
    }
}
