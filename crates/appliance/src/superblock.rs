//! Identifies the file system on a device by its superblock.

/// How many bytes [`Superblock::parse`] needs from the start of a device.
pub const NEEDED: usize = 2048;

/// The information in a superblock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// The type, as mount(2) takes it: `ext4`, `erofs`, `squashfs`.
    pub kind: &'static str,
    /// UUID in lower case with dashes; squashfs has none.
    pub uuid: Option<String>,
    /// Label, if it has one.
    pub label: Option<String>,
}

impl Superblock {
    /// Recognizes ext4 (kernel Documentation/filesystems/ext4/super.rst), EROFS (`struct erofs_super_block`) and
    /// squashfs in the first [`NEEDED`] bytes of a device.
    pub fn parse(start: &[u8]) -> Option<Self> {
        let at = |offset: usize, length: usize| start.get(offset..offset.checked_add(length)?);
        if at(0, 4)? == b"hsqs" {
            return Some(Self { kind: "squashfs", uuid: None, label: None });
        }
        if at(1024, 4)? == 0xe0f5_e1e2_u32.to_le_bytes() {
            return Some(Self { kind: "erofs", uuid: uuid(at(1024 + 48, 16)?), label: label(at(1024 + 64, 16)?) });
        }
        if at(1024 + 56, 2)? == 0xef53_u16.to_le_bytes() {
            return Some(Self { kind: "ext4", uuid: uuid(at(1024 + 104, 16)?), label: label(at(1024 + 120, 16)?) });
        }
        None
    }
}

fn uuid(bytes: &[u8]) -> Option<String> {
    if bytes.iter().all(|byte| *byte == 0) {
        return None;
    }
    let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let groups: Option<Vec<_>> =
        [0..4, 4..6, 6..8, 8..10, 10..16].map(|range| Some(hex.get(range)?.concat())).into_iter().collect();
    Some(groups?.join("-"))
}

fn label(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let label = String::from_utf8_lossy(bytes.get(..end)?).into_owned();
    (!label.is_empty()).then_some(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::ext4;

    #[test]
    fn recognizes_ext4() {
        let found = Superblock::parse(&ext4(0xab, "rocbed")).unwrap();
        assert_eq!((found.kind, found.label.as_deref()), ("ext4", Some("rocbed")));
        assert_eq!(found.uuid.as_deref(), Some("abababab-abab-abab-abab-abababababab"));
    }

    #[test]
    fn recognizes_the_others() {
        let mut erofs = vec![0; NEEDED];
        erofs[1024..1028].copy_from_slice(&[0xe2, 0xe1, 0xf5, 0xe0]);
        assert_eq!(Superblock::parse(&erofs), Some(Superblock { kind: "erofs", uuid: None, label: None }));
        let mut squashfs = vec![0; NEEDED];
        squashfs[..4].copy_from_slice(b"hsqs");
        assert_eq!(Superblock::parse(&squashfs).unwrap().kind, "squashfs");
        assert_eq!(Superblock::parse(&[0; NEEDED]), None);
    }
}
