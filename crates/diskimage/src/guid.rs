//! [`Guid`]: identifiers of partitions, partition types and disks.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// A 128-bit globally unique identifier (RFC 9562), with its bytes in the order of the text form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid([u8; 16]);

/// Text that is not a GUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a GUID: it has to look like 4f68bce3-e8cd-4db1-96e7-fbcaf984b709")]
pub struct ParseGuidError(String);

impl Guid {
    /// Makes a GUID from its bytes in text order.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes in text order.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// Makes a GUID from the bytes that GPT and EFI store: the first three groups little-endian (UEFI 2.10, appendix
    /// A).
    pub const fn from_efi_bytes(bytes: [u8; 16]) -> Self {
        Self(swap_groups(bytes))
    }

    /// The bytes that GPT and EFI store: the first three groups little-endian (UEFI 2.10, appendix A).
    pub const fn to_efi_bytes(self) -> [u8; 16] {
        swap_groups(self.0)
    }

    /// Makes a GUID from a number with the hexadecimal digits of the text form. For constants.
    pub(crate) const fn from_u128(number: u128) -> Self {
        Self(number.to_be_bytes())
    }

    /// A version 8 UUID (RFC 9562, section 5.8) derived from a digest and a namespace, so that the same content has
    /// the same UUID everywhere. Different `namespace`s give unrelated UUIDs for one digest.
    pub fn from_digest(digest: &[u8; 32], namespace: &str) -> Self {
        let hash = Sha256::new().chain_update(digest).chain_update(namespace).finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        bytes[6] = bytes[6] & 0x0f | 0x80; // version 8: vendor-specific
        bytes[8] = bytes[8] & 0x3f | 0x80; // variant of RFC 9562
        Self(bytes)
    }

    /// A version 4 UUID (RFC 9562, section 5.4) of random bytes.
    pub const fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80; // variant of RFC 9562
        Self(bytes)
    }

    /// Whether all bits are zero: marks an unused entry in a partition table.
    pub fn is_nil(self) -> bool {
        self.0 == [0; 16]
    }
}

const fn swap_groups(b: [u8; 16]) -> [u8; 16] {
    [b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]]
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Guid {
    type Err = ParseGuidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseGuidError(text.to_owned());
        let hyphens: Vec<_> = text.bytes().enumerate().filter(|(_, byte)| *byte == b'-').map(|(at, _)| at).collect();
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
        if hyphens != [8, 13, 18, 23] || digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(error());
        }
        let digits = std::str::from_utf8(&digits).map_err(|_| error())?;
        u128::from_str_radix(digits, 16).map(Self::from_u128).map_err(|_| error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn random_ones_say_so() {
        assert_eq!(Guid::from_random([0; 16]).to_string(), "00000000-0000-4000-8000-000000000000");
        assert_eq!(Guid::from_random([0xff; 16]).to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn efi_stores_the_first_three_groups_little_endian() {
        let esp: Guid = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b".parse().unwrap();
        let stored = [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
        assert_eq!(esp.to_efi_bytes(), stored);
        assert_eq!(Guid::from_efi_bytes(stored), esp);
    }

    #[test]
    fn a_digest_gives_a_version_8_uuid() {
        let guid = Guid::from_digest(&[7; 32], "root");
        let text = guid.to_string();
        assert_eq!(&text[14..15], "8");
        assert!("89ab".contains(&text[19..20]), "{text}");
        assert_eq!(guid, Guid::from_digest(&[7; 32], "root"));
        assert_ne!(guid, Guid::from_digest(&[7; 32], "data"));
        assert_ne!(guid, Guid::from_digest(&[8; 32], "root"));
    }

    #[test]
    fn refuses_what_is_no_guid() {
        for text in [
            "",
            "c12a7328",
            "c12a7328f81f11d2ba4b00a0c93ec93b",
            "c12a7328-f81f-11d2-ba4b-00a0c93ec93g",
            "+12a7328-f81f-11d2-ba4b-00a0c93ec93b",
        ] {
            assert!(text.parse::<Guid>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_and_efi_bytes_round_trip(bytes: [u8; 16], noise: String) {
            let guid = Guid::from_bytes(bytes);
            prop_assert_eq!(guid.to_string().parse::<Guid>().unwrap(), guid);
            prop_assert_eq!(guid.to_string().to_uppercase().parse::<Guid>().unwrap(), guid);
            prop_assert_eq!(Guid::from_efi_bytes(guid.to_efi_bytes()), guid);
            prop_assert!(noise.parse::<Guid>().is_err());
        }
    }
}
