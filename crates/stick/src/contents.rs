//! Recognizes the contents of a device by its first bytes: enough to tell its owner what would be lost.
//!
//! The offsets are those that libblkid uses; each file system's own documentation has them.

use serde::Serialize;

/// How many bytes [`identify`] needs from the start of a device.
pub const NEEDED: usize = 68 << 10;

/// A file system, or another use of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// The name that mount(8) uses, or `swap`, `LUKS`, `LVM`, `RAID`.
    pub kind: &'static str,
    /// The label that its owner gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// A signature: its offset, its bytes, the kind, and offset and length of a label.
type Signature = (usize, &'static [u8], &'static str, Option<(usize, usize)>);

/// The more specific ones first: a file system's boot sector may look like FAT.
const SIGNATURES: [Signature; 19] = [
    (0, b"LUKS\xba\xbe", "LUKS", Some((24, 48))),
    (512, b"LABELONE", "LVM", None),
    (0, b"LABELONE", "LVM", None),
    (4096, b"\xfc\x4e\x2b\xa9", "RAID", Some((4096 + 32, 32))),
    (1024 + 56, b"\x53\xef", "ext4", Some((1024 + 120, 16))),
    (0, b"XFSB", "xfs", Some((108, 12))),
    (65_536 + 64, b"_BHRfS_M", "btrfs", Some((65_536 + 299, 256))),
    (4096 + 24, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81", "bcachefs", None),
    (1024, b"\x10\x20\xf5\xf2", "f2fs", None),
    (1024, b"\xe2\xe1\xf5\xe0", "erofs", Some((1024 + 64, 16))),
    (0, b"hsqs", "squashfs", None),
    (4086, b"SWAPSPACE2", "swap", Some((1052, 16))),
    (3, b"NTFS    ", "ntfs", None),
    (3, b"EXFAT   ", "exfat", None),
    (82, b"FAT32   ", "vfat", Some((71, 11))),
    (54, b"FAT16   ", "vfat", Some((43, 11))),
    (54, b"FAT12   ", "vfat", Some((43, 11))),
    (32_769, b"CD001", "iso9660", Some((32_768 + 40, 32))),
    (1024, b"H+\x00\x04", "hfsplus", None),
];

/// Identifies the contents of a device by its first [`NEEDED`] bytes, or fewer if it is smaller.
pub fn identify(start: &[u8]) -> Option<Contents> {
    let at = |offset: usize, length: usize| start.get(offset..offset.checked_add(length)?);
    let (_, _, kind, label) = SIGNATURES.iter().find(|(offset, magic, ..)| at(*offset, magic.len()) == Some(*magic))?;
    let label = label.and_then(|(offset, length)| text(at(offset, length)?));
    Some(Contents { kind, label })
}

/// A label; FAT has `NO NAME` if there is none.
fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(bytes.get(..end)?);
    // Text from a stranger's stick goes to a terminal: no control characters.
    let clean: String = text.trim().chars().filter(|char| !char.is_control()).collect();
    (!clean.is_empty() && clean != "NO NAME").then_some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with(pieces: &[(usize, &[u8])]) -> Vec<u8> {
        let mut start = vec![0; NEEDED];
        for (at, bytes) in pieces {
            start[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        start
    }

    #[test]
    fn file_systems_are_told_with_their_labels() {
        let told = |pieces: &[(usize, &[u8])]| {
            identify(&with(pieces)).map(|found| format!("{} {}", found.kind, found.label.unwrap_or_default()))
        };
        let expect = |text: &str| Some(text.to_owned());
        assert_eq!(told(&[(1080, b"\x53\xef"), (1144, b"photos\0")]), expect("ext4 photos"));
        assert_eq!(told(&[(82, b"FAT32   "), (71, b"NO NAME    ")]), expect("vfat "));
        assert_eq!(told(&[(82, b"FAT32   "), (71, b"ROCBED     ")]), expect("vfat ROCBED"));
        assert_eq!(told(&[(0, b"LUKS\xba\xbe")]), expect("LUKS "));
        assert_eq!(told(&[(65_600, b"_BHRfS_M"), (65_835, b"da\x1bta\0")]), expect("btrfs data"));
        assert_eq!(told(&[]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..2000), which in 0..SIGNATURES.len()) {
            identify(&bytes);
            let (at, magic, kind, _) = SIGNATURES[which];
            let found = identify(&with(&[(at, magic)]));
            prop_assert_eq!(found.map(|found| found.kind), Some(kind));
        }
    }
}
