//! [`Guid`]: identifiers of partitions, partition types and disks.

use std::fmt;
use std::str::FromStr;

use sha256::{Digest, Hasher};
use uuid::{Builder, Uuid, fmt::Hyphenated};

/// A 128-bit globally unique identifier (RFC 9562).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(Uuid);

/// Text that is not a GUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a GUID: it has to look like 4f68bce3-e8cd-4db1-96e7-fbcaf984b709")]
pub struct ParseGuidError(String);

impl Guid {
    /// Makes a GUID from its bytes in text order.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The bytes in text order.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// Makes a GUID from the bytes that GPT and EFI store: the first three groups little-endian (UEFI 2.10, appendix
    /// A).
    pub(crate) const fn from_efi_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes_le(bytes))
    }

    /// Makes a GUID from a number with the hexadecimal digits of the text form. For constants.
    pub(crate) const fn from_u128(number: u128) -> Self {
        Self(Uuid::from_u128(number))
    }

    /// A version 8 UUID (RFC 9562, section 5.8) derived from a digest and a namespace, so that the same content has
    /// the same UUID everywhere. Different `namespace`s give unrelated UUIDs for one digest.
    pub fn from_digest(digest: &Digest, namespace: &str) -> Self {
        let hash = Hasher::new().chain(digest.as_bytes()).chain(namespace).finish();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.as_bytes()[..16]);
        Self(Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// A version 4 UUID (RFC 9562, section 5.4) of random bytes.
    pub const fn from_random(bytes: [u8; 16]) -> Self {
        Self(Builder::from_random_bytes(bytes).into_uuid())
    }

    /// Whether all bits are zero: marks an unused entry in a partition table.
    pub(crate) const fn is_nil(self) -> bool {
        self.0.is_nil()
    }
}

#[cfg(feature = "build")]
impl From<Guid> for Uuid {
    fn from(guid: Guid) -> Self {
        guid.0
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Guid {
    type Err = ParseGuidError;

    /// Reads the form with hyphens only, with digits in either case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hyphenated: Hyphenated = text.parse().map_err(|_| ParseGuidError(text.to_owned()))?;
        Ok(Self(hyphenated.into_uuid()))
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
        assert_eq!(Guid::from_efi_bytes(stored), esp);
    }

    #[test]
    fn a_digest_gives_a_version_8_uuid() {
        let guid = Guid::from_digest(&[7; 32].into(), "root");
        let text = guid.to_string();
        assert_eq!(&text[14..15], "8");
        assert!("89ab".contains(&text[19..20]), "{text}");
        assert_eq!(guid, Guid::from_digest(&[7; 32].into(), "root"));
        assert_ne!(guid, Guid::from_digest(&[7; 32].into(), "data"));
        assert_ne!(guid, Guid::from_digest(&[8; 32].into(), "root"));
    }

    #[test]
    fn refuses_what_is_not_a_guid() {
        for text in [
            "",
            "c12a7328",
            "c12a7328f81f11d2ba4b00a0c93ec93b",
            "c12a7328-f81f-11d2-ba4b-00a0c93ec93g",
            "+12a7328-f81f-11d2-ba4b-00a0c93ec93b",
            "{c12a7328-f81f-11d2-ba4b-00a0c93ec93b}",
            "urn:uuid:c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
        ] {
            assert!(text.parse::<Guid>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(bytes: [u8; 16], noise: String) {
            let guid = Guid::from_bytes(bytes);
            prop_assert_eq!(guid.to_string().parse::<Guid>().unwrap(), guid);
            prop_assert_eq!(guid.to_string().to_uppercase().parse::<Guid>().unwrap(), guid);
            prop_assert!(noise.parse::<Guid>().is_err());
        }
    }
}
